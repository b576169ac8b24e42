"""The order that everything else stands on."""

from __future__ import annotations

import random

from chaukas.server.explain.ordering import record_of

from .stories import Story, clean_run


def test_arrival_order_does_not_matter():
    """However events arrive, they are explained in the order of their own times."""
    events = clean_run()
    expected = [event.event_id for event in events]
    shuffled = events[:]
    random.Random(7).shuffle(shuffled)
    assert [row.event_id for row in record_of(shuffled).rows] == expected


def test_each_event_counts_once():
    """A batch that was sent again adds nothing."""
    events = clean_run()
    record = record_of([*events, *events[3:9], events[0]])
    assert len(record.rows) == len(events)
    assert record.duplicates == 7


def test_log_index_decides_between_equal_times():
    """Events of one instant stand as the log has them, as in the answers of queries."""
    story = Story()
    one = story.add("SYSTEM", at=5, id="z", worm_proof_id="host/events/acme/shop#4")
    other = story.add("SYSTEM", at=5, id="a", worm_proof_id="host/events/acme/shop#12")
    rows = record_of([other, one]).rows
    assert [(row.event_id, row.log_index) for row in rows] == [("z", 4), ("a", 12)]


def test_openers_stand_before_closers_of_one_instant():
    """A coarse clock does not make ends come before their starts."""
    story = Story()
    story.add("TOOL_CALL_END", "t", at=5, id="a")
    story.add("TOOL_CALL_START", "t", at=5, id="b")
    assert [row.event_id for row in record_of(story.events).rows] == ["b", "a"]


def test_foreign_proof_ids_are_no_index():
    """A worm_proof_id of another form is left alone."""
    story = Story()
    story.add("SYSTEM", worm_proof_id="proof#abc")
    story.add("SYSTEM", worm_proof_id="12")
    assert [row.log_index for row in record_of(story.events).rows] == [None, None]
