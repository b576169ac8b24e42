"""Which events an explanation is of: those of the id that was asked for, and what is connected with them.

Real traffic scatters a run over several session and trace ids. So the sessions and traces that the loaded events name are loaded
too, round by round, as far as the limits go; whatever shares no run with the asked id is left out again by the explanation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import AmbiguousError, InvalidRequestError, NotFoundError, TooManyEventsError
from chaukas.server.operations.services import Services
from chaukas.server.query import answer_event, scope_of
from chaukas.server.storage.contract import EventFilter, PageRequest, Position, StoredEvent
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["LoadedEvents", "Subject", "load_events"]

_ROUNDS_MAX: Final = 4
#: Ids that are followed beside the asked one.
_IDS_MAX: Final = 200
_PAGE_EVENTS: Final = 1000
_CANDIDATES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about: exactly one id, within a tenant and project as far as they are named."""

    tenant_id: str = ""
    project_id: str = ""
    session_id: str = ""
    trace_id: str = ""
    event_id: str = ""

    @property
    def kind(self) -> str:
        """`session`, `trace` or `event`."""
        return "session" if self.session_id else "trace" if self.trace_id else "event"

    @property
    def id(self) -> str:
        """The id itself."""
        return self.session_id or self.trace_id or self.event_id

    def check(self) -> None:
        """Raises `InvalidRequestError` unless exactly one id is named."""
        named = [name for name in ("session_id", "trace_id", "event_id") if getattr(self, name)]
        if len(named) != 1:
            said = f"{' and '.join(named)} are given" if named else "none is given"
            raise InvalidRequestError("session_id", f"one of session_id, trace_id and event_id names what is asked about; {said}")


@dataclass(frozen=True, slots=True)
class LoadedEvents:
    """Events of one tenant and project as they are answered, each once, and how they were found."""

    subject: Subject
    tenant_id: str
    project_id: str
    events: tuple[Event, ...]
    #: Ids of the events that carry the asked id.
    asked: frozenset[str]
    #: Ids that were followed, in order.
    sessions: tuple[str, ...]
    traces: tuple[str, ...]
    #: False when connected events were left out because of a limit.
    complete: bool


async def load_events(services: Services, principal: Principal, subject: Subject) -> LoadedEvents:
    """The events of a subject with what is connected.

    Raises `InvalidRequestError`, `PermissionDeniedError`, `NotFoundError`, `AmbiguousError` when the id stands in several tenants
    or projects, and `TooManyEventsError` when the events of the id alone are more than `explain_events_max`.
    """
    subject.check()
    tenant_id, project_id = scope_of(principal, subject.tenant_id, subject.project_id, "")
    loader = _Loader(services)
    if subject.session_id:
        rows = await services.store.sessions(tenant_id, project_id, _CANDIDATES_MAX, session_id=subject.session_id)
        tenant_id, project_id = _only(subject, {(row.tenant_id, row.project_id) for row in rows})
        await loader.take(EventFilter(tenant_id, project_id, session_id=subject.session_id))
    elif subject.trace_id:
        await loader.take(EventFilter(tenant_id, project_id, trace_id=subject.trace_id))
    else:
        await loader.add(await services.store.events_with_id(tenant_id, project_id, subject.event_id))
    scope = _only(subject, {(event.tenant_id, event.project_id) for event in loader.events.values()})
    if loader.full:
        raise TooManyEventsError(
            f"the {subject.kind} has more events than one explanation takes ({loader.limit}); ask for one of its traces or"
            " events, or raise that setting"
        )
    asked = frozenset(event.event_id for event in loader.events.values())
    sessions, traces = await _follow(loader, scope, subject)
    return LoadedEvents(subject, *scope, tuple(loader.events.values()), asked, sessions, traces, not loader.full)


def _only(subject: Subject, scopes: set[tuple[str, str]]) -> tuple[str, str]:
    """The one tenant and project. Raises `NotFoundError` without any, `AmbiguousError` with several."""
    if not scopes:
        raise NotFoundError(f"there is no {subject.kind} with this id, or not within the caller's scope")
    if len(scopes) > 1:
        raise AmbiguousError(f"several tenants or projects have a {subject.kind} of this id; name one", sorted(scopes))
    return next(iter(scopes))


async def _follow(loader: _Loader, scope: tuple[str, str], subject: Subject) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Load the sessions and traces that loaded events name, until nothing new is named or a limit is reached."""
    known = {
        "session_id": dict.fromkeys(filter(None, [subject.session_id])),
        "trace_id": dict.fromkeys(filter(None, [subject.trace_id])),
    }
    for _ in range(_ROUNDS_MAX):
        fresh = [
            (name, value)
            for name, ids in known.items()
            for value in dict.fromkeys(getattr(event, name) for event in loader.events.values())
            if value and value not in ids
        ]
        if not fresh or loader.full:
            break
        for name, value in fresh:
            if sum(map(len, known.values())) > _IDS_MAX:
                loader.full = True
                break
            known[name][value] = None
            await loader.take(EventFilter(*scope, **{name: value}))
    return tuple(known["session_id"]), tuple(known["trace_id"])


class _Loader:
    """Reads all pages of questions, each event once, up to the limits."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._store = services.store
        self._events_max = settings.explain_events_max
        self._bytes_max = int(settings.explain_bytes_max)
        self._page_bytes_max = int(settings.page_bytes_max)
        self._bytes = 0
        #: By log and index.
        self.events: dict[tuple[int, int], Event] = {}
        #: Whether something was left out.
        self.full = False
        #: The limit that was reached.
        self.limit = ""

    async def take(self, wanted: EventFilter) -> None:
        """Load all matches, oldest first."""
        after: Position | None = None
        while not self.full:
            request = PageRequest(wanted, _PAGE_EVENTS, self._page_bytes_max, descending=False, after=after)
            page = await self._store.query(request)
            await self.add(page.events)
            if not page.more:
                return
            after = page.events[-1].position

    async def add(self, stored: Sequence[StoredEvent]) -> None:
        """Take events as far as the limits go."""
        kept: list[StoredEvent] = []
        for event in stored:
            if (event.position.log_id, event.position.index) in self.events:
                continue
            self._bytes += len(event.stored)
            if len(self.events) + len(kept) >= self._events_max or self._bytes > self._bytes_max:
                events_reached = len(self.events) + len(kept) >= self._events_max
                self.limit = (
                    f"explain_events_max = {self._events_max}" if events_reached else f"explain_bytes_max = {self._bytes_max}"
                )
                self.full = True
                break
            kept.append(event)
        # Some 20 µs each: a page of a thousand would hold up everybody else.
        answers = await asyncio.to_thread(_answers, kept)
        for event, answer in zip(kept, answers, strict=True):
            self.events[event.position.log_id, event.position.index] = answer


def _answers(stored: Iterable[StoredEvent]) -> list[Event]:
    return [answer_event(each) for each in stored]
