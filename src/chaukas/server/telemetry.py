"""What the server tells about itself: metrics in a registry of their own, and structured logs.

A `Telemetry` belongs to one server object; nothing here is global, so two servers in one process (tests, embedders) never
mix their figures. `docs/metrics.md` lists every metric.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any, Final, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from chaukas.server.errors import OverloadedError

__all__ = ["METRICS_CONTENT_TYPE", "Logger", "RequestMeter", "Telemetry", "new_request_id", "request_id_of"]

#: The text format that Prometheus reads (its "exposition formats" page, version 0.0.4).
METRICS_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Logger = structlog.typing.FilteringBoundLogger

_REQUEST_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+=")
_REQUEST_ID_CHARACTERS_MAX = 128

#: Whose records of the standard library's logging belong into our log: libraries, and our rooms that know no telemetry.
_LIBRARIES = ("uvicorn.error", "grpc", "asyncio", "chaukas")

# Upper bounds in seconds: an ingest answer takes from half a millisecond to the ten seconds that a full queue holds it.
_LATENCY_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COMMIT_EVENTS_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_COMMIT_BYTES_BUCKETS = tuple(1024 * 4**power for power in range(9))


def new_request_id() -> str:
    """16 random hex digits."""
    return secrets.token_hex(8)


def request_id_of(given: str | None) -> str:
    """The caller's id when it is safe to repeat in logs and headers (1 to 128 plain characters), a new one otherwise."""
    if given and len(given) <= _REQUEST_ID_CHARACTERS_MAX and _REQUEST_ID_CHARACTERS.issuperset(given):
        return given
    return new_request_id()


