"""A real server process, `chaukas serve`, on free ports in a directory of the test."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["StartedServer", "running_server"]

_READY_S = 60.0
_STOP_S = 30.0
_ADDRESSES = re.compile(r"  gRPC   \S+:(?P<grpc>\d+)\n  HTTP   http://\S+:(?P<http>\d+)\n.*CHAUKAS_ENDPOINT=\S+ .*\n", re.DOTALL)


@dataclass
class StartedServer:
    """One directory and the process that serves it; a process that was killed or stopped can be started again in its place."""

    directory: Path
    python: Path
    settings: Mapping[str, object]
    grpc_port: int = 0
    http_port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def grpc_target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        """Start the process and wait until it says that it is ready; the second time on the same ports and directories."""
        assert self.process is None
        output = self.directory / "output.txt"
        command: list[str | Path] = [self.python, "-I", "-m", "chaukas.server.cli", "serve", "--log-level", "warning"]
        command += ["--data", self.directory / "data", "--state", self.directory / "state"]
        command += ["--grpc", f"127.0.0.1:{self.grpc_port}", "--http", f"127.0.0.1:{self.http_port}"]
        for name, value in self.settings.items():
            command += ["--set", f"{name}={value}"]
        # What the tests' own environment says about servers and SDKs is not meant for this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAUKAS_")}
        with output.open("wb") as written, (self.directory / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.directory, env=environment, stdout=written, stderr=log)
        give_up_at = time.monotonic() + _READY_S
        while (told := _ADDRESSES.search(output.read_text())) is None:
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                self.kill()
                raise AssertionError(f"the server is not ready:\n{output.read_text()}{self.log}")
            time.sleep(0.02)
        self.grpc_port, self.http_port = int(told["grpc"]), int(told["http"])

    def kill(self) -> None:
        """End the process as a crash would (SIGKILL): it finishes nothing."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait(_STOP_S)

    def stop(self) -> None:
        """Ask the process to end, and check that it ended well."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)
            raise
        assert status == 0, self.log

    @property
    def log(self) -> str:
        """What the server wrote to its log so far."""
        return (self.directory / "log.txt").read_text()


@contextlib.contextmanager
def running_server(
    directory: Path, *, python: Path | None = None, ports: tuple[int, int] = (0, 0), **settings: object
) -> Iterator[StartedServer]:
    """Serve the directory with the server of the given interpreter (default: this one); stop it in the end.

    `ports` are those of gRPC and HTTP; 0 lets the system choose.
    """
    directory.mkdir(parents=True, exist_ok=True)
    server = StartedServer(directory, python or Path(sys.executable), settings, *ports)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.kill()
