"""The process that writes the record, as the server sees it: started with the store, asked over a socket, never missed for long.

The interpreter runs one thread at a time. What writing costs (cutting, hashing, compressing, SQLite) would take turns with what
receiving costs; in a process of its own it runs beside it. The promises stay the same: an answer comes after the commit. When the
process ends by itself, whoever waits for it is told that nothing was acknowledged, and the next call starts another one, which
reads the record like after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from chaukas.server.errors import CannotServeError, ChaukasError, StorageError
from chaukas.server.storage.contract import EventRecord, Outcome, QuarantineItem
from chaukas.server.storage.log_contract import OtherEntry, TreeGrowth
from chaukas.server.storage.sqlite.lock import DirectoryLock
from chaukas.server.storage.sqlite.own_process import own_process
from chaukas.server.storage.sqlite.writer_frames import LENGTH, frame, pack_items, unframe, unpack_outcomes

__all__ = ["ProcessWriter", "WriterProcessSettings"]

_MODULE = "chaukas.server.storage.sqlite.writer_child"
_SOCKET_BYTES = 4 * 1024 * 1024
#: How long an ending process may take for what it is doing.
_END_S = 10.0


@dataclass(frozen=True, slots=True)
class WriterProcessSettings:
    """How a store writes in a process of its own."""

    #: Gets sentences for the operator.
    on_problem: Callable[[str], None] = lambda _: None


class ProcessWriter:
    """Implements `writer.Writer`. The process holds the directory's lock together with the server: it may outlive it a moment."""

    def __init__(
        self,
        directory: Path,
        server_name: str,
        quarantine_items_max: int,
        quarantine_bytes_max: int,
        settings: WriterProcessSettings,
        *,
        lock: DirectoryLock,
    ) -> None:
        """Nothing is started yet."""
        self._record = (directory, server_name, quarantine_items_max, quarantine_bytes_max)
        self._lock = lock
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: _Channel | None = None
        self._starting = asyncio.Lock()
        self._opened = False

    async def open(self) -> None:
        """See `Writer.open`."""
        await self._start()
        self._opened = True

    async def close(self) -> None:
        """See `Writer.close`."""
        self._opened = False
        async with self._starting:
            if self._channel is not None and not self._channel.ended:
                with contextlib.suppress(ChaukasError):
                    await self._channel.ask("close")
            await self._end()

    async def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        """See `EventAppender.append`."""
        return unpack_outcomes(await self._ask("append", pack_items(items)))

    async def append_others(self, log_id: int, entries: Sequence[OtherEntry]) -> int:
        """See `LogWriter.append_others`."""
        return int(await self._ask("append_others", log_id, entries))

    async def log_quarantined(self, items_max: int) -> int:
        """See `LogWriter.log_quarantined`."""
        return int(await self._ask("log_quarantined", items_max))

    async def grow_trees(self, growths: Sequence[TreeGrowth]) -> None:
        """See `LogWriter.grow_trees`."""
        await self._ask("grow_trees", growths)

    async def cosign_head(self, log_id: int, size: int, note: bytes) -> None:
        """See `LogWriter.cosign_head`."""
        await self._ask("cosign_head", log_id, size, note)

    async def remove_quarantined(self, quarantine_id: str) -> bool:
        """See `QuarantineStore.quarantine_remove`."""
        return bool(await self._ask("remove_quarantined", quarantine_id))

    async def _ask(self, verb: str, *arguments: object) -> Any:  # noqa: ANN401  each verb has its own types
        if not self._opened:
            raise StorageError("the store is not open")
        channel = self._channel
        if channel is None or channel.ended:
            channel = await self._restarted()
        return await channel.ask(verb, *arguments)

    async def _restarted(self) -> _Channel:
        """The channel to a new process, in place of one that ended."""
        async with self._starting:
            if not self._opened:
                raise StorageError("the store is not open")
            if self._channel is None or self._channel.ended:
                status = await self._end()
                if status is not None:
                    self._settings.on_problem(f"the process that writes the record ended (status {status}); it is started again")
                try:
                    await self._start()
                except CannotServeError as error:
                    self._settings.on_problem(str(error))
                    raise StorageError from error
            if self._channel is None:
                raise AssertionError("_start() sets it or raises")
            return self._channel

    async def _start(self) -> None:
        """Start the process and let it open the record. Raises `CannotServeError`."""
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        try:
            with theirs:
                descriptors = theirs.fileno(), self._lock.descriptor
                self._process = await asyncio.to_thread(own_process, _MODULE, str(descriptors[0]), descriptors=descriptors)
        except OSError as error:
            ours.close()
            raise CannotServeError(f"the process that writes the record cannot be started: {error}") from error
        ours.setblocking(False)
        _, self._channel = await asyncio.get_running_loop().create_unix_connection(_Channel, sock=ours)
        self._channel.send(self._record)
        try:
            await self._channel.answer()
        except StorageError as error:
            status = await self._end()
            raise CannotServeError(f"the process that writes the record ended (status {status}) when it was started") from error
        except BaseException:
            await self._end()
            raise

    async def _end(self) -> int | None:
        """Let the process end and wait for it; returns its exit status."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.hang_up()
        process, self._process = self._process, None
        return await asyncio.to_thread(_wait, process) if process is not None else None


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


class _Channel(asyncio.Protocol):
    """Questions and answers, in order."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream socket has no other; uvloop's is none by inheritance.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        start = 0
        while len(received) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(received, start)
            end = start + LENGTH.size + length
            if len(received) < end:
                break
            self._take(*unframe(received[start + LENGTH.size : end]))
            start = end
        del received[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                error = StorageError()
                error.__cause__ = exc or EOFError("the process that writes the record ended")
                waiting.set_exception(error)

    def send(self, message: object) -> None:
        """Put a message on its way."""
        if self._transport is not None:
            self._transport.write(frame(message))

    def answer(self) -> asyncio.Future[Any]:
        """The answer to what was sent last. An answer that nobody waits for any more is dropped."""
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.ended:
            waiting.set_exception(StorageError())
        else:
            self._waiting.append(waiting)
        return waiting

    async def ask(self, verb: str, *arguments: object) -> Any:  # noqa: ANN401  each verb has its own types
        """The answer to a question. Raises what the process raised, and `StorageError` when it ended."""
        if not self.ended:
            self.send((verb, arguments))
        return await self.answer()

    def hang_up(self) -> None:
        """Close the connection, upon which the process ends."""
        if self._transport is not None:
            self._transport.close()

    def _take(self, succeeded: bool, answer: Any) -> None:  # noqa: ANN401  each verb has its own types
        waiting = self._waiting.popleft()
        if waiting.done():
            return
        if succeeded:
            waiting.set_result(answer)
            return
        kind, message, causes = answer
        error = kind(message)
        if causes:
            error.__cause__ = StorageError(causes)
        waiting.set_exception(error)
