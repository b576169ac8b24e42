from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from chaukas.server.errors import OverloadedError, StorageError
from chaukas.server.framework.trailers import QUARANTINE_ID_KEY, REASON_KEY, REJECTED_COUNT_KEY, REJECTED_KEY, STATUS_KEY
from chaukas.server.testing.records import make_event, make_record
from chaukas.server.transports.grpc import ReadyServicer
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.client.v1.client_pb2_grpc import ChaukasClientServiceStub
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.server.v1 import server_pb2
from chaukas.spec.server.v1.server_pb2_grpc import ChaukasServerServiceStub, add_ChaukasServerServiceServicer_to_server
from tests.acceptance.serving import Served, batch_body, nested_too_deep, serving, single_body
from tests.unit.operations_services import Bench

pytestmark = pytest.mark.anyio

_SERVER = "/chaukas.spec.server.v1.ChaukasServerService/"
_CLIENT = "/chaukas.spec.client.v1.ChaukasClientService/"


@asynccontextmanager
async def connected(directory: Path, **overrides: object) -> AsyncIterator[tuple[Served, grpc.aio.Channel]]:
    async with serving(directory, **overrides) as served:
        options = (("grpc.max_receive_message_length", 4 << 20), ("grpc.max_send_message_length", -1))
        async with grpc.aio.insecure_channel(served.grpc_target, options=options) as channel:
            yield served, channel


async def refused(call: grpc.aio.UnaryUnaryCall) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_every_rpc_of_the_server_package_works(tmp_path: Path) -> None:
    """A client of the server package stores, asks and counts over one connection."""
    async with connected(tmp_path) as (_, channel):
        stub = ChaukasServerServiceStub(channel)
        await stub.Healthz(server_pb2.HealthzRequest())
        told = await stub.GetCapabilities(server_pb2.GetCapabilitiesRequest())
        assert told.capabilities.supports_batch_ingestion
        single = await stub.IngestEvent(server_pb2.IngestEventRequest(event=make_event("a")))
        assert (single.event_id, single.status) == ("a", "accepted")
        assert single.worm_proof_id == "chaukas.localhost/events/acme/shop#0"
        assert single.processed_at > 1_700_000_000_000
        batch = server_pb2.IngestEventBatchRequest.FromString(batch_body(make_event("a"), make_event("b"), Event(event_id="c")))
        answer = await stub.IngestEventBatch(batch)
        assert (answer.batch_id, answer.accepted_count, answer.rejected_count) == ("batch-1", 2, 1)
        assert list(answer.rejected_event_ids) == ["c"]
        assert [result.status for result in answer.results] == ["duplicate", "accepted", "quarantined"]
        assert answer.results[1].worm_proof_id == "chaukas.localhost/events/acme/shop#1"
        query = server_pb2.QueryEventsRequest()
        query.query.session_id = "session-1"
        query.query.include_total = True
        found = (await stub.QueryEvents(query)).response
        assert {event.event_id for event in found.events} == {"a", "b"}
        assert (found.total_count, found.has_more) == (2, False)
        stats = await stub.GetEventStats(server_pb2.GetEventStatsRequest(tenant_id="acme"))
        assert (stats.total_events, stats.total_sessions) == (2, 1)


async def test_every_rpc_of_the_client_package_works(tmp_path: Path) -> None:
    """The published client stubs, whose ingest answers are empty, learn in trailing metadata what was not stored."""
    async with connected(tmp_path) as (_, channel):
        stub = ChaukasClientServiceStub(channel)
        await stub.Healthz(client_pb2.HealthzRequest())
        told = await stub.GetCapabilities(client_pb2.GetCapabilitiesRequest())
        assert told.capabilities.max_batch_size == 100_000
        await stub.IngestEvent(client_pb2.IngestEventRequest(event=make_event("a")))
        request = client_pb2.IngestEventBatchRequest.FromString(batch_body(make_event("b"), Event(event_id="c")))
        call = stub.IngestEventBatch(request)
        assert await call == client_pb2.IngestEventBatchResponse()
        trailers = dict(await call.trailing_metadata())
        assert trailers[REJECTED_COUNT_KEY] == "1"
        [result] = server_pb2.IngestEventBatchResponse.FromString(trailers[REJECTED_KEY]).results
        assert (result.event_id, result.status) == ("c", "quarantined")
        assert "tenant_id" in result.reason
        good = stub.IngestEventBatch(client_pb2.IngestEventBatchRequest.FromString(batch_body(make_event("d"))))
        await good
        assert REJECTED_KEY not in dict(await good.trailing_metadata())
        query = client_pb2.QueryEventsRequest()
        query.query.filter.tenant_id = "acme"
        found = (await stub.QueryEvents(query)).response
        assert {event.event_id for event in found.events} == {"a", "b", "d"}


