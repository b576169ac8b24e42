"""One log of an export: entries, payloads, order, tiles, root. Damage is gathered, not raised: its begin, and how much it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chaukas.verify.checkpoints import Checkpoint
from chaukas.verify.compact_range import CompactRange, fold_subtree
from chaukas.verify.entries import KIND_KEY, LogEntry, decode_entry
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.export_files import ExportFiles
from chaukas.verify.exports import KIND_LOG, KIND_QUERY, ExportedEntry, ExportedLog, read_entries
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.merkle import leaf_hash, verify_inclusion
from chaukas.verify.origins import EventLog, check_event_belongs, read_event_origin
from chaukas.verify.payloads import check_payload
from chaukas.verify.tiles import TILE_WIDTH, TilePath

__all__ = ["CheckedLog", "Findings", "check_complete_log", "check_results"]


@dataclass(slots=True)
class Findings:
    """What is wrong, with the first sentence kept and the rest counted."""

    first: str = ""
    count: int = 0
    only_unsupported: bool = True

    def add(self, what: str | VerificationError, where: str = "") -> None:
        """One more."""
        self.first = self.first or f"{where}: {what}".removeprefix(": ")
        self.count += 1
        self.only_unsupported &= isinstance(what, UnsupportedError)

    def raise_first(self) -> bool:
        """Raise `VerificationError` if there is any, `UnsupportedError` if nothing else; else True, for a step of a report."""
        if self.count:
            more = f" (and {self.count - 1} more)" if self.count > 1 else ""
            raise (UnsupportedError if self.only_unsupported else VerificationError)(self.first + more)
        return True


@dataclass(slots=True)
class CheckedLog:
    """The outcome for one log. `roots` has the tree's root at the sizes that were asked for and reached."""

    log: ExportedLog
    entries: Findings = field(default_factory=Findings)
    tree: Findings = field(default_factory=Findings)
    order: Findings = field(default_factory=Findings)
    roots: dict[int, bytes] = field(default_factory=dict)
    key_changes: list[KeyChange] = field(default_factory=list)
    checked: int = 0
    payloads_missing: int = 0
    sessions_unproven: int = 0
    place: EventLog | None = None
    # Of each session's commitment the next sequence, of each session id its commitment.
    _next_sequence: dict[bytes, int] = field(default_factory=dict)
    _commitment_of: dict[str, bytes] = field(default_factory=dict)
    _floor_ns: int = 0

    def facts(self) -> dict[str, Any]:
        """For the report."""
        return {
            "origin": self.log.origin,
            "size": self.log.size,
            "entries_checked": self.checked,
            "payloads_missing": self.payloads_missing,
            "sessions": len(self._next_sequence),
            "key_changes": [{"old_key": str(change.old), "new_key": str(change.new)} for change in self.key_changes],
        }

    @property
    def not_checked(self) -> list[str]:
        """What no step looked at."""
        left = ["times of receipt are the server's word; the log shows only that they do not fall"]
        if self.payloads_missing:
            left.append(f"{self.log.origin}: {self.payloads_missing} payloads that are not in the export; their entries are")
        if self.sessions_unproven:
            left.append(f"{self.log.origin}: the session of {self.sessions_unproven} events, whose salts are not in the export")
        if self.place is None:
            left.append(f"{self.log.origin}: whether its events belong here; the origin does not name a tenant")
        return left

    def check_entry(self, one: ExportedEntry) -> LogEntry | None:
        """The entry if it is canonical; what else is wrong with it or its payload is gathered."""
        self.checked += 1
        try:
            entry = decode_entry(one.entry)
        except VerificationError as error:
            self.entries.add(error, f"index {one.index}")
            return None
        if one.payload is None:
            self.payloads_missing += 1
            return entry
        try:
            self._check_payload(entry, one, one.payload)
        except VerificationError as error:
            self.entries.add(error, f"index {one.index}")
        return entry

    def _check_payload(self, entry: LogEntry, one: ExportedEntry, payload: bytes) -> None:
        event = check_payload(entry, payload, one.salts)
        if entry.kind == KIND_KEY:
            self.key_changes.append(KeyChange.parse(payload))
        if event is None:
            return
        if self.place is not None:
            check_event_belongs(event, self.place)
        if entry.session_commitment is not None:
            self.sessions_unproven += one.salts.session is None
            known = self._commitment_of.setdefault(event.session_id, entry.session_commitment)
            if known != entry.session_commitment:
                raise VerificationError("its session has another commitment than before: it is counted as two sessions")

    def check_order(self, index: int, entry: LogEntry) -> None:
        """Times of receipt do not fall, sessions are counted without gaps from 0."""
        if entry.received_at_ns < self._floor_ns:
            self.order.add(f"index {index}: its time of receipt is before that of the entry before")
        self._floor_ns = entry.received_at_ns
        if entry.session_commitment is not None:
            expected = self._next_sequence.get(entry.session_commitment, 0)
            if entry.session_sequence != expected:
                self.order.add(f"index {index}: position {entry.session_sequence} of its session, where {expected} comes next")
            self._next_sequence[entry.session_commitment] = (entry.session_sequence or 0) + 1


