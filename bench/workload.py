"""The workload: deterministic agent sessions as requests in bytes, made fast enough that 2 million events take seconds.

A session is a template (see `session_template`) with its slots overwritten: ids, times, tenant, tokens, and running text
cut from one long string. Everything derives from (seed, session number), so that any process can make any session, and
know its ids again.

Times rise by 250 ms from session to session, while a session lasts some seconds: neighbours overlap, as they do on a
server with many clients. Ids of the kind "uuid7" are made as `chaukas-sdk` makes them: 48 bits of the millisecond in
which they were made, then random bits (RFC 9562 §5.7). Ids of the kind "random" are UUIDv4 throughout (§5.4).

`python -m bench.workload_report` prints sizes, how far it can be compressed, and how fast it is made.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from bench.encoding import length_delimited, varint
from bench.plants import PlantPlan, planted_events
from bench.session_template import (
    EVENTS_PER_SESSION,
    ID_BYTES,
    PROJECT,
    TIME_BYTES,
    TOKEN_BYTES,
    SessionTemplate,
    build_template,
)
from bench.text_plants import SESSIONS_PER_TEXT, text_event
from bench.vocabulary import running_text

__all__ = ["BASE_TIME_US", "PROJECT", "Request", "SessionFacts", "Workload", "WorkloadSpec", "shown_us"]

#: Start of session 0: 2026-09-21T13:20:00Z, within an hour, as it happens to clients.
BASE_TIME_US = 1_789_996_800 * 1_000_000
SESSION_SPACING_US = 250_000
SESSIONS_PER_TENANT_RUN = 5

_TEMPLATES = 160
_TEXT_BYTES = 6_000_000


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """What kind of workload; travels to sender processes as JSON."""

    id_kind: str = "uuid7"
    tenants: int = 1
    #: Number of sessions among which the planted events are spread; 0 plants none.
    plant_sessions: int = 0
    seed: int = 1
    #: Whether texts to look for stand behind some sessions; see `text_plants`.
    texts: bool = False

    def to_json(self) -> dict[str, Any]:
        """The arguments that build it again."""
        return asdict(self)


@dataclass(slots=True)
class Request:
    """A serialised request and what it holds."""

    body: bytes
    events: int
    #: Bytes of the events alone, without the framing of the batch.
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """How the events of a session can be asked for."""

    tenant: str
    session_id: str
    trace_id: str
    #: Of the first tool or model call: two events bear it.
    span_id: str
    agent: str
    first_us: int
    last_us: int


class Workload:
    """Makes sessions and requests. Building one takes about a second: text and templates are prepared."""

    def __init__(self, spec: WorkloadSpec) -> None:
        if spec.id_kind not in {"uuid7", "random"}:
            raise ValueError(f"no such kind of id: {spec.id_kind}")
        self.spec = spec
        self._text = running_text(spec.seed, _TEXT_BYTES)
        self._templates = [build_template(spec.seed, number) for number in range(_TEMPLATES)]
        self.plants = PlantPlan(spec.plant_sessions)

    def template(self, number: int) -> SessionTemplate:
        """The template of a session; a stride that has no factor in common with their count visits all of them."""
        return self._templates[number * 37 % _TEMPLATES]

    def start_us(self, number: int) -> int:
        """Start of a session in microseconds since 1970, with up to 200 ms of jitter."""
        return BASE_TIME_US + number * SESSION_SPACING_US + (number * 7_919 % 200_000)

    def tenant(self, number: int) -> str:
        """Runs of five sessions (a batch of 100 events) belong to one tenant."""
        return f"tenant-{number // SESSIONS_PER_TENANT_RUN % self.spec.tenants:04d}"

    def session(self, number: int) -> bytes:
        """The 20 events of a session as fields of an `EventBatch`, without what is planted."""
        template, start_us = self.template(number), self.start_us(number)
        random_bytes = self._random_bytes(number, template)
        out = bytearray(template.body)
        tenant = self.tenant(number).encode()
        for place in template.tenant_places:
            out[place : place + len(tenant)] = tenant
        for identifier, places in zip(self._ids(template, start_us, random_bytes), template.id_places, strict=True):
            for place in places:
                out[place : place + ID_BYTES] = identifier
        for offset_us, places in template.times:
            time = _timestamp(start_us + offset_us)
            for place in places:
                out[place : place + TIME_BYTES] = time
        position = len(template.id_places) * 16
        text, limit = self._text, len(self._text) - 2_000
        for width, places in template.texts:
            begin = int.from_bytes(random_bytes[position : position + 4], "little") % limit
            position += 4
            for place in places:
                out[place : place + width] = text[begin : begin + width]
        for places in template.token_places:
            token = random_bytes[position : position + TOKEN_BYTES // 2].hex().encode()
            position += TOKEN_BYTES // 2
            for place in places:
                out[place : place + TOKEN_BYTES] = token
        return bytes(out)

    def events(self, number: int) -> list[bytes]:
        """The events of a session one by one, planted ones included."""
        body = self.session(number)
        return [body[begin:end] for _, begin, end in self.template(number).frames] + self._planted(number)

    def batch(self, first: int, sessions: int) -> Request:
        """An `IngestEventBatchRequest` of whole sessions; both packages have the same shape."""
        parts, events, payload = [], 0, 0
        for number in range(first, first + sessions):
            parts.append(self.session(number))
            events += EVENTS_PER_SESSION
            payload += sum(end - begin for _, begin, end in self.template(number).frames)
            for event in self._planted(number):
                parts.append(length_delimited(3, event))
                events += 1
                payload += len(event)
        name = hashlib.sha256(f"batch/{self.spec.seed}/{first}/{sessions}".encode()).hexdigest()[:32].encode()
        head = length_delimited(1, name) + length_delimited(2, _timestamp(self.start_us(first)))
        length = len(head) + sum(map(len, parts))
        return Request(b"".join((b"\x0a", varint(length), head, *parts)), events, payload)

    def singles(self, number: int) -> list[Request]:
        """One `IngestEventRequest` for each event of a session."""
        return [Request(length_delimited(1, event), 1, len(event)) for event in self.events(number)]

    def facts(self, number: int) -> SessionFacts:
        """The ids of a session, made again."""
        template, start_us = self.template(number), self.start_us(number)
        ids = self._ids(template, start_us, self._random_bytes(number, template))
        return SessionFacts(
            tenant=self.tenant(number),
            session_id=ids[0].decode(),
            trace_id=ids[1].decode(),
            span_id=ids[template.span_ids[3]].decode(),
            agent=template.agent,
            first_us=shown_us(start_us),
            last_us=shown_us(start_us + template.duration_us),
        )

    def count_between(self, sessions: int, start_us: int, end_us: int) -> int:
        """How many events of the sessions 0 to `sessions` - 1, planted ones included, lie in start_us <= t < end_us."""
        found = 0
        for number in range(sessions):
            template, begin = self.template(number), self.start_us(number)
            if start_us <= shown_us(begin) and shown_us(begin + template.duration_us) < end_us:
                found += EVENTS_PER_SESSION
            elif shown_us(begin) < end_us and start_us <= shown_us(begin + template.duration_us):
                found += sum(start_us <= shown_us(begin + offset_us) < end_us for offset_us, _ in template.times)
            if start_us <= shown_us(begin) + 1 < end_us:
                found += len(self._planted(number))
        return found

    def _planted(self, number: int) -> list[bytes]:
        has_text = self.spec.texts and number % SESSIONS_PER_TEXT == 0
        if not has_text and not self.plants.touches(number):
            return []
        tenant, time_us = self.tenant(number), shown_us(self.start_us(number)) + 1
        planted = planted_events(self.plants, number, tenant, time_us)
        return [*planted, text_event(number, tenant, time_us)] if has_text else planted

    def _random_bytes(self, number: int, template: SessionTemplate) -> bytes:
        size = 16 * len(template.id_places) + 4 * len(template.texts) + TOKEN_BYTES // 2 * len(template.token_places)
        return hashlib.shake_128(f"{self.spec.seed}/{number}".encode()).digest(size)

    def _ids(self, template: SessionTemplate, start_us: int, random_bytes: bytes) -> list[bytes]:
        digits = random_bytes[: 16 * len(template.id_places)].hex()
        if self.spec.id_kind == "random":
            return [_uuid4(digits[begin : begin + 32]) for begin in range(0, len(digits), 32)]
        return [
            _uuid7((start_us + offset_us) // 1_000, digits[begin : begin + 32])
            for begin, offset_us in zip(range(0, len(digits), 32), template.id_offsets_us, strict=True)
        ]


def _uuid4(digits: str) -> bytes:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[ord(digits[16]) & 3]}{digits[17:20]}-{digits[20:]}".encode()


def _uuid7(time_ms: int, digits: str) -> bytes:
    time = f"{time_ms:012x}"
    return f"{time[:8]}-{time[8:]}-7{digits[13:16]}-{'89ab'[ord(digits[16]) & 3]}{digits[17:20]}-{digits[20:]}".encode()


def shown_us(time_us: int) -> int:
    """The microsecond that stands in an event for a moment of the workload's clock.

    The fraction of a second is squeezed into 0.268436 to 0.999999, in order: then its nanoseconds always take five
    bytes as a varint, and a template never changes its length, while every byte stays what an ordinary client would
    have written.
    """
    second, fraction = divmod(time_us, 1_000_000)
    return second * 1_000_000 + 268_436 + fraction * 731_564 // 1_000_000


def _timestamp(time_us: int) -> bytes:
    """A google.protobuf.Timestamp of always 12 bytes."""
    second, fraction = divmod(shown_us(time_us), 1_000_000)
    nanos = fraction * 1_000
    return bytes(
        (
            8,
            second & 127 | 128,
            second >> 7 & 127 | 128,
            second >> 14 & 127 | 128,
            second >> 21 & 127 | 128,
            second >> 28,
            16,
            nanos & 127 | 128,
            nanos >> 7 & 127 | 128,
            nanos >> 14 & 127 | 128,
            nanos >> 21 & 127 | 128,
            nanos >> 28,
        )
    )
