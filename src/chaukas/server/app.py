"""The composition root: builds everything, starts it in order, stops it in the opposite order.

Start
  1. the state directory and the cursor secret in it; 2. the contract's modules are checked; 3. the store opens and recovers, and
  its logs are compared with the heads that were signed; 4. the sequencer and the pipeline start; 5. gRPC listens;
  6. HTTP listens; 7. both are asked over their sockets; 8. the server is ready. Until step 8 health checks answer "not ready".
  When a step fails, what was started is stopped, and the error says which setting is wrong.
Stop
  1. health checks answer "not ready", who follows the record is sent home;
  2. both listeners close, running requests end, or are cancelled after `drain_s`;
  3. the pipeline commits what it has taken; 4. the heads of what arrived last are signed; 5. the store closes.
  Nothing acknowledged depends on the stop: a process that is killed instead has everything on disk that it acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TextIO

from chaukas.server.collector import calm_garbage_collector
from chaukas.server.config import Address, Settings
from chaukas.server.cursor import CursorSeal, kept_cursor_secret
from chaukas.server.errors import ChaukasError
from chaukas.server.ingest.hooks import load_hooks
from chaukas.server.ingest.pipeline import CommitFigures, IngestPipeline
from chaukas.server.ingest.publisher import CommitSignal
from chaukas.server.operations.admission import Admission
from chaukas.server.operations.explainer import Explainer
from chaukas.server.operations.finders import load_finders
from chaukas.server.operations.large_answers import LargeAnswers
from chaukas.server.operations.log_signing import signing_sequencer
from chaukas.server.operations.services import Readiness, Services, TransparencyLog, limits_of
from chaukas.server.operations.tail_clients import TailClients
from chaukas.server.operations.witnessing import serving_witness, submission_to_witnesses
from chaukas.server.query import QueryEngine, QueryLimits
from chaukas.server.storage.contract import Store
from chaukas.server.storage.log_contract import LogKeeping
from chaukas.server.storage.sqlite import SqliteStore, TextIndexSettings, WriterProcessSettings
from chaukas.server.storage.sqlite.verification.background import BackgroundVerification, VerificationNews
from chaukas.server.telemetry import Telemetry
from chaukas.server.tlog.witness_service import WitnessService
from chaukas.server.transports.grpc import GrpcServer
from chaukas.server.transports.http import HttpApp
from chaukas.server.transports.http_server import HttpServer
from chaukas.server.transports.probes import probe_grpc, probe_http
from chaukas.server.wire.event_bytes import require_contract

if sys.platform != "win32":
    import uvloop

__all__ = ["Addresses", "ServerApp", "StoreFactory", "embedded_store", "open_services", "run"]

StoreFactory = Callable[[Settings, Telemetry], Store]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the server really listens."""

    grpc: Address
    http: Address


def embedded_store(settings: Settings, telemetry: Telemetry) -> Store:
    """The store of a server that runs alone: SQLite in `data_dir`."""
    log = telemetry.logger("storage")
    texts = TextIndexSettings(settings.text_index_lag_events_max, lambda problem: log.warning("text index", problem=problem))
    writer = WriterProcessSettings(lambda problem: log.error("writer", problem=problem))
    return SqliteStore(
        settings.data_dir,
        settings.server_name,
        quarantine_items_max=settings.quarantine_items_max,
        quarantine_bytes_max=int(settings.quarantine_bytes_max),
        text_index=texts if settings.text_index else None,
        writer_process=writer if settings.writer_process else None,
    )


