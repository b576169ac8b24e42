"""Submitting heads to witnesses: cosignatures are verified and kept, refusals are told, and nobody is asked blindly again."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chaukas.server.errors import ConfigurationError
from chaukas.server.storage.log_contract import LogInfo
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.testing import make_record
from chaukas.server.tlog.keys import SigningKey
from chaukas.server.tlog.opening import open_sequencer
from chaukas.server.tlog.witness_http import Answer, UnreachableError
from chaukas.server.tlog.witness_messages import parse_add_checkpoint
from chaukas.server.tlog.witness_service import WitnessService, open_witness
from chaukas.server.tlog.witness_submission import Witness, WitnessSubmission, parse_witness
from chaukas.verify.checkpoints import parse_checkpoint
from chaukas.verify.signed_checkpoints import verify_checkpoint
from tests.log_samples import seeded

_INTERVAL_S = 10.0


@dataclass
class _Told:
    """What a submission told, and its clock."""

    outcomes: list[tuple[str, str]] = field(default_factory=list)
    behind: dict[str, int] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    now_s: float = 1000.0


class _World:
    """A server's logs and witnesses that are reached without a network."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told = _Told()
        self.witnesses: dict[str, WitnessService] = {}
        #: What a witness answers instead, by its name.
        self.instead: dict[str, Callable[[bytes], Answer]] = {}
        self.loop = asyncio.get_running_loop()

    async def open(self) -> None:
        await asyncio.to_thread((self.directory / "state").mkdir, parents=True, exist_ok=True)
        self.store = SqliteStore(self.directory / "data")
        await self.store.open()
        self.sequencer = await open_sequencer(self.store.log_store, self.directory / "state", None)

    async def close(self) -> None:
        for witness in self.witnesses.values():
            await witness.close()
        await self.store.close()

    async def add(self, *names: str, project: str = "shop") -> None:
        await self.store.append([make_record(name, project_id=project) for name in names])
        await self.sequencer.sign_all()

    def add_witness(self, name: str, state: Path | None = None) -> Witness:
        prefix = self.sequencer.key.log_key("chaukas.localhost/events/")
        service = self.witnesses[name] = open_witness(state or self.directory / name, name, [str(prefix)])
        return Witness(service.verifier_key, f"http://{name}")

    def send(self, url: str, body: bytes, timeout_s: float) -> Answer:
        """In a thread of the submission's."""
        assert timeout_s > 0
        name = url.removeprefix("http://").removesuffix("/add-checkpoint")
        self.told.requests.append(name)
        if name in self.instead:
            return self.instead[name](body)
        decision = asyncio.run_coroutine_threadsafe(self.witnesses[name].add_checkpoint(body), self.loop).result()
        return Answer(decision.status, decision.content_type, decision.body)

    def submission(self, *witnesses: Witness) -> WitnessSubmission:
        told = self.told
        return WitnessSubmission(
            self.store.log_store,
            witnesses,
            interval_s=_INTERVAL_S,
            on_outcome=lambda name, outcome: told.outcomes.append((name, outcome)),
            on_behind=lambda name, logs: told.behind.update({name: logs}),
            on_contradiction=told.contradictions.append,
            on_trouble=told.troubles.append,
            send=self.send,
            clock=lambda: told.now_s,
        )

    async def cosigned_by(self, log: LogInfo, *witnesses: Witness) -> set[str]:
        head = await self.store.log_store.head(log.log_id)
        assert head is not None
        keys = [witness.key for witness in witnesses]
        own = self.sequencer.key.log_key(log.origin)
        return {one.key.name for one in verify_checkpoint(parse_checkpoint(head.note), (own,), keys).witnesses}

    async def logs(self) -> list[LogInfo]:
        return await self.store.log_store.logs(None, None)


