"""Both kinds of gRPC server around a backend, and backends whose verbs are plain or async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from chaukas.server import ChaukasClientServicer, ChaukasServicer
from chaukas.spec.client.v1.client_pb2_grpc import add_ChaukasClientServiceServicer_to_server
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch, EventType
from chaukas.spec.server.v1 import server_pb2 as messages
from chaukas.spec.server.v1.server_pb2_grpc import (
    ChaukasServerServiceServicer,
    ChaukasServerServiceStub,
    add_ChaukasServerServiceServicer_to_server,
)

KINDS = ("threaded", "asyncio")
FLAVOURS = ("plain", "async")
TIMEOUT_S = 20


def make_backend(flavour: str, **verbs: Callable[..., Any]) -> ChaukasServicer:
    """An instance of a subclass that overrides these verbs, given without `self`."""

    method = _plain_method if flavour == "plain" else _async_method
    backend: ChaukasServicer = type("Backend", (ChaukasServicer,), {name: method(verb) for name, verb in verbs.items()})()
    return backend


def _plain_method(function: Callable[..., Any]) -> Callable[..., Any]:
    def verb(_self: Any, *args: Any) -> Any:
        return function(*args)

    return verb


def _async_method(function: Callable[..., Any]) -> Callable[..., Any]:
    async def verb(_self: Any, *args: Any) -> Any:
        # Lets go of its loop once, as what waits for a database does.
        await asyncio.sleep(0)
        return function(*args)

    return verb


@contextmanager
def serving(backend: ChaukasServerServiceServicer, kind: str, workers: int = 10) -> Iterator[grpc.Channel]:
    """A channel to a running server of that kind with both services (the client's one if the backend has verbs)."""
    with _SERVERS[kind](backend, workers) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


def _add(backend: ChaukasServerServiceServicer, server: Any) -> int:
    add_ChaukasServerServiceServicer_to_server(backend, server)
    if isinstance(backend, ChaukasServicer) and not overrides_rpc(backend):
        add_ChaukasClientServiceServicer_to_server(ChaukasClientServicer(backend), server)
    return int(server.add_insecure_port("127.0.0.1:0"))


def overrides_rpc(backend: ChaukasServicer) -> bool:
    """Whether the class goes past the verbs, so that the client service refuses it."""
    return any(getattr(type(backend), name) is not getattr(ChaukasServicer, name) for name in ("IngestEvent", "IngestEventBatch"))


@contextmanager
def _threaded(backend: ChaukasServerServiceServicer, workers: int) -> Iterator[int]:
    with ThreadPoolExecutor(workers) as pool:
        server = grpc.server(pool)
        port = _add(backend, server)
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait(TIMEOUT_S)
            if isinstance(backend, ChaukasServicer):
                backend.close(TIMEOUT_S)


@contextmanager
def _asyncio(backend: ChaukasServerServiceServicer, _workers: int) -> Iterator[int]:
    started = threading.Event()
    state: dict[str, Any] = {}

    async def run() -> None:
        server = grpc.aio.server()
        state["port"] = _add(backend, server)
        await server.start()
        state["stop"], state["loop"] = asyncio.Event(), asyncio.get_running_loop()
        started.set()
        await state["stop"].wait()
        await server.stop(None)
        if isinstance(backend, ChaukasServicer):
            await backend.close(TIMEOUT_S)

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="asyncio-server")
    thread.start()
    assert started.wait(TIMEOUT_S)
    try:
        yield state["port"]
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(TIMEOUT_S)


_SERVERS = {"threaded": _threaded, "asyncio": _asyncio}


def make_event(event_id: str = "e1", **fields: Any) -> Event:
    """A valid event."""
    return Event(**{"event_id": event_id, "tenant_id": "acme", "type": EventType.EVENT_TYPE_TOOL_CALL_START, **fields})


class Caller:
    """The server service, called with little ado."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = ChaukasServerServiceStub(channel)

    def single(self, event: Event) -> messages.IngestEventResponse:
        return self.stub.IngestEvent(messages.IngestEventRequest(event=event), timeout=TIMEOUT_S)

    def refused(self, event: Event) -> grpc.RpcError:
        """The error of a single event that must fail."""
        try:
            answer = self.single(event)
        except grpc.RpcError as error:
            return error
        raise AssertionError(f"not refused: {answer}")

    def batch(self, *events: Event, batch_id: str = "b1") -> messages.IngestEventBatchResponse:
        batch = EventBatch(batch_id=batch_id, events=events)
        return self.stub.IngestEventBatch(messages.IngestEventBatchRequest(event_batch=batch), timeout=TIMEOUT_S)
