"""The strict decoder of entries, the cut of events, and payloads in bulk: against frozen vectors and protobuf itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaukas.audit.v1.log_entry_pb2 import LogEntry as ProtobufEntry
from chaukas.server.storage.entry import encode_entry, entry_head
from chaukas.verify.bulk_check import check_events
from chaukas.verify.entries import check_commitment, decode_entry
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.merkle import leaf_hash
from chaukas.verify.payloads import Salts, check_payload
from chaukas.verify.stored_events import envelope_length, read_stored_event
from tests.log_samples import START_NS, SampleLog, sample_log, seeded
from tests.strategies import unhurried

_VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "compat" / "vectors" / "entry_v1.json").read_text("utf-8"))
_LOG = sample_log(40)
_DIGEST = st.binary(min_size=32, max_size=32)
_UINT64 = st.integers(0, (1 << 64) - 1) | st.integers(0, 300)


@pytest.mark.parametrize("vector", _VECTORS["entries"], ids=lambda vector: vector["name"])
def test_frozen_entries_are_read(vector: dict[str, Any]):
    """Every entry of format 1 is read, with the payload that it commits to, whatever wrote it."""
    entry = decode_entry(bytes.fromhex(vector["entry"]))
    assert (entry.kind, entry.received_at_ns, entry.principal_key) == (1, vector["received_at_ns"], vector["principal_key"])
    assert entry.session_sequence == vector["session_sequence"]
    check_commitment(
        entry.envelope_commitment, bytes.fromhex(vector["envelope_salt"]), bytes.fromhex(vector["envelope"]), "envelope"
    )
    check_commitment(entry.content_commitment, bytes.fromhex(vector["content_salt"]), bytes.fromhex(vector["content"]), "content")
    if vector["session_id"] is not None:
        assert entry.session_commitment is not None
        check_commitment(
            entry.session_commitment, bytes.fromhex(vector["session_salt"]), vector["session_id"].encode(), "session"
        )


@unhurried
@given(
    kind=st.integers(1, 4),
    received_at_ns=st.integers(0, (1 << 63) - 1) | st.integers(0, 300),
    envelope=_DIGEST,
    content=_DIGEST,
    session=st.just(b"") | _DIGEST,
    sequence=_UINT64,
    key=_UINT64,
)
def test_what_the_server_writes_is_read(
    kind: int, received_at_ns: int, envelope: bytes, content: bytes, session: bytes, sequence: int, key: int
):
    """The decoder and the server's encoder agree on every value of every field."""
    data = encode_entry(entry_head(kind, received_at_ns), envelope, content, session, sequence, key)
    entry = decode_entry(data)
    assert (entry.kind, entry.received_at_ns, entry.principal_key) == (kind, received_at_ns, key)
    assert (entry.envelope_commitment, entry.content_commitment) == (envelope, content)
    assert (entry.session_commitment, entry.session_sequence) == ((session, sequence) if session else (None, None))


@unhurried
@given(st.data())
def test_only_the_canonical_form_is_read(data: st.DataObject):
    """A changed entry is either refused or is, to protobuf too, another canonical entry: nothing hides in an encoding."""
    entry = bytearray(data.draw(st.sampled_from(_LOG.entries)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(entry) - 1))
        match data.draw(st.sampled_from(["set", "insert", "delete"])):
            case "set":
                entry[at] = data.draw(st.integers(0, 255))
            case "insert":
                entry[at:at] = data.draw(st.binary(min_size=1, max_size=3))
            case _:
                del entry[at]
    try:
        decoded = decode_entry(bytes(entry))
    except VerificationError:
        return
    theirs = ProtobufEntry.FromString(bytes(entry))
    assert theirs.SerializeToString(deterministic=True) == entry
    assert (theirs.kind, theirs.received_at_ns, theirs.principal_key) == (
        decoded.kind,
        decoded.received_at_ns,
        decoded.principal_key,
    )
    assert theirs.session_sequence == (decoded.session_sequence or 0)


