"""`chaukas demo`: sessions to look at, and what to ask about them."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chaukas.server.cli.connection import Connection
from chaukas.server.cli.delivery import deliver
from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.times import parse_time
from chaukas.server.demo import BEGAN_BEFORE_S, DEMO_TENANT, DemoSession, demo_sessions
from chaukas.server.storage.contract import IngestStatus

__all__ = ["Demonstration", "load_demo"]

#: A fixed moment, so that loading twice without a flag stores once: Friday, 30 January 2026, 18:00 UTC.
_AT_NS: Final = 1_769_796_000 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What was loaded, and what became of it."""

    sessions: Sequence[DemoSession]
    counts: Counter[str]
    first_reason: str

    @property
    def events(self) -> int:
        """How many events were sent."""
        return self.counts.total()

    @property
    def not_stored(self) -> int:
        """Events that are not in the record now."""
        return self.events - self.counts[IngestStatus.ACCEPTED] - self.counts[IngestStatus.DUPLICATE]

    @property
    def exit_status(self) -> ExitStatus:
        """What the command ends with."""
        return ExitStatus.PARTLY if self.not_stored else ExitStatus.DONE

    def print(self, *, as_json: bool, server_url: str | None, data_dir: Path | None, config_file: Path | None) -> None:
        """Write it on standard output; the addresses are those that the next commands need, None where they need none."""
        if as_json:
            sys.stdout.write(f"{json_text(self._to_json(), indent=2)}\n")
            return
        lines = [self._summary(), "", *self._listing(), "", "Try next:"]
        lines += [f"  {command}" for command in self._commands(server_url, data_dir, config_file)]
        sys.stdout.write("\n".join(lines) + "\n")

    def _summary(self) -> str:
        loaded = f"{len(self.sessions)} sessions with {self.events:,} events of the tenant {DEMO_TENANT}"
        if self.not_stored:
            return f"{loaded}: {self.not_stored:,} were not stored: {self.first_reason}"
        if not self.counts[IngestStatus.ACCEPTED]:
            return f"{loaded}: all of them were stored before, nothing is new"
        known = self.counts[IngestStatus.DUPLICATE]
        return f"{loaded}: stored" + (f", {known:,} of them before" if known else "")

    def _listing(self) -> list[str]:
        return [
            f"  {_began(each)}  {len(each.events):>3} events  {each.project_id:<11}  {each.framework:<13}  {each.title}"
            for each in self.sessions
        ]

    def _commands(self, server_url: str | None, data_dir: Path | None, config_file: Path | None) -> list[str]:
        where = ["--data", str(data_dir)] if data_dir is not None else ["--server", server_url] if server_url is not None else []
        if config_file is not None:
            where += ["--config", str(config_file)]
        denied = self.sessions[-1].session_id
        commands = [
            ["chaukas", "query", "--session", denied, "--oldest-first", *where],
            ["chaukas", "stats", "--tenant", DEMO_TENANT, *where],
        ]
        # Only a running server can be followed.
        follow = ["chaukas", "tail", "--tenant", DEMO_TENANT, "-n", "20"]
        serve = ["chaukas", "serve", *where]
        commands.insert(1, [*follow, *where] if data_dir is None else serve)
        return [shlex.join(command) for command in commands]

    def _to_json(self) -> dict[str, object]:
        return {
            "tenant_id": DEMO_TENANT,
            "events": self.events,
            **{status.value: self.counts[status] for status in IngestStatus},
            "sessions": [
                {
                    "session_id": session.session_id,
                    "project_id": session.project_id,
                    "framework": session.framework,
                    "title": session.title,
                    "events": len(session.events),
                    "began": session.events[0].timestamp.ToJsonString(),
                }
                for session in self.sessions
            ],
        }


def load_demo(connection: Connection, at: str | None) -> Demonstration:
    """Store the sessions of the day before `at`, a time as people type it; None stands for a fixed moment.

    Raises `CommandError` for a time that is none or that the sessions do not fit before.
    """
    at_ns = _AT_NS if at is None else parse_time("--at", at, time.time_ns()).ToNanoseconds()
    if at_ns < BEGAN_BEFORE_S * 1_000_000_000:
        raise CommandError(f"--at: {at!r} is too early; the sessions take place after 1970")
    sessions = demo_sessions(at_ns)
    counts: Counter[str] = Counter()
    first_reason = ""
    for session in sessions:
        for result in deliver(connection, session.events):
            counts[result.status] += 1
            first_reason = first_reason or result.reason
    return Demonstration(sessions, counts, first_reason)


def _began(session: DemoSession) -> str:
    return f"{datetime.fromtimestamp(session.events[0].timestamp.seconds, UTC):%Y-%m-%d %H:%M}"
