"""The composition root: builds everything, starts it in order, stops it in the opposite order.

Start
  1. the state directory and the cursor secret in it; 2. the contract's modules are checked; 3. the store opens and recovers;
  4. the pipeline starts; 5. gRPC listens; 6. HTTP listens; 7. both are asked over their sockets; 8. the server is ready.
  Until step 8 health checks answer "not ready". When a step fails, what was started is stopped, and the error says which
  setting is wrong.
Stop
  1. health checks answer "not ready"; 2. both listeners close, running requests end, or are cancelled after `drain_s`;
  3. the pipeline commits what it has taken; 4. the store closes.
  Nothing acknowledged depends on the stop: a process that is killed instead has everything on disk that it acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import grpc
from grpc_health.v1 import health_pb2

from chaukas.server.config import Address, Settings
from chaukas.server.errors import CannotServeError, ChaukasError
from chaukas.server.ingest.hooks import load_hooks
from chaukas.server.ingest.pipeline import CommitFigures, IngestPipeline
from chaukas.server.operations.admission import Admission
from chaukas.server.operations.services import Readiness, Services, limits_of
from chaukas.server.query import CURSOR_SECRET_BYTES, QueryEngine, QueryLimits
from chaukas.server.storage.contract import Store
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.telemetry import Telemetry
from chaukas.server.transports.grpc import GrpcServer
from chaukas.server.transports.http import HttpApp
from chaukas.server.transports.http_server import HttpServer
from chaukas.server.wire.event_bytes import require_contract

if sys.platform != "win32":
    import uvloop

__all__ = ["Addresses", "ServerApp", "StoreFactory", "embedded_store", "open_services", "run"]

StoreFactory = Callable[[Settings], Store]

_CURSOR_KEY_FILE = "cursor.key"
_PROBE_S = 5.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the server really listens."""

    grpc: Address
    http: Address


def embedded_store(settings: Settings) -> Store:
    """The store of a server that runs alone: SQLite in `data_dir`."""
    return SqliteStore(
        settings.data_dir,
        settings.server_name,
        quarantine_items_max=settings.quarantine_items_max,
        quarantine_bytes_max=int(settings.quarantine_bytes_max),
    )


@contextlib.asynccontextmanager
async def open_services(
    settings: Settings,
    telemetry: Telemetry,
    cursor_secret: bytes,
    *,
    store_factory: StoreFactory = embedded_store,
    readiness: Readiness | None = None,
) -> AsyncIterator[Services]:
    """The store, the pipeline and everything else that operations use, without a transport; released in order at the end.

    The server listens on top of it, and the command line works on the directory of a stopped server with it. Raises
    `ConfigurationError` or `CannotServeError`.
    """
    require_contract()
    hooks = load_hooks(settings.hooks)

    def record_commit(figures: CommitFigures) -> None:
        telemetry.record_commit(figures.items, figures.size_bytes, figures.duration_s, failed=figures.failed)

    store = store_factory(settings)
    async with contextlib.AsyncExitStack() as stopping:
        stopping.push_async_callback(store.close)
        await store.open()
        pipeline = IngestPipeline(
            store,
            queue_events_max=settings.queue_events_max,
            queue_bytes_max=int(settings.queue_bytes_max),
            hold_s=settings.hold_s,
            on_commit=record_commit,
        )
        await pipeline.start()
        stopping.push_async_callback(pipeline.drain)
        yield Services(
            settings=settings,
            telemetry=telemetry,
            store=store,
            pipeline=pipeline,
            queries=QueryEngine(store, cursor_secret, _query_limits(settings)),
            limits=limits_of(settings),
            admission=Admission(int(settings.inflight_bytes_max), settings.hold_s),
            readiness=readiness or Readiness(),
            hooks=hooks,
        )


class ServerApp:
    """One server in this process. Start it once, stop it once."""

    def __init__(
        self, settings: Settings, *, store_factory: StoreFactory = embedded_store, telemetry: Telemetry | None = None
    ) -> None:
        self.settings = settings
        self.telemetry = telemetry or Telemetry(log_level=settings.log_level, log_format=settings.log_format)
        self._log = self.telemetry.logger("app")
        self._store_factory = store_factory
        self._readiness = Readiness()
        #: What was started, as functions that stop it; the last one is called first.
        self._stopping = contextlib.AsyncExitStack()
        self._addresses: Addresses | None = None

    @property
    def addresses(self) -> Addresses:
        """Where the server listens. Raises `RuntimeError` before it is ready."""
        if self._addresses is None:
            raise RuntimeError("the server is not started")
        return self._addresses

    async def start(self) -> Addresses:
        """Serve; returns when both listeners answer.

        Raises `ConfigurationError` or `CannotServeError` that says what stands in the way; everything is stopped again then.
        """
        try:
            self._addresses = await self._start()
        except BaseException:
            await self.stop()
            raise
        self._log.info(
            "ready",
            version=self.telemetry.version,
            grpc=str(self._addresses.grpc),
            http=str(self._addresses.http),
            data_dir=str(self.settings.data_dir),
        )
        return self._addresses

    async def stop(self) -> None:
        """Finish what runs, keep what was taken, release the data. Idempotent."""
        was_ready, self._readiness.ready = self._readiness.ready, False
        if was_ready:
            self._log.info("stopping", drain_s=self.settings.drain_s)
        await self._stopping.aclose()
        if was_ready:
            self._log.info("stopped")

    async def _start(self) -> Addresses:
        settings = self.settings
        secret = await asyncio.to_thread(_cursor_secret, settings.state_dir)
        services = await self._stopping.enter_async_context(
            open_services(
                settings,
                self.telemetry,
                secret,
                store_factory=self._store_factory,
                readiness=self._readiness,
            )
        )
        return await self._listen(services)

    async def _listen(self, services: Services) -> Addresses:
        settings = self.settings
        grpc_server, http_server = GrpcServer(services), HttpServer(HttpApp(services), settings)

        async def stop_listening() -> None:
            await asyncio.gather(grpc_server.stop(settings.drain_s), http_server.stop(settings.drain_s))

        self._stopping.push_async_callback(stop_listening)
        addresses = Addresses(await grpc_server.start(settings.grpc), await http_server.start(settings.http))
        await _probe_http(addresses.http)
        await _probe_grpc(addresses.grpc)
        self._readiness.ready = True
        await grpc_server.serve()
        return addresses


