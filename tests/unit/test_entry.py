"""The format of the record: entries written by hand, against the generated classes and against frozen vectors."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaukas.audit.v1.log_entry_pb2 import LogEntry
from chaukas.server.storage.entry import (
    ENTRY_VERSION,
    KIND_EVENT,
    SALT_BYTES,
    commitment,
    encode_entry,
    entry_head,
    event_entries,
    leaf_hash,
    log_id_of,
    origin_of,
    session_fields,
)

_VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "compat" / "vectors" / "entry_v1.json").read_text("utf-8"))
_DIGESTS = st.binary(min_size=32, max_size=32)
_UINT64 = st.integers(0, (1 << 64) - 1) | st.integers(0, 10_000) | st.sampled_from([127, 128, 4095, 4096, 16383, 16384])


@pytest.mark.parametrize("vector", _VECTORS["entries"], ids=lambda vector: vector["name"])
def test_frozen_entries(vector: dict[str, Any]):
    """Every entry ever written is written the same way today: commitments, entry and leaf hash are the frozen bytes."""
    salts = {name: bytes.fromhex(vector[f"{name}_salt"] or "") for name in ("envelope", "content", "session")}
    in_session = vector["session_id"] is not None
    assert {len(salt) for name, salt in salts.items() if name != "session" or in_session} == {SALT_BYTES}
    entry = encode_entry(
        entry_head(KIND_EVENT, vector["received_at_ns"]),
        commitment(salts["envelope"], bytes.fromhex(vector["envelope"])),
        commitment(salts["content"], bytes.fromhex(vector["content"])),
        commitment(salts["session"], vector["session_id"].encode()) if in_session else b"",
        vector["session_sequence"] or 0,
        vector["principal_key"],
    )
    assert entry.hex() == vector["entry"]
    assert leaf_hash(entry).hex() == vector["leaf_hash"]
    decoded = LogEntry.FromString(entry)
    assert decoded.HasField("session_sequence") == in_session
    assert (decoded.version, decoded.kind) == (1, 1)


@pytest.mark.parametrize("vector", _VECTORS["origins"], ids=lambda vector: vector["origin"])
def test_frozen_origins(vector: dict[str, Any]):
    """A tenant's log keeps its name and its number for ever."""
    assert origin_of(vector["server_name"], vector["tenant_id"], vector["project_id"]) == vector["origin"]
    assert log_id_of(vector["origin"]) == vector["log_id"]


@pytest.mark.parametrize("vector", _VECTORS["leaves"], ids=lambda vector: vector["data"] or "empty")
def test_leaf_hashes_of_rfc_6962(vector: dict[str, str]):
    """Leaves are hashed as RFC 6962 §2.1 says: with a zero byte before them, so that no leaf passes for an inner node."""
    assert leaf_hash(bytes.fromhex(vector["data"])).hex() == vector["leaf_hash"]


@given(
    received_at_ns=st.integers(0, (1 << 63) - 1) | st.integers(0, 300),
    envelope=_DIGESTS,
    content=_DIGESTS,
    session=st.just(b"") | _DIGESTS,
    sequence=_UINT64,
    key=_UINT64,
)
def test_entries_are_what_protobuf_writes(
    received_at_ns: int, envelope: bytes, content: bytes, session: bytes, sequence: int, key: int
):
    """The hand-written encoder gives the deterministic serialisation of `LogEntry`, for every value of every field."""
    expected = LogEntry(
        version=ENTRY_VERSION,
        kind=KIND_EVENT,
        received_at_ns=received_at_ns,
        envelope_commitment=envelope,
        content_commitment=content,
        principal_key=key,
    )
    if session:
        expected.session_commitment = session
        expected.session_sequence = sequence
    entry = encode_entry(entry_head(KIND_EVENT, received_at_ns), envelope, content, session, sequence, key)
    assert entry == expected.SerializeToString(deterministic=True)
    assert len(entry) < 256, "the driver keeps the length of an entry in one byte"


def test_times_before_1970_are_refused():
    """A server whose clock stands before 1970 must not write entries: their time would be read as one far in the future."""
    with pytest.raises(ValueError, match="negative"):
        entry_head(KIND_EVENT, -1)


@given(salt=st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES), data=st.binary(max_size=200))
def test_commitments_are_salted_hashes(salt: bytes, data: bytes):
    """A commitment is SHA-256 over the salt and then the data, and nothing of the data can be read from it."""
    assert commitment(salt, data) == sha256(salt + data).digest()


@given(
    first=st.tuples(st.text(min_size=1), st.text(min_size=1), st.text()),
    second=st.tuples(st.text(min_size=1), st.text(min_size=1), st.text()),
)
def test_different_logs_have_different_origins(first: tuple[str, str, str], second: tuple[str, str, str]):
    """No tenant can be named so that its log passes for another's: an origin leads back to its three parts."""
    origins = [origin_of(*parts) for parts in (first, second)]
    assert (origins[0] == origins[1]) == (first == second)
    for origin, parts in zip(origins, (first, second), strict=True):
        assert origin.isascii()
        assert origin.count("/") == (3 if parts[2] else 2)
    assert all(0 <= log_id_of(origin) < 1 << 63 for origin in origins)


@given(
    events=st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 60)), max_size=8),
    session=st.just(b"") | _DIGESTS,
    first_sequence=st.sampled_from([0, 120, 4_090, 4_096, 16_380]) | st.integers(0, 1 << 40),
)
def test_entries_in_one_loop_are_entries(events: list[tuple[bytes, int]], session: bytes, first_sequence: int):
    """The writer's loop over many events writes what the format says of each: the same entry as made alone."""
    salts = bytes(number % 251 for number in range(2 * SALT_BYTES * len(events)))
    head = entry_head(KIND_EVENT, 1_789_996_800_123_456_789)
    fields = session_fields(session, first_sequence, len(events)) if session else [b""] * len(events)
    expected = []
    for at, (stored, envelope_bytes) in enumerate(events):
        envelope_salt, content_salt = salts[32 * at : 32 * at + 16], salts[32 * at + 16 : 32 * at + 32]
        expected.append(
            encode_entry(
                head,
                commitment(envelope_salt, stored[:envelope_bytes]),
                commitment(content_salt, stored[envelope_bytes:]),
                session,
                first_sequence + at if session else 0,
            )
        )
    stored_bytes, envelopes = [stored for stored, _ in events], [envelope for _, envelope in events]
    assert event_entries(head, salts, stored_bytes, envelopes, fields) == expected
