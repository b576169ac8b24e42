"""Searching texts in `SqliteStore`: whatever the state of the index, the answer is that of reading every event."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaukas.server.storage.contract import EventFilter, PageRequest
from chaukas.server.storage.sqlite import SqliteStore, TextIndexSettings, text_filter
from chaukas.server.storage.sqlite.text_index.file import TEXT_INDEX_NAME
from chaukas.server.storage.sqlite.text_index.follower import TextFollower
from chaukas.server.testing import MemoryStore, StorePair, make_record
from chaukas.server.testing.conformance_case import BASE_NS, BYTES_MAX, opened
from chaukas.server.text.expression import TextQuery

WORDS = (
    "refund",
    "Refund",
    "REFUNDS",
    "order",
    "no",
    "not",
    "found",
    "東京",
    "東京タワーの高さ",
    "été",
    "été",
    "Straße",
    "42",
    "a_b",
    "😀",
)
PHRASES = (
    "refund order",
    "order not found",
    "not",
    "東京",
    "tokyo",
    "refund*",
    "r*",
    "strasse",
    "ÉTÉ",
    '"order no"',
    "42",
    "a b",
    "😀",
    "東 京",
    "高さ order",
)

texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
records = st.lists(
    st.tuples(
        st.sampled_from(["acme", "other"]), st.sampled_from(["", "s1"]), st.sampled_from([1, 31]), st.integers(0, 50), texts
    ),
    min_size=1,
    max_size=40,
)
queries = st.builds(
    EventFilter,
    tenant_id=st.one_of(st.none(), st.sampled_from(["acme", "other", "nobody"])),
    session_id=st.one_of(st.none(), st.just("s1")),
    types=st.sampled_from([frozenset(), frozenset({31})]),
    text=st.sampled_from(PHRASES).map(TextQuery.parse),
)


def _records(rows, first=0):
    return [
        make_record(
            f"e{number}",
            tenant_id=tenant,
            project_id="",
            session_id=session,
            type=type_,
            at_ns=BASE_NS + second * 10**9,
            text=text,
        )
        for number, (tenant, session, type_, second, text) in enumerate(rows, first)
    ]


def _follow(directory: Path, events: int | None = None) -> None:
    """Let a follower index about so many events, all of them without a number."""
    follower = TextFollower(directory)
    try:
        while follower.step(events or 8_192) and events is None:
            pass
    finally:
        follower.close()


@given(
    before=records,
    behind=records,
    asked=st.lists(queries, min_size=1, max_size=6),
    part=st.integers(1, 40),
    many=st.sampled_from([1, 10, 1_000]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_state_of_the_index_gives_the_same_answers(before, behind, asked, part, many):
    """Without an index, with a part, behind, complete, and gone again: always what reading everything finds."""

    async def compare(pair):
        for wanted in asked:
            await pair.count(wanted)
            for descending in (True, False):
                await pair.walk(PageRequest(wanted, 3, BYTES_MAX, descending))

    async def run(directory):
        async with opened(MemoryStore()) as oracle, opened(SqliteStore(directory)) as subject:
            pair = StorePair(subject, oracle)
            await pair.append(_records(before))
            await compare(pair)
            await asyncio.to_thread(_follow, directory, part)
            await compare(pair)
            await pair.append(_records(behind, len(before)))
            await compare(pair)
            await asyncio.to_thread(_follow, directory)
            await compare(pair)
            (directory / TEXT_INDEX_NAME).unlink()
            await compare(pair)

    with tempfile.TemporaryDirectory() as name, patch.object(text_filter, "_MANY", many):
        asyncio.run(run(Path(name)))


def test_unread_segments_are_looked_through(tmp_path):
    """Without an index, questions about thousands of events of several logs get the answers of the other driver."""
    spoken = [
        "order not found",
        "refund of the order",
        "found not order",
        "東京タワー",
        "京東",
        "nothing",
        "re\u00adfund",
        "ﬁne 42",
    ]
    rows = [("acme" if n % 3 else "other", "", 31, n * 7 % 90, spoken[n * 5 % 8] + f" {n}") for n in range(2_500)]

    async def run():
        async with opened(MemoryStore()) as oracle, opened(SqliteStore(tmp_path)) as subject:
            pair = StorePair(subject, oracle)
            for start in range(0, len(rows), 500):
                await pair.append(_records(rows[start : start + 500], start))
            for text in ("refund", '"order not"', '"of the order"', "東京", "東", "fine", "1234", "zyzzyva", "n* 77"):
                wanted = EventFilter(text=TextQuery.parse(text))
                await pair.count(wanted)
                await pair.count(replace(wanted, tenant_id="other"))
                await pair.walk(PageRequest(replace(wanted, tenant_id="other"), 100, BYTES_MAX))

    asyncio.run(run())


def _found(store, text, **fields):
    return store.query(PageRequest(EventFilter(text=TextQuery.parse(text), **fields), 100, BYTES_MAX))


def test_an_index_of_another_state_of_the_record_is_never_asked(tmp_path):
    """An older copy of the record that is put back beside the newer index finds what it holds, and nothing of what it lost."""
    kept, data = tmp_path / "kept", tmp_path / "data"

    async def run():
        async with opened(SqliteStore(data)) as store:
            await store.append([make_record("a", text="first words")])
        shutil.copytree(data, kept)
        async with opened(SqliteStore(data)) as store:
            await store.append([make_record("b", text="lost words"), make_record("c", text="more")])
        _follow(data)
        shutil.copy(kept / "record.db", data / "record.db")
        async with opened(SqliteStore(data)) as store:
            await store.append([make_record("d", text="other text"), make_record("e", text="again")])
            for text, expected in (("words", 1), ("lost", 0), ("other", 1), ("again", 1)):
                assert len((await _found(store, text)).events) == expected, text
        _follow(data)
        async with opened(SqliteStore(data)) as store:
            for text, expected in (("words", 1), ("lost", 0), ("other", 1), ("again", 1)):
                assert len((await _found(store, text)).events) == expected, text

    asyncio.run(run())


def _damage(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        for at in range(8_192, len(content), 97):
            content[at] ^= 0xFF
    changed = {"truncated": content[: len(content) // 2], "flipped": content, "text": b"no database\n" * 1_000, "empty": b""}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(changed[damage])


def _repair(directory):
    for _ in range(3):
        try:
            _follow(directory)
        except Exception:  # noqa: BLE001,S112 - a follower that finds damage ends, and is started again
            continue
        return
    raise AssertionError("the follower does not recover")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "text", "empty", "gone"])
def test_a_damaged_index_costs_time_and_no_answer(tmp_path, damage):
    """Whatever happens to the index's file, questions are answered, and the follower makes a new one."""

    async def run():
        async with opened(SqliteStore(tmp_path)) as store:
            await store.append([make_record(f"e{number}", text=f"word{number} all") for number in range(2_000)])
            await asyncio.to_thread(_follow, tmp_path)
            assert len((await _found(store, "word77")).events) == 1
        _damage(tmp_path / TEXT_INDEX_NAME, damage)
        for _ in range(2):
            async with opened(SqliteStore(tmp_path)) as store:
                assert len((await _found(store, "word77")).events) == 1
                assert await store.count(EventFilter(text=TextQuery.parse("all"))) == 2_000
            _repair(tmp_path)

    asyncio.run(run())


