"""Two servers witness each other: real processes that know nothing of each other but keys and addresses."""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from chaukas.server.tlog.keys import SigningKey, write_key_file
from chaukas.server.tlog.witness_memory import WitnessMemory
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.verify.reports import check_checkpoint
from chaukas.verify.trust import Trust
from chaukas.verify.verdict import Outcome
from tests.acceptance.serving import PROTOBUF, batch_body
from tests.acceptance.started_server import StartedServer, running_server
from tests.log_samples import seeded

_PATIENCE_S = 30.0


class _Party:
    """One of the two: its keys are made beforehand, as operators exchange them."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name
        self.log_key, self.witness_key = SigningKey.from_seed(seeded(f"log {name}")), SigningKey.from_seed(seeded(f"w {name}"))
        self.ports = (_free_port(), _free_port())
        (directory / "state").mkdir(parents=True, mode=0o700)
        write_key_file(directory / "state" / "log.key", self.log_key)
        write_key_file(directory / "state" / "witness.key", self.witness_key)

    @property
    def origin(self) -> str:
        return f"{self.name}/events/acme/shop"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    @property
    def witness_name(self) -> str:
        return f"{self.name}/witness"

    @contextmanager
    def served(self, other: _Party) -> Iterator[StartedServer]:
        settings = {
            "server_name": self.name,
            "witness": "true",
            "witness_logs": other.log_key.log_key(f"{other.name}/events/"),
            "witnesses": f"{other.witness_key.witness_key(other.witness_name)} {other.url}",
            "witness_interval_s": "0.2",
        }
        self.directory.mkdir(exist_ok=True)
        with running_server(self.directory, ports=self.ports, **settings) as server:
            yield server

    def add(self, *ids: str) -> None:
        events = [Event(event_id=name, tenant_id="acme", project_id="shop", type=1) for name in ids]
        for event in events:
            event.timestamp.GetCurrentTime()
        answer = httpx.post(f"{self.url}/v1/events/batch", content=batch_body(*events), headers=PROTOBUF, trust_env=False)
        assert answer.json()["accepted_count"] == len(ids), answer.text

    def checkpoint(self) -> bytes:
        url = f"{self.url}/log/{sha256(self.origin.encode()).hexdigest()}/checkpoint"
        return httpx.get(url, trust_env=False).raise_for_status().content

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics", trust_env=False).text
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def is_cosigned(self, other: _Party, size: int) -> bool:
        """Whether the newest checkpoint verifies offline with the log's key and the other's witness key."""
        trust = Trust((self.log_key.log_key(self.origin),), (other.witness_key.witness_key(other.witness_name),), witnesses_min=1)
        report = check_checkpoint(self.checkpoint(), trust)
        return report.outcome is Outcome.VERIFIED and report.facts["size"] == size


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def test_two_servers_witness_each_other(tmp_path: Path) -> None:
    """Both servers' checkpoints bear the other's cosignature; a log that is put back and rewritten is refused and reported."""
    one, two = _Party(tmp_path / "one", "one.example"), _Party(tmp_path / "two", "two.example")
    older = tmp_path / "older"
    with two.served(one):
        with one.served(two):
            one.add("a", "b")
            two.add("a", "b", "c")
            _wait(lambda: one.is_cosigned(two, 2))
            _wait(lambda: two.is_cosigned(one, 3))
        shutil.copytree(one.directory, older)
        with one.served(two):
            one.add("c", "d")
            _wait(lambda: one.is_cosigned(two, 4))
            kept = one.checkpoint()
        # Whoever has data and state puts both back, and the server finds nothing wrong with them.
        shutil.rmtree(one.directory)
        shutil.copytree(older, one.directory)
        with one.served(two) as server:
            one.add("x", "y", "z")
            _wait(lambda: one.metric("chaukas_witness_contradictions_total") > 0)
            _wait(lambda: two.metric("chaukas_witness_refused_contradictions_total") > 0)
            assert not one.is_cosigned(two, 5)
            assert "a witness contradicts a log" in server.log
            # Nothing else stops: events are taken and heads are signed.
            one.add("still")
            assert b"\n6\n" in one.checkpoint()
            assert two.metric("chaukas_witness_behind_logs") == 0
    memory = WitnessMemory(two.directory / "state")
    contradictions = memory.contradictions()
    memory.close()
    assert contradictions[0].origin == one.origin
    assert contradictions[0].known.split(b"\n\n")[0] == kept.split(b"\n\n")[0]


def test_a_server_that_is_no_witness_says_so(tmp_path: Path) -> None:
    """Without the setting the route answers 404, and a witness without logs does not start."""
    with ExitStack() as stack:
        server = stack.enter_context(running_server(tmp_path / "plain"))
        answer = httpx.post(f"{server.http_url}/add-checkpoint", content=b"old 0\n\n", trust_env=False)
        assert answer.status_code == 404
    refused = StartedServer(tmp_path / "plain", server.python, {"witness": "true"})
    with pytest.raises(AssertionError, match="witness_logs"):
        refused.start()
