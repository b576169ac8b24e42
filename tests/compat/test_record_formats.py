"""Data directories of earlier formats: this version opens them, keeps everything, and proves what they hold from then on."""

import asyncio
from pathlib import Path

import pytest
import zstandard

from chaukas.server.storage.contract import EventFilter, PageRequest
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.storage.sqlite.schema import FORMAT_VERSION
from chaukas.server.testing import make_record
from chaukas.server.text.expression import TextQuery
from chaukas.server.tlog.opening import open_sequencer
from tests.acceptance.command_line import CommandLine

SERVER_NAME = "old.example"


@pytest.fixture
def format_1(tmp_path: Path) -> Path:
    """What the first release wrote: 1,072 events in two logs, one of them completed by the server, two items aside."""
    packed = Path(__file__).parent / "vectors" / "record_format1.db.zst"
    data = tmp_path / "data"
    data.mkdir()
    (data / "record.db").write_bytes(zstandard.decompress(packed.read_bytes()))
    return data


def test_a_record_of_format_1_goes_on_and_is_proven(tmp_path: Path, format_1: Path):
    """Everything in it is found as before and by its words, duplicates are known, and its entries stand in the signed tree."""

    async def run() -> None:
        store = SqliteStore(format_1, SERVER_NAME)
        await store.open()
        try:
            info = await store.info()
            assert (info.events, info.logs, info.quarantine_items) == (1072, 2, 2)
            assert await store.count(EventFilter(text=TextQuery.parse("common"))) == 1071
            assert await store.count(EventFilter(session_id="s3")) == 20
            again = make_record("e5", tenant_id="acme", project_id="shop", session_id="s0", text="word5 common")
            (outcome,) = await store.append([again])
            assert outcome.status == "duplicate"
            (tmp_path / "state").mkdir()
            sequencer = await open_sequencer(store.log_store, tmp_path / "state", None)
            await store.log_store.log_quarantined(10)
            await sequencer.sign_all()
            for log in await store.log_store.logs(None, None):
                head = await store.log_store.head(log.log_id)
                assert head is not None
                assert head.size == log.size
            page = await store.query(PageRequest(EventFilter(tenant_id="acme"), 1000, 1 << 20))
            assert len(page.events) > 500
        finally:
            await store.close()

    asyncio.run(run())
    assert FORMAT_VERSION == 2, "freeze a record of format 2 here as well"
    done = CommandLine(tmp_path).run("verify", "--data", str(format_1), "--state", str(tmp_path / "state"))
    assert done.status == 0, done.output + str(done.remarks)
