"""The conformance suite itself: each of these faults, as drivers really have them, must make the named test fail.

It is one room because each faulty driver stands beside the test that must find it.
"""

import asyncio
import re
import unicodedata
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from chaukas.server.errors import ChaukasError, OverloadedError
from chaukas.server.storage.contract import EventFilter, EventRecord, IngestStatus, Position, QuarantineItem
from chaukas.server.testing import MemoryStore, memory_store
from chaukas.server.testing.conformance import StoreConformance
from chaukas.server.text.event_tokens import tokens_of_event
from chaukas.server.text.expression import Clause, TextQuery
from chaukas.server.text.texts import texts_of
from chaukas.server.text.tokens import tokens_of
from chaukas.spec.common.v1.events_pb2 import Event


class Blurred(MemoryStore):
    """Takes some strings for each other: changes them in what is stored and in what is asked."""

    def blur(self, text):
        raise NotImplementedError

    def blurred(self, thing):
        names = ("session_id", "trace_id", "span_id", "agent_id")
        changes = {name: self.blur(getattr(thing, name)) for name in names if getattr(thing, name) is not None}
        return replace(thing, **changes, tags=type(thing.tags)(map(self.blur, thing.tags)))

    async def append(self, items):
        return await super().append([self.blurred(item) if isinstance(item, EventRecord) else item for item in items])

    async def query(self, request):
        return await super().query(replace(request, filter=self.blurred(request.filter)))


class IgnoresCase(Blurred):
    def blur(self, text):
        return text.casefold()


class Normalises(Blurred):
    def blur(self, text):
        return unicodedata.normalize("NFC", text)


class StripsBlanks(Blurred):
    def blur(self, text):
        return text.rstrip(" ")


class CutsAtNul(Blurred):
    def blur(self, text):
        return text.split("\0", 1)[0]


class CutsLongStrings(Blurred):
    def blur(self, text):
        return text[:2_700]


class ComparesStoredBytes(MemoryStore):
    async def append(self, items):
        return await super().append(
            [replace(item, received=item.stored) if isinstance(item, EventRecord) else item for item in items]
        )


class KnowsReceivedBytesOnly(MemoryStore):
    async def append(self, items):
        outcomes = await super().append(items)
        for at, (item, outcome) in enumerate(zip(items, outcomes, strict=True)):
            if outcome.status is IngestStatus.DUPLICATE:
                known = self._content.events[outcome.origin, item.event_id]
                if known.record.received != item.received:
                    outcomes[at] = replace(outcome, status=IngestStatus.REJECTED)
        return outcomes


class Overwrites(MemoryStore):
    async def append(self, items):
        outcomes = await super().append(items)
        for item, outcome in zip(items, outcomes, strict=True):
            if outcome.status is IngestStatus.REJECTED:
                for key, event in self._content.events.items():
                    if key[1] == item.event_id:
                        self._content.events[key] = replace(event, record=item)
        return outcomes


class KeepsOneLogPerTenant(MemoryStore):
    async def append(self, items):
        with patch.object(memory_store, "origin_of", lambda server, tenant, _: f"{server}/events/{tenant}"):
            return await super().append(items)


class TrustsTheClock(MemoryStore):
    async def append(self, items):
        with patch.object(memory_store, "max", lambda now_ns, _: now_ns, create=True):
            return await super().append([replace(item, session_id="") for item in items])


class LosesTheLastAppend(MemoryStore):
    """Keeps in memory what it should have written."""

    def _commit(self, change):
        with patch.object(self, "_journal", None):
            super()._commit(change)


class StoresHalfOnOverload(MemoryStore):
    async def append(self, items):
        try:
            return await super().append(items)
        except ChaukasError:
            await super().append([item for item in items if isinstance(item, EventRecord)])
            raise


class RefusesWhatItKnows(MemoryStore):
    async def append(self, items):
        full = len(self._content.rows) >= self._quarantine_items_max
        if full and any(isinstance(item, QuarantineItem) for item in items):
            raise OverloadedError("the quarantine is full")
        return await super().append(items)


class SharesQuarantineBetweenTenants(MemoryStore):
    async def append(self, items):
        return await super().append([replace(item, tenant_id="") if isinstance(item, QuarantineItem) else item for item in items])


