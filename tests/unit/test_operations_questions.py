from __future__ import annotations

import pytest

from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.errors import InvalidRequestError, NotFoundError, PermissionDeniedError, ShuttingDownError
from chaukas.server.operations.capabilities import get_capabilities
from chaukas.server.operations.event_stats import get_event_stats
from chaukas.server.operations.health import check_health
from chaukas.server.operations.metrics import get_metrics
from chaukas.server.operations.quarantine import list_quarantine, resubmit_quarantined, show_quarantined
from chaukas.server.operations.query_events import query_events
from chaukas.server.storage.contract import IngestStatus, QuarantineItem
from chaukas.server.testing.records import make_event, make_record
from chaukas.spec.common.v1.query_pb2 import QueryRequest
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest
from tests.unit.operations_services import Bench

pytestmark = pytest.mark.anyio

_SECOND_NS = 1_000_000_000


async def test_capabilities_say_only_what_is_true() -> None:
    """Published flags stay false until their feature exists; ours say what works, and the limit that holds."""
    capabilities = await get_capabilities((await Bench(batch_events_max=77).opened()).services, ANONYMOUS)
    said = {field.name: value for field, value in capabilities.ListFields()}
    assert said == {
        "supports_batch_ingestion": True,
        "supports_event_querying": True,
        "supports_statistics": True,
        "policy_decisions": True,
        "data_access_events": True,
        "max_batch_size": 77,
    }


async def test_health_follows_readiness() -> None:
    """A server that starts or drains says so, and load balancers leave it alone."""
    bench = await Bench().opened()
    with pytest.raises(ShuttingDownError):
        await check_health(bench.services, ANONYMOUS)
    bench.services.readiness.ready = True
    await check_health(bench.services, ANONYMOUS)


async def test_statistics_have_full_names_and_the_mean_of_whole_sessions() -> None:
    """Types are keyed by their full enum name, durations are those of the whole session, in milliseconds."""
    bench = await Bench().opened()
    await bench.store.append(
        [
            make_record("a", session_id="s1", at_ns=0, type=1),
            make_record("b", session_id="s1", at_ns=4 * _SECOND_NS, type=2),
            make_record("c", session_id="s2", at_ns=_SECOND_NS, type=777),
            make_record("d", tenant_id="globex", at_ns=_SECOND_NS),
        ]
    )
    request = GetEventStatsRequest(tenant_id="acme")
    request.time_range.start.FromNanoseconds(_SECOND_NS)
    stats = await get_event_stats(bench.services, ANONYMOUS, request)
    assert (stats.total_events, stats.total_sessions) == (2, 2)
    assert dict(stats.events_by_type) == {"EVENT_TYPE_SESSION_END": 1, "EVENT_TYPE_777": 1}
    assert stats.avg_session_duration_ms == 2000.0
    nothing = await get_event_stats(bench.services, ANONYMOUS, GetEventStatsRequest(tenant_id="nobody"))
    assert (nothing.total_events, nothing.avg_session_duration_ms) == (0, 0.0)
    with pytest.raises(PermissionDeniedError):
        await get_event_stats(bench.services, Principal("key", tenant_id="globex"), request)
    request.time_range.end.FromNanoseconds(0)
    with pytest.raises(InvalidRequestError, match="time_range"):
        await get_event_stats(bench.services, ANONYMOUS, request)


async def test_the_scrape_reads_the_figures_of_the_moment() -> None:
    """What `/metrics` shows of store, queue and quarantine is true when it is asked for."""
    bench = await Bench().opened()
    await bench.store.append([make_record("a"), QuarantineItem("acme", "", "x", b"12345", ("no",))])
    text = (await get_metrics(bench.services, ANONYMOUS)).decode()
    for line in (
        "chaukas_store_events 1.0",
        "chaukas_store_logs 1.0",
        "chaukas_quarantine_items 1.0",
        "chaukas_quarantine_bytes 5.0",
        "chaukas_queue_events 3.0",
        "chaukas_queue_bytes 4096.0",
        "chaukas_ready 0.0",
        'driver="memory"',
    ):
        assert line in text


async def test_a_query_is_answered_within_the_callers_scope() -> None:
    """The principal goes through to the engine."""
    bench = await Bench().opened()
    await bench.store.append([make_record("a"), make_record("b", tenant_id="globex")])
    answer = await query_events(bench.services, Principal("key", tenant_id="globex"), QueryRequest())
    assert [event.event_id for event in answer.events] == ["b"]


async def quarantined(bench: Bench, *items: QuarantineItem) -> list[str]:
    return [outcome.quarantine_id for outcome in await bench.store.append(items)]


async def test_the_quarantine_is_listed_page_by_page() -> None:
    """Every kept item is found once, oldest first, without its bytes, and within the caller's scope."""
    bench = await Bench().opened()
    items = [QuarantineItem("acme", "shop", f"e{index}", b"%d" % index, ("no",)) for index in range(5)]
    ids = await quarantined(bench, *items, QuarantineItem("", "", "", b"who", ("no",)))
    seen: list[str] = []
    after = ""
    for _ in range(3):
        page = await list_quarantine(bench.services, ANONYMOUS, "acme", None, 2, after)
        assert all(row.raw == b"" for row in page.rows)
        seen += [row.quarantine_id for row in page.rows]
        after = page.next_after
    assert seen == ids[:5]
    assert after == ""
    everything = await list_quarantine(bench.services, ANONYMOUS, None, None, 1000, "")
    assert [row.quarantine_id for row in everything.rows] == ids
    nobody = await list_quarantine(bench.services, ANONYMOUS, "", "", 1000, "")
    assert [row.quarantine_id for row in nobody.rows] == ids[5:]
    bound = await list_quarantine(bench.services, Principal("key", tenant_id="globex"), None, None, 1000, "")
    assert bound.rows == []
    for limit in (0, 1001):
        with pytest.raises(InvalidRequestError, match="limit"):
            await list_quarantine(bench.services, ANONYMOUS, None, None, limit, "")


