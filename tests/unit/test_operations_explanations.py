"""Which events an explanation is of, and how many are computed at once."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from chaukas.server.auth.principal import ANONYMOUS
from chaukas.server.errors import InvalidRequestError, OverloadedError
from chaukas.server.explain.rendering.forms import AnswerForm
from chaukas.server.operations.explainer import Explainer
from chaukas.server.operations.explanations import Subject, get_explanation
from chaukas.server.operations.sessions import SessionQuestion, list_sessions
from chaukas.server.testing.records import make_record
from tests.unit.operations_services import Bench

pytestmark = pytest.mark.anyio

BASE_NS = 1_700_000_000_000_000_000


async def explained(bench: Bench, **subject: str) -> dict[str, object]:
    return json.loads((await get_explanation(bench.services, ANONYMOUS, Subject(**subject), AnswerForm.JSON)).text)


async def test_what_shares_sessions_and_traces_is_loaded() -> None:
    """A run over several sessions and traces is explained whole, whichever of its ids is asked for; others stay out."""
    bench = await Bench().opened()
    chain = [("s1", "t1"), ("s2", "t1"), ("s2", "t2"), ("s3", "t2")]
    records = [
        make_record(f"e{place}", session_id=session, trace_id=trace, span_id=f"w{place}", at_ns=BASE_NS + place, type=17)
        for place, (session, trace) in enumerate(chain)
    ]
    await bench.store.append([*records, make_record("other", session_id="s9", trace_id="t9", at_ns=BASE_NS)])
    for subject in ({"session_id": "s1"}, {"session_id": "s3"}, {"trace_id": "t2"}, {"event_id": "e0"}):
        loaded = (await explained(bench, **subject))["loaded"]
        assert loaded["events"] == 4
        assert (sorted(loaded["sessions"]), sorted(loaded["traces"])) == (["s1", "s2", "s3"], ["t1", "t2"])
        assert loaded["complete"]
    assert (await explained(bench, session_id="s9"))["loaded"]["events"] == 1


async def test_only_runs_of_the_asked_id_are_explained() -> None:
    """What was loaded because it is connected, but takes part in no run of the asked id, is left out of the explanation."""
    bench = await Bench().opened()
    # One trace id that a program uses for everything it does.
    await bench.store.append(
        [
            make_record(f"{session}-{kind}", session_id=session, trace_id="always", span_id="", at_ns=BASE_NS + at, type=kind)
            for session, base in (("a", 0), ("b", 10_000_000_000))
            for kind, at in ((16, base), (17, base + 1_000_000))
        ]
    )
    values = await explained(bench, session_id="b")
    assert values["loaded"]["events"] == 4
    assert {event for step in values["steps"] for event in step["events"]} >= {"b-16", "b-17"}


async def test_as_many_as_allowed_are_computed_at_once() -> None:
    """Further ones wait, and are told to come back; a caller that leaves keeps its place taken until its thread has ended."""
    explainer = Explainer(at_once_max=1, hold_s=0.05)
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(10)

    async def explain() -> None:
        async with explainer.room():
            await explainer.compute(work)

    first = asyncio.create_task(explain())
    await asyncio.to_thread(begun.wait, 10)
    with pytest.raises(OverloadedError, match="explain_at_once_max"):
        async with explainer.room():
            pass
    first.cancel()
    with pytest.raises(OverloadedError):
        async with explainer.room():
            pass
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with explainer.room():
        pass


async def test_a_listing_refuses_what_it_did_not_give() -> None:
    """Sizes beyond the limit and tokens of another scope are refused by name."""
    bench = await Bench().opened()
    await bench.store.append([make_record(f"e{each}", session_id=f"s{each}", at_ns=BASE_NS + each * 1_000) for each in range(3)])
    page = await list_sessions(bench.services, ANONYMOUS, SessionQuestion(page_size=1))
    assert [row.place.session_id for row in page.sessions] == ["s2"]
    for question in (
        SessionQuestion(page_size=1001),
        SessionQuestion(page_size=-1),
        SessionQuestion(tenant_id="acme", page_token=page.next_page_token),
        SessionQuestion(page_token="x"),  # noqa: S106 - a cursor
    ):
        with pytest.raises(InvalidRequestError):
            await list_sessions(bench.services, ANONYMOUS, question)
