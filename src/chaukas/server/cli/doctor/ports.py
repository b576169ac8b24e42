"""The addresses that the server listens on: free, or held by a running Chaukas server."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from typing import Final

from chaukas.server.cli.doctor.finding import Finding, ok, problem, warning
from chaukas.server.config import Address, Settings

__all__ = ["check_ports"]

_PATIENCE_S: Final = 3.0
_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024


def check_ports(settings: Settings, holder: int | None) -> Iterator[Finding]:
    """Both addresses; `holder` is the process that serves the data directory, None when there is none."""
    refusal = _refusal(settings.http)
    version = _running_version(settings.http) if refusal == errno.EADDRINUSE else None
    yield from _check("HTTP port", "http_address", settings.http, refusal, version, holder)
    if version is not None and holder is not None:
        yield _health(settings.http)
    yield from _check("gRPC port", "grpc_address", settings.grpc, _refusal(settings.grpc), version, holder)


def _check(
    check: str, setting: str, address: Address, refusal: int, version: str | None, holder: int | None
) -> Iterator[Finding]:
    if not refusal:
        chosen = " (the system chooses one)" if address.port == 0 else ""
        if holder is not None and address.port:
            yield warning(
                check,
                f"{address} is free, although a server runs on the data directory",
                f"it listens elsewhere; if that is not meant, start it again with {setting} {address}",
            )
        else:
            yield ok(check, f"{address} is free{chosen}")
    elif refusal != errno.EADDRINUSE:
        yield problem(check, f"{address} can not be opened: {os.strerror(refusal)}", _advice(setting, refusal))
    elif version is None:
        yield problem(
            check,
            f"{address} is held by a program that is no Chaukas server",
            f"end that program, or set {setting} to a free port",
        )
    elif holder is None:
        yield problem(
            check,
            f"{address} is held by a Chaukas server {version} that serves another data directory",
            f"stop it, or set {setting} to a free port",
        )
    else:
        yield ok(check, f"{address} is held by the running server, {version}")


def _advice(setting: str, refusal: int) -> str:
    match refusal:
        case errno.EACCES | errno.EPERM:
            return f"only root may open ports below 1024; set {setting} to a higher one and let a proxy stand in front"
        case errno.EADDRNOTAVAIL:
            return f"this machine does not have that address; set {setting} to 127.0.0.1 or to one that it has"
        case _:
            return f"set {setting} to an address of this machine"


def _refusal(address: Address) -> int:
    """Why the address can not be bound, as an errno; 0 when it can. Nothing listens there at any moment."""
    try:
        family, kind, number, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


def _running_version(address: Address) -> str | None:
    """The version of the Chaukas server that answers there, None when none does."""
    answer = _get(address, "/openapi.json")
    try:
        info = json.loads(answer[1])["info"]
        return str(info["version"]) if "chaukas" in str(info["title"]).casefold() else None
    except (ValueError, KeyError, TypeError):
        return None


def _health(address: Address) -> Finding:
    status, _ = _get(address, "/v1/healthz")
    if status == 200:
        return ok("server", "it runs and takes requests")
    return warning("server", f"it runs, but takes no requests just now (healthz answers {status or 'nothing'})", "read its log")


def _get(address: Address, path: str) -> tuple[int, bytes]:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104  a host to reach, not to bind
    connection = HTTPConnection(host, address.port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(_ANSWER_BYTES_MAX)
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()