def run(settings: Settings, *, output: TextIO | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once. Returns the exit status.

    Prints on `output` (standard output by default) where the server listens and what users of the SDK have to set. Raises what
    `ServerApp.start` raises.
    """
    _calm_garbage_collector()
    telemetry = Telemetry(log_level=settings.log_level, log_format=settings.log_format)
    handler = telemetry.capture_library_logs()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(ServerApp(settings, telemetry=telemetry), output or sys.stdout))
    finally:
        telemetry.release_library_logs(handler)


def _calm_garbage_collector() -> None:
    """Look for reference cycles more rarely: ingest makes and frees hundreds of thousands of objects a second, none in cycles.

    The default looks after every 700 new objects, and at all objects again and again; that took 5 % of the time of ingest.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve(app: ServerApp, output: TextIO) -> int:
    signalled = asyncio.Event()

    def on_signal(number: int) -> None:
        if signalled.is_set():
            # Whoever asks twice does not want to wait. What was acknowledged is on disk; recovery takes care of the rest.
            os._exit(128 + number)
        signalled.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    starting = asyncio.create_task(app.start())
    waiting = asyncio.create_task(signalled.wait())
    await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return 0
    try:
        addresses = await starting
    except ChaukasError:
        waiting.cancel()
        raise
    output.write(_announcement(app, addresses))
    output.flush()
    await waiting
    await app.stop()
    return 0


def _announcement(app: ServerApp, addresses: Addresses) -> str:
    host = addresses.http.host if addresses.http.is_loopback else "<this machine>"
    endpoint = f"http://{Address(host, addresses.http.port)}/v1"
    return (
        f"chaukas {app.telemetry.version} is ready; its data is in {app.settings.data_dir.absolute()}\n"
        f"  gRPC   {addresses.grpc}\n"
        f"  HTTP   http://{addresses.http}\n"
        "Programs that use chaukas-sdk send here with\n"
        f"  CHAUKAS_ENDPOINT={endpoint} CHAUKAS_API_KEY=none CHAUKAS_TENANT_ID=<yours> CHAUKAS_PROJECT_ID=<yours>\n"
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Uvloop where it exists; it is not made for Windows."""
    return asyncio.new_event_loop if sys.platform == "win32" else uvloop.new_event_loop


def _query_limits(settings: Settings) -> QueryLimits:
    return QueryLimits(
        page_events_default=settings.page_events_default,
        page_events_max=settings.page_events_max,
        page_bytes_max=int(settings.page_bytes_max),
        filter_values_max=settings.filter_values_max,
    )


def _cursor_secret(state_dir: Path) -> bytes:
    """The secret that signs cursors: made by the first start, readable for the server's user only.

    A crash leaves either no file or a whole one. Losing it makes running queries start again, and nothing else. Raises
    `CannotServeError`.
    """
    path = state_dir / _CURSOR_KEY_FILE
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            draft = state_dir / f"{_CURSOR_KEY_FILE}.{os.getpid()}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, secrets.token_bytes(CURSOR_SECRET_BYTES))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            draft.replace(path)
        secret = path.read_bytes()
    except OSError as error:
        raise CannotServeError(f"state_dir: {path} cannot be read or made: {error.strerror}") from error
    if len(secret) != CURSOR_SECRET_BYTES:
        raise CannotServeError(f"state_dir: {path} must have {CURSOR_SECRET_BYTES} bytes; remove it, and a new one is made")
    return secret


def _reachable(address: Address) -> Address:
    """Where this process reaches a listener that listens on every interface."""
    return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host), address.port)  # noqa: S104


async def _probe_http(address: Address) -> None:
    """Ask the listener for something that it answers before the server is ready. Raises `CannotServeError`."""
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(*_parts(_reachable(address)))
            try:
                writer.write(b"GET /v1/capabilities HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                answer = await reader.readline()
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        raise CannotServeError(f"http_address: {address} was opened but does not answer: {error}") from error
    if not answer.startswith(b"HTTP/1.1 200"):
        raise CannotServeError(f"http_address: {address} was opened but does not answer as it should")


async def _probe_grpc(address: Address) -> None:
    """Ask the health service. Raises `CannotServeError`."""
    options = (("grpc.enable_http_proxy", 0),)
    async with grpc.aio.insecure_channel(str(_reachable(address)), options=options) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            await check(health_pb2.HealthCheckRequest(), timeout=_PROBE_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise CannotServeError(f"grpc_address: {address} was opened but does not answer: {error.details()}") from error


def _parts(address: Address) -> tuple[str, int]:
    return address.host, address.port