async def test_one_item_is_shown_to_those_who_may_see_it() -> None:
    """The bytes are there; to a foreigner the item does not exist."""
    bench = await Bench().opened()
    [quarantine_id] = await quarantined(bench, QuarantineItem("acme", "", "e", b"raw", ("no",)))
    assert (await show_quarantined(bench.services, ANONYMOUS, quarantine_id)).raw == b"raw"
    for principal, asked in ((Principal("key", tenant_id="globex"), quarantine_id), (ANONYMOUS, "none")):
        with pytest.raises(NotFoundError):
            await show_quarantined(bench.services, principal, asked)


async def test_a_mended_event_leaves_the_quarantine() -> None:
    """What lacked a tenant is stored once somebody names it, and then nothing is kept twice."""
    bench = await Bench().opened()
    event = make_event("e", tenant_id="", project_id="")
    [quarantine_id] = await quarantined(bench, QuarantineItem("", "", "e", event.SerializeToString(), ("tenant_id",)))
    still = await resubmit_quarantined(bench.services, ANONYMOUS, quarantine_id)
    assert (still.removed, still.outcome.status) == (False, IngestStatus.QUARANTINED)
    assert "tenant_id" in still.outcome.reason
    row = await bench.store.quarantine_get(quarantine_id)
    assert row is not None
    assert row.count == 1
    done = await resubmit_quarantined(bench.services, ANONYMOUS, quarantine_id, "acme", "shop")
    assert (done.removed, done.outcome.status) == (True, IngestStatus.ACCEPTED)
    assert await bench.store.quarantine_get(quarantine_id) is None
    assert len(bench.store.log("chaukas.localhost/events/acme/shop")) == 1
    assert bench.counter("resubmit", "accepted") == 1


async def test_naming_a_tenant_never_moves_an_event_that_has_one() -> None:
    """Resubmitting fills in what is missing; it does not change what a client said."""
    bench = await Bench().opened()
    event = make_event("e", tenant_id="acme", project_id="")
    [quarantine_id] = await quarantined(bench, QuarantineItem("acme", "", "e", event.SerializeToString(), ("old limit",)))
    with pytest.raises(InvalidRequestError, match="tenant_id"):
        await resubmit_quarantined(bench.services, ANONYMOUS, quarantine_id, "globex", "ops")
    done = await resubmit_quarantined(bench.services, ANONYMOUS, quarantine_id, "", "ops")
    assert done.outcome.origin == "chaukas.localhost/events/acme/ops"


async def test_what_was_kept_for_naming_a_foreign_tenant_does_not_get_there_by_this_door() -> None:
    """An item is handed in for whom it is attributed to, never for whom its bytes claim."""
    bench = await Bench().opened()
    event = make_event("e", tenant_id="globex", project_id="")
    [quarantine_id] = await quarantined(bench, QuarantineItem("acme", "", "e", event.SerializeToString(), ("foreign",)))
    still = await resubmit_quarantined(bench.services, ANONYMOUS, quarantine_id)
    assert not still.removed
    assert still.outcome.status is IngestStatus.QUARANTINED


async def test_what_is_still_wrong_stays() -> None:
    """Unreadable bytes and a taken id keep their place in the quarantine."""
    bench = await Bench().opened()
    await bench.store.append([make_record("e")])
    conflict = make_event("e", text="other").SerializeToString(deterministic=True)
    ids = await quarantined(
        bench,
        QuarantineItem("acme", "shop", "", b"\xff\xff", ("does not parse",)),
        QuarantineItem("acme", "shop", "", b'{"event_id": 5}', ("event_id: expected a string",)),
        QuarantineItem("acme", "shop", "e", conflict, ("taken",)),
    )
    results = [await resubmit_quarantined(bench.services, ANONYMOUS, each) for each in ids]
    assert [(each.removed, each.outcome.status.value) for each in results] == [
        (False, "quarantined"),
        (False, "quarantined"),
        (False, "rejected"),
    ]
    assert [row.quarantine_id for row in await bench.store.quarantine_list(None, None, 10)] == ids


async def test_a_kept_json_event_is_read_as_json() -> None:
    """What came as JSON goes back through the JSON reader, so that a mended rule or server can take it."""
    bench = await Bench().opened()
    text = b'{"event_id": "j", "tenant_id": "acme", "type": "SESSION_START", "status": "STARTED"}'
    [quarantine_id] = await quarantined(bench, QuarantineItem("acme", "", "j", text, ("an older server refused this",)))
    done = await resubmit_quarantined(bench.services, ANONYMOUS, quarantine_id)
    assert (done.removed, done.outcome.event_id) == (True, "j")
