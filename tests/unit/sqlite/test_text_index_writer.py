"""The index is derived data: whatever happens to its file, a writer goes on or begins anew, and positions never run ahead."""

from __future__ import annotations

import apsw
import pytest

from chaukas.server.storage.sqlite.text_index import TEXT_INDEX_NAME, TextIndexUnusable, TextIndexWriter, file, writer
from tests.unit.sqlite.text_index_events import filled, found, stored


def test_positions_and_entries_survive_a_restart(tmp_path):
    """A follower goes on where it stopped."""
    filled(tmp_path, [stored("red"), stored("green")])
    again = TextIndexWriter(tmp_path)
    assert again.indexed() == {1: 2}
    again.add(1, 2, [stored("red")])
    again.commit()
    again.close()
    assert found(tmp_path, "red") == [0, 2]


def test_what_was_not_committed_is_forgotten_whole(tmp_path):
    """Positions never stand ahead of the entries, so that nothing is left out after a crash."""
    filled(tmp_path, [stored("red")])
    crashing = TextIndexWriter(tmp_path)
    crashing.add(1, 1, [stored("green")])
    crashing.close()
    again = TextIndexWriter(tmp_path)
    assert again.indexed() == {1: 1}
    again.close()
    assert found(tmp_path, "green") == []


def test_rows_that_reached_sqlite_before_the_commit_are_forgotten_too(tmp_path, monkeypatch):
    """Memory is bounded by handing texts over early, and a crash between that and the commit leaves the state before."""
    monkeypatch.setattr(writer, "_WAITING_CHARS_MAX", 1)
    crashing = TextIndexWriter(tmp_path)
    crashing.add(1, 0, [stored("green")])
    crashing.close()
    filled(tmp_path, [stored("red"), stored("green")])
    assert (found(tmp_path, "red"), found(tmp_path, "green")) == ([0], [1])


def test_events_that_are_indexed_already_are_passed_over(tmp_path):
    """Feeding the same events again changes nothing, so that a follower may start at the beginning of a segment."""
    filled(tmp_path, [stored("red"), stored("green")])
    again = TextIndexWriter(tmp_path)
    again.add(1, 0, [stored("red"), stored("green")])
    again.add(1, 1, [stored("green"), stored("blue")])
    again.commit()
    again.close()
    assert [found(tmp_path, word) for word in ("red", "green", "blue")] == [[0], [1], [2]]


def test_a_gap_is_refused(tmp_path):
    """No event can be passed over silently."""
    begun = TextIndexWriter(tmp_path)
    with pytest.raises(ValueError, match="gap"):
        begun.add(1, 1, [stored("red")])
    begun.close()


def test_an_event_that_cannot_be_read_does_not_stop_the_index(tmp_path):
    """A damaged event is the record's matter; the events behind it are found."""
    filled(tmp_path, [b"\xff\xff", stored("red")])
    assert found(tmp_path, "red") == [1]


def test_logs_are_told_apart(tmp_path):
    """A question about one log never gets places of another, however their events arrive."""
    begun = TextIndexWriter(tmp_path)
    for at in range(3):
        begun.add(7, at, [stored("red", f"seven{at}")])
        begun.add(2, at, [stored("red", f"two{at}")])
    begun.commit()
    assert begun.indexed() == {2: 3, 7: 3}
    begun.close()
    assert (found(tmp_path, "red", 7), found(tmp_path, "red", 2), found(tmp_path, "red", 3)) == ([0, 1, 2], [0, 1, 2], [])
    assert (found(tmp_path, "seven1", 7), found(tmp_path, "seven1", 2)) == ([1], [])


def test_marks_come_back_with_the_positions_that_they_were_set_at(tmp_path):
    """An index of another record, or of a newer state of this one, can be told."""
    begun = TextIndexWriter(tmp_path)
    begun.add(1, 0, [stored("red")])
    begun.set_mark(1, b"leaf one")
    begun.commit()
    begun.add(1, 1, [stored("red")])
    begun.close()
    again = TextIndexWriter(tmp_path)
    assert again.marks() == {1: (1, b"leaf one")}
    again.add(1, 1, [stored("red")])
    assert again.marks() == {1: (2, b"")}
    again.close()


