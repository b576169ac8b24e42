"""A real server under a system-call trace: every answer leaves after its data was synced. A killed process can not show that."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

from chaukas.server.testing import make_event
from chaukas.spec.client.v1 import client_pb2, client_pb2_grpc
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.server.v1 import server_pb2, server_pb2_grpc
from tests.acceptance.started_server import StartedServer, running_server

from .system_calls import answers_without_sync, read_trace, traced_python

_PROTOBUF = {"content-type": "application/x-protobuf"}


class _Client:
    """Sends events that carry a marker, by every way that an event can come."""

    def __init__(self, server: StartedServer) -> None:
        self._http = httpx.Client(base_url=server.http_url, timeout=60)
        self._channel = grpc.insecure_channel(server.grpc_target)
        self._server = server_pb2_grpc.ChaukasServerServiceStub(self._channel)
        self._client = client_pb2_grpc.ChaukasClientServiceStub(self._channel)

    def close(self) -> None:
        self._http.close()
        self._channel.close()

    def ways(self) -> list[Callable[[str], None]]:
        return [
            self.grpc_single,
            self.grpc_batch,
            self.grpc_refused,
            self.http_single,
            self.http_batch,
            self.http_json,
            self.http_kept,
        ]

    def grpc_single(self, marker: str) -> None:
        answer = self._server.IngestEvent(server_pb2.IngestEventRequest(event=make_event(marker)))
        assert answer.status == "accepted"

    def grpc_batch(self, marker: str) -> None:
        batch = EventBatch(batch_id=marker, events=[make_event(f"{marker}-{number}") for number in range(3)])
        assert self._server.IngestEventBatch(server_pb2.IngestEventBatchRequest(event_batch=batch)).accepted_count == 3

    def grpc_refused(self, marker: str) -> None:
        """A refusal names where the event is kept: it must be kept by then."""
        request = client_pb2.IngestEventRequest(event=Event(event_id=marker))
        with pytest.raises(grpc.RpcError) as raised:
            # The answer's bytes hold no id of the event; the name of the request comes back in them.
            self._client.IngestEvent(request, metadata=(("x-request-id", marker),))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    def _post(self, path: str, content: bytes, headers: dict[str, str], status: int = 202) -> None:
        answer = self._http.post(path, content=content, headers=headers)
        assert answer.status_code == status, answer.text

    def http_single(self, marker: str) -> None:
        self._post("/v1/events", client_pb2.IngestEventRequest(event=make_event(marker)).SerializeToString(), _PROTOBUF)

    def http_batch(self, marker: str) -> None:
        batch = EventBatch(batch_id=marker, events=[make_event(f"{marker}-{number}") for number in range(3)])
        self._post("/v1/events/batch", client_pb2.IngestEventBatchRequest(event_batch=batch).SerializeToString(), _PROTOBUF)

    def http_json(self, marker: str) -> None:
        event = f'{{"event_id":"{marker}","tenant_id":"acme","type":"SYSTEM","status":"COMPLETED","session_id":"s"}}'
        self._post("/v1/events", event.encode(), {"content-type": "application/json"})

    def http_kept(self, marker: str) -> None:
        """What is quarantined over HTTP is answered 202: it must be kept by then."""
        self._post("/v1/events", client_pb2.IngestEventRequest(event=Event(event_id=marker)).SerializeToString(), _PROTOBUF)


def _without_syncs(lines: list[str]) -> list[str]:
    return [line for line in lines if "fdatasync" not in line and "fsync" not in line]


def test_every_answer_leaves_after_its_data_was_synced(tmp_path: Path) -> None:
    """By whatever way an event came, and however busy the server is: first the sync of what was written, then the answer."""
    trace = tmp_path / "trace.txt"
    with running_server(tmp_path / "server", python=traced_python(tmp_path, trace)) as server:
        client = _Client(server)
        ways = client.ways()
        one_by_one = [f"alone-{number:04}." for number in range(4 * len(ways))]
        for number, marker in enumerate(one_by_one):
            ways[number % len(ways)](marker)
        together = [f"together-{number:04}." for number in range(30 * len(ways))]
        with ThreadPoolExecutor(8) as senders:
            list(senders.map(lambda numbered: ways[numbered[0] % len(ways)](numbered[1]), enumerate(together)))
        client.close()
    lines = trace.read_text(errors="replace").splitlines()
    calls = read_trace(lines)
    assert list(answers_without_sync(calls, one_by_one, alone=True)) == []
    assert list(answers_without_sync(calls, together, alone=False)) == []
    # The same trace of a server that does not sync: every single answer is found.
    calls = read_trace(_without_syncs(lines))
    assert len(list(answers_without_sync(calls, one_by_one, alone=True))) == len(one_by_one)
    assert len(list(answers_without_sync(calls, together, alone=False))) == len(together)
