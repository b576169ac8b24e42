"""A server under mixed load that dies again and again, and what is found of it each time. The parts that kill share it."""

from __future__ import annotations

import time
from pathlib import Path

from campaign.outcome import Stage, times
from tests.acceptance.started_server import StartedServer
from tests.faults.load import Load, digest_of
from tests.faults.record_check import check_record

__all__ = ["Crashes"]

_FIRST_S = 30.0


class Crashes:
    """Rounds of load and death on one server; counts for the report."""

    def __init__(self, stage: Stage, server: StartedServer, *, patient: bool = False) -> None:
        self.stage, self.server = stage, server
        self.load = Load(server, stage.seed, patient=patient)
        self.kills = self.readings = 0
        self.ready_s: list[float] = []
        self._checked_records = 0

    def begin(self) -> None:
        """Start the load, and wait until something was acknowledged (in a patient load: or clearly refused)."""
        load = self.load
        acknowledged, refused = len(load.acknowledged), load.refused
        load.start()
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
        self.server.start()
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
        stored = self.load.assert_all_there()
        self.readings += 1
        self.stage.say(f"{self.kills} kills: {len(self.load.acknowledged):,} acknowledged, {stored:,} stored")

    def check_record(self, data: Path | None = None) -> None:
        """Stop the server and recompute its record; the server stays stopped."""
        self.server.stop()
        kept = check_record(data or self.server.directory / "data")
        self._checked_records += 1
        names = {each.event.event_id for each in kept}
        lost = self.load.acknowledged - names
        if lost:
            self.stage.problem(f"{len(lost)} acknowledged events are not in the record, {sorted(lost)[:3]}")
        if any(self.load.sent[each.event.event_id] != digest_of(each.stored) for each in kept):
            self.stage.problem("the record holds other bytes than were sent")
        self.stage.say(f"the record was recomputed: {len(kept):,} events")

    def report(self) -> None:
        """The figures that all parts of this kind have."""
        stage = self.stage
        stage.bounded("`kill -9` under load", f"{self.kills:,}", "each start by itself", met=len(self.ready_s) >= self.kills)
        stage.figure("events sent", len(self.load.sent))
        stage.figure("events acknowledged", len(self.load.acknowledged))
        # Every reading raises on the first of these; whoever comes here has found none.
        stage.bounded("acknowledged and lost, stored twice, or changed", "0", "0", met=True)
        stage.figure("readings of the whole record over gRPC", self.readings)
        stage.figure("recomputations of the record's files", self._checked_records)
        stage.figure("from start to ready: median, p99, longest", times(self.ready_s))
