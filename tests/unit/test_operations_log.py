"""What the transparency log hands out: within the caller's scope, and never anything that a damaged store made wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chaukas.server.app import open_services
from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.config import Settings
from chaukas.server.errors import AmbiguousError, InvalidRequestError, NotFoundError, PermissionDeniedError, StorageError
from chaukas.server.operations.capabilities import get_capabilities
from chaukas.server.operations.ingest import ingest_items
from chaukas.server.operations.log_access import log_path
from chaukas.server.operations.log_checkpoint import get_checkpoint, get_checkpoint_of_hash
from chaukas.server.operations.log_consistency import get_consistency_proof
from chaukas.server.operations.log_entry import EntryName, prove_entry
from chaukas.server.operations.log_list import list_logs
from chaukas.server.operations.log_tiles import get_tile
from chaukas.server.operations.services import Services, TransparencyLog
from chaukas.server.storage.log_contract import LogSnapshot, LogStore, SignedHead, TileName
from chaukas.server.telemetry import Telemetry
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.verify.reports import check_evidence
from chaukas.verify.trust import Trust
from chaukas.verify.verdict import Outcome
from chaukas.verify.verifier_keys import VerifierKey
from tests.unit.operations_services import Bench

pytestmark = pytest.mark.anyio

_SHOP = "chaukas.localhost/events/acme/shop"
_ACME = "chaukas.localhost/events/acme"
_EVE = "chaukas.localhost/events/eve"
_EVENTS = 600
#: Makes the answer that is given of the one that is kept and of the question.
_Change = Callable[..., object]


def _event(number: int, tenant_id: str, project_id: str) -> Event:
    event = Event(event_id=f"e-{number}", tenant_id=tenant_id, project_id=project_id, type=12)
    event.message.text = f"text {number}"
    return event


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """A log of 600 events, and two others that hold one of the same ids."""
    settings = Settings(data_dir=tmp_path / "data", state_dir=tmp_path / "state", text_index=False)
    settings.state_dir.mkdir()
    async with open_services(settings, Telemetry(log_level="error"), bytes(32), signs=True) as opened:
        events = [_event(number, "acme", "shop") for number in range(_EVENTS)]
        await ingest_items(opened, ANONYMOUS, "test", [*events, _event(5, "acme", ""), _event(5, "eve", "")])
        yield opened


class _DamagedSnapshot:
    """A snapshot some of whose answers are changed before anybody sees them."""

    def __init__(self, snapshot: LogSnapshot, changes: Mapping[str, _Change]) -> None:
        self._snapshot = snapshot
        self._changes = changes

    def __getattr__(self, name: str) -> Callable[..., object]:
        ask, change = getattr(self._snapshot, name), self._changes.get(name)
        return ask if change is None else lambda *question: change(ask(*question), *question)


def _damaged(services: Services, **changes: _Change) -> Services:
    """The same services over a store whose snapshots are damaged so."""
    assert services.log is not None
    log = services.log

    class Damaged:
        def __getattr__(self, name: str) -> object:
            return getattr(log.store, name)

        async def read(self, work: Callable[[LogSnapshot], object]) -> object:
            return await log.store.read(lambda snapshot: work(_DamagedSnapshot(snapshot, changes)))  # type: ignore[arg-type]

    damaged: LogStore = Damaged()  # type: ignore[assignment]
    return replace(services, log=TransparencyLog(damaged, log.sequencer))


async def test_nothing_is_handed_out_beyond_the_scope(services: Services) -> None:
    """A caller who is bound to a tenant or project sees its own logs only; others do not exist for it."""
    eve = Principal("eve", tenant_id="eve")
    shopper = Principal("shopper", tenant_id="acme", project_id="shop")
    assert [one.log.origin for one in await list_logs(services, ANONYMOUS, "", "")] == [_ACME, _SHOP, _EVE]
    assert [one.log.origin for one in await list_logs(services, eve, "", "")] == [_EVE]
    assert [one.log.origin for one in await list_logs(services, shopper, "", "")] == [_SHOP]
    with pytest.raises(PermissionDeniedError):
        await list_logs(services, eve, "acme", "")
    shop_hash = log_path(_SHOP).split("/")[2]
    await get_checkpoint(services, shopper, _SHOP)
    for ask in (
        lambda: get_checkpoint(services, eve, _SHOP),
        lambda: get_checkpoint_of_hash(services, eve, shop_hash),
        lambda: get_tile(services, eve, shop_hash, "tile/0/000"),
        lambda: get_consistency_proof(services, eve, _SHOP, 1),
        lambda: prove_entry(services, eve, EntryName(origin=_SHOP, index=0)),
        lambda: prove_entry(services, eve, EntryName(event_id="e-6")),
        lambda: get_checkpoint(services, shopper, _ACME),
    ):
        with pytest.raises(NotFoundError):
            await ask()
    assert (await prove_entry(services, eve, EntryName(event_id="e-5"))).evidence.origin == _EVE
    assert (await prove_entry(services, shopper, EntryName(event_id="e-5"))).evidence.origin == _SHOP


async def test_an_ambiguous_id_names_its_places(services: Services) -> None:
    """An id that stands in several logs is refused with the names of all; each of them is unambiguous."""
    with pytest.raises(AmbiguousError) as refused:
        await prove_entry(services, ANONYMOUS, EntryName(event_id="e-5"))
    assert set(refused.value.candidates) == {("acme", "shop"), ("acme", ""), ("eve", "")}
    for place in (f"{_SHOP}#5", f"{_ACME}#0", f"{_EVE}#0"):
        assert place in refused.value.public_message
        origin, _, index = place.rpartition("#")
        proven = await prove_entry(services, ANONYMOUS, EntryName(origin=origin, index=int(index)))
        assert proven.evidence.origin == origin


async def test_what_is_just_committed_is_proven(services: Services) -> None:
    """A proof covers an entry from its acknowledgement on: a head is signed for it when it is asked for."""
    for number in range(_EVENTS, _EVENTS + 3):
        await ingest_items(services, ANONYMOUS, "test", [_event(number, "acme", "shop")])
        proven = await prove_entry(services, ANONYMOUS, EntryName("acme", "shop", f"e-{number}"))
        assert (proven.evidence.index, proven.evidence.checkpoint.size) == (number, number + 1)
        grown = await get_consistency_proof(services, ANONYMOUS, _SHOP, number, number + 1)
        assert grown.checkpoint == proven.evidence.checkpoint


async def test_what_was_kept_aside_is_proven_too(services: Services) -> None:
    """An item of the quarantine has an entry of its own, whose evidence holds its bytes as they came, and verifies."""
    invalid = Event(event_id="no-type", tenant_id="acme", project_id="shop")
    received = invalid.SerializeToString()
    [outcome] = await ingest_items(services, ANONYMOUS, "test", [invalid])
    assert outcome.quarantine_id
    assert services.log is not None
    assert await services.log.store.log_quarantined(64) == 1
    proven = await prove_entry(services, ANONYMOUS, EntryName(origin=_SHOP, index=_EVENTS))
    trust = Trust((VerifierKey.parse(services.log.sequencer.verifier_key(_SHOP)),))
    report = check_evidence(bytes(proven.evidence), trust)
    assert (report.outcome, report.facts["kind"]) == (Outcome.VERIFIED, "quarantined")
    assert (proven.envelope_bytes, proven.evidence.payload) == (0, received)


async def test_sizes_that_are_none_are_refused(services: Services) -> None:
    """Sizes out of order, negative or larger than the log are the caller's mistake, and named."""
    for sizes, field in (((-1, 5), "from"), ((1, -5), "to"), ((7, 5), "from"), ((5, 601), "to"), ((601, 0), "from")):
        with pytest.raises(InvalidRequestError) as refused:
            await get_consistency_proof(services, ANONYMOUS, _SHOP, *sizes)
        assert refused.value.field == field
    with pytest.raises(NotFoundError):
        await get_checkpoint(services, ANONYMOUS, _SHOP, 17)


