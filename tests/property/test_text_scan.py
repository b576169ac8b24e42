# ruff: noqa: RUF001 - texts of all scripts
from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import accumulate

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import example, given
from hypothesis import strategies as st

from chaukas.server.text.event_tokens import tokens_of_event
from chaukas.server.text.expression import Clause, TextQuery
from chaukas.server.text.fold_sources import ascii_sources, part_sources, parts_of, utf8_pattern
from chaukas.server.text.scan import TextScanner
from chaukas.server.text.tokens import ASCII_SYMBOLS, fold, tokens_of
from chaukas.spec.common.v1.events_pb2 import Event
from tests.strategies import events, unhurried

#: Words, what stands between words, and characters that become words, vanish, combine, or look like tags and lengths.
_PIECES = (
    *(
        "refund",
        "ReFund",
        "re",
        "und",
        "of",
        "OF",
        "the",
        "to",
        "a",
        "1",
        "12",
        "1e",
        "16",
        "+",
        "=",
        "$",
        "nan",
        "infinity",
        "of the",
    ),
    *(" ", " ", "-", "_", "\n", "\x01", "\x12\x02", "\x0a\x03", "\x7f", "’", "…", "\u00a0", "\u00ad", "\u200b", "\ufe0f", "．"),
    *(
        "ﬁ",
        "ﬀ",
        "²",
        "Ａ",
        "ｏｆ",
        "𝐚",
        "K",
        "ſ",
        "İ",
        "i\u0307",
        "℡",
        "㍻",
        "㈱",
        "①",
        "ß",
        "ẞ",
        "½",
        "\u0307",
        "\u0301",
        "\u0323",
    ),
    *(
        "東",
        "京",
        "東京",
        "平",
        "成",
        "株",
        "か",
        "が",
        "か\u3099",
        "ｶﾞ",
        "가",
        "ᄀ",
        "\u1161",
        "각",
        "\u11a8",
        "été",
        "ete\u0301",
        "é",
    ),
    *("ж", "ӂ", "ж\u0306", "ᾳ", "α\u0345", "ΐ", "Σ", "ς", "กิ", "र्नä", "😀", "👩‍🚀", "\U0002f8a6", "慈", "\U000e0041"),
)
texts = st.lists(st.sampled_from(_PIECES), max_size=8).map("".join)
numbers = st.one_of(st.floats(), st.sampled_from([1.0, 12.0, 1e16, 1.5e-7, 16.25, float("nan"), float("-inf")]))


@st.composite
def small_events(draw: st.DrawFn) -> Event:
    event = Event(event_id=draw(texts), agent_name=draw(texts), tags=draw(st.lists(texts, max_size=3)))
    event.message.role, event.message.text = draw(texts), draw(texts)
    event.metadata.update(draw(st.dictionaries(texts, st.one_of(numbers, texts, st.lists(numbers, max_size=2)), max_size=2)))
    return event


segments = st.lists(st.one_of(small_events(), events()), min_size=1, max_size=12).map(
    lambda found: [event.SerializeToString(deterministic=True) for event in found]
)
written = st.one_of(texts, texts.map(lambda text: f'"{text}"'), texts.map(lambda text: f'"{text}"*'))
queries = st.lists(written, min_size=1, max_size=3).map(" ".join).filter(lambda text: tokens_of(text) != []).map(TextQuery.parse)


def _check(bodies: list[bytes], query: TextQuery) -> None:
    scanner = TextScanner(query)
    expected = [at for at, body in enumerate(bodies) if query.matches(body)]
    candidates = scanner.candidates(b"".join(bodies), list(accumulate(map(len, bodies))))
    assert candidates == sorted(set(candidates))
    assert set(expected) <= set(candidates) <= set(range(len(bodies)))
    assert [at for at in candidates if scanner.confirms(bodies[at])] == expected
    assert [at for at, body in enumerate(bodies) if scanner.matches(body)] == expected


@unhurried
@given(segments, queries)
def test_a_segment_as_a_whole_gives_what_its_events_give(bodies: list[bytes], query: TextQuery) -> None:
    """Looking through many events at once passes none over that matches, and tells their positions."""
    _check(bodies, query)


@unhurried
@given(segments, st.data())
def test_what_stands_in_an_event_finds_it_among_others(bodies: list[bytes], data: st.DataObject) -> None:
    """Tokens of an event of a segment, alone, side by side, as a prefix and several at once, find it among its neighbours."""
    texts_of_one = tokens_of_event(data.draw(st.sampled_from(bodies)))
    if not texts_of_one:
        return
    clauses = []
    for _ in range(data.draw(st.integers(1, 2))):
        tokens = data.draw(st.sampled_from(texts_of_one))
        begin = data.draw(st.integers(0, len(tokens) - 1))
        *whole, last = tokens[begin : begin + data.draw(st.integers(1, 4))]
        prefix = data.draw(st.booleans())
        clauses.append(Clause((*whole, last[: data.draw(st.integers(1, len(last)))] if prefix else last), prefix))
    query = TextQuery(tuple(clauses))
    assert any(map(query.matches, bodies))
    _check(bodies, query)


