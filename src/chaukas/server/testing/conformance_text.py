"""Conformance of text search: `TextQuery.matches` is the definition, and an event is found as soon as it is acknowledged."""
# ruff: noqa: S101, S311 - a suite asserts, and its random texts are no secrets

from __future__ import annotations

from random import Random

import pytest

from chaukas.server.storage.contract import EventFilter, EventRecord, Store
from chaukas.server.testing.conformance_case import BASE_NS, HOUR_NS, StoreCase, event_ids, every, on_store
from chaukas.server.testing.records import make_event, make_record, record_of
from chaukas.server.text.expression import TextQuery

__all__ = ["TextConformance"]

#: Words that meet in many ways: parts of each other, other scripts, other cases, several tokens, symbols, digits.
_WORDS = (
    *("refund", "Refund", "refunds", "re", "order", "ORDER", "not", "found", "user_id", "a@example.com", "C++", "x=1"),
    *("230", "2", "30", "1e16", "Straße", "STRASSE", "\u00e9t\u00e9", "e\u0301te\u0301", "\u0130stanbul", "istanbul"),
    *(
        "\u6771\u4eac\u30bf\u30ef\u30fc",
        "\u6771\u4eac",
        "\u4eac\u6771",
        "\u0928\u092e\u0938\u094d\u0924\u0947",
        "\ud55c\uad6d\uc5b4",
    ),
    *(
        "\U0001f600",
        "\U0001f469\u200d\U0001f680",
        "\U0001f680",
        "\u20ac",
        "\ufb01re",
        "fire",
        "\uff26\uff29\uff32\uff25",
        "f\u00adire",
    ),
)
#: Query, a text that it finds, a text alike that it does not find.
_CASES = (
    ("refund", "A REFUND, please", "refunds"),
    ("refund please", "please refund", "refund"),
    ("please please", "please", "plea se"),
    ('"order not found"', "Order not  found.", "order found, not"),
    ('"order not found"', "an order-not-found error", "order not yet found"),
    ("invo*", "the invoice", "in voice"),
    ("invo*", "INVO", "inv"),
    ('"the invo*"', "see the invoices", "invoices of the"),
    ('"the inv"*', "see the invoices", "the last invoices"),
    ("user_id", "user_id=7", "id_user"),
    ("mail@example.com", "to: <mail@example.com>", "example.com mail"),
    ("\u6771\u4eac", "\u6771\u4eac\u30bf\u30ef\u30fc\u306e\u9ad8\u3055", "\u4eac\u6771"),
    ("\u4eac\u30bf", "\u6771\u4eac\u30bf\u30ef\u30fc\u306e\u9ad8\u3055", "\u6771\u30bf"),
    ("\u0928\u092e\u0938\u094d\u0924\u0947", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0964", "\u0928\u092e\u0938"),
    ("\U0001f680", "up \U0001f469\u200d\U0001f680!", "\U0001f600"),
    ("\u00e9t\u00e9", "E\u0301TE\u0301", "ete"),
    ("strasse", "Gro\u00dfe STRA\u00dfE", "stra\u00dfen"),
    ("istanbul", "\u0130STANBUL", "\u0131stanbul"),
    ("fire", "\ufb01re", "fi re"),
    ("kelvin", "\u212aelvin", "celvin"),
    ("c++", "in C++ or C", "in C or C#"),
    ("x2", "x\u00b2", "x 2"),
)  # fmt: skip


def _saying(name: str, text: str, at_ns: int = BASE_NS) -> EventRecord:
    return make_record(name, text=text, at_ns=at_ns)


def _asking(query: str) -> EventFilter:
    return EventFilter(text=TextQuery.parse(query))


class TextConformance(StoreCase):
    """A driver with an index of its own must agree with `TextQuery.matches` for every event and query."""

    @pytest.mark.parametrize(("query", "found", "other"), _CASES)
    @on_store
    async def test_what_a_text_query_finds(self, store: Store, query: str, found: str, other: str) -> None:
        """Words, phrases, prefixes, scripts and spellings find what they should and not what is only alike."""
        await store.append([_saying("found", found), _saying("other", other)])
        assert event_ids(await every(store, _asking(query))) == ["found"]
        assert await store.count(_asking(query)) == 1

    @on_store
    async def test_all_words_in_any_texts_but_a_phrase_in_one(self, store: Store) -> None:
        """Words may stand in different texts of the event; the words of a phrase stand side by side in one text."""
        event = make_event("apart", text="the order", agent_id="agent", tags=["not", "found"])
        event.agent_name = "lost"
        await store.append(
            [record_of(event), _saying("together", "order lost, agent not found"), _saying("some", "order not found")]
        )
        assert sorted(event_ids(await every(store, _asking("order lost agent not found")))) == ["apart", "together"]
        assert event_ids(await every(store, _asking('"not found" lost'))) == ["together"]
        assert sorted(event_ids(await every(store, _asking('"the order"')))) == ["apart"]
        assert event_ids(await every(store, _asking('"order lost"'))) == ["together"]

    @on_store
    async def test_every_text_is_searched(self, store: Store) -> None:
        """Names, tags, content, keys, strings and numbers of nested Structs are found; ids of the envelope are not."""
        event = make_event("all", text="", session_id="wordsession", trace_id="wordtrace", tags=["wordtag"], agent_id="wordagent")
        event.agent_name, event.branch, event.parent_span_id = "wordname", "wordbranch", "wordparent"
        event.llm_invocation.model = "wordmodel"
        event.llm_invocation.request.update({"wordkey": [{"deep": ["wordvalue", 4711.25, 1e21]}], "none": None, "yes": True})
        event.metadata.update({"note": "wordnote"})
        event.pii_categories.append("wordpii")
        event.retry.strategy = "wordretry"
        event.cost.currency = "wordcurrency"
        event.infrastructure.host = "wordhost"
        await store.append([record_of(event), _saying("other", "something else")])
        for place in ("tag", "agent", "name", "branch", "model", "key", "value", "note", "pii", "retry", "currency", "host"):
            assert event_ids(await every(store, _asking(f"word{place}"))) == ["all"], place
        for query in ("4711", "25", '"4711 25"', "471*", "1e 21"):
            assert event_ids(await every(store, _asking(query))) == ["all"], query
        for query in ("wordsession", "wordtrace", "wordparent", "session_1", "4711.2", "47", "1000000000000000000000"):
            assert event_ids(await every(store, _asking(query))) == [], query

    @on_store
    async def test_a_text_is_found_at_once(self, store: Store) -> None:
        """An event whose append returned is found by its words in the very next query."""
        for number in range(60):
            await store.append([_saying(f"e{number}", f"common unique{number} 東京{number}", BASE_NS + number)])
            assert event_ids(await every(store, _asking(f"unique{number}"))) == [f"e{number}"]
            assert event_ids(await every(store, _asking(f"東京{number}"))) == [f"e{number}"]
            assert await store.count(_asking("common")) == number + 1

    @on_store
    async def test_words_in_large_texts(self, store: Store) -> None:
        """A word at the end of 200,000 characters is found, and so is one token as long as that by its beginning."""
        words = " ".join(f"w{number}" for number in range(30_000))
        large = [_saying("words", words + " needle"), _saying("run", "haystack" * 25_000), _saying("cjk", "高" * 200_000 + "京")]
        await store.append([*large, _saying("other", "w1 haystack 京")])
        for query, name in (("needle w7", "words"), ('"w29999 needle"', "words"), ("haystackhay*", "run"), ("高京", "cjk")):
            assert event_ids(await every(store, _asking(query))) == [name], query

    @on_store
    async def test_text_together_with_all_other_filters(self, store: Store) -> None:
        """Text is one more condition: tenant, session, type, tag and time still hold."""
        like = make_record("mine", text="needle", at_ns=BASE_NS, tags=["t"], type=22)
        others = [
            make_record("tenant", text="needle", tenant_id="globex", tags=["t"], type=22, at_ns=BASE_NS),
            make_record("session", text="needle", session_id="session-2", tags=["t"], type=22, at_ns=BASE_NS),
            make_record("type", text="needle", tags=["t"], type=23, at_ns=BASE_NS),
            make_record("tag", text="needle", tags=["u"], type=22, at_ns=BASE_NS),
            make_record("time", text="needle", tags=["t"], type=22, at_ns=BASE_NS + HOUR_NS),
            make_record("text", text="hay", tags=["t"], type=22, at_ns=BASE_NS),
        ]
        await store.append([like, *others])
        wanted = EventFilter(
            tenant_id="acme",
            session_id="session-1",
            types=frozenset({22}),
            tags=frozenset({"t"}),
            start_ns=BASE_NS,
            end_ns=BASE_NS + 1,
            text=TextQuery.parse("need*"),
        )
        assert event_ids(await every(store, wanted)) == ["mine"]
        assert await store.count(wanted) == 1

    @pytest.mark.parametrize("seed", [1, 2])
    @on_store
    async def test_random_texts_like_a_plain_scan(self, store: Store, seed: int) -> None:
        """Random events and queries: every page, in both directions, is what looking at each event gives."""
        random = Random(seed)
        corpus: list[EventRecord] = []
        for _ in range(6):
            batch = [self._random_record(random, len(corpus) + number) for number in range(100)]
            corpus += batch
            await store.append(batch)
            for _ in range(8):
                query = TextQuery.parse(_random_query(random))
                wanted = EventFilter(text=query, types=frozenset(random.choice([(), (1,), (2, 3)])))
                expected = [
                    record.event_id
                    for record in corpus
                    if query.matches(record.stored) and (not wanted.types or record.type in wanted.types)
                ]
                descending = random.random() < 0.5
                found = await every(store, wanted, limit=random.choice([9, 50, 1_000]), descending=descending)
                assert event_ids(found) == (expected[::-1] if descending else expected), str(query)
                assert await store.count(wanted) == len(expected), str(query)

    def _random_record(self, random: Random, number: int) -> EventRecord:
        event = make_event(
            f"e{number:05}",
            text=" ".join(random.choices(_WORDS, k=random.randrange(8))),
            type=random.randrange(1, 4),
            tags=random.sample(_WORDS, k=random.randrange(2)),
            at_ns=BASE_NS + number * 1_000,
        )
        if random.random() < 0.3:
            event.metadata.update({random.choice(_WORDS): [random.choice(_WORDS), random.choice([2, 230, 2.5, 1e16, -30.25])]})
        return record_of(event)


def _random_query(random: Random) -> str:
    parts = []
    for _ in range(random.choice([1, 1, 2, 3])):
        words = random.choices(_WORDS, k=random.choice([1, 1, 2]))
        if random.random() < 0.3:
            words[-1] = words[-1][: random.randrange(1, 4)].strip("_@=\u200d\u00ad") or "re"
            words[-1] += "*"
        parts.append(" ".join(words) if random.random() < 0.6 else '"' + " ".join(words) + '"')
    return " ".join(parts)
