"""Part `kills`: `kill -9` at random instants under mixed load; nothing acknowledged is lost, and every start works by itself."""

from __future__ import annotations

import time

from campaign.crashes import Crashes
from campaign.outcome import Stage
from tests.acceptance.started_server import running_server

__all__ = ["run"]

#: The whole record is recomputed from its files this often.
_RECORD_CHECKS = 8


def run(stage: Stage) -> None:
    """Kill as often as the plan says; read the round back each time, and everything now and then."""
    plan = stage.plan
    checks = {plan.kills * number // _RECORD_CHECKS for number in range(1, _RECORD_CHECKS)}
    until_s = time.monotonic() + plan.kills_s_max
    with running_server(stage.directory) as server, Crashes(stage, server) as crashes:
        for kill in range(1, plan.kills + 1):
            crashes.round(plan.kill_window_s)
            if kill % plan.kills_per_reading == 0:
                crashes.read_everything()
            if kill in checks:
                crashes.check_record()
                server.start()
            if time.monotonic() > until_s and kill < plan.kills:
                stage.note(f"{plan.kills} kills were planned; the time for them, {plan.kills_s_max / 60:.0f} minutes, was over")
                break
        crashes.read_everything()
        crashes.check_record()