def check_complete_log(files: ExportFiles, log: ExportedLog, checkpoint: Checkpoint, kept_size: int = 0) -> CheckedLog:
    """All entries of a log against its tiles and its checkpoint; `kept_size` is a further size whose root is wanted.

    1. Every entry and payload is checked, in order.
    2. Leaf hashes make the tiles of level 0, full tiles those of the levels above: each is in the export with these bytes.
    3. The root over all entries is that of the checkpoint.
    4. The order holds; as many entries were read as the checkpoint counts.
    """
    checked = CheckedLog(log, place=read_event_origin(log.origin))
    tree = CompactRange()
    tile_roots: list[bytes] = []
    try:
        for bundle in read_entries(files, KIND_LOG, log):
            # 1. and 4.
            for one in bundle:
                entry = checked.check_entry(one)
                if entry is not None:
                    checked.check_order(one.index, entry)
            # 2.
            leaves = [leaf_hash(one.entry) for one in bundle]
            _compare_tile(checked, files, 0, bundle[0].index // TILE_WIDTH, leaves)
            if len(leaves) == TILE_WIDTH:
                tile_roots.append(fold_subtree(leaves))
            if tree.size < kept_size <= tree.size + len(leaves):
                checked.roots[kept_size] = _root_after(tree, leaves[: kept_size - tree.size])
            tree.extend(leaves)
    except VerificationError as error:
        checked.order.add(error)
    _compare_upper_tiles(checked, files, tile_roots)
    # 3.
    checked.roots[tree.size] = tree.root()
    if tree.size != checkpoint.size:
        checked.order.add(f"only {tree.size} of {checkpoint.size} entries could be read")
    if tree.root() != checkpoint.root:
        checked.tree.add(f"the root over the entries is {tree.root().hex()}, that of the checkpoint {checkpoint.root.hex()}")
    return checked


def _root_after(tree: CompactRange, leaves: Sequence[bytes]) -> bytes:
    grown = CompactRange(tree.size, tree.subtrees)
    grown.extend(leaves)
    return grown.root()


def _compare_upper_tiles(checked: CheckedLog, files: ExportFiles, roots: list[bytes]) -> None:
    """The tiles above level 0, from the roots of the full tiles below."""
    level = 1
    while roots:
        above: list[bytes] = []
        for number, start in enumerate(range(0, len(roots), TILE_WIDTH)):
            hashes = roots[start : start + TILE_WIDTH]
            _compare_tile(checked, files, level, number, hashes)
            if len(hashes) == TILE_WIDTH:
                above.append(fold_subtree(hashes))
        level, roots = level + 1, above


def _compare_tile(checked: CheckedLog, files: ExportFiles, level: int, number: int, hashes: Sequence[bytes]) -> None:
    path = TilePath(level, number, len(hashes))
    try:
        file = files.open(f"{checked.log.path}/{path}")
        try:
            same = file.rest(len(hashes) * 32) == b"".join(hashes)
        finally:
            file.close()
    except VerificationError as error:
        checked.tree.add(error, str(path))
    else:
        if not same:
            checked.tree.add(f"{path} is not what the entries lead to")


def check_results(files: ExportFiles, log: ExportedLog, checkpoint: Checkpoint) -> CheckedLog:
    """The results of a query in one log: each is checked as in a complete log, and has an inclusion proof of its own."""
    checked = CheckedLog(log, place=read_event_origin(log.origin))
    last = -1
    try:
        for bundle in read_entries(files, KIND_QUERY, log):
            for one in bundle:
                checked.check_entry(one)
                try:
                    verify_inclusion(leaf_hash(one.entry), one.index, checkpoint.size, one.proof or (), checkpoint.root)
                except VerificationError as error:
                    checked.tree.add(error)
                if one.index <= last:
                    checked.entries.add(f"index {one.index} stands after index {last}")
                last = one.index
    except VerificationError as error:
        checked.entries.add(error)
    return checked