def _started_follower(directory: Path) -> subprocess.Popen[bytes]:
    module = "chaukas.server.storage.sqlite.text_index.follower"
    return subprocess.Popen([sys.executable, "-m", module, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_killed_follower_goes_on_where_it_stopped(tmp_path):
    """`kill -9` of the follower at any moment leaves an index that another one completes, with the right answers."""

    async def run():
        async with opened(SqliteStore(tmp_path)) as store:
            for start in range(0, 30_000, 1_000):
                await store.append([make_record(f"e{start + n}", text=f"word{start + n} all") for n in range(1_000)])
            for lines in (1, 2, 3):
                process = await asyncio.to_thread(_started_follower, tmp_path)
                for _ in range(lines):
                    assert (await asyncio.to_thread(process.stdout.readline)).startswith(b"indexed ")
                process.send_signal(signal.SIGKILL)
                await asyncio.to_thread(process.communicate)
                assert await store.count(EventFilter(text=TextQuery.parse("word12345"))) == 1
            await asyncio.to_thread(_follow, tmp_path)
            assert await store.count(EventFilter(text=TextQuery.parse("all"))) == 30_000
            assert await store.count(EventFilter(text=TextQuery.parse("word29999"))) == 1

    asyncio.run(run())


def test_the_follower_ends_with_its_server(tmp_path):
    """When the server's end of the pipe closes, as a killed server's does, the follower ends by itself."""
    asyncio.run(_store_one(tmp_path))
    process = _started_follower(tmp_path)
    assert process.stdout.readline() == b"indexed 0\n"
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()


async def _store_one(directory: Path) -> None:
    async with opened(SqliteStore(directory)) as store:
        await store.append([make_record("a", text="word")])


def test_the_store_keeps_its_index_close(tmp_path):
    """A store with an index starts its follower when it pays, tells its lag, survives its death, and ends it when it closes."""
    problems: list[str] = []

    async def caught_up(store):
        deadline = time.monotonic() + 60
        while (await store.info()).text_index_lag_events:
            assert time.monotonic() < deadline, problems
            await asyncio.sleep(0.05)

    async def run():
        store = SqliteStore(tmp_path, text_index=TextIndexSettings(on_problem=problems.append))
        async with opened(store):
            await store.append([make_record("few", text="few")])
            assert (await store.info()).text_index_lag_events == 1
            assert store._texts._process._process is None
            rows = [make_record(f"e{number}", text=f"word{number}") for number in range(6_000)]
            for start in range(0, 6_000, 2_000):
                await store.append(rows[start : start + 2_000])
            await caught_up(store)
            process = store._texts._process._process
            os.kill(process.pid, signal.SIGKILL)
            await store.append([replace(make_record("late", text="late word"))])
            await caught_up(store)
            assert problems
            assert (await store.info()).text_index_restarts == 1
            assert len((await _found(store, "late")).events) == 1
            last = store._texts._process._process
        assert last.poll() == 0

    asyncio.run(run())


def test_damage_found_by_a_question_renews_the_index(tmp_path):
    """When a running store's question finds the index damaged it is answered all the same, and the index is made anew."""

    async def run():
        async with opened(SqliteStore(tmp_path)) as store:
            rows = [make_record(f"e{number}", text=f"word{number} all") for number in range(5_000)]
            await store.append(rows)
        _follow(tmp_path)
        problems: list[str] = []
        store = SqliteStore(tmp_path, text_index=TextIndexSettings(on_problem=problems.append))
        async with opened(store):
            path = tmp_path / TEXT_INDEX_NAME
            size = path.stat().st_size
            # What the start has looked at stays whole.
            with path.open("r+b") as file:
                file.seek(4 * 8_192)
                file.write(bytes(size - 4 * 8_192))
            assert await store.count(EventFilter(text=TextQuery.parse("all word77"))) == 1
            deadline = time.monotonic() + 60
            while not problems or (await store.info()).text_index_lag_events:
                assert time.monotonic() < deadline, problems
                await asyncio.sleep(0.05)
            assert any("damaged" in problem for problem in problems)
            assert await store.count(EventFilter(text=TextQuery.parse("all word77"))) == 1

    asyncio.run(run())


def test_too_much_lag_slows_ingest_down_and_never_stops_it(tmp_path):
    """Beyond the allowed lag a commit waits for the follower; when that makes no progress, ingest goes on all the same."""

    async def run():
        settings_ = TextIndexSettings(lag_events_max=500)
        store = SqliteStore(tmp_path, text_index=settings_)
        async with opened(store):
            for start in range(0, 20_000, 500):
                await store.append([make_record(f"e{start + n}", text="word") for n in range(500)])
            assert (await store.info()).events == 20_000
            store._texts._process.stop()
            for start in range(20_000, 24_000, 1_000):
                await store.append([make_record(f"e{start + n}", text="word") for n in range(1_000)])
            assert (await store.info()).events == 24_000
            assert await store.count(EventFilter(text=TextQuery.parse("word"))) == 24_000

    asyncio.run(run())