def _with_flipped_tile(level: int) -> _Change:
    def tiles(kept: list[bytes], _log_id: int, names: Sequence[TileName]) -> list[bytes]:
        return [
            hashes[:-1] + bytes((hashes[-1] ^ 1,)) if hashes and name[0] == level else hashes
            for name, hashes in zip(names, kept, strict=True)
        ]

    return tiles


@pytest.mark.parametrize("level", [0, 1])
async def test_a_damaged_tile_gives_no_proof(services: Services, level: int) -> None:
    """A tile that was changed is an error, never a wrong proof; a store that was mended is believed again."""
    await get_checkpoint(services, ANONYMOUS, _SHOP)
    damaged = _damaged(services, tiles=_with_flipped_tile(level))
    with pytest.raises(StorageError, match="damaged"):
        await prove_entry(damaged, ANONYMOUS, EntryName(origin=_SHOP, index=254 if level == 0 else 599))
    with pytest.raises(StorageError, match="damaged"):
        await get_consistency_proof(damaged, ANONYMOUS, _SHOP, 255 if level == 0 else 512)
    assert damaged.log is not None
    assert len(damaged.log.tiles) == 0


async def test_a_damaged_entry_head_or_payload_gives_no_proof(services: Services) -> None:
    """Entry, payload, salts and head are checked against each other before any of them leaves the house."""
    checkpoint = await get_checkpoint(services, ANONYMOUS, _SHOP)
    assert services.log is not None
    store = services.log.store
    [log] = await store.logs("acme", "shop")

    def record(**changes: bytes) -> _Change:
        return lambda kept, _log_id, _index: replace(kept, **changes)

    other = await store.entry_record(log.log_id, 4)
    assert other is not None
    for changes in ({"entry": other.entry}, {"stored": other.stored}, {"envelope_salt": bytes(16)}, {"content_salt": bytes(16)}):
        damaged = _damaged(services, entry_record=record(**changes))
        with pytest.raises(StorageError, match="damaged"):
            await prove_entry(damaged, ANONYMOUS, EntryName(origin=_SHOP, index=3))

    kept = await store.head(log.log_id)
    assert kept is not None
    for note in (b"", bytes(checkpoint).replace(b"\n600\n", b"\n599\n"), kept.note.replace(b"acme", b"acne")):

        def head(kept: SignedHead, _log_id: int, _size: int | None = None, note: bytes = note) -> SignedHead:
            return replace(kept, note=note)

        damaged = _damaged(services, head=head)
        with pytest.raises(StorageError, match="damaged"):
            await prove_entry(damaged, ANONYMOUS, EntryName(origin=_SHOP, index=3))


