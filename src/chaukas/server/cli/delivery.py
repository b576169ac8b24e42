"""Handing events to a server that may be busy, or that takes only smaller requests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from chaukas.server.cli.connection import Connection
from chaukas.server.cli.line_result import LEFT_OUT, LineResult
from chaukas.server.errors import OverloadedError, RequestTooLargeError
from chaukas.server.wire.json_form import JsonProblem
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["deliver"]

#: A server that is busy is asked again after these seconds; it has held each request for a while before it refused it.
_RETRY_AFTER_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)


def deliver(connection: Connection, items: Sequence[Event | JsonProblem]) -> list[LineResult]:
    """The answers for these items, in their order, however often the server has to be asked.

    What is too large for any request is `LEFT_OUT`. Raises what `Connection.ingest` raises, `OverloadedError` only after about 15
    seconds of a busy server.
    """
    for pause_s in (*_RETRY_AFTER_S, None):
        try:
            return connection.ingest(items)
        except RequestTooLargeError as error:
            if len(items) == 1:
                return [LineResult(LEFT_OUT, error.public_message)]
            middle = len(items) // 2
            return deliver(connection, items[:middle]) + deliver(connection, items[middle:])
        except OverloadedError:
            if pause_s is None:
                raise
            time.sleep(pause_s)
    raise AssertionError("the last round returns or raises")
