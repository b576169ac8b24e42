"""Context edges: which earlier events the messages of a model call's prompt come from.

Each model call repeats the whole conversation, so nothing is looked at twice: a prompt that begins with the agent's last prompt,
byte for byte, gives one edge to that one and goes on behind it; a message text that was seen before in its group of runs is
remembered with its origin; only new texts are matched, each once.

A message is one whole thing, so one event is its origin: the one with that text, else the one with the same values (results of
tools are written as JSON in many ways), else the one that most of its telling words and values lead to. What an assistant's
message says counts as a response only when it is the same text. A user's or tool's message with no origin in the record is kept
as a source of its own: what it says came in with this prompt.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from google.protobuf import struct_pb2

from chaukas.server.explain.evidence import Basis, EdgeDrafts, EvidenceType, Place
from chaukas.server.explain.matching import Pieces, SourceIndex
from chaukas.server.explain.model import EventRow
from chaukas.server.explain.model_calls import Signature, signature_of_json
from chaukas.server.explain.sources import Passage, PassageRole, value_leaves
from chaukas.server.explain.spelling import weight_of

__all__ = ["PromptReader", "Whole", "WholeTexts"]

_LIST_KEYS = ("messages", "input", "contents", "prompt")
_STANDING = frozenset({"system", "developer"})
#: Roles of what the model itself wrote; "call" is a printed tool call.
_OWN = frozenset({"assistant", "model", "ai", "call"})
_RESULT_IDS = ("tool_call_id", "call_id", "tool_use_id")
_PRINTED_MAX = 1_000_000
#: A backslash that Python would warn about: such a text was not printed by Python.
_NO_ESCAPE = re.compile(r"""\\(?<!\\\\)(?:\\\\)*[^\\'"abfnrtvxuUN0-7\n]""")
_CANDIDATES_MAX = 3
_SCORE_MIN = 1.0
_SHARE_MIN = 0.5
_COMMON_MIN = 3

_Key = TypeVar("_Key")


#: The last events that hold something, the oldest first, each `position << 24 | number of its field's path`. Most texts are held
#: by one, which stands there alone: tuples around it are what Python's garbage collector would spend its time with.
_Held = int | tuple[int, ...]
_FIELD_BITS = 24


@dataclass(frozen=True, slots=True)
class _Message:
    """One message: its role, its field, its text as recorded, and the text inside it where it was printed into a string."""

    role: str
    field: str
    text: str
    inner: str
    result_id: str


@dataclass(frozen=True, slots=True)
class _Origin:
    position: int
    field: str
    by: str
    alternatives: int


class Whole(NamedTuple):
    """An event that holds something whole, and how many other ones did of late."""

    position: int
    field: str
    alternatives: int


class WholeTexts:
    """Texts that are known whole, and results of tools by their values, whatever the order of keys; the latest events of each."""

    def __init__(self) -> None:
        self._texts: defaultdict[int, dict[str, _Held]] = defaultdict(dict)
        self._results: defaultdict[int, dict[Signature, _Held]] = defaultdict(dict)
        #: Path of a field -> its number, and back.
        self._field_numbers: dict[str, int] = {}
        self._fields: list[str] = []
        self._result_ids: dict[tuple[int, str], tuple[int, str]] = {}

    def add_text(self, group: int, text: str, position: int, field: str) -> None:
        """Remember a text that an event holds; blanks around it do not count."""
        text = text.strip()
        if text:
            self._hold(self._texts[group], text, position, field)

    def add_result(self, group: int, signature: Signature, position: int, field: str) -> None:
        """Remember the values of a tool's result."""
        if signature:
            self._hold(self._results[group], signature, position, field)

    def add_result_id(self, group: int, call_id: str, position: int, field: str) -> None:
        """Remember which event holds the result of a call."""
        if call_id:
            self._result_ids[group, call_id] = (position, field)

    def text(self, group: int, text: str) -> Whole | None:
        """The latest event that holds this text."""
        return self._latest(self._texts[group].get(text.strip()))

    def result(self, group: int, text: str) -> Whole | None:
        """The latest event that holds a result with the values of a JSON text."""
        signature = signature_of_json(text)
        return self._latest(self._results[group].get(signature)) if signature else None

    def result_of_id(self, group: int, call_id: str) -> tuple[int, str] | None:
        """The event that holds the result of a call."""
        return self._result_ids.get((group, call_id)) if call_id else None

    def _hold(self, known: dict[_Key, _Held], key: _Key, position: int, field: str) -> None:
        number = self._field_numbers.setdefault(field, len(self._fields))
        if number == len(self._fields):
            self._fields.append(field)
        here = position << _FIELD_BITS | number
        before = known.get(key)
        if before is None:
            known[key] = here
        else:
            known[key] = (before, here) if isinstance(before, int) else (*before[-_CANDIDATES_MAX:], here)

    def _latest(self, held: _Held | None) -> Whole | None:
        if held is None:
            return None
        places = (held,) if isinstance(held, int) else held
        events = {place >> _FIELD_BITS for place in places}
        return Whole(places[-1] >> _FIELD_BITS, self._fields[places[-1] & (1 << _FIELD_BITS) - 1], len(events) - 1)


class PromptReader:
    """Reads the prompts of all model calls in the record's order."""

    def __init__(self, index: SourceIndex, edges: EdgeDrafts, wholes: WholeTexts) -> None:
        self._index = index
        self._edges = edges
        self._wholes = wholes
        #: START -> the earlier START whose prompt it repeats whole.
        self.repeated: dict[int, int] = {}
        self._last: dict[tuple[int, str, str], tuple[int, int, bytes]] = {}
        self._origins: dict[tuple[int, str], tuple[_Origin, ...]] = {}

    def read(self, row: EventRow, run: int, group: int, step: int) -> None:
        """Add the context edges of a model call's START."""
        if not row.event.llm_invocation.HasField("request"):
            return
        fields = row.event.llm_invocation.request.fields
        for key in _LIST_KEYS:
            if key not in fields:
                continue
            path = f"llm_invocation.request.{key}"
            value = fields[key]
            kind = value.WhichOneof("kind")
            if kind == "string_value":
                self._message(_Message("user", path, value.string_value, value.string_value, ""), row, run, group, step)
            elif kind == "list_value":
                self._list(value.list_value, path, row, run, group, step)

    def _list(self, messages: struct_pb2.ListValue, path: str, row: EventRow, run: int, group: int, step: int) -> None:
        values = messages.values
        # Elements of a repeated field stand one after another, so that a list that begins with another has its bytes in front.
        printed = messages.SerializeToString(deterministic=True)
        place = (group, row.agent_id, path)
        position, count, before = self._last.get(place, (-1, 0, b""))
        known = 0
        if count and printed.startswith(before):
            known = count
            self.repeated[row.position] = position
            basis = Basis("prompt", f"{count} messages", Place(position, path), Place(row.position, f"{path}[0:{count}]"))
            self._edges.add(EvidenceType.CONTEXT, basis)
        self._last[place] = (row.position, len(values), printed)
        for number in range(known, len(values)):
            for message in _messages(values[number], f"{path}[{number}]"):
                self._message(message, row, run, group, step)

    def _message(self, message: _Message, row: EventRow, run: int, group: int, step: int) -> None:
        if not message.text or message.role in _STANDING:
            return
        if message.result_id:
            held = self._wholes.result_of_id(group, message.result_id)
            if held is not None:
                basis = Basis("tool_call_id", message.result_id, Place(*held), Place(row.position, message.field))
                self._edges.add(EvidenceType.EXPLICIT, basis)
        seen = (group, message.text)
        origins = self._origins.get(seen)
        if origins is None:
            origins = self._origins[seen] = self._origins_of(message, row, run, group, step)
        start, end = _inner_range(message)
        effect = Place(row.position, message.field, start, end)
        for origin in origins:
            if origin.position < row.position:
                cause = Place(origin.position, origin.field)
                basis = Basis(origin.by, "", cause, effect, alternatives=origin.alternatives)
                self._edges.add(EvidenceType.CONTEXT, basis)

    def _origins_of(self, message: _Message, row: EventRow, run: int, group: int, step: int) -> tuple[_Origin, ...]:
        for by, look in (("text", self._wholes.text), ("values", self._wholes.result)):
            found = look(group, message.inner)
            if found is not None:
                return (_Origin(found.position, found.field, by, found.alternatives),)
        if message.role in _OWN:
            return ()
        pieces = self._index.pieces_of(message.inner)
        origins = self._scored(pieces, row.position)
        if not origins:
            passage = Passage(message.field, message.text, PassageRole.PROMPT)
            if message.inner != message.text:
                pieces = self._index.pieces_of(message.text)
            self._index.add(row.position, run, step, passage, pieces)
        return origins

    def _scored(self, pieces: Pieces, position: int) -> tuple[_Origin, ...]:
        """The event that most of a text leads to, when that is at least half of it; several when they are equal."""
        sources = self._index.sources
        scores: defaultdict[int, float] = defaultdict(float)
        fields: dict[int, str] = {}
        for value in {value.key: value for value in pieces.values}.values():
            nearby: dict[int, int] = {}
            for source in (*self._index.origins(value.key), *self._index.echoes(value.key)):
                place = sources.position[source]
                if place < position and sources.role[source] is not PassageRole.ASKED:
                    nearby.setdefault(place, source)
            for place, source in nearby.items():
                scores[place] += value.weight
                fields.setdefault(place, sources.field[source])
        weights: dict[tuple[int, int], float] = {}
        for source, start, end, _ in self._index.word_matches(pieces):
            weight = weights.get((start, end))
            if weight is None:
                weight = weights[start, end] = weight_of(pieces.words[start:end])
            place = sources.position[source]
            if place < position and weight >= _COMMON_MIN:
                scores[place] += weight
                fields.setdefault(place, sources.field[source])
        if not scores:
            return ()
        best = max(scores.values())
        if best < _SCORE_MIN or best < weight_of(pieces.words) * _SHARE_MIN:
            return ()
        places = sorted(place for place, score in scores.items() if score >= best - 1e-9)[-_CANDIDATES_MAX:]
        return tuple(_Origin(place, fields[place], "prompt", len(places) - 1) for place in places)


def _messages(value: struct_pb2.Value, path: str) -> Iterator[_Message]:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        yield _unprinted("user", path, value.string_value, "")
    elif kind == "struct_value":
        fields = value.struct_value.fields
        role = fields["role"].string_value if "role" in fields else ""
        result_id = next((fields[key].string_value for key in _RESULT_IDS if key in fields), "")
        if "type" in fields and fields["type"].string_value == "function_call":
            role = "call"
        for key in ("content", "text", "parts", "output"):
            if key in fields:
                inner = fields[key]
                inner_kind = inner.WhichOneof("kind")
                if inner_kind == "string_value":
                    yield _unprinted(role, f"{path}.{key}", inner.string_value, result_id)
                elif inner_kind == "struct_value":
                    yield from _block(inner, f"{path}.{key}", role, result_id)
                elif inner_kind == "list_value":
                    for number, block in enumerate(inner.list_value.values):
                        yield from _block(block, f"{path}.{key}[{number}]", role, result_id)


def _block(value: struct_pb2.Value, path: str, role: str, result_id: str) -> Iterator[_Message]:
    """A part of a message; a tool's result may stand in one, with the id of its call beside it."""
    fields = value.struct_value.fields
    result_id = next((fields[key].string_value for key in _RESULT_IDS if key in fields), result_id)
    for leaf, text in value_leaves(value, path):
        if not leaf.endswith((".type", ".role", "_id", ".id", ".name")):
            yield _Message(role, leaf, text, text, result_id)


def _unprinted(role: str, field: str, text: str, result_id: str) -> _Message:
    """A message, read from inside the string where an integration printed the whole of it into one."""
    if text.startswith("{'") and text.endswith("}") and len(text) <= _PRINTED_MAX and not _NO_ESCAPE.search(text):
        try:
            printed = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            printed = None
        if isinstance(printed, dict):
            kind = printed.get("type")
            inner_role = printed.get("role")
            if kind == "function_call":
                return _Message("call", field, text, str(printed.get("arguments", "")), "")
            if isinstance(printed.get("call_id"), str):
                result_id = printed["call_id"]
            role = inner_role if isinstance(inner_role, str) else "tool" if kind == "function_call_output" else role
            inner = _text_of(printed.get("content", printed.get("output")))
            if inner:
                return _Message(role, field, text, inner, result_id)
    return _Message(role, field, text, text, result_id)


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""


def _inner_range(message: _Message) -> tuple[int | None, int | None]:
    """Where the inner text stands in the recorded one; nothing where escapes make it read differently."""
    if message.inner is message.text:
        return 0, len(message.text)
    for form in (message.inner, repr(message.inner)[1:-1]):
        start = message.text.find(form)
        if start >= 0:
            return start, start + len(form)
    return None, None
