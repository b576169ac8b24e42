"""What a filter needs of consecutive events, as columns: fixed-width arrays and small dictionaries of strings.

A slice (one commit's events within one block) and a sealed block (1,024 events) have the same form. Numbers are little-endian.
Strings are numbered within the slice or block; number 0 always is "absent". Everything here can be rebuilt from the events.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence

import zstandard

from chaukas.server.storage.contract import EventFilter

__all__ = ["EVENTS_PER_BLOCK", "ColumnSlice", "SliceBuilder", "mask_of"]

EVENTS_PER_BLOCK = 1024

_FORMAT = 1
_HEADER = struct.Struct("<BII")
_LENGTHS = struct.Struct("<5I")
#: Name and array type code of the fixed-width columns, in their order.
_ARRAYS: tuple[tuple[str, str], ...] = (
    ("us", "q"),
    ("sub", "H"),
    ("id_key", "Q"),
    ("session", "H"),
    ("trace", "H"),
    ("span", "H"),
    ("agent", "H"),
    ("tagset", "H"),
    ("type", "i"),
    ("status", "i"),
    ("severity", "i"),
)
_ROW_BYTES = sum(array(code).itemsize for _, code in _ARRAYS)
#: Bits of a summary mask: one per small number, the last one for everything else (never a false negative).
_MASK_OTHER = 62
#: In place of the nanoseconds (0 to 999) where an index of the log holds an entry that is no event.
_NO_EVENT = 0xFFFF
#: Bits of the format byte: the body is compressed; not every index holds an event.
_COMPRESSED, _HAS_GAPS = 0x80, 0x40


def mask_of(numbers: Iterable[int]) -> int:
    """A 63-bit mask of the numbers that occur; numbers outside 0 to 61 share the last bit."""
    mask = 0
    for number in numbers:
        mask |= 1 << (number if 0 <= number < _MASK_OTHER else _MASK_OTHER)
    return mask


class SliceBuilder:
    """Collects the columns of events that are appended; the appender fills the lists directly, it is the hot path."""

    __slots__ = (
        "agent",
        "agents",
        "id_key",
        "session",
        "session_numbers",
        "severity",
        "span",
        "spans",
        "status",
        "sub",
        "tagset",
        "tagsets",
        "trace",
        "traces",
        "type",
        "us",
    )

    def __init__(self) -> None:
        self.us: list[int] = []
        self.sub: list[int] = []
        self.id_key: list[int] = []
        self.session: list[int] = []
        self.trace: list[int] = []
        self.span: list[int] = []
        self.agent: list[int] = []
        self.tagset: list[int] = []
        self.type: list[int] = []
        self.status: list[int] = []
        self.severity: list[int] = []
        self.session_numbers: dict[int, int] = {0: 0}
        self.traces: dict[str, int] = {"": 0}
        self.spans: dict[str, int] = {"": 0}
        self.agents: dict[str, int] = {"": 0}
        self.tagsets: dict[tuple[str, ...], int] = {(): 0}

    def add_gap(self, us: int, entries: int) -> None:
        """Add indexes of entries that are no events; `us` is any time, it only widens the summary of the block."""
        self.us += [us] * entries
        self.sub += [_NO_EVENT] * entries
        for name in ("id_key", "session", "trace", "span", "agent", "tagset", "type", "status", "severity"):
            getattr(self, name).extend([0] * entries)

    def extend(self, columns: ColumnSlice) -> None:
        """Append another slice, renumbering its dictionaries."""
        self.us += columns.ints("us")
        self.sub += columns.ints("sub")
        self.id_key += columns.ints("id_key")
        self.type += columns.ints("type")
        self.status += columns.ints("status")
        self.severity += columns.ints("severity")
        self.session += _renumber(columns.ints("session"), self.session_numbers, columns.session_numbers())
        self.trace += _renumber(columns.ints("trace"), self.traces, columns.strings("trace"))
        self.span += _renumber(columns.ints("span"), self.spans, columns.strings("span"))
        self.agent += _renumber(columns.ints("agent"), self.agents, columns.strings("agent"))
        self.tagset += _renumber(columns.ints("tagset"), self.tagsets, [tuple(tags) for tags in columns.tagsets()])

    def encode(self, compressor: zstandard.ZstdCompressor | None = None) -> bytes:
        """The stored form; compressed when a compressor is given."""
        arrays = b"".join(_to_bytes(code, getattr(self, name)) for name, code in _ARRAYS)
        dictionaries = (
            _to_bytes("q", list(self.session_numbers)),
            _json(list(self.traces)),
            _json(list(self.spans)),
            _json(list(self.agents)),
            _json(list(self.tagsets)),
        )
        body = b"".join((arrays, _LENGTHS.pack(*map(len, dictionaries)), *dictionaries))
        form = _FORMAT | (0 if compressor is None else _COMPRESSED) | (_HAS_GAPS if _NO_EVENT in self.sub else 0)
        header = _HEADER.pack(form, len(self.us), len(body))
        return header + (body if compressor is None else compressor.compress(body))


class ColumnSlice:
    """The columns of `events` consecutive events; arrays and dictionaries are decoded when first asked for."""

    __slots__ = ("_arrays", "_body", "_dictionaries", "_has_gaps", "_offsets", "events")

    def __init__(self, blob: bytes, decompressor: zstandard.ZstdDecompressor) -> None:
        form, self.events, size = _HEADER.unpack_from(blob)
        if form & ~(_COMPRESSED | _HAS_GAPS) != _FORMAT:
            raise ValueError(f"unknown column format {form & ~(_COMPRESSED | _HAS_GAPS)}")
        self._has_gaps = bool(form & _HAS_GAPS)
        body = blob[_HEADER.size :]
        self._body = decompressor.decompress(body, max_output_size=size) if form & _COMPRESSED else body
        if len(self._body) != size:
            raise ValueError("columns are truncated")
        self._arrays: dict[str, array[int]] = {}
        self._dictionaries: dict[str, list[str]] = {}
        at = _ROW_BYTES * self.events
        lengths = _LENGTHS.unpack_from(self._body, at)
        at += _LENGTHS.size
        self._offsets: list[tuple[int, int]] = []
        for length in lengths:
            self._offsets.append((at, at + length))
            at += length

    @property
    def size_bytes(self) -> int:
        """Decoded size, for the cache's bound."""
        return len(self._body)

    def ints(self, name: str) -> array[int]:
        """A fixed-width column by name."""
        found = self._arrays.get(name)
        if found is None:
            at = 0
            for column, code in _ARRAYS:
                width = array(code).itemsize
                if column == name:
                    found = self._arrays[name] = _from_bytes(code, self._body[at : at + width * self.events])
                    break
                at += width * self.events
            else:
                raise KeyError(name)
        return found

    def positions_of_id(self, key: int) -> list[int]:
        """Where an event id's key stands; found in C, because a client that sends its backlog again asks for every event."""
        keys = self.ints("id_key")
        positions: list[int] = []
        at = 0
        try:
            while True:
                at = keys.index(key, at)
                positions.append(at)
                at += 1
        except ValueError:
            return positions

    def session_numbers(self) -> array[int]:
        """Session numbers of this slice; number 0 is "no session"."""
        start, end = self._offsets[0]
        return _from_bytes("q", self._body[start:end])

    def strings(self, name: str) -> list[str]:
        """The dictionary of `trace`, `span` or `agent`."""
        found = self._dictionaries.get(name)
        if found is None:
            start, end = self._offsets[("trace", "span", "agent").index(name) + 1]
            found = self._dictionaries[name] = json.loads(self._body[start:end])
        return found

    def tagsets(self) -> list[list[str]]:
        """The distinct tag lists."""
        start, end = self._offsets[4]
        decoded: list[list[str]] = json.loads(self._body[start:end])
        return decoded

    def select(self, wanted: EventFilter, session_no: int | None) -> Sequence[int]:
        """Positions (0-based, ascending) of the events that match everything but tenant and project, exactly."""
        positions: Sequence[int] = range(self.events)
        if self._has_gaps:
            positions = [position for position, sub in enumerate(self.ints("sub")) if sub != _NO_EVENT]
        if session_no is not None:
            positions = self._equal(positions, "session", _index_of(list(self.session_numbers()), session_no))
        for name, value in (("span", wanted.span_id), ("trace", wanted.trace_id), ("agent", wanted.agent_id)):
            if value is not None and positions:
                positions = self._equal(positions, name, _index_of(self.strings(name), value))
        for name, numbers in (("type", wanted.types), ("status", wanted.statuses), ("severity", wanted.severities)):
            if numbers and positions:
                column = self.ints(name)
                positions = [position for position in positions if column[position] in numbers]
        if wanted.tags and positions:
            fitting = {number for number, tags in enumerate(self.tagsets()) if wanted.tags.issubset(tags)}
            column = self.ints("tagset")
            positions = [position for position in positions if column[position] in fitting] if fitting else []
        if (wanted.start_ns is not None or wanted.end_ns is not None) and positions:
            positions = self._within(positions, wanted.start_ns, wanted.end_ns)
        return positions

    def _equal(self, positions: Sequence[int], name: str, number: int) -> list[int]:
        if number < 0:
            return []
        column = self.ints(name)
        if isinstance(positions, range):
            return [position for position, value in enumerate(column) if value == number]
        return [position for position in positions if column[position] == number]

    def _within(self, positions: Sequence[int], start_ns: int | None, end_ns: int | None) -> list[int]:
        us, sub = self.ints("us"), self.ints("sub")
        if start_ns is not None:
            positions = [position for position in positions if us[position] * 1000 + sub[position] >= start_ns]
        if end_ns is not None:
            positions = [position for position in positions if us[position] * 1000 + sub[position] < end_ns]
        return list(positions)


def _index_of(items: list, wanted: object) -> int:  # type: ignore[type-arg]
    try:
        return items.index(wanted)
    except ValueError:
        return -1


def _renumber(column: Sequence[int], known: dict, incoming: Iterable) -> list[int]:  # type: ignore[type-arg]
    numbers = [known.setdefault(value, len(known)) for value in incoming]
    return [numbers[number] for number in column]


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _to_bytes(code: str, numbers: Sequence[int]) -> bytes:
    values = array(code, numbers)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _from_bytes(code: str, data: bytes) -> array[int]:
    values: array[int] = array(code)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
