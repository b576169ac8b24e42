"""A second, naive reading of the SQLite record: what is derived is computed again from the events and must be what stands there.

It shares no code with the driver: entries are read with the generated classes, everything else by counting. The connection is
of the driver's SQLite library all the same: two copies of SQLite in one process break each other's file locks.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path

import apsw
import zstandard

from chaukas.audit.v1.log_entry_pb2 import LogEntry
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["KeptEvent", "check_record", "heads_of", "leaves_of", "tree_hash"]

_HOUR_US = 3_600_000_000
_KINDS = {"event_id": 0, "session": 1, "trace": 2, "span": 3, "agent": 4, "tag": 5}


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event as the record holds it."""

    log_no: int
    origin: str
    index: int
    stored: bytes
    event: Event
    entry: LogEntry
    #: Envelope salt, content salt.
    salts: bytes
    digest: bytes
    timestamp_us: int


@dataclass(frozen=True, slots=True)
class OtherEntry:
    """An entry that is no event: quarantined bytes, or a change of the key."""

    log_no: int
    index: int
    received_at_ns: int


def check_record(directory: Path, *, events_per_block: int = 1024) -> list[KeptEvent]:
    """All events of the record in `directory`, in the order of logs and indices, after everything was found consistent."""
    with closing(apsw.Connection(str(directory / "record.db"), flags=apsw.SQLITE_OPEN_READONLY)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        events, others = _read_events(database)
        _check_trees(database, directory)
        _check_quarantine(database)
        _check_sessions(database, events)
        _check_counts(database, events)
        _check_blocks(database, events, others, events_per_block)
        _check_postings(database, events, events_per_block)
        return events


def _read_events(database: apsw.Connection) -> tuple[list[KeptEvent], list[OtherEntry]]:
    """Every log dense from index 0, every entry committing to what stands beside it, leaves chained up to the head."""
    events: list[KeptEvent] = []
    all_others: list[OtherEntry] = []
    logs = database.execute(
        "SELECT log_no, log_id, origin, next_index, received_at_ns, last_leaf, other_entries FROM logs"
    ).fetchall()
    held = 0
    for log_no, log_id, origin, next_index, received_at_ns, last_leaf, other_entries in logs:
        others: list[OtherEntry] = []
        assert log_id == int.from_bytes(sha256(origin.encode()).digest()[:8], "big") & (1 << 63) - 1
        segments = database.execute(
            "SELECT * FROM segments WHERE place BETWEEN ? AND ? ORDER BY place", (log_no << 40, (log_no << 40) + (1 << 40) - 1)
        ).fetchall()
        held += len(segments)
        leaf, index, latest = b"", 0, 0
        for place, count, at_ns, leaf_before, salts, digests, entries, bodies in segments:
            assert place == log_no << 40 | index
            assert leaf_before == leaf
            assert latest <= at_ns <= received_at_ns
            latest = at_ns
            for place_in, (stored, entry, envelope_bytes) in enumerate(_parts(count, entries, bodies)):
                salt = salts[32 * place_in : 32 * place_in + 32]
                # Without digests all events of the segment stand as they were received.
                if LogEntry.FromString(entry).kind != 1:
                    others.append(_other(log_no, index, stored, entry, envelope_bytes, salt, at_ns))
                    leaf = sha256(b"\x00" + entry).digest()
                    index += 1
                    continue
                digest = digests[32 * place_in : 32 * place_in + 32] if digests else sha256(salt + stored).digest()
                events.append(_kept(log_no, origin, index, stored, entry, envelope_bytes, salt, digest, at_ns))
                leaf = sha256(b"\x00" + entry).digest()
                index += 1
        assert (index, leaf) == (next_index, last_leaf)
        assert len(others) == other_entries
        all_others += others
    assert held == database.execute("SELECT count(*) FROM segments").get, "segments of no log"
    ids = [(kept.log_no, kept.event.event_id) for kept in events]
    assert len(set(ids)) == len(ids), "an event is stored twice"
    return events, all_others


def _parts(count: int, entries: bytes, bodies: bytes) -> list[tuple[bytes, bytes, int]]:
    plain = zstandard.ZstdDecompressor().decompress(bodies)
    lengths = struct.unpack(f"<{2 * count}I", plain[: 8 * count])
    at_body, at_entry = 8 * count, 0
    parts = []
    for place in range(count):
        body, envelope = lengths[2 * place : 2 * place + 2]
        length = entries[at_entry]
        parts.append((plain[at_body : at_body + body], entries[at_entry + 1 : at_entry + 1 + length], envelope))
        at_body += body
        at_entry += 1 + length
    assert (at_body, at_entry) == (len(plain), len(entries))
    return parts


def _kept(
    log_no: int,
    origin: str,
    index: int,
    stored: bytes,
    packed: bytes,
    envelope_bytes: int,
    salts: bytes,
    digest: bytes,
    at_ns: int,
) -> KeptEvent:
    entry = LogEntry.FromString(packed)
    assert entry.SerializeToString(deterministic=True) == packed
    assert (entry.version, entry.kind, entry.received_at_ns) == (1, 1, at_ns)
    assert entry.envelope_commitment == sha256(salts[:16] + stored[:envelope_bytes]).digest()
    assert entry.content_commitment == sha256(salts[16:] + stored[envelope_bytes:]).digest()
    event = Event.FromString(stored)
    timestamp_us = event.timestamp.seconds * 1_000_000 + event.timestamp.nanos // 1_000
    return KeptEvent(log_no, origin, index, stored, event, entry, salts, digest, timestamp_us)


def _other(log_no: int, index: int, stored: bytes, packed: bytes, envelope_bytes: int, salts: bytes, at_ns: int) -> OtherEntry:
    entry = LogEntry.FromString(packed)
    assert entry.SerializeToString(deterministic=True) == packed
    assert (entry.version, entry.received_at_ns, envelope_bytes) == (1, at_ns, 0)
    assert entry.kind in {2, 3}
    assert not entry.session_commitment
    assert entry.envelope_commitment == sha256(salts[:16]).digest()
    assert entry.content_commitment == sha256(salts[16:] + stored).digest()
    return OtherEntry(log_no, index, at_ns)


def _check_trees(database: apsw.Connection, directory: Path) -> None:
    """Tiles hold the hashes of the entries, heads the roots, and the state directory beside the data knows no other head."""
    kept: dict[str, tuple[int, str]] = {}
    path = directory.parent / "state" / "signed-heads"
    for line in path.read_text().splitlines() if path.exists() else []:
        origin, size, root, _ = line.split(" ")
        kept[origin] = int(size), root
    for log_no, origin, head_size in database.execute("SELECT log_no, origin, head_size FROM logs").fetchall():
        leaves: list[bytes] = []
        for events, entries, bodies in database.execute(
            "SELECT events, entries, bodies FROM segments WHERE place >> 40 = ? ORDER BY place", (log_no,)
        ):
            leaves += [sha256(b"\x00" + entry).digest() for _, entry, _ in _parts(events, entries, bodies)]
        tiles = {
            ((place >> 36) & 15, place & (1 << 36) - 1): hashes
            for place, hashes in database.execute("SELECT place, hashes FROM tiles WHERE place >> 40 = ?", (log_no,))
        }
        level, hashes = 0, leaves[:head_size]
        expected = {}
        while hashes:
            for number in range(0, len(hashes), 256):
                tile = hashes[number : number + 256]
                if level or len(tile) == 256:
                    expected[level, number // 256] = b"".join(tile)
            hashes = [tree_hash(hashes[at : at + 256], leaf=False) for at in range(0, len(hashes) // 256 * 256, 256)]
            level += 1
        assert tiles == expected
        sizes = []
        for place, root, note in database.execute("SELECT place, root, note FROM heads WHERE place >> 40 = ?", (log_no,)):
            size = place & (1 << 40) - 1
            sizes.append(size)
            assert root == tree_hash(leaves[:size], leaf=False)
            assert note.decode().split("\n")[:3] == [origin, str(size), b64encode(root).decode()]
        assert max(sizes, default=0) == head_size
        if origin in kept:
            size, root_hex = kept[origin]
            assert tree_hash(leaves[:size], leaf=False).hex() == root_hex


def leaves_of(directory: Path) -> dict[str, list[bytes]]:
    """The leaf hashes of every log, by its origin."""
    with closing(apsw.Connection(str(directory / "record.db"), flags=apsw.SQLITE_OPEN_READONLY)) as database:
        return {
            origin: [
                sha256(b"\x00" + entry).digest()
                for events, entries, bodies in database.execute(
                    "SELECT events, entries, bodies FROM segments WHERE place >> 40 = ? ORDER BY place", (log_no,)
                )
                for _, entry, _ in _parts(events, entries, bodies)
            ]
            for log_no, origin in database.execute("SELECT log_no, origin FROM logs").fetchall()
        }


def heads_of(directory: Path) -> list[tuple[str, int, bytes]]:
    """Origin, size and root of every signed head that the record holds."""
    with closing(apsw.Connection(str(directory / "record.db"), flags=apsw.SQLITE_OPEN_READONLY)) as database:
        return database.execute(
            "SELECT origin, place & ((1 << 40) - 1), root FROM heads JOIN logs ON log_no = place >> 40"
        ).fetchall()


def tree_hash(leaves: list[bytes], *, leaf: bool) -> bytes:
    """RFC 6962 section 2.1, as it is written there; `leaf` says whether the list holds entries or their hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest() if leaf else leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_hash(leaves[:half], leaf=leaf) + tree_hash(leaves[half:], leaf=leaf)).digest()


def _check_quarantine(database: apsw.Connection) -> None:
    """Items that have an entry are what the entry holds."""
    for digest, raw, size, place in database.execute("SELECT digest, raw, size_bytes, place FROM quarantine").fetchall():
        assert (digest, size) == (sha256(raw).digest(), len(raw))
        if place is not None and place >= 0:
            ((count, entries, bodies),) = database.execute(
                "SELECT events, entries, bodies FROM segments WHERE place = ?", (place,)
            ).fetchall()
            ((stored, entry, _),) = _parts(count, entries, bodies)
            assert stored == raw
            assert LogEntry.FromString(entry).kind == 2


def _check_sessions(database: apsw.Connection, events: list[KeptEvent]) -> None:
    """Sequences dense, commitments with the session's one salt, first and last times, hours."""
    members: dict[tuple[int, str], list[KeptEvent]] = defaultdict(list)
    for kept in events:
        if kept.event.session_id:
            members[kept.log_no, kept.event.session_id].append(kept)
        else:
            assert not kept.entry.session_commitment
            assert not kept.entry.HasField("session_sequence")
    rows = database.execute(
        "SELECT log_no, session_id, session_no, salt, events, first_us, last_us, hour FROM sessions"
    ).fetchall()
    assert {row[:2] for row in rows} == members.keys()
    spans: set[tuple[int, int, int]] = set()
    by_hour: dict[tuple[int, int], list[int]] = defaultdict(list)
    for log_no, session_id, number, salt, count, first_us, last_us, hour in rows:
        kept_events = members[log_no, session_id]
        times = [kept.timestamp_us for kept in kept_events]
        hours = {time // _HOUR_US for time in times}
        assert (count, first_us, last_us) == (len(times), min(times), max(times))
        assert hour == (min(hours) if len(hours) == 1 else None)
        assert [kept.entry.session_sequence for kept in kept_events] == list(range(count))
        assert {kept.entry.session_commitment for kept in kept_events} == {sha256(salt + session_id.encode()).digest()}
        if len(hours) == 1:
            by_hour[log_no, min(hours)].append(last_us - first_us)
        else:
            spans |= {(log_no, hour, number) for hour in hours}
    assert set(database.execute("SELECT log_no, hour, session_no FROM session_spans")) == spans
    rows_by_hour = list(database.execute("SELECT log_no, hour, sessions, duration_us FROM session_hours"))
    held = {row[:2]: row[2:] for row in rows_by_hour if row[2:] != (0, 0)}
    assert held == {key: (len(durations), sum(durations)) for key, durations in by_hour.items()}
    for log_no, sessions, duration_us in database.execute(
        "SELECT log_no, sessions, session_duration_s * 1000000 + session_duration_us FROM logs"
    ):
        durations = [last_us - first_us for number, *_, first_us, last_us, _hour in rows if number == log_no]
        assert (sessions, duration_us) == (len(durations), sum(durations))


def _check_counts(database: apsw.Connection, events: list[KeptEvent]) -> None:
    totals: dict[tuple[int, int], int] = defaultdict(int)
    hours: dict[tuple[int, int, int], int] = defaultdict(int)
    for kept in events:
        totals[kept.log_no, kept.event.type] += 1
        hours[kept.log_no, kept.timestamp_us // _HOUR_US, kept.event.type] += 1
    assert {row[:2]: row[2] for row in database.execute("SELECT log_no, type, events FROM totals")} == totals
    assert {row[:3]: row[3] for row in database.execute("SELECT log_no, hour, type, events FROM hours")} == hours


def _mask(numbers: set[int]) -> int:
    return sum({1 << (number if 0 <= number < 62 else 62) for number in numbers})


def _check_blocks(database: apsw.Connection, events: list[KeptEvent], others: list[OtherEntry], events_per_block: int) -> None:
    """Summaries are those of the block's entries; sealed blocks have one row of columns, open ones slices that cover them."""
    members: dict[int, list[tuple[int, int, int, int, int]]] = defaultdict(list)
    for kept in events:
        place = kept.log_no << 30 | kept.index // events_per_block
        members[place].append((kept.index, kept.timestamp_us, kept.event.type, kept.event.status, kept.event.severity))
    for other in others:
        members[other.log_no << 30 | other.index // events_per_block].append(
            (other.index, other.received_at_ns // 1_000, 0, 0, 0)
        )
    expected = {
        place: (
            len(block),
            min(us for _, us, *_ in block),
            max(us for _, us, *_ in block),
            *(_mask({row[column] for row in block}) for column in (2, 3, 4)),
        )
        for place, block in members.items()
    }
    assert {row[0]: row[1:] for row in database.execute("SELECT * FROM blocks")} == expected
    full = {place for place, block in members.items() if len(block) == events_per_block}
    assert {place for (place,) in database.execute("SELECT place FROM block_columns")} == full
    open_until: dict[int, int] = {}
    for place, columns in database.execute("SELECT place, columns FROM tail ORDER BY place"):
        log_no, index = place >> 40, place & (1 << 40) - 1
        block = log_no << 30 | index // events_per_block
        assert block not in full
        assert index == open_until.get(block, index // events_per_block * events_per_block)
        open_until[block] = index + struct.unpack_from("<BII", columns)[1]
    assert open_until == {place: max(block)[0] + 1 for place, block in members.items() if len(block) < events_per_block}


def _check_postings(database: apsw.Connection, events: list[KeptEvent], events_per_block: int) -> None:
    """The table and what is pending hold a posting for every id and tag of every block, and nothing else."""
    secret = database.execute("SELECT value FROM meta WHERE key = 'key_secret'").get
    numbers = {row[:2]: row[2] for row in database.execute("SELECT log_no, session_id, session_no FROM sessions")}
    expected: set[bytes] = set()
    for kept in events:
        event, log_no = kept.event, kept.log_no
        lists = [("event_id", _key(secret, event.event_id))]
        if event.session_id:
            lists.append(("session", numbers[log_no, event.session_id]))
        for name, text in (("trace", event.trace_id), ("span", event.span_id), ("agent", event.agent_id)):
            if text:
                lists.append((name, _key(secret, text)))
        lists += [("tag", _key(secret, tag)) for tag in event.tags]
        block = kept.index // events_per_block
        expected |= {struct.pack(">IQI", log_no << 3 | _KINDS[name], key, block) for name, key in lists}
    held = {entry for (entry,) in database.execute("SELECT entry FROM postings")}
    for (entries,) in database.execute("SELECT entries FROM pending_postings"):
        held |= {entries[at : at + 16] for at in range(0, len(entries), 16)}
    assert held == expected


def _key(secret: bytes, text: str) -> int:
    number = int.from_bytes(blake2b(text.encode(), digest_size=8, key=secret).digest(), "big") >> 1
    if len(text) == 36 and text[14] == "7":
        try:
            milliseconds = int(text[:8] + text[9:13], 16)
        except ValueError:
            return number
        return (milliseconds & (1 << 48) - 1) >> 10 << 25 | number & (1 << 25) - 1
    return number
