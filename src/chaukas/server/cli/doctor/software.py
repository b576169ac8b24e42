"""What the server stands on: Python, SQLite, protobuf, and the contract's modules."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from google.protobuf import __version__ as protobuf_version
from google.protobuf.internal import api_implementation

from chaukas.server.cli.doctor.finding import Finding, ok, problem, warning
from chaukas.server.errors import CannotServeError
from chaukas.server.storage.sqlite.inspection import library_versions
from chaukas.server.wire.event_bytes import require_contract
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryRequest

__all__ = ["check_software"]

_SERVER: Final = "chaukas-spec-server"
_CLIENT: Final = "chaukas-spec-client"
#: STRICT tables, which the record consists of, came with 3.37 (sqlite.org/stricttables.html).
_SQLITE_MIN: Final = (3, 37)


def check_software() -> Iterator[Finding]:
    """The versions, and what is known to be wrong with some."""
    yield ok("version", f"chaukas {metadata.version(_SERVER)} on Python {platform.python_version()}")
    yield _sqlite()
    yield _protobuf()
    yield _contract()


def _sqlite() -> Finding:
    versions = library_versions()
    text = f"SQLite {versions['sqlite']} through apsw {versions['apsw']}"
    if tuple(map(int, versions["sqlite"].split(".")[:2])) < _SQLITE_MIN:
        return problem("SQLite", f"{text} is older than 3.37", "pip install --upgrade apsw")
    return ok("SQLite", text)


def _protobuf() -> Finding:
    kind = api_implementation.Type()
    if kind == "upb":
        return ok("protobuf", f"protobuf {protobuf_version} in C")
    text = f"protobuf {protobuf_version} runs as {kind}, many times slower than in C"
    return warning("protobuf", text, "unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION, and install a wheel for this platform")


def _contract() -> Finding:
    """The published client has modules of the same names; whichever was installed last is the one that is loaded."""
    reinstall = f"pip install --force-reinstall --no-deps {_SERVER}"
    try:
        require_contract()
    except CannotServeError as error:
        return problem("contract", error.public_message, reinstall)
    ours = "server_timestamp" in Event.DESCRIPTOR.fields_by_name and "include_total" in QueryRequest.DESCRIPTOR.fields_by_name
    client = _version(_CLIENT)
    if not ours:
        text = (
            f"{_CLIENT} {client or ''}".rstrip() + " has replaced modules of this server: totals and times of receipt are missing"
        )
        return warning("contract", text, reinstall)
    beside = f"; {_CLIENT} {client} is installed beside it" if client else ""
    return ok("contract", f"the modules are this server's own{beside}")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
