"""Bytes of the one side in the hands of the other."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message

from .contract_declarations import OURS, declarations
from .contract_samples import alternatives, fill, top_level_messages
from .published import Published


def _our_message(full_name: str, alternative: int, declared: set[str] | None = None) -> Message:
    message = message_factory.GetMessageClass(Default().FindMessageTypeByName(full_name))()
    fill(message, alternative, declared)
    return message


def _declared_fields(published: Published) -> set[str]:
    return {name.removeprefix("field ") for name in declarations(published.files) if name.startswith("field ")}


def _serialized(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _line(message: Message) -> dict[str, Any]:
    return {"type": message.DESCRIPTOR.full_name, "bytes": base64.b64encode(_serialized(message)).decode()}


def test_we_read_what_published_programs_write(published: Published) -> None:
    """Every message of a published release, every field filled, arrives with us as it was meant."""
    declared = _declared_fields(published)
    samples = published.ask("samples")
    assert {sample["type"] for sample in samples} == {message.full_name for message in top_level_messages(published.files)}
    for sample in samples:
        expected = _our_message(sample["type"], sample["alternative"], declared)
        received = type(expected).FromString(base64.b64decode(sample["bytes"]))
        assert received == expected, sample["type"]
        assert _serialized(received) == base64.b64decode(sample["bytes"]), sample["type"]


def test_published_programs_read_what_we_write(published: Published) -> None:
    """Every message of ours is read by a published release; what it does not know, our additions too, passes through."""
    declared = _declared_fields(published)
    names = [message.full_name for message in top_level_messages(published.files)]
    samples = [(name, alternative) for name in names for alternative in alternatives(OURS)]
    sent = [_our_message(*sample) for sample in samples]
    answers = iter(published.ask("relay", [_line(message) for message in sent]))
    for sample, message, relayed, understood in zip(samples, sent, answers, answers, strict=True):
        assert type(message).FromString(base64.b64decode(relayed["bytes"])) == message, sample
        expected = _our_message(*sample, declared)
        assert type(message).FromString(base64.b64decode(understood["bytes"])) == expected, sample


def test_samples_fill_every_field() -> None:
    """The two tests above leave nothing out: their samples hold every declared field, the additions included."""
    filled = set()

    def note(message: Message) -> None:
        for field, value in message.ListFields():
            filled.add(field.full_name)
            if field.message_type is not None and not field.message_type.GetOptions().map_entry:
                for inner in value if field.is_repeated else [value]:
                    note(inner)

    for message in top_level_messages(OURS):
        for alternative in alternatives(OURS):
            note(_our_message(message.full_name, alternative))
    fields = {field.full_name for message in top_level_messages(OURS) for field in message.fields}
    assert fields - filled == set()
