"""Texts of the record inside our own: on one line, without anything that a terminal, a browser or a reader would be misled by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite

from google.protobuf import struct_pb2

__all__ = ["harmless", "markdown_escaped", "mermaid_escaped", "one_line", "quoted", "struct_line"]

#: C0 and C1 controls, marks that turn the direction of writing (Unicode UAX #9 §2), and line separators.
_MISLEADING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
#: An underline within a word means nothing (CommonMark §6.2): it is left, for readers of the source.
_MARKUP = re.compile(r"[\\`*\[\]<>|~&$@]|(?<![^\W_])_|_(?![^\W_])|(?<!\S)#")
#: What GitHub's dialect makes a link of by itself (GFM §6.9).
_AUTOLINK = re.compile(r"(?<=\w):(?=//)|(?<=www)\.", re.IGNORECASE)
#: A list, a heading's line or a quotation at the beginning of a line.
_LEADING = re.compile(r"^(\s*)([-+=]|[0-9]+(?=[.)]))")
_MERMAID = re.compile(r"[#&<>\"'`\\{}\[\]()|;]")
#: What is read of a text before it is cut: blanks between words fall away, so more than is shown.
_READ_FACTOR = 4


def one_line(text: str, characters: int = 160) -> str:
    """The beginning of a text on one line: blanks joined, controls as U+FFFD, cut at `characters` with a mark."""
    part = text[: characters * _READ_FACTOR]
    line = harmless(part)
    if len(line) > characters or len(part) < len(text):
        return line[: characters - 1].rstrip() + "…"
    return line


def harmless(text: str) -> str:
    """A whole text on one line, blanks joined, controls as U+FFFD."""
    return " ".join(_MISLEADING.sub("\ufffd", text).split())


def quoted(text: str, characters: int = 160) -> str:
    """The same in quotation marks."""
    return f"“{one_line(text, characters)}”"


def markdown_escaped(text: str) -> str:
    """A line of plain text as Markdown that shows it, and nothing else: no HTML, no links, no markup."""
    escaped = _AUTOLINK.sub(r"\\\g<0>", _MARKUP.sub(r"\\\g<0>", harmless(text)))
    return _LEADING.sub(lambda match: f"{match[1]}{_leading(match[2])}", escaped)


def _leading(mark: str) -> str:
    return f"\\{mark}" if not mark[0].isdigit() else mark


def mermaid_escaped(text: str) -> str:
    """A line of plain text inside the quotation marks of a Mermaid label: everything with a meaning as a numbered entity."""
    return _MERMAID.sub(lambda match: f"#{ord(match[0])};", harmless(text))


def struct_line(struct: struct_pb2.Struct, characters: int = 160) -> str:
    """The values of a Struct as `key: value, key: value`, for people; a single text stands alone."""
    if len(struct.fields) == 1:
        ((key, value),) = struct.fields.items()
        if value.WhichOneof("kind") == "string_value" and key in ("output", "result", "text", "content", "input", "raw"):
            return one_line(value.string_value, characters)
    return one_line(_pairs(struct.fields, 0), characters)


def _pairs(fields: Mapping[str, struct_pb2.Value], depth: int) -> str:
    return ", ".join(f"{key}: {_value(fields[key], depth)}" for key in sorted(fields)[:40])


def _value(value: struct_pb2.Value, depth: int) -> str:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value[:2_000]
    if kind == "number_value":
        number = value.number_value
        return str(int(number)) if isfinite(number) and abs(number) < 1e15 and number == int(number) else repr(number)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind is None or kind == "null_value":
        return "null"
    if depth >= 4:
        return "…"
    if kind == "struct_value":
        return "{" + _pairs(value.struct_value.fields, depth + 1) + "}"
    return "[" + ", ".join(_value(item, depth + 1) for item in value.list_value.values[:20]) + "]"
