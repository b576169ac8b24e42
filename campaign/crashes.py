"""A server under mixed load that dies again and again, and what is found of it each time. The parts that kill share it."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from campaign.outcome import Stage, times
from chaukas.spec.server.v1 import server_pb2, server_pb2_grpc
from tests.acceptance.started_server import StartedServer
from tests.faults.load import Load, as_sent, digest_of, each_event
from tests.faults.record_check import check_record

__all__ = ["Crashes"]

_FIRST_S = 30.0
#: A larger record is read round by round. Its events' times are random, so every page of the whole looks at every block, and the
#: time to read it grows with the square of its size.
_PAGED_EVENTS_MAX = 40_000


class Crashes:
    """Rounds of load and death on one server; counts for the report, which is told at the end, whatever ends it."""

    def __init__(self, stage: Stage, server: StartedServer, *, patient: bool = False) -> None:
        self.stage, self.server = stage, server
        self.load = Load(server, stage.seed, patient=patient)
        self.kills = self.readings = 0
        self.ready_s: list[float] = []
        self._tags: list[str] = []
        self._wrong = self._checked_records = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            # The senders would go on against a server that nobody watches any more.
            self.server.kill()
            self.load.stop()
        self._wrong += isinstance(error, AssertionError)
        self._report()

    def begin(self) -> None:
        """Start the load, and wait until something was acknowledged (in a patient load: or clearly refused)."""
        load = self.load
        acknowledged, refused = len(load.acknowledged), load.refused
        load.start()
        self._tags.append(load.tag)
        give_up_at = time.monotonic() + _FIRST_S
        while len(load.acknowledged) == acknowledged and load.refused == refused and time.monotonic() < give_up_at:
            time.sleep(0.001)

    def kill(self) -> None:
        """SIGKILL, whatever is under way; then the load ends, and whatever it found wrong is told."""
        self.server.kill()
        self.kills += 1
        self.load.stop()
        for problem in self.load.problems:
            self.stage.problem(f"before kill {self.kills}: {problem}")
        self.load.problems.clear()

    def start(self) -> None:
        """Start on what the dead process left behind; what it acknowledged last must be there."""
        began = time.monotonic()
        try:
            self.server.start()
        except AssertionError as error:
            raise RuntimeError(f"the server did not start after kill {self.kills}") from error
        self.ready_s.append(time.monotonic() - began)
        self.load.assert_round_there()

    def round(self, window_s: float) -> None:
        """Load, a kill at a random instant, a start."""
        self.begin()
        time.sleep(self.stage.chance.uniform(0, window_s))
        self.kill()
        self.start()

    def read_everything(self) -> None:
        """Everything that was ever acknowledged is there, once and with its bytes."""
        small = len(self.load.acknowledged) <= _PAGED_EVENTS_MAX
        stored = self.load.assert_all_there() if small else self._read_by_rounds()
        self.readings += 1
        self.stage.say(f"{self.kills} kills: {len(self.load.acknowledged):,} acknowledged, {stored:,} stored")

    def check_record(self, data: Path | None = None) -> None:
        """Stop the server and recompute its record; the server stays stopped."""
        try:
            self.server.stop()
        except AssertionError as error:
            raise RuntimeError("the server did not stop well") from error
        kept = check_record(data or self.server.directory / "data")
        self._checked_records += 1
        names = {each.event.event_id for each in kept}
        _require(len(names) == len(kept), f"{len(kept) - len(names)} events are in the record twice")
        lost = self.load.acknowledged - names
        _require(not lost, f"{len(lost)} acknowledged events are not in the record, {sorted(lost)[:3]}")
        changed = [each for each in kept if self.load.sent[each.event.event_id] != digest_of(each.stored)]
        _require(not changed, f"the record holds {len(changed)} events with other bytes than were sent")
        self.stage.say(f"the record was recomputed: {len(kept):,} events")

    def _read_by_rounds(self) -> int:
        """As `assert_all_there`, by the tags of all rounds: together they find as many events as the server counts."""
        found: set[str] = set()
        for tag in self._tags:
            for event in each_event(self.server, tags=[tag]):
                name = event.event_id
                _require(name not in found, f"{name} is there twice")
                _require(self.load.sent[name] == digest_of(as_sent(event)), f"{name} has other bytes than were sent")
                found.add(name)
        lost = self.load.acknowledged - found
        _require(not lost, f"{len(lost)} of {len(self.load.acknowledged)} acknowledged events are lost, {sorted(lost)[:3]}")
        with grpc.insecure_channel(self.server.grpc_target) as channel:
            stub = server_pb2_grpc.ChaukasServerServiceStub(channel)
            counted = stub.GetEventStats(server_pb2.GetEventStatsRequest(), timeout=60).total_events
        _require(counted == len(found), f"{counted} events are counted, {len(found)} are found")
        return len(found)

    def _report(self) -> None:
        """The figures that all parts of this kind have."""
        stage = self.stage
        stage.bounded("`kill -9` under load", f"{self.kills:,}", "each start by itself", met=len(self.ready_s) >= self.kills)
        stage.figure("events sent", len(self.load.sent))
        stage.figure("events acknowledged", len(self.load.acknowledged))
        # The first of these ends the part, and says what it is.
        stage.none("acknowledged and lost, stored twice, or changed", self._wrong)
        stage.figure("readings of the whole record over gRPC", self.readings)
        stage.figure("recomputations of the record's files", self._checked_records)
        stage.figure("from start to ready: median, p99, longest", times(self.ready_s))


def _require(kept: bool, text: str) -> None:
    """As an assertion, of which there is no other use outside tests."""
    if not kept:
        raise AssertionError(text)
