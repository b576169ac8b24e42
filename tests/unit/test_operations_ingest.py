from __future__ import annotations

import asyncio

import pytest

from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.errors import InvalidRequestError, OverloadedError, RequestTooLargeError, StorageError
from chaukas.server.ingest.hooks import IngestHook
from chaukas.server.operations.ingest import ingest_batch, ingest_event, ingest_items
from chaukas.server.storage.contract import IngestStatus, Outcome, QuarantineItem
from chaukas.server.testing.records import make_event
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchRequest, IngestEventRequest
from tests.unit.operations_services import NOW_NS, Bench

pytestmark = pytest.mark.anyio


def batch(*events: Event, batch_id: str = "batch") -> bytes:
    request = IngestEventBatchRequest()
    request.event_batch.batch_id = batch_id
    request.event_batch.events.extend(events)
    return request.SerializeToString()


def too_deep() -> Event:
    """An event that alone is serialised without complaint and spoils the parsing of every request that holds it."""
    event = make_event("deep")
    struct = event.metadata
    for _ in range(33):
        struct = struct["a"] if "a" in struct else struct.get_or_create_struct("a")
    return event


async def test_each_event_of_a_batch_has_an_outcome_in_order() -> None:
    """Accepted, duplicate, rejected and quarantined events stand side by side in one answer."""
    bench = await Bench().opened()
    await ingest_batch(bench.services, ANONYMOUS, "grpc", batch(make_event("a")))
    body = batch(make_event("b"), make_event("a"), make_event("a", text="other"), make_event("c", tenant_id=""))
    answer = await ingest_batch(bench.services, ANONYMOUS, "grpc", body)
    assert answer.batch_id == "batch"
    assert [(each.event_id, each.status) for each in answer.outcomes] == [
        ("b", IngestStatus.ACCEPTED),
        ("a", IngestStatus.DUPLICATE),
        ("a", IngestStatus.REJECTED),
        ("c", IngestStatus.QUARANTINED),
    ]
    assert "tenant_id" in answer.outcomes[3].reason
    assert [bench.counter("grpc", status) for status in ("accepted", "duplicate", "rejected", "quarantined")] == [2, 1, 1, 1]


async def test_what_the_server_completed_comes_back_as_a_duplicate() -> None:
    """An export brought back to where it came from is no conflict and stores nothing twice, though a timestamp was filled in."""
    bench = await Bench().opened()
    sent = make_event("a")
    sent.ClearField("timestamp")
    came = sent.SerializeToString(deterministic=True)
    await ingest_items(bench.services, ANONYMOUS, "http", [sent])
    [stored] = [event.record.stored for event in bench.store._content.events.values()]
    assert stored != came
    for again in (stored, came):
        [outcome] = await ingest_items(bench.services, ANONYMOUS, "http", [Event.FromString(again)])
        assert (outcome.status, outcome.index) == (IngestStatus.DUPLICATE, 0)


async def test_an_event_that_spoils_its_request_costs_only_itself() -> None:
    """One Struct nested too deeply among good events: the good ones are stored, it is kept raw."""
    bench = await Bench().opened()
    answer = await ingest_batch(bench.services, ANONYMOUS, "http", batch(make_event("a"), too_deep(), make_event("b")))
    assert [each.status for each in answer.outcomes] == [
        IngestStatus.ACCEPTED,
        IngestStatus.QUARANTINED,
        IngestStatus.ACCEPTED,
    ]
    row = await bench.store.quarantine_get(answer.outcomes[1].quarantine_id)
    assert row is not None
    assert row.raw == too_deep().SerializeToString()
    assert (row.event_id, row.tenant_id) == ("deep", "acme")


async def test_a_single_event_is_taken_or_kept() -> None:
    """What is wrong with a single event is in its outcome, never an exception that loses it."""
    bench = await Bench().opened()
    good = IngestEventRequest(event=make_event("a")).SerializeToString()
    assert (await ingest_event(bench.services, ANONYMOUS, "grpc", good)).status is IngestStatus.ACCEPTED
    bad = IngestEventRequest(event=make_event("b", type=0)).SerializeToString()
    outcome = await ingest_event(bench.services, ANONYMOUS, "grpc", bad)
    assert (outcome.status, outcome.event_id) == (IngestStatus.QUARANTINED, "b")
    assert await bench.store.quarantine_get(outcome.quarantine_id) is not None