@pytest.mark.parametrize("service", [_SERVER, _CLIENT])
async def test_a_single_invalid_event_is_refused_and_kept(tmp_path: Path, service: str) -> None:
    """INVALID_ARGUMENT with the reasons, and the quarantine id in trailing metadata leads to the event."""
    async with connected(tmp_path) as (served, channel):
        ingest = channel.unary_unary(service + "IngestEvent")
        for event in (Event(event_id="bad"), nested_too_deep(make_event("deep"))):
            error = await refused(ingest(single_body(event)))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert error.details()
            trailers = dict(error.trailing_metadata())
            assert trailers[STATUS_KEY] == "quarantined"
            assert REASON_KEY not in trailers
            row = await served.store.quarantine_get(trailers[QUARANTINE_ID_KEY])
            assert row is not None
            assert (row.event_id, row.raw) == (event.event_id, event.SerializeToString(deterministic=True))


@pytest.mark.parametrize("service", [_SERVER, _CLIENT])
async def test_a_taken_id_is_told_and_kept(tmp_path: Path, service: str) -> None:
    """The call is OK, because nothing is lost; the status says `rejected`, and where the event is kept."""
    async with connected(tmp_path) as (served, channel):
        ingest = channel.unary_unary(service + "IngestEvent")
        await ingest(single_body(make_event("a")))
        call = ingest(single_body(make_event("a", text="other")))
        answer = await call
        if service == _SERVER:
            assert server_pb2.IngestEventResponse.FromString(answer).status == "rejected"
        trailers = dict(await call.trailing_metadata())
        assert trailers[STATUS_KEY] == "rejected"
        assert await served.store.quarantine_get(trailers[QUARANTINE_ID_KEY]) is not None


async def test_an_event_nested_too_deeply_costs_only_itself(tmp_path: Path) -> None:
    """The request does not parse as a whole; the good events in it are stored all the same."""
    body = batch_body(make_event("a"), nested_too_deep(make_event("deep")), make_event("b"))
    async with connected(tmp_path) as (_, channel):
        answer = server_pb2.IngestEventBatchResponse.FromString(await channel.unary_unary(_SERVER + "IngestEventBatch")(body))
        assert [result.status for result in answer.results] == ["accepted", "quarantined", "accepted"]
        assert answer.results[1].event_id == "deep"


@pytest.mark.parametrize("method", ["IngestEvent", "IngestEventBatch", "QueryEvents", "GetEventStats"])
async def test_a_request_that_says_nothing_is_the_callers_fault(tmp_path: Path, method: str) -> None:
    """Bytes that are no message are INVALID_ARGUMENT, never an internal error."""
    async with connected(tmp_path) as (_, channel):
        error = await refused(channel.unary_unary(_SERVER + method)(b"\xff\xff\xff"))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_wrong_questions_name_their_field(tmp_path: Path) -> None:
    """A client can tell its user what to change."""
    async with connected(tmp_path) as (_, channel):
        stub = ChaukasServerServiceStub(channel)
        for change, word in (
            (lambda query: setattr(query, "page_size", -1), "page_size"),
            (lambda query: setattr(query, "page_token", "forged"), "page_token"),
            (lambda query: setattr(query.filter, "text_query", "?!"), "filter.text_query"),
        ):
            request = server_pb2.QueryEventsRequest()
            change(request.query)
            error = await refused(stub.QueryEvents(request))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert word in error.details()


