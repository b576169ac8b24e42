"""Trailing metadata: what an answer of the contract has no field for.

A client reads it after the call (`call.trailing_metadata()`). gRPC implementations bound all metadata of a call at 8 KiB by
default, so what is set here and the status message beside it stay below 4 KiB together, counted as they travel: `-bin` values in
base64, status messages percent-encoded. What does not fit is cut; the counts are always whole.

| key | value |
|---|---|
| `chaukas-status` | status of a single event that was not accepted |
| `chaukas-quarantine-id` | where that event is kept aside |
| `chaukas-reason-bin` | why, UTF-8; not beside a status message that says it |
| `chaukas-accepted-count`, `chaukas-rejected-count` | of a batch, decimal |
| `chaukas-rejected-bin` | `chaukas.spec.server.v1.IngestEventBatchResponse` with the results of those that were not stored |
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from chaukas.server.framework.results import EventResult
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchResponse, IngestResult

__all__ = [
    "ACCEPTED_COUNT_KEY",
    "QUARANTINE_ID_KEY",
    "REASON_KEY",
    "REJECTED_COUNT_KEY",
    "REJECTED_KEY",
    "STATUS_KEY",
    "Metadata",
    "batch_trailers",
    "bounded_details",
    "event_trailers",
]

Metadata = tuple[tuple[str, str | bytes], ...]

STATUS_KEY = "chaukas-status"
QUARANTINE_ID_KEY = "chaukas-quarantine-id"
REASON_KEY = "chaukas-reason-bin"
ACCEPTED_COUNT_KEY = "chaukas-accepted-count"
REJECTED_COUNT_KEY = "chaukas-rejected-count"
REJECTED_KEY = "chaukas-rejected-bin"

#: The parts of the 4 KiB. A reason of 768 bytes takes 1,024 in base64.
_DETAILS_BYTES_MAX = 1_536
_REASON_BYTES_MAX = 768
_QUARANTINE_ID_BYTES_MAX = 512
#: Serialised results of a batch: 2,400 bytes in base64. One reason takes at most a ninth of them.
_REJECTED_BYTES_MAX = 1_800
_REJECTED_REASON_BYTES_MAX = 200
_CUT = "..."


def _encoded(text: str) -> bytes:
    # A lone surrogate, which a Python string may hold, has no UTF-8 form.
    return text.encode("utf-8", "replace")


def _cut(text: str, bytes_max: int) -> str:
    """The text, or its longest beginning with which it takes at most `bytes_max` bytes of UTF-8, marked as cut."""
    encoded = _encoded(text[: bytes_max + 1])
    if len(encoded) <= bytes_max and len(text) <= bytes_max:
        return encoded.decode()
    return encoded[: bytes_max - len(_CUT)].decode("utf-8", "ignore") + _CUT


def bounded_details(message: str) -> str:
    """A status message that takes at most 1.5 KiB as it travels: gRPC percent-encodes what is not printable ASCII."""
    text = _cut(message, _DETAILS_BYTES_MAX)
    if _travelling_bytes(text) <= _DETAILS_BYTES_MAX:
        return text
    size = 0
    for index, character in enumerate(text):
        size += _travelling_bytes(character)
        if size > _DETAILS_BYTES_MAX - len(_CUT):
            return text[:index] + _CUT
    return text


def _travelling_bytes(text: str) -> int:
    # gRPC over HTTP/2, "Status-Message": only %x20-24 and %x26-7E stand for themselves.
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in _encoded(text))


def event_trailers(result: EventResult, *, with_reason: bool = True) -> Metadata:
    """What a client is told about a single event beside the answer: nothing if it was accepted."""
    if result.status == "accepted":
        return ()
    trailers: list[tuple[str, str | bytes]] = [(STATUS_KEY, str(result.status))]
    if result.quarantine_id:
        # Percent-encoded where it is not ASCII, as metadata values without "-bin" must be.
        quarantine_id = quote(_encoded(result.quarantine_id), safe="!#$&'()*+,/:;=?@[]~")
        if len(quarantine_id) <= _QUARANTINE_ID_BYTES_MAX:
            trailers.append((QUARANTINE_ID_KEY, quarantine_id))
    if result.reason and with_reason:
        trailers.append((REASON_KEY, _encoded(_cut(result.reason, _REASON_BYTES_MAX))))
    return tuple(trailers)


def batch_trailers(results: Sequence[EventResult]) -> Metadata:
    """What a client whose answer is empty is told about a batch: nothing if every event of it is stored.

    When there are more rejected events than fit, the first ones are told; `chaukas-rejected-count` counts all.
    """
    rejected = [result for result in results if not result.stored]
    if not rejected:
        return ()
    told = IngestEventBatchResponse(accepted_count=len(results) - len(rejected), rejected_count=len(rejected))
    size = told.ByteSize()
    for result in rejected:
        row = IngestResult(event_id=result.event_id, status=result.status, reason=_cut(result.reason, _REJECTED_REASON_BYTES_MAX))
        # Field number 1000 takes two bytes, the length of a row that fits at most two.
        size += row.ByteSize() + 4
        if size > _REJECTED_BYTES_MAX:
            break
        told.results.append(row)
    return (
        (ACCEPTED_COUNT_KEY, str(told.accepted_count)),
        (REJECTED_COUNT_KEY, str(told.rejected_count)),
        (REJECTED_KEY, told.SerializeToString()),
    )
