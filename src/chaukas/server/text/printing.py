"""The texts of an event by a faster way than a walk: the protobuf runtime prints them.

A *projection* of the contract that declares nothing but those texts is made from the contract's own descriptors. The runtime
parses the stored bytes as that message and prints it as text, both in C, and what stands between quotation marks are the
texts. How a message is printed is promised by nobody, so a sample is printed and compared with the walk before the first use;
of a runtime that prints otherwise nothing is asked again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from string import ascii_lowercase
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError

from chaukas.server.errors import StorageError
from chaukas.server.text.texts import OPAQUE_FIELDS, located_texts, number_text
from chaukas.spec.common.v1.events_pb2 import Event

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

__all__ = ["printed_numbers", "printed_of"]

_VALUE, _ANY = "google.protobuf.Value", "google.protobuf.Any"
#: The name of `Value.number_value` in the projection; the names of all other fields begin with a small letter.
_NUMBER_NAME = "N"
#: A number ends its line. Within a text a line never ends: there it would be printed as an escape.
_NUMBER = re.compile(f'{_NUMBER_NAME}: ([^"\\s]+)\n')
#: What is left of a control character.
_OCTAL = re.compile(r"\\[0-7]{3}")
#: A number that the runtime prints with at most so many characters and without an exponent looks the same in JSON.
_SHORT_NUMBER_CHARS: Final = 15


def printed_of(stored: bytes) -> str | None:
    """The printed projection of an event; None when the runtime does not print as it must.

    Each text stands between a pair of quotation marks, and nothing else does. Within it each quotation mark, apostrophe,
    backslash and control character is one or more other separators. Raises `StorageError` for bytes that are no event.
    """
    from_string = _projection()
    if from_string is None:
        return None
    try:
        printed = str(from_string(stored))
    except DecodeError as error:
        raise StorageError("a stored event cannot be read") from error
    return _without_escapes(printed) if "\\" in printed else printed


def printed_numbers(printed: str) -> list[str]:
    """The numbers in what `printed_of` returned, as they stand in JSON."""
    return [_json_number(number) for number in _NUMBER.findall(printed)]


def _without_escapes(printed: str) -> str:
    printed = printed.replace("\\\\", "\0").replace('\\"', "\0").replace("\\n", " ").replace("\\'", "'")
    if "\\" in printed:
        printed = _OCTAL.sub("\0", printed.replace("\\t", " ").replace("\\r", " "))
    return printed


def _json_number(printed: str) -> str:
    if len(printed) <= _SHORT_NUMBER_CHARS and "e" not in printed and "n" not in printed and printed != "-0":
        return printed
    return number_text(float(printed))


@functools.cache
def _projection() -> Callable[[bytes], Message] | None:
    """Parses stored bytes as the projection; None when the runtime does not print it as `printed_of` promises."""
    file = FileDescriptorProto(name="chaukas/texts.proto", package="chaukas.texts", syntax="proto3")
    _project(Event.DESCRIPTOR, file, {})  # type: ignore[arg-type] # the stubs know two classes of descriptors for one
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    from_string: Callable[[bytes], Message] = message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{file.package}.M0")
    ).FromString
    sample = _sample()
    printed = _without_escapes(str(from_string(sample.SerializeToString(deterministic=True))))
    found = [*printed.split('"')[1::2], *printed_numbers(printed)]
    wanted = [text for _, text in located_texts(sample)]
    return from_string if _comparable(found) == _comparable(wanted) else None


def _comparable(texts: Iterable[str]) -> list[str]:
    """The texts without their order and without what `printed_of` does not keep."""
    return sorted(re.sub("[\0-\x1f\x7f\"'\\\\]", " ", text) for text in texts if text)


def _project(message: Descriptor, file: FileDescriptorProto, names: dict[str, str]) -> str:
    """Add the projection of a message and of those in it to `file`; its name. Numbers and types of fields stay."""
    full_name = message.full_name
    if full_name in names:
        return names[full_name]
    names[full_name] = f"M{len(names)}"
    projected = DescriptorProto(name=names[full_name])
    choices: dict[str, int] = {}
    for field in message.fields:
        if full_name == Event.DESCRIPTOR.full_name and field.name in OPAQUE_FIELDS:
            continue
        if not _holds_text(field, ()) and full_name != _VALUE:
            continue
        added = projected.field.add(
            name=_NUMBER_NAME if field.type == FieldDescriptor.TYPE_DOUBLE else _name(len(projected.field)),
            number=field.number,
            # A map is an ordinary repeated message on the wire, and stays in the order of the bytes as one.
            label=FieldDescriptorProto.LABEL_REPEATED if field.is_repeated else FieldDescriptorProto.LABEL_OPTIONAL,
        )
        if field.message_type is not None:
            added.type = FieldDescriptorProto.TYPE_MESSAGE
            added.type_name = f".{file.package}.{_project(field.message_type, file, names)}"
        else:
            # The null of a Value stays, as a number, so that the last member of the choice on the wire wins here too.
            added.type = FieldDescriptorProto.TYPE_INT32 if field.enum_type is not None else field.type  # type: ignore[assignment]
        if field.containing_oneof is not None:
            added.oneof_index = choices.setdefault(field.containing_oneof.name, len(choices))
    for name in choices:
        projected.oneof_decl.add(name=name)
    file.message_type.append(projected)
    return names[full_name]


def _name(place: int) -> str:
    """The shorter the names, the less is printed: a, b, c, ..., a1, b1, ..."""
    return f"{ascii_lowercase[place % 26]}{place // 26 or ''}"


def _holds_text(field: FieldDescriptor, above: tuple[str, ...]) -> bool:
    inner = field.message_type
    if inner is None:
        return bool(field.type == FieldDescriptor.TYPE_STRING)
    if inner.full_name in above or inner.full_name == _ANY:
        return False
    return any(_holds_text(each, (*above, inner.full_name)) for each in inner.fields)


def _sample() -> Event:
    """An event with all that is printed in a way of its own."""
    odd = "".join(map(chr, range(1, 0x180))) + '\\n\\001\\\\"\'\u2028\ufeff\U0001f600 N: 5 " \ufffd\0\0001'
    event = Event(event_id="id", agent_name=odd, tags=["", "a", odd])
    event.metadata.update(
        {"": "", odd: odd, "numbers": [0.1, 1 / 3, 5e-324, 1e16, 1e300, -0.0, 2.0**53 + 2, 123456789012345, -7]}
    )
    event.metadata.update({"numbers": [0.1, 1 / 3, 5e-324, 1e16, 1e300, -0.0, 2.0**53 + 2, 123456789012345, -7]})
    event.metadata.update({"nothing": [None, True, {}, [], ""]})
    event.llm_invocation.request.update({"messages": [{"content": odd}]})
    return event
