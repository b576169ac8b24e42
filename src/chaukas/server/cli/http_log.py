"""The transparency log of a running server, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final
from urllib.parse import urlencode

from chaukas.server.cli.server_url import ServerUrl

__all__ = ["HttpLog", "LogLine"]

_TIMEOUT_S: Final = 60.0
#: Evidence of an event of some MiB, in base64, is the largest answer.
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogLine:
    """A log as `/v1/logs` lists it."""

    origin: str
    path: str
    size: int
    verifier_key: str
    tenant_id: str
    project_id: str


class HttpLog:
    """Asks one question for each call. Raises what the server's problem means, or `CommandError`."""

    def __init__(self, server_url: str) -> None:
        self._server = ServerUrl(server_url)

    def logs(self, tenant_id: str, project_id: str) -> list[LogLine]:
        """The logs of a tenant and project; empty means any."""
        body = self._get("/v1/logs", {"tenant_id": tenant_id, "project_id": project_id})
        try:
            return [LogLine(**{name: one[name] for name in LogLine.__slots__}) for one in json.loads(body)["logs"]]
        except (ValueError, KeyError, TypeError) as error:
            raise self._server.foreign() from error

    def checkpoint(self, log: LogLine) -> bytes:
        """The signed note of everything that is committed."""
        return self._get(f"{log.path}checkpoint", {})

    def proof_file(self, entry: Mapping[str, str]) -> bytes:
        """A proof file; `entry` are the parameters that name the entry."""
        return self._get("/v1/proof/inclusion", {**entry, "format": "text"})

    def evidence(self, entry: Mapping[str, str]) -> bytes:
        """Evidence as JSON."""
        return self._get("/v1/evidence", entry)

    def _get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        given = urlencode({name: value for name, value in parameters.items() if value})
        target = f"{self._server.prefix}{path}" + (f"?{given}" if given else "")
        with closing(self._server.connection(_TIMEOUT_S)) as connection:
            try:
                connection.request("GET", target, headers={"User-Agent": "chaukas-cli"})
                response = connection.getresponse()
                status, body = response.status, response.read(_ANSWER_BYTES_MAX)
            except (OSError, HTTPException) as error:
                raise self._server.unreachable(error, _TIMEOUT_S) from error
        if status != 200:
            raise self._server.problem(status, body)
        return body