def test_a_dropped_index_is_empty_and_can_be_filled_again(tmp_path):
    """The index can be dropped and rebuilt."""
    filled(tmp_path, [stored("red"), stored("red")])
    again = TextIndexWriter(tmp_path)
    again.drop()
    assert again.indexed() == {}
    again.add(1, 0, [stored("red")])
    again.commit()
    again.close()
    assert found(tmp_path, "red") == [0]


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_index_is_replaced(tmp_path, content):
    """No file in the way of the index stops the server."""
    (tmp_path / TEXT_INDEX_NAME).write_bytes(content)
    (tmp_path / f"{TEXT_INDEX_NAME}-wal").write_bytes(content)
    filled(tmp_path, [stored("red")])
    assert found(tmp_path, "red") == [0]


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 9", "PRAGMA application_id = 1", "DROP TABLE words",
                                       "DELETE FROM made_of", "DROP TABLE indexed", "DELETE FROM words_data"])  # fmt: skip
def test_another_format_is_replaced(tmp_path, statement):
    """An index of an older or newer server, of other tokens, or half of one is begun anew."""
    filled(tmp_path, [stored("red")])
    database = apsw.Connection(str(tmp_path / TEXT_INDEX_NAME))
    database.execute(statement)
    database.close()
    again = TextIndexWriter(tmp_path)
    assert again.indexed() == {}
    again.close()


def test_tokens_of_another_version_are_replaced(tmp_path, monkeypatch):
    """A Python with another Unicode, or a server with other rules, never searches tokens that it would cut otherwise."""
    filled(tmp_path, [stored("red")])
    monkeypatch.setattr(file, "TOKENS_VERSION", "2/unicode-99")
    again = TextIndexWriter(tmp_path)
    assert again.indexed() == {}
    again.close()


def test_damage_that_shows_while_writing_removes_the_file(tmp_path):
    """A damaged index says so once; the next writer begins anew."""
    filled(tmp_path, [stored(f"word{number}") for number in range(50)])
    begun = TextIndexWriter(tmp_path)
    begun._database.execute("DELETE FROM words_data")
    begun.add(1, 50, [stored("red")])
    with pytest.raises(TextIndexUnusable) as caught:
        begun.commit()
    assert caught.value.damaged
    assert not (tmp_path / TEXT_INDEX_NAME).exists()
    begun.close()
    filled(tmp_path, [stored("red")])
    assert found(tmp_path, "red") == [0]


def test_of_two_writers_the_later_one_stops(tmp_path):
    """A follower that was left over from a crashed server cannot add the same events a second time."""
    left_over, started = TextIndexWriter(tmp_path), TextIndexWriter(tmp_path)
    started.add(1, 0, [stored("red")])
    started.commit()
    left_over.add(1, 0, [stored("red")])
    with pytest.raises(TextIndexUnusable, match="another process"):
        left_over.commit()
    started.add(1, 1, [stored("red")])
    started.commit()
    started.close()
    assert found(tmp_path, "red") == [0, 1]


def test_a_full_disk_is_told_and_leaves_the_index_as_it_was(tmp_path):
    """What cannot be written now is written later, without a rebuild."""
    filled(tmp_path, [stored("red")])
    begun = TextIndexWriter(tmp_path)
    begun._database.pragma("max_page_count", 1)
    begun.add(1, 1, [stored(f"word{number}") for number in range(5_000)])
    with pytest.raises(TextIndexUnusable) as caught:
        begun.commit()
    assert not caught.value.damaged
    with pytest.raises(TextIndexUnusable, match="closed"):
        begun.commit()
    again = TextIndexWriter(tmp_path)
    assert again.indexed() == {1: 1}
    again.close()


def test_a_directory_that_cannot_be_written_is_told(tmp_path):
    """The follower hears one exception, whatever the reason."""
    with pytest.raises(TextIndexUnusable):
        TextIndexWriter(tmp_path / "missing")


def test_free_pages_and_a_long_log_are_given_back(tmp_path, monkeypatch):
    """The index takes the room that it needs, not the most that it ever needed."""
    monkeypatch.setattr(writer, "_LOG_BYTES_SETTLED", 0)
    begun = TextIndexWriter(tmp_path)
    begun._database.execute("CREATE TABLE heap (blob)")
    begun._database.execute("INSERT INTO heap VALUES (zeroblob(4000000))")
    begun._database.execute("DROP TABLE heap")
    begun.add(1, 0, [stored("red")])
    begun.commit()
    begun.settle()
    assert (tmp_path / f"{TEXT_INDEX_NAME}-wal").stat().st_size == 0
    assert (tmp_path / TEXT_INDEX_NAME).stat().st_size < 1_000_000
    begun.close()
    assert found(tmp_path, "red") == [0]