@contextlib.asynccontextmanager
async def open_services(
    settings: Settings,
    telemetry: Telemetry,
    cursor_secret: bytes,
    *,
    store_factory: StoreFactory = embedded_store,
    readiness: Readiness | None = None,
    signs: bool = False,
) -> AsyncIterator[Services]:
    """The store, the pipeline and everything else that operations use, without a transport; released in order at the end.

    The server listens on top of it, and the command line works on the directory of a stopped server with it. With `signs` the
    heads of the logs are signed. Raises `ConfigurationError` or `CannotServeError`.
    """
    require_contract()
    hooks = load_hooks(settings.hooks)
    finders = load_finders(settings.finders)

    commits = CommitSignal()

    def record_commit(figures: CommitFigures) -> None:
        commits.notify()
        telemetry.record_commit(figures.items, figures.size_bytes, figures.duration_s, failed=figures.failed)

    store = store_factory(settings, telemetry)
    async with contextlib.AsyncExitStack() as stopping:
        stopping.push_async_callback(store.close)
        await store.open()
        log: TransparencyLog | None = None
        if signs and isinstance(store, LogKeeping):
            log = TransparencyLog(store.log_store, await signing_sequencer(store.log_store, settings, telemetry))
            await log.sequencer.start()
            stopping.push_async_callback(log.sequencer.stop)
            if settings.witnesses:
                submission = submission_to_witnesses(store.log_store, settings, telemetry)
                await submission.start()
                stopping.push_async_callback(submission.stop)
        witness: WitnessService | None = None
        if signs and settings.witness:
            witness = serving_witness(settings, telemetry)
            stopping.push_async_callback(witness.close)
        if signs and settings.verify_background and isinstance(store, SqliteStore):
            verification = _background_verification(settings, telemetry)
            verification.start()
            stopping.push_async_callback(asyncio.to_thread, verification.stop)
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
            answers=LargeAnswers(int(settings.answer_bytes_max), settings.hold_s, settings.answer_send_s),
            tails=TailClients(cursor_secret, settings.tail_clients_max, commits),
            session_cursors=CursorSeal(cursor_secret, "sessions"),
            explainer=Explainer(finders, at_once_max=settings.explain_at_once_max, hold_s=settings.hold_s),
            log=log,
            witness=witness,
            readiness=readiness or Readiness(),
            hooks=hooks,
        )


def _background_verification(settings: Settings, telemetry: Telemetry) -> BackgroundVerification:
    log = telemetry.logger("verification")

    def on_news(news: VerificationNews) -> None:
        telemetry.verified_events.inc(news.verified)
        if news.damage is not None:
            telemetry.verification_damage.set(news.damage)
        if news.whole_at_s is not None:
            telemetry.verified_until.set(news.whole_at_s)
        if news.what:
            log.error("the record is damaged; run chaukas verify", damage=news.what)
        if news.problem:
            log.warning("the record cannot be verified", problem=news.problem)

    return BackgroundVerification(settings.data_dir, settings.verify_background_events_per_s, on_news)


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
        secret = await asyncio.to_thread(kept_cursor_secret, settings.state_dir)
        services = await self._stopping.enter_async_context(
            open_services(
                settings,
                self.telemetry,
                secret,
                store_factory=self._store_factory,
                readiness=self._readiness,
                signs=True,
            )
        )
        return await self._listen(services)

    async def _listen(self, services: Services) -> Addresses:
        settings = self.settings
        grpc_server, http_server = GrpcServer(services), HttpServer(HttpApp(services), settings)

        async def stop_listening() -> None:
            services.tails.stop()
            await asyncio.gather(grpc_server.stop(settings.drain_s), http_server.stop(settings.drain_s))

        self._stopping.push_async_callback(stop_listening)
        addresses = Addresses(await grpc_server.start(settings.grpc), await http_server.start(settings.http))
        await probe_http(addresses.http)
        await probe_grpc(addresses.grpc)
        self._readiness.ready = True
        await grpc_server.serve()
        return addresses


def run(settings: Settings, *, output: TextIO | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once. Returns the exit status.

    Prints on `output` (standard output by default) where the server listens and what users of the SDK have to set. Raises what
    `ServerApp.start` raises.
    """
    calm_garbage_collector()
    telemetry = Telemetry(log_level=settings.log_level, log_format=settings.log_format)
    handler = telemetry.capture_library_logs()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(ServerApp(settings, telemetry=telemetry), output or sys.stdout))
    finally:
        telemetry.release_library_logs(handler)


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
        text_query_chars_max=settings.text_query_chars_max,
        text_clauses_max=settings.text_clauses_max,
    )
