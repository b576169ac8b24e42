"""A reader answers from one state of the index, or says that it cannot, so that the caller scans."""

from __future__ import annotations

import apsw
import pytest

from chaukas.server.storage.sqlite.text_index import (
    TEXT_INDEX_NAME,
    TextIndexReader,
    TextIndexUnusable,
    TextIndexWriter,
    file,
    reader,
    search,
)
from chaukas.server.text.expression import Clause, TextQuery
from tests.unit.sqlite.text_index_events import candidates, filled, found, stored


@pytest.fixture
def index(tmp_path):
    """A reader of an index that a test fills."""
    opened = TextIndexReader(tmp_path)
    yield opened
    opened.close()


def test_words_phrases_prefixes_and_scripts_are_found(tmp_path):
    """Every script, symbol and number is found by the tokens of the contract's own function."""
    filled(tmp_path, [
        stored("Order not found: user_id=42", "東京タワーの高さ"),
        stored("not an order, found", "हिन्दी में लिखा", "café"),
        stored("I ❤️ C++ 😀", "A\x1fB\0C", 'say "hi"\n there'),
    ])  # fmt: skip
    wanted = {
        "order": [0, 1], "ORDER found": [0, 1], '"order not found"': [0], '"not order"': [], "or*": [0, 1], '"order no"*': [0],
        "user_id": [0], "id=42": [0], '"id 42"': [], "4*": [0], "zz*": [], '"a b c"': [2], '"say hi there"': [2],
        "東京": [0], "京東": [], "タワー 高": [0], "हिन्दी": [1], "cafe\u0301": [1], "cafe": [], "caf*": [1],
        "😀": [2], "❤": [2], "c++": [2], '"c +"': [2],
    }  # fmt: skip
    assert {query: found(tmp_path, query) for query in wanted} == wanted


def test_a_phrase_never_crosses_from_one_text_to_another(tmp_path):
    """Words side by side in two texts are no phrase, whether or not the event is ASCII."""
    filled(
        tmp_path, [stored("one two", "three"), stored("one two three"), stored("eins zwei", "dreißig"), stored("zwei dreissig")]
    )
    assert (found(tmp_path, '"two three"'), found(tmp_path, '"zwei dreissig"')) == ([1], [3])


def test_a_token_as_long_as_a_book_is_found(tmp_path, index):
    """A run of 200,000 letters is one token; what FTS5 cuts off makes a candidate and never a lost event."""
    filled(tmp_path, [stored("x" * 200_000, "short"), stored("x" * 40_000), stored("x" * 1_000)])
    assert found(tmp_path, "short") == [0]
    assert found(tmp_path, "xxxx*") == [0, 1, 2]
    assert found(tmp_path, "x" * 1_000) == [2]
    assert candidates(index, TextQuery((Clause(("x" * 200_000,)),))) == ([0, 1], False)


def test_a_snapshot_does_not_move(tmp_path, index):
    """A question that began before a commit sees nothing of it, entries and positions alike."""
    filled(tmp_path, [stored("red")])
    with index.snapshot() as snapshot:
        filled(tmp_path, [stored("red")])
        assert snapshot.indexed(1) == 1
        assert snapshot.search(TextQuery.parse("red"), [1]).count(1) == 1
    with index.snapshot() as snapshot:
        assert snapshot.indexed(1) == 2
        assert snapshot.search(TextQuery.parse("red"), [1]).count(1) == 2
        assert (snapshot.indexed(2), snapshot.marks()) == (0, {1: (2, b"")})


def test_no_index_is_unusable_until_there_is_one(tmp_path, index):
    """Without a file the caller scans; with one it need not."""
    query = TextQuery.parse("red")
    with pytest.raises(TextIndexUnusable), index.snapshot():
        pass
    (tmp_path / TEXT_INDEX_NAME).write_bytes(b"")
    with pytest.raises(TextIndexUnusable), index.snapshot():
        pass
    filled(tmp_path, [stored("red")])
    assert candidates(index, query) == ([0], True)


def test_an_index_that_was_made_anew_is_opened_anew(tmp_path, index):
    """Dropping the index under a reader neither disturbs its snapshot nor leaves it with the old file."""
    filled(tmp_path, [stored("red"), stored("red")])
    query = TextQuery.parse("red")
    with index.snapshot() as snapshot:
        begun = TextIndexWriter(tmp_path)
        begun.drop()
        begun.add(1, 0, [stored("red")])
        begun.commit()
        assert list(snapshot.search(query, [1]).in_block(1, 0)) == [0, 1]
    assert candidates(index, query) == ([0], True)
    # The old file's end has not taken the new one's write-ahead log with it.
    begun.add(1, 1, [stored("red")])
    begun.commit()
    assert candidates(index, query) == ([0, 1], True)
    begun.close()
    assert found(tmp_path, "red") == [0, 1]