@pytest.mark.parametrize("take", [ingest_event, ingest_batch])
async def test_only_a_body_without_any_event_is_refused(take) -> None:
    """There is nothing to keep, so the caller is told that the request is wrong."""
    bench = await Bench().opened()
    for body in (b"", b"\xff\xff\xff", b"hello"):
        with pytest.raises(InvalidRequestError):
            await take(bench.services, ANONYMOUS, "http", body)
    assert bench.pipeline.submissions == []


async def test_a_large_batch_goes_in_pieces_with_one_outcome_per_event() -> None:
    """However large a post is, one transaction stays small, and the answer is the same as for a small post."""
    bench = await Bench().opened()
    events = [make_event(f"e{index}") for index in range(4500)]
    answer = await ingest_batch(bench.services, ANONYMOUS, "http", batch(*events))
    assert bench.pipeline.submissions == [2000, 2000, 500]
    assert [each.event_id for each in answer.outcomes] == [event.event_id for event in events]
    assert {each.status for each in answer.outcomes} == {IngestStatus.ACCEPTED}
    large = [make_event(f"big{index}", text="x" * 1_500_000) for index in range(5)]
    await ingest_batch(bench.services, ANONYMOUS, "http", batch(*large))
    assert bench.pipeline.submissions[3:] == [3, 2]


async def test_a_batch_that_failed_half_way_may_be_sent_again() -> None:
    """Earlier pieces are stored when a later one fails; the same post ends in duplicates and the rest."""
    bench = await Bench().opened()
    body = batch(*(make_event(f"e{index}") for index in range(3000)))
    bench.pipeline.failure, bench.pipeline.failure_after = OverloadedError("full"), 1
    with pytest.raises(OverloadedError):
        await ingest_batch(bench.services, ANONYMOUS, "http", body)
    bench.pipeline.failure = None
    answer = await ingest_batch(bench.services, ANONYMOUS, "http", body)
    statuses = [each.status for each in answer.outcomes]
    assert statuses == [IngestStatus.DUPLICATE] * 2000 + [IngestStatus.ACCEPTED] * 1000


async def test_more_events_than_configured_are_refused_before_any_is_stored() -> None:
    """`max_batch_size` of the capabilities is the limit that holds."""
    bench = await Bench(batch_events_max=2).opened()
    body = batch(make_event("a"), make_event("b"), make_event("c"))
    with pytest.raises(RequestTooLargeError):
        await ingest_batch(bench.services, ANONYMOUS, "http", body)
    assert bench.pipeline.submissions == []


async def test_limits_come_from_the_settings() -> None:
    """A limit that the operator sets is the one that events are held to."""
    bench = await Bench(event_bytes_max=1000, tags_max=1).opened()
    events = [make_event("a", text="x" * 1000), make_event("b", tags=["x", "y"]), make_event("c", tags=["x"])]
    answer = await ingest_batch(bench.services, ANONYMOUS, "http", batch(*events))
    assert [each.status.value for each in answer.outcomes] == ["quarantined", "quarantined", "accepted"]


async def test_events_and_unreadable_items_of_a_transport_go_together() -> None:
    """What JSON could not be read from is kept in the same answer as what could; missing parts are filled in."""
    bench = await Bench().opened()
    item = QuarantineItem("acme", "", "x", b"{", ("is not JSON",))
    event = Event(event_id="a", type=1)
    bound = Principal("key", tenant_id="acme", project_id="shop")
    outcomes = await ingest_items(bench.services, bound, "http", iter([item, event]))
    assert [each.status.value for each in outcomes] == ["quarantined", "accepted"]
    [kept] = bench.store.log("chaukas.localhost/events/acme/shop")
    assert kept.record.timestamp_us == NOW_NS // 1000


async def test_a_failing_store_acknowledges_nothing() -> None:
    """An error of the store reaches the caller; nothing is counted as stored."""
    bench = await Bench().opened()
    bench.pipeline.failure = StorageError()
    with pytest.raises(StorageError):
        await ingest_batch(bench.services, ANONYMOUS, "grpc", batch(make_event("a")))
    assert bench.counter("grpc", "accepted") == 0


class Listener(IngestHook):
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def stored(self, event_id: str, outcome: Outcome) -> None:
        self.heard.append((event_id, outcome.status.value))


async def test_hooks_hear_of_stored_events_after_the_answer() -> None:
    """A slow hook delays nobody's acknowledgement."""
    hook = Listener()
    bench = await Bench(hooks=(hook,)).opened()
    await ingest_batch(bench.services, ANONYMOUS, "grpc", batch(make_event("a")))
    assert hook.heard == []
    await asyncio.sleep(0)
    assert hook.heard == [("a", "accepted")]
