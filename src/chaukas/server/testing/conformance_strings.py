"""Conformance of strings: ids and tags are compared as sequences of code points, and every sequence is possible."""
# ruff: noqa: S101 - a suite asserts

from __future__ import annotations

from typing import Any

import pytest

from chaukas.server.storage.contract import EventFilter, EventRecord, Store
from chaukas.server.testing.conformance_case import BASE_NS, StoreCase, event_ids, every, on_store
from chaukas.server.testing.records import make_record

__all__ = ["StringConformance"]

#: Values that some database, collation or driver takes for each other, cuts, pads or interprets.
_ODD = (
    *("a", "A", "b", " ", "  ", "a ", " a", "a\t", "a\n", "\r\n", "a\u00a0", "a\u200b"),
    *("\u0000", "\u0000\u0000", "a\u0000", "\u0000a", "a\u0000b", "\u0001", "\u001f", "a\u001fb", "\u007f", "\u0080", "\u00ff"),
    *("\u00e9", "e\u0301", "\u00c9", "E\u0301", "\u00df", "SS", "ss", "\u017f", "K", "\u212a", "k", "\ufb01", "fi"),
    *("\u0130", "I", "\u0131", "i", "\u0391", "\u03b1", "\uff21", "\u4e2d\u6587", "\U0001f600", "\U0001f469\u200d\U0001f680"),
    *("\ud7ff", "\ue000", "\ufeff", "\ufeffa", "\ufffd", "\ufffe", "\uffff", "\U00010000", "\U0010ffff"),
    *("%", "a%", "_", "*", "?", "[ab]", "'", "''", '"', "\\", "\\'", "\\u0000", "/", "a/b"),
    *(",", "a,b", "a|b", "{}", "[]", "$1", ":a"),
    *("0", "00", "1", "01", "1.0", "1e0", "-1", "None", "null", "NULL", "true", "\\N", "x'00'"),
)
#: Far longer than the limits that a server sets by default, alike in all but the last character.
_LONG = ("l" * 255, "l" * 256, "L" * 256, "l" * 10_000, "l" * 9_999 + "m", "\u4e2d" * 3_000)


def _record(name: str, field: str, value: str) -> EventRecord:
    fields: dict[str, Any] = {field: [value] if field == "tags" else value}
    return make_record(name, **fields)


def _asking(field: str, value: str) -> EventFilter:
    wanted: dict[str, Any] = {field: frozenset({value}) if field == "tags" else value}
    return EventFilter(**wanted)