_HEAD = entry_head(1, START_NS)
_PLAIN = encode_entry(_HEAD, b"e" * 32, b"c" * 32)
_SESSION = encode_entry(_HEAD, b"e" * 32, b"c" * 32, b"s" * 32, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _PLAIN[:-1],
        _PLAIN + b"\0",
        _PLAIN + b"\x48\x01",
        _PLAIN.replace(b"\x10\x01", b"\x10\x00", 1),
        _PLAIN.replace(b"\x10\x01", b"\x10\x05", 1),
        _PLAIN.replace(b"\x10\x01", b"\x10\x81\x00", 1),
        _PLAIN.replace(b"\x08\x01", b"", 1),
        _PLAIN.replace(b"\x08\x01\x10\x01", b"\x10\x01\x08\x01", 1),
        _PLAIN.replace(b"\x22\x20" + b"e" * 32, b"", 1),
        _PLAIN.replace(b"\x2a\x20" + b"c" * 32, b"", 1),
        _PLAIN.replace(b"\x22\x20" + b"e" * 32, b"\x22\x1f" + b"e" * 31, 1),
        _PLAIN + b"\x40\x00",
        _PLAIN + b"\x38\x00",
        _SESSION[:-2],
        _SESSION[:-1] + b"\x85\x00",
        _SESSION[:-1] + b"\xff" * 9 + b"\x02",
        _SESSION.replace(b"\x32\x20" + b"s" * 32, b"", 1),
        _SESSION + b"\x38\x06",
        encode_entry(entry_head(1, 0) + b"\x18\x00", b"e" * 32, b"c" * 32),
        encode_entry(entry_head(1, 0) + b"\x18" + b"\xff" * 9 + b"\x01", b"e" * 32, b"c" * 32),
    ],
    ids=range(21),
)
def test_other_forms_are_refused(data: bytes):
    """Missing, repeated, reordered, unknown or padded fields, defaults spelt out and negative times are no entry."""
    with pytest.raises(VerificationError) as caught:
        decode_entry(data)
    assert not isinstance(caught.value, UnsupportedError)
    assert len(check_events([data], bytes(32), [b""], [0]).damage) == 1


def test_a_newer_version_is_not_called_false():
    """An entry of a version to come is "not known", not "damaged"."""
    for version in (b"\x02", b"\x80\x01"):
        with pytest.raises(UnsupportedError):
            decode_entry(_PLAIN.replace(b"\x08\x01", b"\x08" + version, 1))


@pytest.mark.parametrize("index", range(0, 40, 7))
def test_events_are_cut_as_protobuf_reads_them(index: int):
    """The envelope is what stands before the first field above 23, and its names are the event's."""
    event = read_stored_event(_LOG.payloads[index])
    assert (event.event_id, event.tenant_id, event.project_id) == (f"event-{index}", "acme", "help desk")
    assert (event.type, event.timestamp) == (1 + index % 5, divmod(START_NS + index, 10**9))
    assert event.envelope + event.content == _LOG.payloads[index]
    assert bool(event.content) == bool(index % 3)
    assert event.content[:2] == (b"\xf2\x01" if index % 3 else b"")


@unhurried
@given(st.binary(max_size=60) | st.binary(max_size=8).map(lambda head: head + _LOG.payloads[1]))
def test_any_bytes_are_cut_or_refused(data: bytes):
    """Stored bytes that are no message raise nothing but `VerificationError`; a cut leaves every byte in one of the parts."""
    try:
        event = read_stored_event(data)
    except VerificationError:
        return
    assert event.envelope + event.content == data
    assert envelope_length(data) == len(event.envelope)


def test_payloads_are_bound_to_their_entries():
    """Payload, salts and session are each what the entry commits to, or the entry is another's."""
    for index in range(len(_LOG.entries)):
        entry = decode_entry(_LOG.entries[index])
        assert check_payload(entry, _LOG.payloads[index], _LOG.salts[index]) == read_stored_event(_LOG.payloads[index])
    entry, payload, salts = decode_entry(_LOG.entries[1]), _LOG.payloads[1], _LOG.salts[1]
    other = bytes(16)
    for wrong in (
        (payload + b"\xf0\x06\x00", salts),
        (payload[:-1], salts),
        (_LOG.payloads[2], salts),
        (payload, Salts(other, salts.content, salts.session)),
        (payload, Salts(salts.envelope, other, salts.session)),
        (payload, Salts(salts.envelope, salts.content, other)),
        (payload, Salts(None, salts.content, salts.session)),
        (payload, Salts(salts.envelope, None, salts.session)),
    ):
        with pytest.raises(VerificationError):
            check_payload(entry, *wrong)
    check_payload(entry, payload, Salts(salts.envelope, salts.content))
    with pytest.raises(VerificationError, match="but no session"):
        check_payload(
            decode_entry(_LOG.entries[0]), _LOG.payloads[0], Salts(_LOG.salts[0].envelope, _LOG.salts[0].content, other)
        )


def test_entry_and_event_agree_on_the_session():
    """An event that names a session stands in it: an entry without the session's commitment would leave it out of the count."""
    log = SampleLog()
    stored = _LOG.payloads[1]
    log.add(stored, envelope_length(stored), "", kind=1)
    with pytest.raises(VerificationError, match="disagree on whether there is a session"):
        check_payload(decode_entry(log.entries[0]), stored, log.salts[0])


