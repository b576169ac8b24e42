"""Clients that we did not write: the published stubs and the published SDK, each in a process and a place of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from tests.acceptance.started_server import StartedServer
from tests.compat.published import Published

# The scripts are no package: they run before anything is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from fetch_published import fetch_published, fetch_sdk

__all__ = ["PublishedSdk", "published_package", "published_sdk"]

_HERE = Path(__file__).resolve().parent
_ANSWER_S = 120


def published_package(name: str, version: str) -> Published:
    """One published distribution of the stubs."""
    return Published(name, version, fetch_published(name, version))


@dataclass
class PublishedSdk:
    """A program that uses the published SDK; it does one task after another and tells the state of the SDK's queue."""

    process: subprocess.Popen[str]
    sent_file: Path

    def begin(self, task: str, count: int = 1) -> None:
        """Let it begin a task."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{task} {count}\n")
        self.process.stdin.flush()

    def told(self) -> dict[str, Any]:
        """The next thing that it tells."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the program of the SDK ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def do(self, task: str, count: int = 1) -> dict[str, Any]:
        """Carry out a task; returns what it tells in the end."""
        self.begin(task, count)
        return self.told()

    def sent(self) -> list[Event]:
        """Every event that was given to the SDK's client, in order, as the SDK built it."""
        return list(EventBatch.FromString(self.sent_file.read_bytes()).events)


@contextlib.contextmanager
def published_sdk(server: StartedServer, directory: Path, path: str = "/v1", **settings: object) -> Iterator[PublishedSdk]:
    """Start the program with an endpoint on the server; settings are those of the SDK's environment, without `CHAUKAS_`."""
    values: dict[str, object] = {
        "tenant_id": "acme",
        "project_id": "support",
        "endpoint": server.http_url + path,
        "api_key": "none",
        "timeout": 60,
        **settings,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CHAUKAS_", "PYTHON"))}
    # The server is here: what stands between this machine and others has no part in it.
    environment["NO_PROXY"] = "127.0.0.1"
    environment.update({f"CHAUKAS_{name.upper()}": str(value) for name, value in values.items()})
    sent_file = directory / "sent.bin"
    with (directory / "sdk.txt").open("wb") as log:
        process = subprocess.Popen(
            [fetch_sdk(), "-I", _HERE / "sdk_program.py", sent_file],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield PublishedSdk(process, sent_file)
        process.communicate("end\n", timeout=_ANSWER_S)
        assert process.returncode == 0, (directory / "sdk.txt").read_text()
    finally:
        process.kill()
        process.communicate()
