"""The other side of the compatibility tests: a process that knows the published stubs and nothing of ours.

    python -I -S published_peer.py PACKAGES DEPENDENCIES {describe | samples | relay}

``PACKAGES`` holds one published distribution, ``DEPENDENCIES`` protobuf. Because of ``-I -S`` no path entry of the
environment takes part, so our stubs, which declare the same names, cannot be met. Reads and writes JSON lines.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.message import Message


def main() -> None:
    packages, dependencies, task = sys.argv[1:]
    sys.path[:0] = [packages, dependencies, str(Path(__file__).parent)]
    files = _published_files(Path(packages))
    {"describe": _describe, "samples": _samples, "relay": _relay}[task](files)


def _published_files(packages: Path) -> list[FileDescriptor]:
    """Import every generated module; return the file descriptors."""
    files = []
    for path in sorted(packages.rglob("*_pb2.py")):
        module = importlib.import_module(".".join(path.relative_to(packages).with_suffix("").parts))
        assert Path(module.__file__).is_relative_to(packages), module.__file__
        files.append(module.DESCRIPTOR)
    return files


def _message_class(files: list[FileDescriptor], full_name: str) -> type[Message]:
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(files[0].pool.FindMessageTypeByName(full_name))


def _describe(files: list[FileDescriptor]) -> None:
    """Write each file and what it imports, imported files first."""
    from google.protobuf import descriptor_pb2

    written: set[str] = set()

    def write(file: FileDescriptor) -> None:
        if file.name in written:
            return
        written.add(file.name)
        for imported in file.dependencies:
            write(imported)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        _print({"file": base64.b64encode(proto.SerializeToString()).decode()})

    for file in files:
        write(file)


def _samples(files: list[FileDescriptor]) -> None:
    """Write every message with every field filled, once for each alternative of a oneof."""
    from contract_samples import alternatives, fill, top_level_messages

    for descriptor in top_level_messages(files):
        for alternative in alternatives(files):
            message = _message_class(files, descriptor.full_name)()
            fill(message, alternative)
            _print_message(descriptor.full_name, message, alternative=alternative)


def _relay(files: list[FileDescriptor]) -> None:
    """Read messages and write them again: as they came, and without what the published stubs do not know."""
    for line in sys.stdin:
        item = json.loads(line)
        message = _message_class(files, item["type"]).FromString(base64.b64decode(item["bytes"]))
        _print_message(item["type"], message)
        message.DiscardUnknownFields()
        _print_message(item["type"], message)


def _print_message(full_name: str, message: Message, **more: object) -> None:
    serialized = base64.b64encode(message.SerializeToString(deterministic=True)).decode()
    _print({"type": full_name, "bytes": serialized, **more})


def _print(item: dict[str, object]) -> None:
    print(json.dumps(item))


if __name__ == "__main__":
    main()