def test_other_tokens_are_unusable(tmp_path, index, monkeypatch):
    """A reader never asks an index that cut its tokens by other rules."""
    filled(tmp_path, [stored("red")])
    monkeypatch.setattr(file, "TOKENS_VERSION", "2/unicode-99")
    with pytest.raises(TextIndexUnusable), index.snapshot():
        pass


def test_damage_is_unusable_and_says_so(tmp_path, index):
    """Damage in the middle of a question is one exception that names it."""
    filled(tmp_path, [stored(f"word{number}") for number in range(3_000)])
    candidates(index, TextQuery.parse("word7"))
    database = apsw.Connection(str(tmp_path / TEXT_INDEX_NAME))
    database.execute("DELETE FROM words_data WHERE id > 1000")
    database.close()
    with pytest.raises(TextIndexUnusable) as caught:
        candidates(index, TextQuery.parse("word77"))
    assert caught.value.damaged


def test_an_error_of_the_caller_is_none_of_the_index(tmp_path, index):
    """What a caller's own database raises within a snapshot is not taken for the index's."""
    filled(tmp_path, [stored("red")])
    with pytest.raises(apsw.FullError), index.snapshot():
        raise apsw.FullError("of the record")
    assert candidates(index, TextQuery.parse("red")) == ([0], True)


@pytest.fixture(params=["listed", "asked by block"])
def listed(request, monkeypatch):
    """Whether few or many places count as few."""
    if request.param == "asked by block":
        monkeypatch.setattr(search, "_LISTED_MAX", 2)
        monkeypatch.setattr(search, "_LISTED_MAX_OF_PREFIX", 2)
    return request.param == "listed"


def test_blocks_are_named_when_places_are_few(tmp_path, index, listed):
    """A rare word leads to its blocks; for a common one each block can be asked; both give the same events."""
    events = [stored("even" if at % 2 == 0 else "odd", "rare" if at in {5, 2_500} else "usual") for at in range(3_000)]
    filled(tmp_path, events)
    filled(tmp_path, events[:10], log_no=2)
    with index.snapshot() as snapshot:
        for logs in ([1], [1, 2]):
            rare = snapshot.search(TextQuery.parse("rare"), logs)
            assert rare.blocks(1) == frozenset({0, 2})
            assert [list(rare.in_block(1, block)) for block in range(4)] == [[5], [], [2_500], []]
            assert (rare.count(1), rare.exact) == (2, True)
            even = snapshot.search(TextQuery.parse("even"), logs)
            assert even.blocks(1) == (frozenset({0, 1, 2}) if listed else None)
            assert list(even.in_block(1, 1)) == list(range(1_024, 2_048, 2))
            assert (even.count(1), even.count(2)) == (1_500, 5)
            prefix = snapshot.search(TextQuery.parse("o*"), logs)
            assert list(prefix.in_block(1, 2)) == list(range(2_049, 3_000, 2))
            assert snapshot.search(TextQuery.parse("even odd"), logs).blocks(1) == frozenset()


def test_listing_stops_when_there_are_many_logs_with_many_places(tmp_path, index, monkeypatch):
    """A question about all logs lists so many places in sum, and asks the other logs block by block."""
    monkeypatch.setattr(search, "_LISTED_MAX", 4)
    monkeypatch.setattr(search, "_LISTED_MAX_IN_SUM", 12)
    for log_no in range(1, 6):
        filled(tmp_path, [stored("red")] * 4, log_no)
    with index.snapshot() as snapshot:
        red = snapshot.search(TextQuery.parse("red"), range(1, 6))
        blocks = [red.blocks(log_no) for log_no in range(1, 6)]
        assert blocks[0] == frozenset({0})
        assert blocks[-1] is None
        assert [list(red.in_block(log_no, 0)) for log_no in range(1, 6)] == [[0, 1, 2, 3]] * 5


def test_a_prefix_of_everything_is_left_out(tmp_path, index, monkeypatch):
    """A prefix that would cost more than a scan makes candidates of all events that the rest of the query leaves."""
    monkeypatch.setattr(reader, "_PREFIX_TOKENS_MAX", 3)
    filled(tmp_path, [stored(f"a{at}", "red" if at % 2 else "green light") for at in range(8)])
    everything = list(range(8))
    assert candidates(index, TextQuery.parse("a*")) == (everything, False)
    assert candidates(index, TextQuery.parse("a* red")) == (everything[1::2], False)
    assert candidates(index, TextQuery.parse('"green a"*')) == (everything[::2], False)
    assert candidates(index, TextQuery.parse("a7*")) == ([7], True)
    with index.snapshot() as snapshot:
        unknown = snapshot.search(TextQuery.parse("a*"), [1, 2])
        assert (unknown.blocks(1), unknown.count(1), unknown.count(2), list(unknown.in_block(1, 1))) == (None, 8, 0, [])
