"""Ids that look as their framework makes them and are the same in every run.

Nothing here is random: the demonstration is safe to repeat because the same moment gives the same ids, and because the id
of an event follows from its content, so that an edition with other words has other ids instead of a conflict.
"""

from __future__ import annotations

import hashlib
import uuid

__all__ = ["hex_id", "time_ordered_uuid"]


def time_ordered_uuid(time_ns: int, *parts: object) -> str:
    """A UUID of version 7 (RFC 9562 §5.7): milliseconds since 1970; what is random elsewhere follows from `parts`."""
    value = (time_ns // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(_digest(*parts)[:10])
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


def hex_id(digits: int, *parts: object) -> str:
    """Hexadecimal digits that follow from `parts`: 32 for a trace and 16 for a span of W3C Trace Context, at most 64."""
    return _digest(*parts).hex()[:digits]


def _digest(*parts: object) -> bytes:
    joined = b"\0".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)
    return hashlib.sha256(joined).digest()