@pytest.mark.parametrize("separator", [" ", "-", "’", "…", "\u00ad ", "\u200b\u3000", "\x12\x02", "\x00", "，", "_" * 300])
def test_a_phrase_is_found_whatever_separates_its_words(separator: str) -> None:
    """Between the words of a phrase any separator may stand, of any length, and nothing else makes two neighbours of them."""
    near, far = Event(agent_name=f"x OF{separator}The y"), Event(agent_name="of a the", tags=["of", "the"])
    bodies = [event.SerializeToString() for event in (far, near, far)]
    _check(bodies, TextQuery.parse('"of the"'))
    assert TextScanner(TextQuery.parse('"of the"')).matches(bodies[1])


def test_most_events_are_told_by_their_bytes() -> None:
    """A segment without the words, and one whose words never stand side by side, leave next to no candidates."""
    bodies = [Event(agent_name=f"the end of it {number} “the” of…", tags=["prod"]).SerializeToString() for number in range(128)]
    ends = list(accumulate(map(len, bodies)))
    for asked in ("zyzzyva", '"of the"', "東京", "4711", "the zyzzyva", '"the 1 end"', "가나", "ж"):
        assert not TextScanner(TextQuery.parse(asked)).candidates(b"".join(bodies), ends), asked


def test_a_word_is_found_whatever_bytes_stand_around_its_text() -> None:
    """A text of any length (its last byte may be a letter) with a word at its begin or end, in any field, is found by it."""
    for length in (*range(3, 300), 6_300, 12_500, 16_000):
        padding = "_" * (length - 3)
        for text in (f"age{padding}", f"{padding}age"):
            event = Event(agent_id=text, agent_name="after", branch=text, tags=[text, text])
            event.message.role = event.message.text = text
            event.metadata.update({text: text})
            stored = [Event(agent_id=text).SerializeToString(), Event(tags=[text]).SerializeToString(), event.SerializeToString()]
            for asked in ("age", "ag*"):
                assert all(TextScanner(TextQuery.parse(asked)).matches(body) for body in stored), (asked, length)


def _strings(message: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    if message.full_name not in seen:
        seen.add(message.full_name)
        for field in message.fields:
            if field.type == FieldDescriptor.TYPE_STRING:
                yield field
            elif field.message_type is not None:
                yield from _strings(field.message_type, seen)


def test_the_tags_of_texts_are_short() -> None:
    """No text stands in a field whose tag ends with what the scanner takes for a letter before a word."""
    assert max(field.number for field in _strings(Event.DESCRIPTOR, set())) < 512


def _characters() -> list[str]:
    return [chr(point) for point in range(0x80, 0x110000) if not 0xD800 <= point < 0xE000]


def test_every_source_of_ascii_is_known() -> None:
    """Each character of Unicode that folds to a text with an ASCII token's character, or vanishes, is told, by its bytes too."""
    wanted = {chr(point) for point in range(128) if chr(point).isalnum()} | set(ASCII_SYMBOLS)
    characters = _characters()
    folded = fold("\n".join(characters)).split("\n")
    expected = {one for one, text in zip(characters, folded, strict=True) if not text or wanted.intersection(text)}
    found = ascii_sources(character.lower() for character in wanted)
    assert expected - found == set()
    assert found - expected == {"\u0307"}


def test_every_part_has_its_sources() -> None:
    """Whatever a character of Unicode folds to, in one piece or taken apart, it is a source of each part of that."""
    characters = _characters()
    joined = "\n".join(characters)
    sources = [fold(joined).split("\n"), parts_of(joined).split("\n")]
    for character, whole, pieces in zip(characters, *sources, strict=True):
        if whole == character == pieces:
            continue
        apart = "".join(map(fold, pieces)) if whole != character else pieces
        # What the neighbours of its pieces make of them is made of the same parts.
        assert set(parts_of(whole)) <= set(parts_of(apart))
        assert whole != character or all(fold(piece) == piece for piece in pieces)
        for part in parts_of(whole + apart):
            assert part.isascii() or character in part_sources(part)


@unhurried
@given(st.sets(st.characters(min_codepoint=0x80, exclude_categories=["Cs"]), min_size=1, max_size=40), st.text())
@example(set("\u0080\u00bf\u2028\U0010ffff"), "\u2028")
def test_the_pattern_of_characters_finds_these_alone(characters: set[str], text: str) -> None:
    """The expression for some characters matches the UTF-8 of each of them and nothing else in a text."""
    found = re.findall(utf8_pattern(characters), (text + "".join(characters)).encode())
    assert [each.decode() for each in found] == [each for each in text + "".join(characters) if each in characters]


@unhurried
@given(texts)
def test_the_parts_of_a_folded_text_are_those_of_its_characters(text: str) -> None:
    """Folding a whole text makes no part that none of its characters has, whatever stands side by side."""
    folded = parts_of(fold(text))
    for part in {part for part in folded if not part.isascii()}:
        assert part_sources(part).intersection(text), (part, unicodedata.name(part, "?"))
