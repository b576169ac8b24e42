"""Signed heads: the tree over each log's entries grows, and its newest root is signed.

An entry has its place in the log with the transaction that acknowledges it; everything here follows from committed entries and is
done beside ingest. For each log that has grown

1. the entries behind the newest head are read back from the store,
2. the tree is extended by them, from the edge of the tree of that head, whose root must be the one that was signed,
3. the result is compared with the head that is kept outside the store: it must not be older, nor another tree of the same size,
4. the new head is signed,
5. tiles and head are stored, in one transaction for all logs of a round,
6. the head is kept outside the store too.

Only then is it shown. A crash after 5 leaves a head in the store that nobody has seen; the next one continues it. So no two heads
that were ever signed contradict each other, unless somebody changed the store, and then 2 or 3 says so and nothing is signed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaukas.server.errors import CannotServeError, ChaukasError, StorageError
from chaukas.server.storage.log_contract import LogInfo, LogStore, SignedHead, Tile, TreeGrowth
from chaukas.server.tlog.kept_heads import KeptHead, KeptHeads
from chaukas.server.tlog.keys import SigningKey
from chaukas.server.tlog.proving import root_of_size
from chaukas.server.tlog.signing import sign_checkpoint
from chaukas.server.tlog.tile_reading import leaf_hashes, with_tiles
from chaukas.server.tlog.tiling import TileEdge, read_edge
from chaukas.verify.errors import VerificationError
from chaukas.verify.tiles import TilePath

__all__ = ["Sequencer", "SequencerFigures"]

#: Entries that are read and hashed at once.
_ENTRIES_AT_ONCE = 4_096
#: Logs whose heads share a transaction.
_LOGS_AT_ONCE = 256
#: Items of the quarantine that get their entries in one transaction.
_QUARANTINED_AT_ONCE = 64
#: Edges of trees that are remembered between rounds, each at most some 16 KiB.
_EDGES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class SequencerFigures:
    """What a round did, for metrics."""

    heads: int
    entries: int
    duration_s: float
    failed: bool


class Sequencer:
    """The one signer of a server's logs; its methods belong to one event loop."""

    def __init__(
        self,
        store: LogStore,
        keys: Sequence[SigningKey],
        kept: KeptHeads,
        *,
        interval_s: float = 1.0,
        on_round: Callable[[SequencerFigures], None] | None = None,
        on_problem: Callable[[str], None] | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`keys` sign every head: one, and the new one too while the key is being replaced."""
        self._store = store
        self._keys = list(keys)
        self._kept = kept
        self._interval_s = interval_s
        self._on_round = on_round
        self._on_problem = on_problem
        self._now_ns = now_ns
        self._edges: OrderedDict[int, TileEdge] = OrderedDict()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def key(self) -> SigningKey:
        """The key that signs."""
        return self._keys[-1]

    @property
    def is_rotating(self) -> bool:
        """Whether two keys sign, because one is being replaced."""
        return len(self._keys) > 1

    def verifier_key(self, origin: str) -> str:
        """The verifier key of a log (C2SP signed-note: name, key id, key)."""
        return str(self.key.log_key(origin))

    async def check_kept(self) -> None:
        """That the store holds at least what was signed before, and the same.

        Raises `CannotServeError` for a store that was put back to an older state, or that was changed.
        """
        logs = {log.origin: log for log in await self._store.logs(None, None)}
        for kept in self._kept.all():
            log = logs.get(kept.origin)
            if log is None or log.size < kept.size:
                found = 0 if log is None else log.size
                raise CannotServeError(
                    f"the log {kept.origin} has {found} entries, but a head of {kept.size} entries was signed: the data directory"
                    " is an older copy. Put the newer one back; or keep this one for reading only (chaukas"
                    " verify, chaukas export) and go on in empty data and state directories under another server_name, because a"
                    " log that went on from here would contradict what was signed"
                )
            head = await self._store.head(log.log_id)
            if head is not None and (head.size, head.root) == (kept.size, kept.root):
                continue
            if await self._root(log, kept.size) != kept.root:
                raise CannotServeError(
                    f"the log {kept.origin} is not the one whose first {kept.size} entries were signed: the data directory was"
                    " changed. Run chaukas verify to see where, and put back a copy that is whole"
                )

    async def _root(self, log: LogInfo, size: int) -> bytes:
        """The root of a size that was signed, from the tiles where they reach, else from all entries."""
        try:
            return await with_tiles(self._store, log.log_id, lambda read: root_of_size(size, read))
        except (StorageError, VerificationError):
            edge = TileEdge()
            while edge.size < size:
                entries = await self._store.entries(log.log_id, edge.size, min(size, edge.size + _ENTRIES_AT_ONCE))
                edge.extend(leaf_hashes(entries))
            return edge.root()

    async def start(self) -> None:
        """Sign what has grown, once per interval from now on."""
        self._task = asyncio.create_task(self._sign_for_ever(), name="chaukas-sequencer")

    async def stop(self) -> None:
        """Sign what has grown one last time, and end. Idempotent."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._round()

    async def head_of(self, log: LogInfo) -> SignedHead:
        """A signed head that covers all entries which were committed when it was asked for.

        Raises `StorageError` when none can be signed.
        """
        head = await self._store.head(log.log_id)
        if head is not None and head.size >= log.size:
            return head
        async with self._lock:
            current = await self._store.log(log.log_id)
            if current is None:
                raise StorageError(f"the log {log.origin} is gone")
            await self._sign([current])
        head = await self._store.head(log.log_id)
        if head is None:
            raise StorageError(f"the log {log.origin} has no signed head")
        return head

    async def sign_all(self) -> None:
        """Sign everything that has grown. Raises `StorageError`."""
        async with self._lock:
            logs = await self._store.grown_logs()
            for start in range(0, len(logs), _LOGS_AT_ONCE):
                await self._sign(logs[start : start + _LOGS_AT_ONCE])

    async def _sign_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self._round()

    async def _round(self) -> None:
        """One round; a failure is told, and the next round tries again."""
        try:
            # What was set aside gets its entry before the heads of this round are signed.
            while await self._store.log_quarantined(_QUARANTINED_AT_ONCE) == _QUARANTINED_AT_ONCE:
                pass
            await self.sign_all()
        except (ChaukasError, VerificationError, OSError) as error:
            self._edges.clear()
            if self._on_problem is not None:
                self._on_problem(str(error))
            if self._on_round is not None:
                self._on_round(SequencerFigures(0, 0, 0.0, failed=True))

    async def _sign(self, logs: Sequence[LogInfo]) -> None:
        began = time.perf_counter()
        growths: list[TreeGrowth] = []
        entries = 0
        for log in logs:
            growth, added = await self._grow(log)
            if growth is not None:
                growths.append(growth)
                entries += added
        if not growths:
            return
        # 5.
        try:
            await self._store.grow_trees(growths)
        except BaseException:
            self._edges.clear()
            raise
        # 6.
        origins = {log.log_id: log.origin for log in logs}
        heads = [KeptHead(origins[growth.log_id], growth.head.size, growth.head.root) for growth in growths]
        await asyncio.to_thread(self._kept.keep, heads)
        if self._on_round is not None:
            self._on_round(SequencerFigures(len(growths), entries, time.perf_counter() - began, failed=False))

    async def _grow(self, log: LogInfo) -> tuple[TreeGrowth | None, int]:
        """The next head of a log, unsigned by anybody before; None when the newest one covers it."""
        newest = await self._store.head(log.log_id)
        edge = await self._edge(log, newest)
        start = edge.size
        if start == log.size:
            return None, 0
        tiles: dict[tuple[int, int], bytes] = {}
        # 1. and 2.
        while edge.size < log.size:
            entries = await self._store.entries(log.log_id, edge.size, min(log.size, edge.size + _ENTRIES_AT_ONCE))
            if not entries:
                raise StorageError(f"the log {log.origin} ends at {edge.size}, not at {log.size}")
            for path, hashes in await asyncio.to_thread(_extend, edge, entries):
                tiles[path.level or 0, path.number] = hashes
        tiles |= {(path.level, path.number): hashes for path, hashes in edge.partial_tiles() if path.level}
        root = edge.root()
        # 3.
        kept = self._kept.get(log.origin)
        if kept is not None and (kept.size > log.size or (kept.size == log.size and kept.root != root)):
            raise StorageError(
                f"the log {log.origin} contradicts the head of {kept.size} entries that was signed; nothing is signed"
            )
        # 4.
        note = bytes(sign_checkpoint(log.origin, log.size, root, self._keys))
        head = SignedHead(log.size, root, self._now_ns(), note)
        growth = TreeGrowth(log.log_id, tuple(Tile(*name, hashes) for name, hashes in sorted(tiles.items())), head)
        self._edges[log.log_id] = edge
        self._edges.move_to_end(log.log_id)
        if len(self._edges) > _EDGES_MAX:
            self._edges.popitem(last=False)
        return growth, log.size - start

    async def _edge(self, log: LogInfo, newest: SignedHead | None) -> TileEdge:
        """The edge of the tree of the newest head. It leaves memory until the growth is stored: a failure reads it again."""
        size = 0 if newest is None else newest.size
        edge = self._edges.pop(log.log_id, None)
        if edge is not None and edge.size == size:
            return edge
        if newest is None:
            return TileEdge()
        edge = await with_tiles(self._store, log.log_id, lambda read: read_edge(size, read))
        if edge.root() != newest.root:
            raise StorageError(f"the tree of the log {log.origin} is not the one whose head of {size} entries was signed")
        return edge


def _extend(edge: TileEdge, entries: list[bytes]) -> list[tuple[TilePath, bytes]]:
    return edge.extend(leaf_hashes(entries))
