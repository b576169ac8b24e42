"""A real server, killed at random instants under load, and one whose disk is full for a while."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from chaukas.server.cli.verifying import expectations, verify_record
from chaukas.server.testing import make_event
from chaukas.server.tlog.kept_heads import KeptHeads
from chaukas.spec.common.v1.events_pb2 import EventBatch
from chaukas.spec.server.v1 import server_pb2, server_pb2_grpc
from chaukas.verify.verdict import Outcome
from tests.acceptance.started_server import StartedServer, running_server

from .load import Load, all_events, digest_of
from .record_check import check_record, heads_of, leaves_of, tree_hash

#: How often the server is killed; a campaign sets more.
_KILLS = int(os.environ.get("CHAUKAS_TEST_KILLS", "5"))
_SEED = int(os.environ.get("CHAUKAS_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
_PROTOBUF = {"content-type": "application/x-protobuf"}


def test_killed_at_random_instants_under_load(tmp_path: Path) -> None:
    """After `kill -9` the record verifies as the kill left it, the server starts by itself, and what it acknowledged is there.

    Once, byte for byte, each with its entry; and no two heads that were ever signed contradict each other.
    """
    print(f"CHAUKAS_TEST_SEED={_SEED} CHAUKAS_TEST_KILLS={_KILLS}")
    chance = random.Random(_SEED)
    with running_server(tmp_path) as server:
        load = Load(server, _SEED)
        signed: dict[tuple[str, int], bytes] = {}
        for kill in range(_KILLS):
            acknowledged, kept = len(load.acknowledged), _kept_bytes(tmp_path)
            load.start()
            # Not before something was acknowledged, and every other time not before heads were signed; otherwise at any instant.
            give_up_at = time.monotonic() + 30
            while time.monotonic() < give_up_at and (
                len(load.acknowledged) == acknowledged or (kill % 2 == 1 and _kept_bytes(tmp_path) == kept)
            ):
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 1.2))
            server.kill()
            load.stop()
            assert load.problems == []
            assert len(load.acknowledged) > acknowledged
            report = verify_record(tmp_path / "data", expectations(tmp_path / "state", None, (), ()))
            assert report.outcome is Outcome.VERIFIED, report.as_json()
            _collect_heads(tmp_path, signed)
            server.start()
            stored = load.assert_all_there()
            print(f"kill {kill + 1}: {len(load.sent)} sent, {len(load.acknowledged)} acknowledged, {stored} stored")
    stored_events = check_record(tmp_path / "data")
    _collect_heads(tmp_path, signed)
    assert len(signed) > _KILLS // 2
    leaves = leaves_of(tmp_path / "data")
    assert {key: tree_hash(leaves[key[0]][: key[1]], leaf=False) for key in signed} == signed
    assert load.acknowledged <= {each.event.event_id for each in stored_events}
    assert all(load.sent[each.event.event_id] == digest_of(each.stored) for each in stored_events)


def test_the_writer_killed_at_random_instants_under_load(tmp_path: Path) -> None:
    """`kill -9` of the process that writes costs the requests that wait for it, refused clearly; the server goes on by itself.

    What was acknowledged, before and after, is there once, byte for byte, each with its entry.
    """
    print(f"CHAUKAS_TEST_SEED={_SEED} CHAUKAS_TEST_KILLS={_KILLS}")
    chance = random.Random(_SEED)
    with running_server(tmp_path) as server:
        assert server.process is not None
        load = Load(server, _SEED, patient=True)
        load.start()
        for kill in range(1, _KILLS + 1):
            _wait_for_more(load)
            time.sleep(chance.uniform(0, 0.5))
            (writer,) = [
                each for each in psutil.Process(server.process.pid).children() if "writer_child" in " ".join(each.cmdline())
            ]
            writer.kill()
            _wait_for(lambda: _ends_told(server) == kill)  # noqa: B023  it waits here
        _wait_for_more(load)
        load.stop()
        assert load.problems == []
        load.assert_all_there()
    stored_events = check_record(tmp_path / "data")
    assert load.acknowledged <= {each.event.event_id for each in stored_events}
    assert all(load.sent[each.event.event_id] == digest_of(each.stored) for each in stored_events)
    report = verify_record(tmp_path / "data", expectations(tmp_path / "state", None, (), ()))
    assert report.outcome is Outcome.VERIFIED, report.as_json()


def _ends_told(server: StartedServer) -> int:
    """How often the log says that the writer was killed."""
    return sum('"event": "writer"' in line and "(status -9)" in line for line in server.log.splitlines())


def _wait_for_more(load: Load) -> None:
    """Until something else was acknowledged."""
    before = len(load.acknowledged)
    _wait_for(lambda: len(load.acknowledged) > before)


def _wait_for(happened: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


def _kept_bytes(directory: Path) -> int:
    """What the journal of signed heads has, which every round of signing lengthens."""
    journal = directory / "state" / "signed-heads"
    return journal.stat().st_size if journal.exists() else 0


def _collect_heads(directory: Path, signed: dict[tuple[str, int], bytes]) -> None:
    """All heads that the record and the state directory of a stopped server hold; of one log and size there is one."""
    found = heads_of(directory / "data")
    found += [(head.origin, head.size, head.root) for head in KeptHeads(directory / "state" / "signed-heads").all()]
    for origin, size, root in found:
        assert signed.setdefault((origin, size), root) == root


def test_a_full_disk_for_a_while(tmp_path: Path) -> None:
    """While no file can grow, not even the log, ingest fails clearly and questions are answered; with room again all goes on."""

    def batch(prefix: str) -> server_pb2.IngestEventBatchRequest:
        events = [make_event(f"{prefix}-{number}", text=os.urandom(500).hex()) for number in range(50)]
        return server_pb2.IngestEventBatchRequest(event_batch=EventBatch(batch_id=prefix, events=events))

    with running_server(tmp_path) as server, grpc.insecure_channel(server.grpc_target) as channel:
        stub = server_pb2_grpc.ChaukasServerServiceStub(channel)
        assert stub.IngestEventBatch(batch("before")).accepted_count == 50
        assert server.process is not None
        processes = [psutil.Process(server.process.pid)]
        # Among them the one that writes the record.
        processes += processes[0].children()
        unlimited = processes[0].rlimit(resource.RLIMIT_FSIZE)
        # A few pages of a commit can be written, one of them in part, and the rest can not: like a disk that runs full.
        for process in processes:
            process.rlimit(resource.RLIMIT_FSIZE, (20_000, unlimited[1]))
        for attempt in range(5):
            with pytest.raises(grpc.RpcError) as refused:
                stub.IngestEventBatch(batch(f"full-{attempt}"), timeout=30)
            assert refused.value.code() is grpc.StatusCode.INTERNAL
            assert "nothing of this request was acknowledged" in (refused.value.details() or "")
            answer = httpx.post(
                f"{server.http_url}/v1/events/batch", content=batch("http").SerializeToString(), headers=_PROTOBUF
            )
            assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
            assert answer.json()["retryable"] is True
            assert stub.GetEventStats(server_pb2.GetEventStatsRequest()).total_events == 50
            assert len(all_events(server)) == 50
        for process in processes:
            process.rlimit(resource.RLIMIT_FSIZE, unlimited)
        assert stub.IngestEventBatch(batch("full-0")).accepted_count == 50
        assert stub.IngestEventBatch(batch("after")).accepted_count == 50
        assert len(all_events(server)) == 150
    assert len(check_record(tmp_path / "data")) == 150