async def test_pages_fit_what_published_clients_receive(tmp_path: Path) -> None:
    """However large the events are, a client with the usual limit of 4 MiB walks over all of them."""
    async with connected(tmp_path) as (served, channel):
        await served.store.append([make_record(f"e{index}", text="x" * 600_000) for index in range(12)])
        stub = ChaukasServerServiceStub(channel)
        request = server_pb2.QueryEventsRequest()
        request.query.page_size = 1000
        seen: list[str] = []
        for _ in range(12):
            response = (await stub.QueryEvents(request)).response
            seen += [event.event_id for event in response.events]
            if not response.has_more:
                break
            request.query.page_token = response.next_page_token
        assert sorted(seen) == sorted(f"e{index}" for index in range(12))


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (OverloadedError("the queue is full"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (StorageError(), grpc.StatusCode.INTERNAL),
        (RuntimeError("boom"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_a_failing_store_is_told(tmp_path: Path, failure: Exception, code: grpc.StatusCode) -> None:
    """Nothing is acknowledged, the code is that of the table, and nothing of the inside is told."""
    async with connected(tmp_path) as (served, channel):
        served.store.failure = failure
        for service in (_SERVER, _CLIENT):
            for method, body in (("IngestEvent", single_body), ("IngestEventBatch", batch_body)):
                error = await refused(channel.unary_unary(service + method)(body(make_event("a"))))
                assert error.code() is code
                assert "boom" not in error.details()
        assert served.metric(
            "chaukas_requests_total", transport="grpc", route=_SERVER + "IngestEvent", method="unary", status=code.name
        )


async def test_messages_of_sixty_mebibytes_are_taken_and_larger_ones_refused(tmp_path: Path) -> None:
    """The receive limit is the server's own and not gRPC's 4 MiB."""
    async with connected(tmp_path) as (_, channel):
        ingest = channel.unary_unary(_SERVER + "IngestEventBatch")
        events = [make_event(f"e{index}", text="x" * 1_900_000) for index in range(32)]
        answer = server_pb2.IngestEventBatchResponse.FromString(await ingest(batch_body(*events)))
        assert answer.accepted_count == 32
        error = await refused(ingest(bytes(66 << 20)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_request_id_comes_back(tmp_path: Path) -> None:
    """A caller's id, or a new one, stands in the trailing metadata of every answer, errors included."""
    async with connected(tmp_path) as (_, channel):
        stub = ChaukasServerServiceStub(channel)
        call = stub.Healthz(server_pb2.HealthzRequest(), metadata=(("x-request-id", "trace-42"),))
        await call
        assert dict(await call.trailing_metadata())["x-request-id"] == "trace-42"
        error = await refused(stub.IngestEvent(server_pb2.IngestEventRequest()))
        assert len(dict(error.trailing_metadata())["x-request-id"]) == 16


async def test_health_and_reflection_are_the_standard_ones(tmp_path: Path) -> None:
    """Tools that know gRPC need no knowledge of this server."""
    async with connected(tmp_path) as (_, channel):
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for name in ("", _SERVER.strip("/"), _CLIENT.strip("/")):
            assert (await check(health_pb2.HealthCheckRequest(service=name))).status == health_pb2.HealthCheckResponse.SERVING
        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        async for answer in reflect(iter([reflection_pb2.ServerReflectionRequest(list_services="")])):
            names = {service.name for service in answer.list_services_response.service}
            assert {_SERVER.strip("/"), _CLIENT.strip("/"), "grpc.health.v1.Health"} <= names


async def test_a_watcher_hears_that_the_server_drains(tmp_path: Path) -> None:
    """Load balancers stop sending before the listener closes."""
    async with connected(tmp_path) as (served, channel):
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(served.app.stop())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        await stopping


async def test_the_ready_servicer_stands_on_its_own_too() -> None:
    """Being the framework's servicer, it works in any asyncio server that it is added to."""
    bench = await Bench().opened()
    server = grpc.aio.server()
    add_ChaukasServerServiceServicer_to_server(ReadyServicer(bench.services), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = ChaukasServerServiceStub(channel)
            answer = await stub.IngestEventBatch(
                server_pb2.IngestEventBatchRequest.FromString(batch_body(make_event("a"), Event(event_id="b")))
            )
            assert [result.status for result in answer.results] == ["accepted", "quarantined"]
            assert (await stub.GetCapabilities(server_pb2.GetCapabilitiesRequest())).capabilities.supports_statistics
    finally:
        await server.stop(None)


async def test_a_question_is_bounded_too(tmp_path: Path) -> None:
    """A filter of many megabytes is refused before it is parsed."""
    async with connected(tmp_path, query_bytes_max=2048) as (_, channel):
        error = await refused(channel.unary_unary(_SERVER + "QueryEvents")(bytes(3000)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "query_bytes_max" in error.details()
