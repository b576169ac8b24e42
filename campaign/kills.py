"""Part `kills`: `kill -9` at random instants under mixed load; nothing acknowledged is lost, and every start works by itself."""

from __future__ import annotations

from campaign.crashes import Crashes
from campaign.outcome import Stage
from tests.acceptance.started_server import running_server

__all__ = ["run"]

#: The whole record is recomputed from its files this often.
_RECORD_CHECKS = 4


def run(stage: Stage) -> None:
    """Kill as often as the plan says; read the round back each time, and everything now and then."""
    plan = stage.plan
    checks = {plan.kills * number // _RECORD_CHECKS for number in range(1, _RECORD_CHECKS)}
    with running_server(stage.directory) as server:
        crashes = Crashes(stage, server)
        for kill in range(1, plan.kills + 1):
            crashes.round(plan.kill_window_s)
            if kill % plan.kills_per_reading == 0:
                crashes.read_everything()
            if kill in checks:
                crashes.check_record()
                server.start()
        crashes.read_everything()
        crashes.check_record()
        crashes.report()
