"""The process that writes a server's record: `python -m chaukas.server.storage.sqlite.writer_child SOCKET`.

It reads questions from the socket whose number it is given, and answers them in order. It ends when the socket ends, which it
does with the server, however the server ends; a transaction that runs then is finished, and nobody hears of it. If the server
did not say goodbye the process ends as the server did, at once: it moves nothing into the database, the next start does. Signals
that ask a whole group of processes to end are for the server, which still has requests to finish then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from io import BufferedReader
from typing import Any, NoReturn

from chaukas.server.collector import calm_garbage_collector
from chaukas.server.errors import ChaukasError, StorageError
from chaukas.server.storage.sqlite.record_writer import RecordWriter
from chaukas.server.storage.sqlite.writer_frames import LENGTH, frame, pack_outcomes, unframe, unpack_items

__all__ = ["main"]


def main(arguments: list[str]) -> NoReturn:
    """Serve one server until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = socket.socket(fileno=int(arguments[0]))
    questions = server.makefile("rb")
    with contextlib.suppress(ConnectionError, EOFError):
        # The first question holds what a `RecordWriter` is made with.
        record = RecordWriter(*_next(questions))
        _serve(record, server, questions)
    # Not the interpreter's own end, which would close the record.
    os._exit(0)


def _serve(record: RecordWriter, server: socket.socket, questions: BufferedReader) -> NoReturn:
    """Answer questions until there are no more, which is an `EOFError`."""
    verbs = _verbs(record)
    server.sendall(frame(_answer(record.open, ())))
    calm_garbage_collector()
    while True:
        verb, arguments = _next(questions)
        server.sendall(frame(_answer(verbs[verb], arguments)))


def _verbs(record: RecordWriter) -> dict[str, Callable[..., object]]:
    return {
        "append": lambda packed: pack_outcomes(record.append(unpack_items(packed))),
        "append_others": record.append_others,
        "log_quarantined": record.log_quarantined,
        "grow_trees": record.grow_trees,
        "cosign_head": record.cosign_head,
        "remove_quarantined": record.remove_quarantined,
        "close": record.close,
    }


def _answer(work: Callable[..., object], arguments: tuple[Any, ...]) -> tuple[bool, object]:
    try:
        return True, work(*arguments)
    except ChaukasError as error:
        return False, (type(error), error.public_message, _causes(error))
    except Exception as error:  # noqa: BLE001  whatever it is, the server must hear of it
        return False, (StorageError, str(StorageError()), _causes(error))


def _causes(error: BaseException) -> str:
    """What stood behind an error, for the server's log; the chain itself holds what does not leave this process."""
    told = []
    cause = error.__cause__ if isinstance(error, ChaukasError) else error
    while cause is not None:
        told.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__
    return "; ".join(told)


def _next(questions: BufferedReader) -> Any:  # noqa: ANN401  each verb has its own types
    """Raises `EOFError` when the server is gone."""
    head = questions.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (length,) = LENGTH.unpack(head)
    body = questions.read(length)
    if len(body) < length:
        raise EOFError
    return unframe(body)


if __name__ == "__main__":
    main(sys.argv[1:])