class ListsNewestFirst(MemoryStore):
    async def quarantine_list(self, tenant_id, project_id, limit, after=None):
        rows = await super().quarantine_list(tenant_id, project_id, 10**6, None)
        return [row for row in rows[::-1] if after is None or row.quarantine_id < after][:limit]


class ListsByOffset(MemoryStore):
    async def quarantine_list(self, tenant_id, project_id, limit, after=None):
        rows = await super().quarantine_list(tenant_id, project_id, 10**6, None)
        first = 1 + [row.quarantine_id for row in rows].index(after) if after in [r.quarantine_id for r in rows] else 0
        return rows[first : first + limit] if after is None or first else []


class Queries(MemoryStore):
    """Base of those that answer another question than the one asked."""

    def other(self, request):
        return request

    async def query(self, request):
        return await super().query(self.other(request))


class RepeatsTheLastEvent(Queries):
    def other(self, request):
        step = 1 if request.descending else -1
        return replace(request, after=request.after and replace(request.after, index=request.after.index + step))


class ForgetsNanoseconds(Queries):
    def other(self, request):
        end_ns = request.filter.end_ns
        return replace(request, filter=replace(request.filter, end_ns=end_ns and end_ns // 1_000 * 1_000))


class IncludesTheEnd(Queries):
    def other(self, request):
        end_ns = request.filter.end_ns
        return replace(request, filter=replace(request.filter, end_ns=None if end_ns is None else end_ns + 1))


class FitsTimesIntoInt64(Queries):
    def other(self, request):
        start_ns = request.filter.start_ns
        return replace(request, filter=replace(request.filter, start_ns=start_ns and max(start_ns, -(1 << 63))))


class TakesEmptyForAny(Queries):
    def other(self, request):
        return replace(request, filter=replace(request.filter, session_id=request.filter.session_id or None))


class NeedsOneTag(Queries):
    def other(self, request):
        return replace(request, filter=replace(request.filter, tags=frozenset(sorted(request.filter.tags)[:1])))


class SummarisesTypesInAMask(Queries):
    def other(self, request):
        return replace(request, filter=replace(request.filter, types=frozenset({t for t in request.filter.types if 0 <= t < 64})))


class IgnoresBytes(Queries):
    def other(self, request):
        return replace(request, bytes_max=1 << 60)


class PromisesMore(MemoryStore):
    async def query(self, request):
        page = await super().query(request)
        return replace(page, more=len(page.events) == request.limit)


class CountsBytesTooLate(MemoryStore):
    async def query(self, request):
        return await super().query(replace(request, bytes_max=request.bytes_max + 4_000))


class SeesYesterday(MemoryStore):
    """Answers from a copy that is refreshed with the next append."""

    async def append(self, items):
        self.seen = set(self._content.events)
        return await super().append(items)

    async def query(self, request):
        page = await super().query(request)
        seen = {(event.origin, event.index) for key, event in self._content.events.items() if key in self.seen}
        return replace(page, events=[event for event in page.events if (event.origin, event.position.index) in seen])


class OrdersByArrival(MemoryStore):
    async def query(self, request):
        with patch.object(memory_store, "position_of", _arrival):
            return await super().query(request)


def _arrival(event):
    return Position(event.received_at_ns, 0, event.log_id, event.index)


class CountsAllSessions(MemoryStore):
    async def stats(self, tenant_id, project_id, start_ns, end_ns):
        stats = await super().stats(tenant_id, project_id, start_ns, end_ns)
        whole = await super().stats(tenant_id, project_id, None, None)
        return replace(stats, session_duration_us_sum=whole.session_duration_us_sum)


class CountsNoSessionAsOne(MemoryStore):
    async def stats(self, tenant_id, project_id, start_ns, end_ns):
        stats = await super().stats(tenant_id, project_id, start_ns, end_ns)
        return replace(stats, total_sessions=max(stats.total_sessions, min(1, stats.total_events)))


class RoundsToHours(MemoryStore):
    async def stats(self, tenant_id, project_id, start_ns, end_ns):
        hour_ns = 3_600_000_000_000
        return await super().stats(tenant_id, project_id, start_ns and start_ns // hour_ns * hour_ns, end_ns)


class JoinsSessionsOfAllLogs(MemoryStore):
    async def stats(self, tenant_id, project_id, start_ns, end_ns):
        with patch.object(memory_store, "session_of", lambda event: ("", event.record.session_id)):
            return await super().stats(tenant_id, project_id, start_ns, end_ns)


class SearchesOtherwise(MemoryStore):
    """Base of those that have another idea of what a text query finds."""

    def found(self, query, stored):
        raise NotImplementedError

    def other(self, filter):
        if filter.text is None:
            return filter
        query = filter.text
        return replace(filter, text=SimpleNamespace(matches=lambda stored: self.found(query, stored)))

    async def query(self, request):
        return await super().query(replace(request, filter=self.other(request.filter)))

    async def count(self, filter):
        return await super().count(self.other(filter))


class IgnoresText(SearchesOtherwise):
    def other(self, filter):
        return replace(filter, text=None)


class MindsCase(SearchesOtherwise):
    def found(self, query, stored):
        written = set(re.findall(r"\w+", " ".join(texts_of(stored))))
        return query.matches(stored) and all(set(clause.tokens) & written for clause in query.clauses)


class NeedsOneWord(SearchesOtherwise):
    def found(self, query, stored):
        return any(TextQuery((clause,)).matches(stored) for clause in query.clauses)


class JoinsTexts(SearchesOtherwise):
    def found(self, query, stored):
        return query.matches_tokens([[token for tokens in tokens_of_event(stored) for token in tokens]])


class TakesPhrasesForWords(SearchesOtherwise):
    def found(self, query, stored):
        return TextQuery(tuple(Clause((token,)) for clause in query.clauses for token in clause.tokens)).matches(stored)


class KnowsNoPrefixes(SearchesOtherwise):
    def found(self, query, stored):
        return TextQuery(tuple(Clause(clause.tokens) for clause in query.clauses)).matches(stored)


class SearchesTheMessageOnly(SearchesOtherwise):
    def found(self, query, stored):
        return query.matches_tokens([tokens_of(Event.FromString(stored).message.text)])


class SearchesRawBytes(SearchesOtherwise):
    def found(self, query, stored):
        return all(token.encode() in stored.lower() for clause in query.clauses for token in clause.tokens)


class CutsLongTexts(SearchesOtherwise):
    def found(self, query, stored):
        return query.matches_tokens([tokens[:10_000] for tokens in tokens_of_event(stored)])


class IndexesLater(SearchesOtherwise):
    """Finds in texts what was there before the last append."""

    async def append(self, items):
        self.indexed = {event.record.stored for event in self._content.events.values()}
        return await super().append(items)

    def found(self, query, stored):
        return stored in self.indexed and query.matches(stored)


class ClosesOnce(MemoryStore):
    async def close(self):
        assert self._serving
        await super().close()


class StoresWhatWasCancelledByHalves(MemoryStore):
    async def append(self, items):
        outcomes = []
        for item in items:
            outcomes += await super().append([item])
            await asyncio.sleep(0)
        return outcomes


FAULTS = [
    (IgnoresCase, "each_string_finds_itself_alone", {"field": "session_id"}),
    (Normalises, "each_string_finds_itself_alone", {"field": "agent_id"}),
    (StripsBlanks, "each_string_finds_itself_alone", {"field": "tags"}),
    (CutsAtNul, "each_string_finds_itself_alone", {"field": "span_id"}),
    (CutsLongStrings, "each_string_finds_itself_alone", {"field": "trace_id"}),
    (ComparesStoredBytes, "same_content_is_decided_by_the_received_bytes", {}),
    (ComparesStoredBytes, "other_content_is_decided_by_the_received_bytes", {}),
    (KnowsReceivedBytesOnly, "what_is_stored_is_known_when_it_comes_back", {}),
    (Overwrites, "other_content_never_changes_what_is_stored", {}),
    (KeepsOneLogPerTenant, "an_id_means_something_within_its_log_only", {}),
    (KeepsOneLogPerTenant, "answers_tell_where_an_event_stands", {}),
    (TrustsTheClock, "received_at_never_falls", {}),
    (LosesTheLastAppend, "reopening_keeps_everything", {}),
    (LosesTheLastAppend, "acknowledged_events_survive_a_killed_process", {}),
    (StoresHalfOnOverload, "a_full_quarantine_takes_nothing_of_the_call", {"limits": {"quarantine_items_max": 3}}),
    (RefusesWhatItKnows, "a_full_quarantine_stays_full_and_counts_what_it_has", {"limits": {"quarantine_items_max": 2}}),
    (SharesQuarantineBetweenTenants, "the_same_bytes_elsewhere_are_another_item", {}),
    (ListsNewestFirst, "listing_is_oldest_first_and_pages", {}),
    (ListsByOffset, "listing_goes_on_behind_a_removed_row", {}),
    (RepeatsTheLastEvent, "pages_of_any_length_make_the_whole", {"descending": True}),
    (ForgetsNanoseconds, "time_ranges_are_half_open", {}),
    (IncludesTheEnd, "time_ranges_are_half_open", {}),
    (FitsTimesIntoInt64, "extreme_timestamps", {}),
    (TakesEmptyForAny, "an_empty_string_is_a_value", {}),
    (NeedsOneTag, "all_tags_must_match", {}),
    (SummarisesTypesInAMask, "each_filter_alone", {}),
    (IgnoresBytes, "bytes_end_a_page_early_but_never_empty", {}),
    (CountsBytesTooLate, "bytes_end_a_page_early_but_never_empty", {}),
    (PromisesMore, "pages_of_any_length_make_the_whole", {"descending": False}),
    (PromisesMore, "more_is_exact_under_a_filter", {}),
    (SeesYesterday, "an_acknowledged_event_is_found_at_once", {}),
    (OrdersByArrival, "answers_are_ordered_by_timestamp_log_and_index", {}),
    (OrdersByArrival, "pages_are_stable_while_events_arrive", {"descending": True, "wanted": EventFilter()}),
    (CountsAllSessions, "durations_are_those_of_whole_sessions", {}),
    (CountsNoSessionAsOne, "events_without_a_session", {}),
    (RoundsToHours, "statistics_are_exact_for_every_scope_and_range", {}),
    (RoundsToHours, "statistics_before_1970", {}),
    (JoinsSessionsOfAllLogs, "a_session_id_in_two_logs_is_two_sessions", {}),
    (IgnoresText, "text_together_with_all_other_filters", {}),
    (IgnoresText, "random_texts_like_a_plain_scan", {"seed": 1}),
    (MindsCase, "what_a_text_query_finds", {"query": "refund", "found": "A REFUND", "other": "no"}),
    (NeedsOneWord, "what_a_text_query_finds", {"query": "refund please", "found": "please refund", "other": "refund"}),
    (NeedsOneWord, "all_words_in_any_texts_but_a_phrase_in_one", {}),
    (JoinsTexts, "all_words_in_any_texts_but_a_phrase_in_one", {}),
    (TakesPhrasesForWords, "what_a_text_query_finds", {"query": '"not found"', "found": "not found", "other": "found not"}),
    (KnowsNoPrefixes, "what_a_text_query_finds", {"query": "invo*", "found": "invoice", "other": "inv"}),
    (SearchesTheMessageOnly, "every_text_is_searched", {}),
    (SearchesRawBytes, "every_text_is_searched", {}),
    (SearchesRawBytes, "random_texts_like_a_plain_scan", {"seed": 2}),
    (CutsLongTexts, "words_in_large_texts", {}),
    (IndexesLater, "a_text_is_found_at_once", {}),
    (ClosesOnce, "closing_twice", {}),
    (StoresWhatWasCancelledByHalves, "a_cancelled_append_is_all_or_nothing", {}),
    (StoresWhatWasCancelledByHalves, "readers_beside_writers", {}),
    # No directory is locked by the oracle, which is why it says so.
    (MemoryStore, "a_second_server_is_refused", {}),
]


@pytest.mark.parametrize(("faulty", "name", "arguments"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_the_suite_finds(tmp_path, faulty, name, arguments):
    """A driver with this fault fails the test of the suite that is named beside it."""

    def make(*, quarantine_items_max=1_000, quarantine_bytes_max=1 << 26):
        return faulty(tmp_path, "chaukas.localhost", quarantine_items_max, quarantine_bytes_max)

    test = getattr(StoreConformance(), f"test_{name}")
    # A failed assertion, an error that should not have come, one that did not come, or any of these in a task.
    with pytest.raises((AssertionError, ChaukasError, ExceptionGroup, pytest.fail.Exception)):
        test(make, **arguments)
