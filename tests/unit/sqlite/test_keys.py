"""Keys of ids."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.storage.sqlite.keys import IdKeys
from tests.strategies import unhurried

_SECRET = bytes(range(32))


def _uuid7(milliseconds: int, rest: int) -> str:
    number = milliseconds << 80 | 0x7 << 76 | (rest >> 62 & 0xFFF) << 64 | 0x2 << 62 | rest & (1 << 62) - 1
    return str(uuid.UUID(int=number))


@unhurried
@given(text=st.text(max_size=40) | st.uuids().map(str), other=st.text(max_size=40))
def test_keys_are_stable_numbers_of_63_bits(text: str, other: str):
    """A key fits a signed 64-bit column and is the same in every process with the store's secret, and in no other store."""
    key = IdKeys(_SECRET).key(text)
    assert 0 <= key < 1 << 63
    assert IdKeys(_SECRET).key(text) == key
    assert (IdKeys(_SECRET).key(other) == key) == (other == text)


@unhurried
@given(
    first=st.integers(0, (1 << 48) - 1),
    second=st.integers(0, (1 << 48) - 1),
    rest=st.integers(0, (1 << 74) - 1),
)
def test_keys_of_time_ordered_ids_follow_time(first: int, second: int, rest: int):
    """Ids of UUID version 7 made more than a second apart have keys in the order of their times: neighbours in the index."""
    keys = IdKeys(_SECRET)
    if abs(first - second) >= 1024:
        assert (keys.key(_uuid7(first, rest)) < keys.key(_uuid7(second, 1))) == (first < second)


@pytest.mark.parametrize(
    "text", ["zzzzzzzz-zzzz-7zzz-8zzz-zzzzzzzzzzzz", "0_0_0000-00+0-7000-8000-000000000000", "x" * 14 + "7" + "y" * 21]
)
def test_what_only_looks_like_a_uuid_has_a_key_too(text: str):
    """An id that a client made to resemble a UUID of version 7 is a string like any other."""
    assert len(text) == 36
    assert text[14] == "7"
    assert 0 <= IdKeys(_SECRET).key(text) < 1 << 63


def test_secrets_make_keys_unpredictable():
    """Nobody who does not know the store's secret can choose ids whose keys collide."""
    names = [f"id-{number}" for number in range(200)]
    assert {IdKeys(_SECRET).key(name) for name in names}.isdisjoint({IdKeys(bytes(32)).key(name) for name in names})