class StringConformance(StoreCase):
    """An id that is given must be equal as a string, and nothing else is equal to it."""

    @pytest.mark.parametrize("field", ["session_id", "trace_id", "span_id", "agent_id", "tags", "tenant_id", "project_id"])
    @on_store
    async def test_each_string_finds_itself_alone(self, store: Store, field: str) -> None:
        """Strings that differ in case, normalisation, blanks, NULs, digits or beyond the 9,999th character are different."""
        # Tenants and projects stand in the origin, which has 255 bytes; validation keeps longer ones away from the store.
        values = _ODD if field in ("tenant_id", "project_id") else (*_ODD, *_LONG)
        await store.append([_record(f"e{number}", field, value) for number, value in enumerate(values)])
        for number, value in enumerate(values):
            wanted = _asking(field, value)
            assert event_ids(await every(store, wanted)) == [f"e{number}"], f"{field} {value[:20]!r}"
            assert await store.count(wanted) == 1
        # The same once more, so that whatever the first call made known to the store is used too.
        await store.append([_record(f"again-{number}", field, value) for number, value in enumerate(values)])
        for number, value in enumerate(values):
            found = event_ids(await every(store, _asking(field, value)))
            assert sorted(found) == [f"again-{number}", f"e{number}"], f"{field} {value[:20]!r}"
        for value in ("nobody", "a" * 257, "\u0002", "aa", "l"):
            assert await store.count(_asking(field, value)) == 0

    @on_store
    async def test_each_string_is_an_event_id(self, store: Store) -> None:
        """Event ids that differ in any code point are different events; the same ones are duplicates."""
        values = (*_ODD, *_LONG)
        records = [make_record(value, at_ns=BASE_NS + number) for number, value in enumerate(values)]
        outcomes = await store.append(records)
        assert {outcome.status.value for outcome in outcomes} == {"accepted"}
        assert [outcome.event_id for outcome in outcomes] == list(values)
        assert event_ids(await every(store)) == list(values)
        outcomes = await store.append(records)
        assert {outcome.status.value for outcome in outcomes} == {"duplicate"}
        assert [outcome.index for outcome in outcomes] == list(range(len(values)))

    @on_store
    async def test_code_points_from_all_over(self, store: Store) -> None:
        """Characters from every part of Unicode, assigned or not, are kept and found in ids and tags."""
        points = [point for point in range(0, 0x110000, 2_741) if not 0xD800 <= point <= 0xDFFF]
        records = [
            make_record(f"e{point}", session_id=f"s{chr(point)}", agent_id=chr(point), tags=[chr(point), "x" + chr(point)])
            for point in points
        ]
        await store.append(records)
        for point in points:
            for wanted in (
                EventFilter(session_id=f"s{chr(point)}"),
                EventFilter(agent_id=chr(point)),
                EventFilter(tags=frozenset({chr(point), "x" + chr(point)})),
            ):
                assert event_ids(await every(store, wanted)) == [f"e{point}"]

    @on_store
    async def test_an_empty_string_is_a_value(self, store: Store) -> None:
        """Asking for the empty string finds the events without that id, an empty tag those that have it; None finds all."""
        fields = ("session_id", "trace_id", "span_id", "agent_id", "project_id")
        await store.append([_record(f"no-{field}", field, "") for field in fields] + [make_record("full", tags=["x"])])
        for field in fields:
            assert event_ids(await every(store, _asking(field, ""))) == [f"no-{field}"]
        assert await store.count(EventFilter(tags=frozenset({""}))) == 0
        await store.append([make_record("empty-tag", tags=["", "x"])])
        assert event_ids(await every(store, EventFilter(tags=frozenset({""})))) == ["empty-tag"]
        assert await store.count(EventFilter()) == len(fields) + 2

    @on_store
    async def test_one_value_in_different_fields(self, store: Store) -> None:
        """The same string as session, trace, span, agent and tag of different events is found in the field asked for."""
        fields = ("session_id", "trace_id", "span_id", "agent_id", "tags")
        await store.append([_record(field, field, "same") for field in fields])
        for field in fields:
            assert event_ids(await every(store, _asking(field, "same"))) == [field]

    @on_store
    async def test_odd_tenants_and_projects_have_logs_of_their_own(self, store: Store) -> None:
        """No two pairs of tenant and project share a log, whatever separators and escapes they contain."""
        scopes = [
            ("a", "b/c"),
            ("a/b", "c"),
            ("a%2Fb", "c"),
            ("a", "b%2Fc"),
            ("a/b/c", ""),
            ("a", ""),
            ("a ", ""),
            ("a+", ""),
            ("\u00e9", ""),
            ("e\u0301", ""),
            ("t" * 200, ""),
        ]
        outcomes = await store.append([make_record("e", tenant_id=tenant, project_id=project) for tenant, project in scopes])
        assert {outcome.status.value for outcome in outcomes} == {"accepted"}
        assert len({outcome.origin for outcome in outcomes}) == len(scopes)
        assert [outcome.index for outcome in outcomes] == [0] * len(scopes)
        for (tenant, project), outcome in zip(scopes, outcomes, strict=True):
            (event,) = await every(store, EventFilter(tenant_id=tenant, project_id=project))
            assert event.origin == outcome.origin
            assert (await store.stats(tenant, project, None, None)).total_events == 1