def _in_world(tmp_path: Path, work: Callable[[_World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = _World(tmp_path / "server")
        await world.open()
        try:
            await work(world)
        finally:
            await world.close()

    asyncio.run(run())


def test_every_witness_cosigns_every_log(tmp_path: Path) -> None:
    """The newest head of each log bears the cosignatures of all witnesses, and only what has grown is shown again."""

    async def work(world: _World) -> None:
        one, two = world.add_witness("one"), world.add_witness("two")
        for project in ("shop", "web", ""):
            await world.add("a", "b", project=project)
        submission = world.submission(one, two)
        await submission.submit_all()
        for log in await world.logs():
            assert await world.cosigned_by(log, one, two) == {"one", "two"}
        assert world.told.behind == {"one": 0, "two": 0}
        assert len(world.told.requests) == 6
        await submission.submit_all()
        assert len(world.told.requests) == 6
        await world.add("c")
        await submission.submit_all()
        assert len(world.told.requests) == 8
        (log,) = [log for log in await world.logs() if log.project_id == "shop"]
        assert await world.cosigned_by(log, one, two) == {"one", "two"}
        await submission.stop()
        # Another start reads from the stored heads what the witnesses know.
        again = world.submission(one, two)
        await again.submit_all()
        assert len(world.told.requests) == 8
        await world.add("d")
        await again.submit_all()
        assert not world.told.contradictions
        assert not world.told.troubles
        await again.stop()

    _in_world(tmp_path, work)


def test_a_witness_that_knows_another_size_is_asked_from_there(tmp_path: Path) -> None:
    """A server that has forgotten what a witness knows learns it from the answer 409."""

    async def work(world: _World) -> None:
        witness = world.add_witness("one")
        await world.add("a", "b")
        first = world.submission(witness)
        await first.submit_all()
        await first.stop()
        await world.add("c", "d", "e")
        second = world.submission(witness)
        await second.submit_all()
        assert world.told.outcomes == [("one", "cosigned")] * 2
        assert len(world.told.requests) == 3
        (log,) = await world.logs()
        assert await world.cosigned_by(log, witness) == {"one"}
        await second.stop()

    _in_world(tmp_path, work)


def test_a_log_that_was_put_back_and_rewritten_is_told(tmp_path: Path) -> None:
    """After data and state were restored to an older state, the witness finds it out: shorter at once, rewritten as it grows."""

    async def work(world: _World) -> None:
        witness = world.add_witness("one", tmp_path / "witness")
        await world.add("a", "b")
        await world.store.close()
        await asyncio.to_thread(shutil.copytree, world.directory, tmp_path / "older")
        await world.open()
        await world.add("c", "d")
        submission = world.submission(witness)
        await submission.submit_all()
        await submission.stop()
        await world.store.close()
        await asyncio.to_thread(shutil.rmtree, world.directory)
        await asyncio.to_thread(shutil.copytree, tmp_path / "older", world.directory)
        await world.open()
        restored = world.submission(witness)
        await restored.submit_all()
        (problem,) = world.told.contradictions
        assert "with 4 entries, but here it has 2: data and state are an older copy" in problem
        await restored.submit_all()
        assert len(world.told.contradictions) == 1
        await world.add("other", "others", "and more")
        for _ in range(3):
            await restored.submit_all()
        assert len(world.told.contradictions) == 2
        assert "it is not the one that it cosigned with 4 entries" in world.told.contradictions[1]
        requests = len(world.told.requests)
        await world.add("even more")
        world.told.now_s += 100_000
        await restored.submit_all()
        assert len(world.told.requests) == requests
        assert world.told.behind == {"one": 1}
        (log,) = await world.logs()
        assert await world.cosigned_by(log, witness) == set()
        await restored.stop()

    _in_world(tmp_path, work)


def _unreachable(_body: bytes) -> Answer:
    raise UnreachableError("connection refused")


_FAULTS: dict[str, tuple[Callable[[bytes], Answer], str]] = {
    "unreachable": (_unreachable, "unreachable"),
    "busy": (lambda _body: Answer(503, "", b""), "unreachable"),
    "unknown log": (lambda _body: Answer(404, "", b"who?\n"), "refused"),
    "moved": (lambda _body: Answer(302, "", b""), "refused"),
    "nonsense": (lambda _body: Answer(200, "", b"\xff"), "refused"),
    "no cosignature": (lambda _body: Answer(200, "", f"\u2014 somebody {'A' * 96}\n".encode()), "refused"),
    "conflict for ever": (lambda _body: Answer(409, "text/x.tlog.size", b"1\n"), "refused"),
    "conflict without a number": (lambda _body: Answer(409, "text/x.tlog.size", b"many\n"), "refused"),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_witness_that_fails_is_asked_after_a_pause(tmp_path: Path, fault: str) -> None:
    """Whatever a witness answers: signing goes on, the others are asked, and this one again later, more and more rarely."""
    answer, outcome = _FAULTS[fault]

    async def work(world: _World) -> None:
        bad, good = world.add_witness("bad"), world.add_witness("good")
        world.instead["bad"] = answer
        await world.add("a", "b")
        submission = world.submission(bad, good)
        asked: list[float] = []
        for _ in range(200):
            before = world.told.requests.count("bad")
            await submission.submit_all()
            if world.told.requests.count("bad") > before:
                asked.append(world.told.now_s)
            world.told.now_s += _INTERVAL_S
        pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
        assert pauses[:5] == [10, 20, 40, 80, 160]
        assert set(world.told.outcomes) == {("bad", outcome), ("good", "cosigned")}
        assert world.told.troubles
        assert not world.told.contradictions
        (log,) = await world.logs()
        assert await world.cosigned_by(log, bad, good) == {"good"}
        # When it works again, it gets the log.
        del world.instead["bad"]
        world.told.now_s += 10_000
        await submission.submit_all()
        assert await world.cosigned_by(log, bad, good) == {"bad", "good"}
        await submission.stop()

    _in_world(tmp_path, work)


def test_witnesses_see_the_logs_own_signatures_only(tmp_path: Path) -> None:
    """One witness's cosignature is not sent to another one."""

    async def work(world: _World) -> None:
        one, two = world.add_witness("one"), world.add_witness("two")
        await world.add("a")
        await world.submission(one).submit_all()
        seen: list[bytes] = []

        def watch(body: bytes) -> Answer:
            seen.append(body)
            return _unreachable(body)

        world.instead["two"] = watch
        await world.submission(two).submit_all()
        (line,) = parse_add_checkpoint(seen[0]).checkpoint.note.signatures
        assert line.name.startswith("chaukas.localhost/events/")

    _in_world(tmp_path, work)


@pytest.mark.parametrize(
    "text", ["", "w", "w+00000000+AA== http://w", "{log} http://w", "{witness} ftp://w", "{witness} http://", "{witness}"]
)
def test_wrong_witnesses_are_refused(text: str) -> None:
    """A setting that names no witness stops the start, and says which it is."""
    key = SigningKey.from_seed(seeded("w"))
    given = text.format(log=key.log_key("w"), witness=key.witness_key("w"))
    with pytest.raises(ConfigurationError, match="witnesses"):
        parse_witness(given)


def test_a_witness_setting() -> None:
    """A verifier key and a URL, with or without a slash at its end."""
    key = SigningKey.from_seed(seeded("w")).witness_key("w")
    assert parse_witness(f"{key} https://w.example/prefix/") == Witness(key, "https://w.example/prefix")
