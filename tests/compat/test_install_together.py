"""Our distribution and the published SDK in one environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ORDERS = ("ours-first", "published-first")

# What the SDK insists on. Nothing listens there, and nothing is sent.
SDK_SETTINGS = {
    "CHAUKAS_TENANT_ID": "acme",
    "CHAUKAS_PROJECT_ID": "support",
    "CHAUKAS_ENDPOINT": "http://127.0.0.1:9/v1",
    "CHAUKAS_API_KEY": "unused",
}


@pytest.mark.parametrize("order", ORDERS)
def test_sdk_and_server_stubs_work_in_one_environment(order: str, make_environment: Callable[[str], Path]) -> None:
    """Whichever is installed last: the SDK builds its events, and a servicer of ours takes them and gives its results."""
    probe = Path(__file__).with_name("together_probe.py")
    done = subprocess.run(
        [str(make_environment(order)), "-I", str(probe)],
        env=SDK_SETTINGS,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["sdk"], seen["server"], seen["namespace"]) == ("chaukas.sdk", "chaukas.server", True)
    assert seen["tenant_id"] == "acme"
    assert seen["results"] == [[seen["event_id"], "accepted"]]
    # Whoever comes last provides the common modules, so only one of the two orders has our additions in them.
    assert seen["event_addition"] == seen["capabilities_addition"] == (order == "published-first")


@pytest.mark.parametrize("order", ORDERS)
def test_requirements_agree(order: str, make_environment: Callable[[str], Path]) -> None:
    """What we require leaves room for what the published packages require: pip sees no conflict in either order."""
    command = [sys.executable, "-m", "pip", "--python", str(make_environment(order)), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
