"""The texts of a model call's prompt, also where an integration recorded messages as printed objects."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from google.protobuf import struct_pb2

from chaukas.server.explain.model import EventRow

__all__ = ["user_texts"]

_LIST_KEYS = ("messages", "input", "contents", "prompt")
#: The `content` of a message printed by Python: {'content': 'text', 'role': 'user'}.
_PRINTED_CONTENT = re.compile(r"""['"]content['"]: ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", re.DOTALL)


def user_texts(row: EventRow) -> list[str]:
    """Every message text of a model request, in order, without surrounding blanks; system messages left out."""
    if row.content != "llm_invocation" or not row.event.llm_invocation.HasField("request"):
        return []
    return list(_texts(row.event.llm_invocation.request))


def _texts(request: struct_pb2.Struct) -> Iterator[str]:
    fields = request.fields
    for key in _LIST_KEYS:
        if key not in fields:
            continue
        value = fields[key]
        kind = value.WhichOneof("kind")
        if kind == "string_value":
            yield from _unprinted(value.string_value)
        elif kind == "list_value":
            for item in value.list_value.values:
                yield from _message_texts(item)


def _message_texts(item: struct_pb2.Value) -> Iterator[str]:
    kind = item.WhichOneof("kind")
    if kind == "string_value":
        yield from _unprinted(item.string_value)
        return
    if kind != "struct_value":
        return
    fields = item.struct_value.fields
    if "role" in fields and fields["role"].string_value in {"system", "developer"}:
        return
    for key in ("content", "text", "parts"):
        if key in fields:
            yield from _content_texts(fields[key])


def _content_texts(content: struct_pb2.Value) -> Iterator[str]:
    """The content of a message: a string, or a list of strings and of parts with a `text`."""
    kind = content.WhichOneof("kind")
    if kind == "string_value":
        yield from _unprinted(content.string_value)
    elif kind == "list_value":
        for part in content.list_value.values:
            part_kind = part.WhichOneof("kind")
            if part_kind == "string_value":
                yield from _unprinted(part.string_value)
            elif part_kind == "struct_value" and "text" in part.struct_value.fields:
                yield part.struct_value.fields["text"].string_value.strip()


def _unprinted(text: str) -> Iterator[str]:
    """The text, and the content inside it when it is a printed message."""
    if text.startswith("{"):
        found = _PRINTED_CONTENT.search(text)
        if found:
            try:
                yield str(ast.literal_eval(found.group(1))).strip()
            except (ValueError, SyntaxError, MemoryError):
                pass
            else:
                return
    yield text.strip()