async def test_tiles_end_with_the_signed_head(services: Services) -> None:
    """What is committed but not covered by a signed head is in no tile: nobody has vouched for it yet."""
    await get_checkpoint(services, ANONYMOUS, _SHOP)
    shop_hash = log_path(_SHOP).split("/")[2]
    await ingest_items(services, ANONYMOUS, "test", [_event(number, "acme", "shop") for number in range(_EVENTS, 800)])
    for path in ("tile/0/002.p/89", "tile/entries/002.p/89", "tile/0/002", "tile/1/000.p/3"):
        with pytest.raises(NotFoundError):
            await get_tile(services, ANONYMOUS, shop_hash, path)
    await get_checkpoint(services, ANONYMOUS, _SHOP)
    assert len(await get_tile(services, ANONYMOUS, shop_hash, "tile/0/002.p/89")) == 89 * 32
    assert len(await get_tile(services, ANONYMOUS, shop_hash, "tile/1/000.p/3")) == 96


async def test_a_server_without_logs_says_so(services: Services) -> None:
    """Where no log is kept, or nothing is signed, capabilities claim no proofs, and asking for one says why there is none."""
    bench = await Bench().opened()
    with pytest.raises(NotFoundError, match="no transparency log"):
        await list_logs(bench.services, ANONYMOUS, "", "")
    capabilities = await get_capabilities(bench.services, ANONYMOUS)
    assert (capabilities.audit_proofs, capabilities.worm_retention) == (False, False)
    capabilities = await get_capabilities(services, ANONYMOUS)
    assert (capabilities.audit_proofs, capabilities.worm_retention) == (True, False)
