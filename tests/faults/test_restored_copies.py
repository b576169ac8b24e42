"""An older copy of the data in place of the newer one: the server does not go on from it, and says what can be done."""

from __future__ import annotations

import shutil
from pathlib import Path

import grpc
import pytest

from chaukas.server.cli.verifying import expectations, verify_record
from chaukas.server.testing import make_event
from chaukas.spec.common.v1.events_pb2 import EventBatch
from chaukas.spec.server.v1 import server_pb2, server_pb2_grpc
from chaukas.verify.verdict import COMPLETENESS, Outcome
from tests.acceptance.started_server import StartedServer, running_server


def _send(server: StartedServer, prefix: str) -> None:
    with grpc.insecure_channel(server.grpc_target) as channel:
        events = [make_event(f"{prefix}-{number}") for number in range(20)]
        request = server_pb2.IngestEventBatchRequest(event_batch=EventBatch(batch_id=prefix, events=events))
        assert server_pb2_grpc.ChaukasServerServiceStub(channel).IngestEventBatch(request).accepted_count == 20


def test_an_older_copy_is_refused_and_the_newer_one_goes_on(tmp_path: Path) -> None:
    """After a restore of older data nothing is signed that contradicts what was signed; the error names both ways out."""
    data, older, newer = tmp_path / "data", tmp_path / "older", tmp_path / "newer"
    with running_server(tmp_path) as server:
        _send(server, "first")
        server.stop()
        shutil.copytree(data, older)
        server.start()
        _send(server, "second")
        server.stop()
        shutil.move(data, newer)
        shutil.copytree(older, data)
        with pytest.raises(AssertionError) as refused:
            server.start()
        said = " ".join(str(refused.value).split())
        assert "has 20 entries, but a head of 40 entries was signed: the data directory is an older copy" in said
        assert "Put the newer one back" in said
        assert "in empty data and state directories under another server_name" in said
        report = verify_record(data, expectations(tmp_path / "state", None, (), ()))
        assert report.verdict(COMPLETENESS).outcome is Outcome.FAILED
        shutil.rmtree(data)
        shutil.move(newer, data)
        server.start()
        _send(server, "third")
    assert verify_record(data, expectations(tmp_path / "state", None, (), ())).outcome is Outcome.VERIFIED


def test_going_on_under_another_name(tmp_path: Path) -> None:
    """The second way out works: empty directories under another server name start, with a new state directory."""
    with running_server(tmp_path) as server:
        _send(server, "first")
    for name in ("data", "state"):
        shutil.move(tmp_path / name, tmp_path / f"older-{name}")
    with running_server(tmp_path, server_name="after.example") as server:
        _send(server, "second")