def test_a_wrong_cut_by_the_server_is_found():
    """A server that committed to another cut than the contract's is found out, one by one and in bulk."""
    log = SampleLog()
    stored = _LOG.payloads[4]
    wrong = envelope_length(stored) - 20  # before the trace id, field 23
    log.add(stored, wrong, read_stored_event(stored).session_id, kind=1)
    with pytest.raises(VerificationError, match="the envelope is not what"):
        check_payload(decode_entry(log.entries[0]), stored, log.salts[0])
    salts = (log.salts[0].envelope or b"") + (log.salts[0].content or b"")
    (damage,) = check_events(log.entries, salts, [stored], [wrong]).damage
    assert damage.what == "the stored bytes are not cut where their envelope ends"


def joined_salts(log: SampleLog) -> list[bytes]:
    return [(one.envelope or b"") + (one.content or b"") for one in log.salts]


def test_bulk_and_single_checks_agree():
    """The fast check finds nothing in a whole log, and says of each entry what the strict decoder says."""
    log = sample_log(40)
    log.add(b"\xff raw bytes of a quarantined delivery", 0, kind=2)
    cuts = [envelope_length(payload) for payload in log.payloads[:40]] + [0]
    checked = check_events(log.entries, joined_salts(log), log.payloads, cuts)
    decoded = [decode_entry(entry) for entry in log.entries]
    assert checked.damage == []
    assert checked.leaf_hashes == [leaf_hash(entry) for entry in log.entries]
    assert checked.received_at_ns == [entry.received_at_ns for entry in decoded]
    assert checked.session_commitments == [entry.session_commitment for entry in decoded]
    assert checked.session_sequences == [entry.session_sequence or 0 for entry in decoded]
    assert check_events(log.entries, b"".join(joined_salts(log)), log.payloads, cuts) == checked


def test_bulk_check_finds_every_damage():
    """Each damaged entry, salt, body, cut and time is named by its position; the others are not touched by it."""
    log = sample_log(10)
    entries, salts, bodies = list(log.entries), joined_salts(log), list(log.payloads)
    cuts = [envelope_length(payload) for payload in bodies]
    entries[1] = entries[1][:-1]
    salts[2] = salts[2][:-1] + bytes((salts[2][-1] ^ 1,))
    bodies[4] += b"\xf0\x06\x00"
    cuts[5] -= 1
    entries[8] = entry_head(1, 5) + entries[8][len(entry_head(1, START_NS)) :]
    cuts[9] = len(bodies[9]) + 5
    checked = check_events(entries, salts, bodies, cuts)
    assert [damage.position for damage in checked.damage] == [1, 2, 4, 5, 8, 9]
    assert checked.received_at_ns[1] == 0
    assert (
        check_events(entries[:1], salts[:1], bodies[:1], cuts[:1], START_NS + 1).damage[0].what.startswith("its time of receipt")
    )
    with pytest.raises(VerificationError, match="equally many"):
        check_events(entries, salts[1:], bodies, cuts)


@unhurried
@given(st.integers(1, 2000), st.sampled_from([0, 1, 2, 5]), st.binary(min_size=20, max_size=20))
def test_bulk_check_knows_which_fields_are_content(number: int, wire_type: int, rest: bytes):
    """Whatever field the content begins with, bulk check and single check agree on whether it may."""
    tag, value = b"", number << 3 | wire_type
    while value > 0x7F:
        tag, value = tag + bytes((value & 0x7F | 0x80,)), value >> 7
    content = tag + bytes((value,)) + rest
    log = SampleLog()
    log.add(content, 0, kind=1)
    assert bool(check_events(log.entries, joined_salts(log), [content], [0]).damage) == (number <= 23)


def test_key_changes():
    """The content of a key entry names the old and the new key of one log, and has one form."""
    log = sample_log(1)
    change = KeyChange(log.log_key, type(log.key).from_seed(seeded("new")).log_key(log.origin))
    assert KeyChange.parse(bytes(change)) == change
    elsewhere = KeyChange(log.log_key, log.key.log_key("elsewhere"))
    for data in (b"", bytes(change)[:-1], bytes(change) + b"\n", b"\xff" + bytes(change), bytes(elsewhere)):
        with pytest.raises(VerificationError):
            KeyChange.parse(data)
    with pytest.raises(VerificationError):
        KeyChange.parse(bytes(KeyChange(log.log_key, log.log_key)))
