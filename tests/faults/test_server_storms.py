"""A real server after clients of the campaign that stay silent, trickle, vanish or read nothing: it is what it was before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from campaign.abusers import KINDS, Abuse, perform
from tests.acceptance.questions import figures
from tests.acceptance.started_server import StartedServer, running_server

from .load import Load, as_sent, digest_of, each_event

_CONNECTIONS = 50
_RETURN_S = 60.0
#: The load's own connections may have been counted before or not.
_OWN_FILES = 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedServer]:
    with running_server(tmp_path_factory.mktemp("storms")) as started:
        yield started


def _open_files(server: StartedServer) -> int:
    assert server.process is not None
    return psutil.Process(server.process.pid).num_fds()


def _wait_until(well: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + _RETURN_S
    while not well():
        assert time.monotonic() < give_up_at, "the storm has left something behind"
        time.sleep(0.05)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "heads of megabytes"])
def test_a_storm_leaves_nothing_behind(server: StartedServer, kind: str) -> None:
    """Connections and bodies of clients that went away are given back, and ordinary clients were served all the time."""
    load = Load(server, 1 + list(KINDS).index(kind))
    load.start()
    before = most = _open_files(server)
    try:
        with ThreadPoolExecutor(1) as abusers:
            storm = abusers.submit(perform, kind, Abuse(server.http_port, server.grpc_port, _CONNECTIONS, seconds=1.0, seed=1))
            while not storm.done():
                most = max(most, _open_files(server))
                time.sleep(0.02)
        assert sum(storm.result().values()) >= _CONNECTIONS
        assert kind == "gone in the middle" or most >= before + _CONNECTIONS // 2, "the storm was none"
        _wait_until(lambda: _open_files(server) <= before + _OWN_FILES)
    finally:
        load.stop()
    assert load.problems == []
    assert load.acknowledged_in_round
    _wait_until(lambda: figures(server, "chaukas_inflight_bytes")[0][1] == 0)
    stored = {event.event_id: digest_of(as_sent(event)) for event in each_event(server)}
    assert {name: stored.get(name) for name in load.acknowledged} == {name: load.sent[name] for name in load.acknowledged}
