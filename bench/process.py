"""Servers as processes: the one of this repository, and the empty one that is the limit."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import grpc

from bench.machine import cpu_seconds, disk_bytes, peak_resident_mib, process_tree, resident_mib

__all__ = ["ROOT", "SERVICE", "EmptyServer", "ProductServer", "ServerProcess", "clean_environment", "connect", "raw_call"]

ROOT = Path(__file__).resolve().parent.parent
SERVICE = "/chaukas.spec.server.v1.ChaukasServerService/"

#: The index of words and what SQLite keeps beside it.
_TEXT_INDEX_FILES = "text.db*"
_SAMPLE_S = 0.1
_START_LIMIT_S = 120.0
_STOP_LIMIT_S = 60.0


def connect(port: int) -> grpc.Channel:
    """A connection of its own, which takes large answers."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 * 1024 * 1024)]
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=options)


def raw_call(channel: grpc.Channel, method: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    """A method that takes and gives serialised messages: of the server's service, or of another one with its full path."""
    path = method if method.startswith("/") else SERVICE + method
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    return call


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """A server and all processes below it; its memory is sampled while it lives."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], grpc_port: int, http_port: int, log: Path) -> None:
        self.grpc_port, self.http_port, self.log = grpc_port, http_port, log
        self._command, self._environment = list(command), environment
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()
        self._sampler: threading.Thread | None = None
        #: Highest resident memory seen in MiB, over all starts of this object.
        self.peak_mib = 0.0

    @property
    def pid(self) -> int:
        """Process id. Raises `RuntimeError` when it was never started."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    def start(self) -> float:
        """Start and wait until `Healthz` answers; returns the seconds from the start of the process until then."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        self._stopped.clear()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        try:
            self._wait_until_ready(began + _START_LIMIT_S)
        except BaseException:
            self.kill()
            raise
        return time.monotonic() - began

    def stop(self) -> float:
        """Ask it to end and wait; returns the seconds that took. Idempotent."""
        began = time.monotonic()
        self._end_sampling()
        if self._process is None or self._process.poll() is not None:
            return 0.0
        below = process_tree(self._process.pid)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._kill(below)
            raise RuntimeError(f"the server did not end within {_STOP_LIMIT_S:.0f} s of SIGTERM") from None
        return time.monotonic() - began

    def kill(self) -> None:
        """End the whole tree at once with SIGKILL, as a crash does."""
        self._end_sampling()
        if self._process is not None and self._process.poll() is None:
            self._kill(process_tree(self._process.pid))

    def memory_mib(self) -> float:
        """Resident memory now, summed over the tree."""
        return resident_mib(process_tree(self.pid))

    def metric(self, name: str) -> float:
        """A value of `/metrics` without labels. Raises `KeyError` when there is none, `OSError` without an answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=30.0) as answer:
            lines = answer.read().decode().splitlines()
        for line in lines:
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        raise KeyError(name)

    def settle(self, limit_s: float = 15.0) -> None:
        """Wait until it has finished what it does behind an acknowledgement (checkpoints): one second without work."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            before = cpu_seconds(process_tree(self.pid))
            time.sleep(1.0)
            if cpu_seconds(process_tree(self.pid)) - before < 0.05:
                return

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def _wait_until_ready(self, end: float) -> None:
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start: {self._last_words()}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        """Whether it listens, and says that it is ready. A channel is opened only then: it would wait before it tries again."""
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", self.grpc_port)) != 0:
                return False
        with connect(self.grpc_port) as channel:
            try:
                raw_call(channel, "Healthz")(b"", timeout=5.0)
            except grpc.RpcError as error:
                if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                    return False
                raise
        return True

    def _sample(self) -> None:
        while not self._stopped.wait(_SAMPLE_S):
            self._look()

    def _look(self) -> None:
        if self._process is not None and self._process.poll() is None:
            # The sum is sampled; the kernel's mark of the main process catches what happens between two samples.
            self.peak_mib = max(self.peak_mib, self.memory_mib(), peak_resident_mib(self.pid))

    def _end_sampling(self) -> None:
        if self._sampler is not None:
            self._look()
            self._stopped.set()
            self._sampler.join()
            self._sampler = None

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " | ".join(lines[-5:]) or "it said nothing"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def clean_environment() -> dict[str, str]:
    """The environment without settings of a server or an SDK that somebody has set for other purposes."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CHAUKAS")}


class ProductServer(ServerProcess):
    """`chaukas serve` on directories below `home`, with its defaults."""

    def __init__(
        self,
        home: Path,
        wrapper: Sequence[str] = (),
        *,
        settings: Mapping[str, str] | None = None,
        module: str = "chaukas.server.cli",
    ) -> None:
        """`settings` are `CHAUKAS_SERVER_*` variables, where a row is about another value than the default."""
        self.data, self.state = home / "data", home / "state"
        for directory in (home, self.data, self.state):
            directory.mkdir(parents=True, exist_ok=True)
        ports = free_port(), free_port()
        command = [*wrapper, sys.executable, "-m", module, "serve"]
        command += ["--data", str(self.data), "--state", str(self.state)]
        command += ["--grpc", f"127.0.0.1:{ports[0]}", "--http", f"127.0.0.1:{ports[1]}"]
        super().__init__(command, clean_environment() | dict(settings or {}), *ports, home / "server.log")

    def record_bytes(self) -> tuple[int, int]:
        """(allocated, apparent) bytes on the disk of the record and its log, without the text index."""
        return disk_bytes(self.data, self.state, without=_TEXT_INDEX_FILES)

    def index_bytes(self) -> int:
        """Allocated bytes of the text index."""
        return disk_bytes(self.data, files=_TEXT_INDEX_FILES)[0]


class EmptyServer(ServerProcess):
    """The published stubs with a servicer that stores nothing; see `empty_server`."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        port = free_port()
        environment = clean_environment()
        published = sorted((ROOT / ".cache" / "published").glob("chaukas-spec-server-*"))
        self.stubs = published[-1].name if published else "this repository"
        if published:
            environment["PYTHONPATH"] = str(published[-1])
        command = [sys.executable, str(ROOT / "bench" / "empty_server.py"), str(port)]
        super().__init__(command, environment, port, 0, home / "empty.log")
