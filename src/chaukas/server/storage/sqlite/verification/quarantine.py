"""What was set aside: each attributed item is what its entry commits to."""

from __future__ import annotations

from hashlib import sha256

import apsw
import zstandard

from chaukas.server.storage.entry import KIND_QUARANTINED, ORIGIN_BYTES_MAX, origin_of
from chaukas.server.storage.sqlite.schema import read_meta
from chaukas.server.storage.sqlite.segments import INDEX_BITS
from chaukas.server.storage.sqlite.verification.findings import Findings

__all__ = ["check_quarantine"]

_INDEX_MASK = (1 << INDEX_BITS) - 1
_SQL_ITEMS = (
    "SELECT number, quarantine.tenant_id, quarantine.project_id, digest, arrivals, size_bytes, raw, quarantine.place,"
    " first_received_at_ns <= last_received_at_ns, logs.origin, logs.tenant_id, logs.project_id,"
    " substr(segments.entries, 5, 1), segments.bodies"
    " FROM quarantine LEFT JOIN segments ON segments.place = quarantine.place"
    " LEFT JOIN logs ON logs.log_no = quarantine.place >> 40 ORDER BY number"
)


def check_quarantine(database: apsw.Connection, findings: Findings) -> int:
    """Compare every item; returns how many have no entry (yet), so that nothing vouches for them."""
    server_name = str(read_meta(database, "server_name"))
    decompressor = zstandard.ZstdDecompressor()
    unlogged = 0
    for row in database.execute(_SQL_ITEMS):
        number, tenant_id, project_id, digest, arrivals, size_bytes, raw, place, in_order, origin, *scope, kind, bodies = row
        if digest != sha256(raw).digest() or size_bytes != len(raw):
            findings.add("quarantine", f"item q{number} does not have the digest or the size of its bytes")
        if arrivals < 1 or not in_order:
            findings.add("quarantine", f"item q{number} cannot have arrived {arrivals} times between its times of receipt")
        if place is None or place < 0:
            unlogged += 1
            fits = len(origin_of(server_name, tenant_id, project_id)) <= ORIGIN_BYTES_MAX
            if place is not None and (place != -1 or not tenant_id or fits):
                findings.add("quarantine", f"item q{number} has no entry, and could have one")
        elif kind != bytes((KIND_QUARANTINED,)) or scope != [tenant_id, project_id]:
            findings.add(
                "quarantine", f"item q{number} does not belong to the entry that it names", origin or "", place & _INDEX_MASK
            )
        else:
            try:
                plain = decompressor.decompress(bodies)
            except zstandard.ZstdError:
                continue  # told with the segment
            if plain[8:] != raw:
                findings.add("quarantine", f"the bytes of item q{number} are not those of its entry", origin, place & _INDEX_MASK)
    return unlogged
