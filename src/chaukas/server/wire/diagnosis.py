"""Why bytes do not parse as an event, and whose they seem to be: what the quarantine shows of them.

The protobuf runtime (6.33) says no more than that it could not parse. This walks the bytes along the contract instead,
over a bounded number of fields, and is called for broken events only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from chaukas.server.wire.fields import LEN, Field, MalformedError, fields_of
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["Diagnosis", "diagnose"]

if TYPE_CHECKING:
    # The runtime's own classes, which stand in for those of google.protobuf.descriptor.
    from google._upb._message import Descriptor as _UpbDescriptor
    from google._upb._message import FieldDescriptor as _UpbFieldDescriptor

    _Descriptor = Descriptor | _UpbDescriptor
    _FieldDescriptor = FieldDescriptor | _UpbFieldDescriptor

#: Levels below an event that stands in a batch: protobuf's 100, less the batch and the event itself.
_DEPTH_MAX = 98
#: The walk ends after so many fields: what arrives may be made to be slow to read.
_FIELDS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A sentence, and the ids as far as they are valid text; they are unchecked otherwise."""

    problem: str
    event_id: str
    tenant_id: str
    project_id: str


def diagnose(raw: bytes) -> Diagnosis:
    """What can be said about bytes that do not parse as an `Event`."""
    walk = _Walk(raw)
    try:
        walk.over_event()
    except MalformedError as error:
        walk.found("", str(error))
    problem = walk.problem or "protobuf does not read it"
    return Diagnosis(f"does not parse as an Event: {problem}", walk.ids[1], walk.ids[2], walk.ids[3])


@dataclass(slots=True)
class _Walk:
    raw: bytes
    #: The first problem found.
    problem: str = ""
    #: The values of fields 1, 2 and 3; the last one counts, as in protobuf.
    ids: dict[int, str] = field(default_factory=lambda: {1: "", 2: "", 3: ""})
    fields_left: int = _FIELDS_MAX

    def found(self, where: str, problem: str) -> None:
        if not self.problem:
            self.problem = f"{where} {problem}" if where else problem

    def over_event(self) -> None:
        for at in fields_of(self.raw):
            if self.fields_left <= 0:
                return
            self.fields_left -= 1
            declared = Event.DESCRIPTOR.fields_by_number.get(at.number)
            if declared is None or at.wire_type != LEN or at.end > len(self.raw):
                continue
            if at.number in self.ids:
                self.ids[at.number] = self._text(at) or ""
            try:
                problem = self._of_value(declared, at, 1)
            except MalformedError as error:
                problem = f"is malformed: {error}"
            if problem:
                self.found(declared.name, problem)

    def _of_value(self, declared: _FieldDescriptor, at: Field, depth: int) -> str:
        """The problem of a declared field, or ""."""
        if declared.type == FieldDescriptor.TYPE_STRING and self._text(at) is None:
            return "is not valid UTF-8" if depth == 1 else "holds text that is not valid UTF-8"
        if declared.message_type is not None:
            return self._of_message(declared.message_type, at, depth)
        return ""

    def _of_message(self, message: _Descriptor, outer: Field, depth: int) -> str:
        if depth > _DEPTH_MAX:
            return "is nested deeper than the 100 levels that protobuf reads"
        for at in fields_of(self.raw, outer.value, outer.end):
            if self.fields_left <= 0:
                return ""
            self.fields_left -= 1
            declared = message.fields_by_number.get(at.number)
            if declared is None or at.wire_type != LEN or at.end > outer.end:
                continue
            problem = self._of_value(declared, at, depth + 1)
            if problem:
                return problem
        return ""

    def _text(self, at: Field) -> str | None:
        try:
            return self.raw[at.value : at.end].decode()
        except UnicodeDecodeError:
            return None
