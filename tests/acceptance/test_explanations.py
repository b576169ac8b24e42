"""Sessions and explanations over HTTP and gRPC, from a server with the demonstration's data."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from chaukas.explain.v1 import explain_pb2, explain_pb2_grpc
from chaukas.server.auth.principal import Principal
from chaukas.server.errors import NotFoundError, PermissionDeniedError
from chaukas.server.explain.rendering.forms import AnswerForm
from chaukas.server.operations.explanations import Subject, get_explanation
from chaukas.server.operations.sessions import SessionQuestion, list_sessions
from chaukas.spec.common.v1.events_pb2 import Event
from tests.acceptance.serving import PROTOBUF, Served, batch_body, serving
from tests.unit.explain.recordings import events_of
from tests.unit.operations_services import Bench

pytestmark = pytest.mark.anyio

RECORDED = ("support_tools", "handoff", "agent_as_tool", "killed")


@pytest.fixture
async def served(tmp_path: Path, recorded_dir: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, explain_events_max=60) as server:
        for name in RECORDED:
            answer = await server.http.post(
                "/v1/events/batch", content=batch_body(*events_of(recorded_dir / name)), headers=PROTOBUF
            )
            assert answer.status_code == 202
        yield server


async def sessions_of(served: Served, **parameters: object) -> list[dict[str, object]]:
    return (await served.http.get("/v1/sessions", params=parameters)).json()["sessions"]


async def test_sessions_are_listed_newest_first_page_by_page(served: Served) -> None:
    """The listing has every session once, by its last event, and its pages lead to each other by token and by `Link`."""
    whole = await sessions_of(served)
    assert [row["last_time"] for row in whole] == sorted((row["last_time"] for row in whole), reverse=True)
    assert len({row["session_id"] for row in whole}) == len(whole) >= 4
    walked, url = [], "/v1/sessions?page_size=3"
    while url:
        answer = await served.http.get(url)
        walked += answer.json()["sessions"]
        url = answer.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert walked == whole
    wrong = await served.http.get("/v1/sessions?page_token=abc")
    assert (wrong.status_code, wrong.json()["violations"][0]["field"]) == (400, "page_token")


async def test_an_explanation_comes_in_every_form(served: Served, recorded_dir: Path) -> None:
    """JSON, Markdown, Mermaid and text, by parameter and by `Accept`; each begins as its form does and tells the same session."""
    session = events_of(recorded_dir / "support_tools")[0].session_id
    for route in ("session", "explanation"):
        forms = {}
        for form, kind in (
            ("json", "application/json"), ("markdown", "text/markdown"), ("mermaid", "text/vnd.mermaid"), ("text", "text/plain"),
        ):  # fmt: skip
            asked = await served.http.get(f"/v1/{route}", params={"session_id": session, "format": form})
            assert asked.status_code == 200
            assert asked.headers["content-type"].startswith(kind)
            accepted = await served.http.get(f"/v1/{route}", params={"session_id": session}, headers={"accept": kind})
            assert accepted.content == asked.content
            forms[form] = asked.text
        values = json.loads(forms["json"])
        assert values["asked"] == {"session_id": session}
        assert values["events"] == 23
        assert [run["outcome"] for run in values["runs"]] == ["answered"]
        assert forms["mermaid"].startswith("flowchart TD\n")
        assert session in forms["markdown"].splitlines()[0]
        assert "refund_order" in forms["text"]
    assert "## What the record does not show" in forms["markdown"]


async def test_an_event_stands_for_its_run(served: Served, recorded_dir: Path) -> None:
    """Asked by an event, the explanation is of the run that it belongs to, not of everything in its session."""
    events = events_of(recorded_dir / "handoff")
    last = max((event for event in events if event.HasField("message")), key=lambda event: event.timestamp.ToNanoseconds())
    values = (await served.http.get("/v1/explanation", params={"event_id": last.event_id})).json()
    assert len(values["runs"]) == 1
    assert values["loaded"]["events"] > values["events"]
    by_trace = (await served.http.get("/v1/explanation", params={"trace_id": last.trace_id})).json()
    assert by_trace["asked"] == {"trace_id": last.trace_id}


async def test_why_leads_back_to_what_an_answer_rests_on(served: Served, recorded_dir: Path) -> None:
    """The backward slice of an output names the tool result whose value it repeats, with the evidence."""
    output = next(
        event for event in events_of(recorded_dir / "support_tools") if event.type == 17 or "RunResult" in event.message.text
    )
    values = (await served.http.get("/v1/why", params={"event_id": output.event_id})).json()
    contents = [link for link in values["why"]["links"] if link["type"] == "content" and link["effect"] == output.event_id]
    assert contents
    assert values["grounding"]["parts"]
    page = await served.http.get("/v1/why", params={"event_id": output.event_id, "format": "markdown"})
    assert "## What led to it" in page.text


async def test_wrong_questions_are_refused_by_name(served: Served) -> None:
    """No id, two ids, an unknown id and an unknown form are told apart, and nothing is guessed."""
    for parameters, status in (
        ({}, 400),
        ({"session_id": "a", "trace_id": "b"}, 400),
        ({"session_id": "no such"}, 404),
        ({"trace_id": "no such"}, 404),
        ({"event_id": "no such"}, 404),
        ({"session_id": "a", "format": "pdf"}, 400),
        ({"session_id": "a", "typo": "b"}, 400),
    ):
        assert (await served.http.get("/v1/explanation", params=parameters)).status_code == status


async def test_an_ambiguous_id_is_a_conflict_that_names_the_candidates(served: Served) -> None:
    """An id of several tenants or projects is 409 with their names; with one of them named it is answered."""
    for tenant in ("acme", "globex"):
        event = Event(event_id="shared", session_id="shared", trace_id="shared", tenant_id=tenant, project_id="x", type=17)
        event.timestamp.seconds = 1_700_000_000
        await served.http.post("/v1/events/batch", content=batch_body(event), headers=PROTOBUF)
    for name in ("session_id", "trace_id", "event_id"):
        answer = await served.http.get("/v1/explanation", params={name: "shared"})
        assert answer.status_code == 409
        assert answer.json()["candidates"] == [{"tenant_id": each, "project_id": "x"} for each in ("acme", "globex")]
        one = await served.http.get("/v1/explanation", params={name: "shared", "tenant_id": "globex"})
        assert one.json()["tenant_id"] == "globex"


async def test_too_many_events_are_refused_with_the_setting(served: Served) -> None:
    """A session above the limit is refused by name, rather than explained in part as if it were whole."""
    events = []
    for number in range(61):
        event = Event(event_id=f"m{number}", session_id="many", trace_id=f"t{number}", tenant_id="acme", project_id="x", type=17)
        event.timestamp.seconds = 1_700_000_000 + number
        events.append(event)
    await served.http.post("/v1/events/batch", content=batch_body(*events), headers=PROTOBUF)
    answer = await served.http.get("/v1/explanation", params={"session_id": "many"})
    assert answer.status_code == 422
    assert "explain_events_max = 60" in answer.json()["detail"]
    part = (await served.http.get("/v1/explanation", params={"trace_id": "t5"})).json()
    assert (part["loaded"]["complete"], part["loaded"]["events"]) == (False, 60)


async def test_a_foreign_tenant_sees_nothing(recorded_dir: Path) -> None:
    """A caller that is bound to a tenant lists and explains its own sessions only; others do not exist for it."""
    bench = await Bench().opened()
    events = events_of(recorded_dir / "support_tools")
    from chaukas.server.operations.ingest import ingest_items

    await ingest_items(bench.services, Principal("writer"), "test", events)
    stranger, owner = Principal("stranger", tenant_id="globex"), Principal("owner", tenant_id="acme")
    subject = Subject(session_id=events[0].session_id)
    assert (await list_sessions(bench.services, stranger, SessionQuestion())).sessions == []
    for each in (subject, Subject(trace_id=events[0].trace_id), Subject(event_id=events[0].event_id)):
        with pytest.raises(NotFoundError):
            await get_explanation(bench.services, stranger, each, AnswerForm.JSON)
    with pytest.raises(PermissionDeniedError):
        await list_sessions(bench.services, stranger, SessionQuestion(tenant_id="acme"))
    assert len((await list_sessions(bench.services, owner, SessionQuestion())).sessions) == 1
    assert (await get_explanation(bench.services, owner, subject, AnswerForm.MARKDOWN)).text.startswith("# Session")


async def test_grpc_answers_the_same(served: Served, recorded_dir: Path) -> None:
    """Each RPC gives what its route gives, and errors have their codes."""
    session = events_of(recorded_dir / "handoff")[0].session_id
    async with grpc.aio.insecure_channel(served.grpc_target, options=(("grpc.enable_http_proxy", 0),)) as channel:
        stub = explain_pb2_grpc.ExplainServiceStub(channel)
        listed = await stub.ListSessions(explain_pb2.ListSessionsRequest(page_size=2))
        rows = await sessions_of(served)
        assert [each.session_id for each in listed.sessions] == [row["session_id"] for row in rows[:2]]
        rest = await stub.ListSessions(explain_pb2.ListSessionsRequest(page_token=listed.next_page_token))
        assert [each.session_id for each in rest.sessions] == [row["session_id"] for row in rows[2:]]
        subject = explain_pb2.Subject(session_id=session)
        for call, route, request in (
            (stub.GetSession, "session", explain_pb2.GetSessionRequest(subject=subject)),
            (stub.GetExplanation, "explanation", explain_pb2.GetExplanationRequest(subject=subject)),
        ):
            answer = (await call(request)).answer
            assert answer.content_type == "application/json"
            assert answer.text == (await served.http.get(f"/v1/{route}", params={"session_id": session})).text
        event = explain_pb2.Subject(event_id=events_of(recorded_dir / "handoff")[0].event_id)
        why = await stub.GetWhy(explain_pb2.GetWhyRequest(subject=event, format=explain_pb2.ANSWER_FORMAT_MERMAID))
        assert why.answer.text.startswith("flowchart TD")
        for wrong, code in (
            (explain_pb2.Subject(session_id="no such"), grpc.StatusCode.NOT_FOUND),
            (explain_pb2.Subject(), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetExplanation(explain_pb2.GetExplanationRequest(subject=wrong))
            assert caught.value.code() is code
