"""The way of events through the verbs of a backend.

Coroutines that await nothing but verbs, so that they run on an event loop and without one (`chaukas.server.framework.execution`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from chaukas.server.errors import ValidationError
from chaukas.server.framework.call import Context, UnimplementedVerbError, call_of, is_abort, log_failures
from chaukas.server.framework.execution import VerbRunner
from chaukas.server.framework.results import EventResult, failure, result_of, results_of
from chaukas.spec.common.v1.events_pb2 import Event

if TYPE_CHECKING:
    from chaukas.server.framework.servicer import ChaukasServicer

__all__ = ["EventWay"]

R = TypeVar("R")


class EventWay:
    """Takes events through `verbs`. `overrides(name)` tells whether the backend has a verb of its own."""

    def __init__(self, verbs: ChaukasServicer, runner: VerbRunner, overrides: Callable[[str], bool]) -> None:
        self._verbs = verbs
        self._runner = runner
        self._overrides = overrides

    async def ingest(self, events: Sequence[Event], context: Context) -> list[EventResult]:
        """By `process_batch`: one result per event. Raises what that raises, and `TypeError` for another number of results."""
        event_ids = [event.event_id for event in events]
        results = results_of("process_batch", await self._runner.call(self._verbs.process_batch, events, context), event_ids)
        log_failures(results)
        _follow_up(results, events)
        return results

    async def process(self, event: Event) -> EventResult:
        """One event, validate to store. Raises what the verbs raise."""
        event_id = event.event_id
        ready = await self._prepare(event)
        if self._stores_together(1):
            return results_of("store_events", await self._runner.call(self._verbs.store_events, [ready]), [event_id])[0]
        return await self._store_one(ready, event_id)

    async def process_all(self, events: Sequence[Event]) -> list[EventResult]:
        """Many events, each on its own: one that raises is rejected, the others go on."""
        verbs = self._verbs
        if self._overrides("process_event"):
            return await self._runner.stage((verbs.process_event,), self._process_each, events)
        # A verb may change the id; the caller is answered with the one that it sent.
        sent_ids = [event.event_id for event in events]
        preparing = (verbs.validate_event, verbs.enrich_event, verbs.transform_event)
        prepared = await self._runner.stage(preparing, self._prepare_each, events)
        ready = [event for event in prepared if isinstance(event, Event)]
        event_ids = [sent_id for sent_id, event in zip(sent_ids, prepared, strict=True) if isinstance(event, Event)]
        stored = iter(await self._store(ready, event_ids))
        return [next(stored) if isinstance(event, Event) else event for event in prepared]

    async def store_all(self, events: Sequence[Event], event_ids: Sequence[str]) -> list[EventResult]:
        """Each by `store_event`; one that raises is rejected."""
        return await self._runner.stage((self._verbs.store_event,), self._store_each, events, event_ids)

    async def _prepare_each(self, events: Sequence[Event]) -> list[Event | EventResult]:
        return [await _attempt(event.event_id, self._prepare, event) for event in events]

    async def _process_each(self, events: Sequence[Event]) -> list[EventResult]:
        results = []
        for event in events:
            result = await _attempt(event.event_id, self._process_one, event, event.event_id)
            _follow_up([result], [event])
            results.append(result)
        return results

    async def _store_each(self, events: Sequence[Event], event_ids: Sequence[str]) -> list[EventResult]:
        results = []
        for event, event_id in zip(events, event_ids, strict=True):
            result = await _attempt(event_id, self._store_one, event, event_id)
            _follow_up([result], [event])
            results.append(result)
        return results

    async def _prepare(self, event: Event) -> Event:
        verdict = await self._runner.call(self._verbs.validate_event, event)
        if verdict is not None and not verdict:
            raise ValidationError("the event is invalid")
        event = _event_of("enrich_event", await self._runner.call(self._verbs.enrich_event, event), event)
        return _event_of("transform_event", await self._runner.call(self._verbs.transform_event, event), event)

    async def _process_one(self, event: Event, event_id: str) -> EventResult:
        return result_of("process_event", await self._runner.call(self._verbs.process_event, event), event_id)

    async def _store_one(self, event: Event, event_id: str) -> EventResult:
        return result_of("store_event", await self._runner.call(self._verbs.store_event, event), event_id)

    async def _store(self, events: Sequence[Event], event_ids: Sequence[str]) -> list[EventResult]:
        if not self._stores_together(len(events)):
            return await self.store_all(events, event_ids)
        results = results_of("store_events", await self._runner.call(self._verbs.store_events, events), event_ids)
        _follow_up(results, events)
        return results

    def _stores_together(self, events: int) -> bool:
        """Whether `store_events` takes these. When both are overridden, a single event goes to `store_event`."""
        return events > 0 and self._overrides("store_events") and (events > 1 or not self._overrides("store_event"))


def _event_of(verb: str, value: object, event: Event) -> Event:
    if value is None:
        return event
    if not isinstance(value, Event):
        raise TypeError(f"{verb} returned {type(value).__name__}, not Event or None")
    return value


async def _attempt(event_id: str, flow: Callable[..., Coroutine[Any, Any, R]], *args: object) -> R | EventResult:
    """What the flow of one event returns, or its failure: the other events of the batch go on."""
    try:
        return await flow(*args)
    except UnimplementedVerbError:
        raise
    except Exception as error:
        call = call_of()
        if call is not None and is_abort(error, call.context):
            raise
        return failure(event_id, error)


def _follow_up(results: Sequence[EventResult], events: Sequence[Event]) -> None:
    call = call_of()
    if call is not None and call.followups is not None:
        for result, event in zip(results, events, strict=True):
            call.followups.add(result, event)
