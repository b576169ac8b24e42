"""The rules that an event must keep to be stored. Pure: no clock, no store, no configuration of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from urllib.parse import quote

from chaukas.server.errors import Violation
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["TIMESTAMP_SECONDS_MAX", "TIMESTAMP_SECONDS_MIN", "Limits", "origin_bytes", "violations"]

#: 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range of google.protobuf.Timestamp.
TIMESTAMP_SECONDS_MIN = -62_135_596_800
TIMESTAMP_SECONDS_MAX = 253_402_300_799
_NANOS_MAX = 999_999_999

#: Every field of the envelope that names something, in the order of the contract; `agent_name` has a limit of its own.
_ID_FIELDS = (
    "event_id",
    "tenant_id",
    "project_id",
    "session_id",
    "span_id",
    "parent_span_id",
    "agent_id",
    "invocation_id",
    "response_id",
    "branch",
    "trace_id",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large an event and its parts may be, in bytes of UTF-8 where they are texts."""

    event_bytes_max: int = 2 * 1024 * 1024
    #: Each of the ids, `branch` and `trace_id`.
    id_bytes_max: int = 256
    #: `agent_name`: words for people, not a key.
    name_bytes_max: int = 1024
    tags_max: int = 64
    tag_bytes_max: int = 256
    #: The origin that tenant and project give the event's log; a checkpoint carries it (DESIGN §4).
    origin_bytes_max: int = 255

    #: Texts that have this size in sum keep all limits above, whatever they are: the shortcut of `ingest.prepare`. Each tag
    #: takes three bytes of a serialised event beside its text, so there are not too many of them either.
    short_texts_bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        short = min(self.id_bytes_max, self.name_bytes_max, self.tag_bytes_max, 3 * self.tags_max)
        object.__setattr__(self, "short_texts_bytes", short)


def violations(event: Event, size_bytes: int, limits: Limits, server_name: str) -> list[Violation]:
    """Every rule that the event breaks; empty when it may be stored.

    `size_bytes` is the length of its serialisation, `server_name` the first part of the origin of its log. Tenant and project
    must have been filled in. An unknown number is a valid type, and NUL a character like any other.
    """
    found: list[Violation] = []
    if size_bytes > limits.event_bytes_max:
        found.append(Violation("event", f"has {size_bytes} bytes; at most {limits.event_bytes_max} are allowed"))
    found.extend(Violation(name, "is required") for name in ("event_id", "tenant_id") if not getattr(event, name))
    if not event.type:
        found.append(Violation("type", "is required, and must not be EVENT_TYPE_UNSPECIFIED"))
    found.extend(_too_long(event, limits))
    found.extend(_origin_too_long(event, limits, server_name))
    found.extend(_out_of_range(event))
    return found


def _too_long(event: Event, limits: Limits) -> Iterator[Violation]:
    for name in _ID_FIELDS:
        yield from _text(name, getattr(event, name), limits.id_bytes_max)
    yield from _text("agent_name", event.agent_name, limits.name_bytes_max)
    tags = event.tags
    if len(tags) > limits.tags_max:
        yield Violation("tags", f"has {len(tags)} entries; at most {limits.tags_max} are allowed")
    # The tags behind the limit are refused already; looking at each of a million would only cost time.
    for index, tag in enumerate(islice(tags, limits.tags_max)):
        yield from _text(f"tags[{index}]", tag, limits.tag_bytes_max)


def _text(path: str, value: str, bytes_max: int) -> Iterator[Violation]:
    # A character takes at most four bytes of UTF-8: most texts need not be encoded to know that they are short enough.
    if len(value) * 4 > bytes_max and (size := len(value.encode())) > bytes_max:
        yield Violation(path, f"has {size} bytes; at most {bytes_max} are allowed")


def _origin_too_long(event: Event, limits: Limits, server_name: str) -> Iterator[Violation]:
    tenant, project = event.tenant_id, event.project_id
    if max(len(tenant), len(project)) > limits.origin_bytes_max:
        # Certainly too long, and nothing to remember the length of.
        yield Violation("tenant_id", f"makes, with project_id, a log origin of more than {limits.origin_bytes_max} bytes")
        return
    size = origin_bytes(server_name, tenant, project)
    if size > limits.origin_bytes_max:
        yield Violation(
            "tenant_id", f"makes, with project_id, a log origin of {size} bytes; at most {limits.origin_bytes_max} are allowed"
        )


def _out_of_range(event: Event) -> Iterator[Violation]:
    seconds, nanos = event.timestamp.seconds, event.timestamp.nanos
    if not TIMESTAMP_SECONDS_MIN <= seconds <= TIMESTAMP_SECONDS_MAX:
        yield Violation(
            "timestamp.seconds",
            f"is {seconds}; the years 1 to 9999 are {TIMESTAMP_SECONDS_MIN} to {TIMESTAMP_SECONDS_MAX}",
        )
    if not 0 <= nanos <= _NANOS_MAX:
        yield Violation("timestamp.nanos", f"is {nanos}; 0 to {_NANOS_MAX} are allowed")


@lru_cache(maxsize=4096)
def origin_bytes(server_name: str, tenant_id: str, project_id: str) -> int:
    """Length of `<server name>/events/<tenant>[/<project>]`, each part percent-encoded, as `storage.entry.origin_of` makes it."""
    parts = [server_name, "events", tenant_id, project_id] if project_id else [server_name, "events", tenant_id]
    return sum(len(quote(part, safe="")) for part in parts) + len(parts) - 1