class Telemetry:
    """The metrics and the logger of one server."""

    def __init__(self, *, log_level: str = "info", log_format: str = "auto", log_stream: TextIO | None = None) -> None:
        self.registry = CollectorRegistry()
        #: Of the installed distribution.
        self.version = metadata.version("chaukas-spec-server")
        self._stream = log_stream if log_stream is not None else sys.stderr
        self._level = logging.getLevelNamesMapping()[log_level.upper()]
        self._logger = self._build_logger(log_format)
        #: Whether answered requests are logged; asked once per request, so that a quiet server builds no log line.
        self.logs_requests = self._level <= logging.DEBUG

        registry = self.registry
        self.events = Counter(
            "chaukas_events", "Events by transport and by what became of them.", ["transport", "outcome"], registry=registry
        )
        self.requests = Counter(
            "chaukas_requests", "Answered requests.", ["transport", "route", "method", "status"], registry=registry
        )
        self.request_duration_seconds = Histogram(
            "chaukas_request_duration_seconds",
            "Time from the first byte of a request that the server looked at to the last byte of its answer.",
            ["transport", "route", "method"],
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.requests_in_flight = Gauge(
            "chaukas_requests_in_flight", "Requests that are being worked on.", ["transport"], registry=registry
        )
        self.inflight_bytes = Gauge(
            "chaukas_inflight_bytes", "Bodies of the requests that are being worked on, in sum.", registry=registry
        )
        self.answer_bytes = Gauge(
            "chaukas_answer_bytes", "Large answers over HTTP that are made and not sent yet, in sum.", registry=registry
        )
        self.tail_clients = Gauge("chaukas_tail_clients", "Clients that follow the record.", registry=registry)
        self.tail_events = Counter("chaukas_tail_events", "Events that were sent to clients that follow.", registry=registry)
        self.tail_drops = Counter("chaukas_tail_drops", "Clients that stopped reading and were dropped.", registry=registry)
        self.commit_events = Histogram(
            "chaukas_commit_events", "Items of one transaction.", buckets=_COMMIT_EVENTS_BUCKETS, registry=registry
        )
        self.commit_size_bytes = Histogram(
            "chaukas_commit_size_bytes", "Size of one transaction.", buckets=_COMMIT_BYTES_BUCKETS, registry=registry
        )
        self.commit_duration_seconds = Histogram(
            "chaukas_commit_duration_seconds",
            "Time of one transaction, sync included.",
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.commit_failures = Counter("chaukas_commit_failures", "Transactions that failed.", registry=registry)
        self.queue_events = Gauge("chaukas_queue_events", "Items that wait for the writer.", registry=registry)
        self.queue_bytes = Gauge("chaukas_queue_bytes", "Bytes of the items that wait for the writer.", registry=registry)
        self.store_events = Gauge("chaukas_store_events", "Stored events.", registry=registry)
        self.store_sessions = Gauge("chaukas_store_sessions", "Sessions of the stored events.", registry=registry)
        self.store_logs = Gauge("chaukas_store_logs", "Logs, one for each tenant and project.", registry=registry)
        self.quarantine_items = Gauge("chaukas_quarantine_items", "Items in the quarantine.", registry=registry)
        self.quarantine_bytes = Gauge("chaukas_quarantine_bytes", "Bytes in the quarantine.", registry=registry)
        self.log_heads = Counter("chaukas_log_heads", "Signed heads of logs.", registry=registry)
        self.log_head_failures = Counter(
            "chaukas_log_head_failures", "Rounds in which no head could be signed.", registry=registry
        )
        self.log_round_duration_seconds = Histogram(
            "chaukas_log_round_duration_seconds",
            "Time of one round: reading what is new, growing the trees, signing, storing.",
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.witness_submissions = Counter(
            "chaukas_witness_submissions",
            "Heads that were shown to witnesses, by what became of them.",
            ["witness", "outcome"],
            registry=registry,
        )
        self.witness_behind_logs = Gauge(
            "chaukas_witness_behind_logs", "Logs that a witness has not cosigned up to their end.", ["witness"], registry=registry
        )
        self.witness_contradictions = Counter(
            "chaukas_witness_contradictions",
            "Witnesses' answers that say that a log is not the one that they cosigned; should be 0 for ever.",
            registry=registry,
        )
        self.witness_requests = Counter(
            "chaukas_witness_requests", "Checkpoints that this witness was asked to cosign.", ["status"], registry=registry
        )
        self.witness_refused_contradictions = Counter(
            "chaukas_witness_refused_contradictions",
            "Checkpoints that contradict what this witness cosigned: logs that were rewritten.",
            registry=registry,
        )
        self.verified_events = Counter(
            "chaukas_verified_events", "Entries that the background verification has read.", registry=registry
        )
        self.verification_damage = Gauge(
            "chaukas_verification_damage", "Damage that the background verification knows of; 0 when whole.", registry=registry
        )
        self.verified_until = Gauge(
            "chaukas_verified_until_timestamp_seconds",
            "When everything had been verified last, and was whole; 0 before.",
            registry=registry,
        )
        self.text_index_lag_events = Gauge(
            "chaukas_text_index_lag_events", "Stored events that the text index does not hold yet.", registry=registry
        )
        self.text_index_restarts = Gauge(
            "chaukas_text_index_restarts", "How often the process that keeps the text index was started again.", registry=registry
        )
        self.ready = Gauge("chaukas_ready", "1 while the server takes requests.", registry=registry)
        self.build_info = Gauge(
            "chaukas_build_info", "Always 1; the labels tell what is running.", ["version", "driver"], registry=registry
        )
        # The process metrics keep the names that every Prometheus client uses (process_…): dashboards know them.
        ProcessCollector(registry=registry)

    def logger(self, room: str) -> Logger:
        """The logger of a part of the server."""
        logger: Logger = self._logger.bind(room=room)
        return logger

    def record_commit(self, items: int, size_bytes: int, duration_s: float, *, failed: bool) -> None:
        """One transaction of the ingest pipeline ended."""
        if failed:
            self.commit_failures.inc()
            return
        self.commit_events.observe(items)
        self.commit_size_bytes.observe(size_bytes)
        self.commit_duration_seconds.observe(duration_s)

    def record_heads(self, heads: int, duration_s: float, *, failed: bool) -> None:
        """One round of the sequencer ended."""
        if failed:
            self.log_head_failures.inc()
            return
        self.log_heads.inc(heads)
        self.log_round_duration_seconds.observe(duration_s)

    def exposition(self) -> bytes:
        """Everything, in the text format of Prometheus."""
        return generate_latest(self.registry)

    def metric_names(self) -> list[str]:
        """The names of all metrics as Prometheus users know them; the documentation is checked against this list."""
        return sorted(f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in self.registry.collect())

    def capture_library_logs(self, names: Sequence[str] = _LIBRARIES) -> logging.Handler:
        """Send the log records of libraries through our logger, from `warning` on. Returns the handler, for `release`."""
        handler = _StructuredHandler(self._logger)
        handler.setLevel(max(self._level, logging.WARNING))
        for name in names:
            library = logging.getLogger(name)
            library.addHandler(handler)
            library.propagate = False
        return handler

    def release_library_logs(self, handler: logging.Handler, names: Sequence[str] = _LIBRARIES) -> None:
        """Undo `capture_library_logs`."""
        for name in names:
            library = logging.getLogger(name)
            library.removeHandler(handler)
            library.propagate = True

    def _build_logger(self, log_format: str) -> Logger:
        colors = self._stream.isatty()
        processors: list[Any] = [
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ]
        # Tracebacks carry no local variables: those hold the content of events, which has no business in a log.
        if log_format == "console" or (log_format == "auto" and colors):
            renderer: Any = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
        else:
            transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            processors.append(structlog.processors.ExceptionRenderer(transformer))
            renderer = structlog.processors.JSONRenderer()
        logger: Logger = structlog.wrap_logger(
            structlog.WriteLogger(_LogStream(self._stream)),  # type: ignore[arg-type]  # it uses no more
            processors=[*processors, renderer],
            wrapper_class=structlog.make_filtering_bound_logger(self._level),
            context_class=dict,
        )
        return logger


class _LogStream:
    """Loses what cannot be written (a full disk, a closed pipe): a log must never fail, or hang, the request it tells about."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class RequestMeter:
    """Counts and times the requests of one transport, and bounds how many there are at once."""

    def __init__(self, telemetry: Telemetry, transport: str, requests_max: int) -> None:
        self._telemetry = telemetry
        self._transport = transport
        self._requests_max = requests_max
        self._in_flight = 0
        # Looking a metric up by its labels costs more than counting; routes, methods and statuses are few.
        self._children: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        telemetry.requests_in_flight.labels(transport).set_function(lambda: self._in_flight)

    def enter(self) -> None:
        """A request begins; `leave` must follow. Raises `OverloadedError` when there are too many."""
        self._in_flight += 1
        if self._in_flight > self._requests_max:
            raise OverloadedError(f"more than {self._requests_max} requests are being worked on; send again later")

    def leave(self, route: str, method: str, status: str, duration_s: float) -> None:
        """A request ended."""
        self._in_flight -= 1
        children = self._children.get((route, method, status))
        if children is None:
            children = self._children[route, method, status] = (
                self._telemetry.requests.labels(self._transport, route, method, status),
                self._telemetry.request_duration_seconds.labels(self._transport, route, method),
            )
        requests, durations = children
        requests.inc()
        durations.observe(duration_s)


class _StructuredHandler(logging.Handler):
    """A record of the standard library's logging as a line of ours."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(record.levelno, record.getMessage(), room=record.name, exc_info=record.exc_info)
