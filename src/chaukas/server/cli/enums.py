"""The contract's enums as people type and read them: `TOOL_CALL_START` for `EVENT_TYPE_TOOL_CALL_START`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, cast

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from chaukas.server.cli.failure import CommandError
from chaukas.spec.common.v1 import events_pb2

__all__ = ["EVENT_STATUSES", "EVENT_TYPES", "SEVERITIES", "EnumNames"]


_E = TypeVar("_E", bound=int)


class EnumNames(Generic[_E]):
    """One enum of the contract and the prefix that all its names share."""

    def __init__(self, enum: EnumTypeWrapper, prefix: str) -> None:
        self._prefix = prefix
        self._names: dict[int, str] = {number: name.removeprefix(prefix) for name, number in enum.items()}
        self._numbers: dict[str, int] = {name: number for number, name in self._names.items()}

    def shown(self, number: int) -> str:
        """The name without its prefix; empty for "unspecified"; the number itself when this version has no name for it."""
        return self._names.get(number, str(number)) if number else ""

    def parse(self, flag: str, texts: Sequence[str]) -> list[_E]:
        """The numbers of names: with or without prefix, in any case, with `-` for `_`; several with commas between.

        A plain number stands for itself, for what a later contract has. Raises `CommandError` that names `flag` and every name
        that there is.
        """
        # A field takes any number, also one that this version has no name for; the generated types can not say so.
        return [cast("_E", self._number(flag, name)) for text in texts for name in text.split(",")]

    def _number(self, flag: str, text: str) -> int:
        if text.isascii() and text.isdigit() and 0 < int(text) < 2**31:
            return int(text)
        number = self._numbers.get(text.strip().upper().replace("-", "_").removeprefix(self._prefix), 0)
        if number:
            return number
        known = ", ".join(name for other, name in self._names.items() if other)
        raise CommandError(f"{flag}: {text!r} is not known; choose from {known}")


EVENT_TYPES: EnumNames[events_pb2.EventType] = EnumNames(events_pb2.EventType, "EVENT_TYPE_")
EVENT_STATUSES: EnumNames[events_pb2.EventStatus] = EnumNames(events_pb2.EventStatus, "EVENT_STATUS_")
SEVERITIES: EnumNames[events_pb2.Severity] = EnumNames(events_pb2.Severity, "SEVERITY_")
