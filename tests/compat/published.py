"""A published distribution, looked at from outside: in a place and a process of its own."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import google.protobuf
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

_HERE = Path(__file__).resolve().parent
# Where the running interpreter finds protobuf and grpc, for processes that see no environment.
DEPENDENCIES = Path(google.protobuf.__file__).parents[2]


@dataclass(frozen=True)
class Published:
    """One published distribution."""

    name: str
    version: str
    packages: Path

    def run(self, script: Path, *arguments: str, lines: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Run a script that sees this distribution and its dependencies only; JSON lines go in and come out."""
        command = [sys.executable, "-I", "-S", str(script), str(self.packages), str(DEPENDENCIES), *arguments]
        request = "".join(json.dumps(line) + "\n" for line in lines or [])
        done = subprocess.run(command, input=request, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def ask(self, task: str, lines: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Let the peer process carry out a task."""
        return self.run(_HERE / "published_peer.py", task, lines=lines)

    @cached_property
    def file_protos(self) -> list[FileDescriptorProto]:
        """What the distribution declares, imported files first."""
        return [FileDescriptorProto.FromString(base64.b64decode(line["file"])) for line in self.ask("describe")]

    @cached_property
    def files(self) -> list[FileDescriptor]:
        """The same as descriptors in a pool of their own, without the files of protobuf itself."""
        pool = DescriptorPool()
        for proto in self.file_protos:
            pool.Add(proto)
        return [pool.FindFileByName(proto.name) for proto in self.file_protos if proto.name.startswith("chaukas/")]
