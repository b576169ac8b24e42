from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from chaukas.server.cli import importing
from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.importing import ImportSummary, import_files
from chaukas.server.cli.line_result import LEFT_OUT, LineResult
from chaukas.server.errors import OverloadedError, RequestTooLargeError, StorageError
from chaukas.server.wire.json_form import JsonProblem
from chaukas.spec.common.v1.events_pb2 import Event

Item = Event | JsonProblem


class FakeServer:
    """Answers batches as it is told, and remembers them."""

    def __init__(self, answer: Callable[[Sequence[Item]], list[LineResult]] | None = None) -> None:
        self.batches: list[list[Item]] = []
        self._answer = answer or (lambda items: [LineResult("accepted") for _ in items])

    def ingest(self, items: Sequence[Item]) -> list[LineResult]:
        self.batches.append(list(items))
        return self._answer(items)

    @property
    def ids(self) -> list[str]:
        return [item.event_id for batch in self.batches for item in batch]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the import would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(importing.time, "sleep", slept.append)
    return slept


def line(event_id: str, **fields: object) -> str:
    return json.dumps({"event_id": event_id, "tenant_id": "acme", "type": "SYSTEM", **fields}) + "\n"


def run(server: FakeServer, *files: Path, rejects: Path | None = None) -> tuple[ImportSummary, list[str]]:
    told = io.StringIO()
    summary = import_files(server, [str(file) for file in files], rejects, Console(file=told, width=200))  # type: ignore[arg-type]
    return summary, told.getvalue().splitlines()


def test_events_are_sent_in_the_order_of_their_lines(tmp_path: Path) -> None:
    """What stands first in a file is stored first, however many batches and files there are."""
    names = [f"e{number}" for number in range(1234)]
    (tmp_path / "a").write_text("".join(map(line, names[:700])))
    (tmp_path / "b").write_text("".join(map(line, names[700:])))
    server = FakeServer()
    summary, told = run(server, tmp_path / "a", tmp_path / "b")
    assert server.ids == names
    assert max(len(batch) for batch in server.batches) <= 500
    assert (summary.counts.total(), summary.exit_status, told) == (1234, ExitStatus.DONE, [])


def test_a_batch_is_bounded_in_bytes_too(tmp_path: Path) -> None:
    """A file of large events does not become one large request."""
    (tmp_path / "a").write_text("".join(line(f"e{number}", agent_name="x" * 400_000) for number in range(10)))
    server = FakeServer()
    run(server, tmp_path / "a")
    assert [len(batch) for batch in server.batches] == [3, 3, 3, 1]


def test_a_busy_server_is_asked_again(tmp_path: Path, pauses: list[float]) -> None:
    """Overload delays an import and loses nothing of it."""
    busy = iter([True, True, False])

    def answer(items: Sequence[Item]) -> list[LineResult]:
        if next(busy):
            raise OverloadedError("full")
        return [LineResult("accepted") for _ in items]

    (tmp_path / "a").write_text(line("e"))
    summary, _ = run(FakeServer(answer), tmp_path / "a")
    assert summary.counts == {"accepted": 1}
    assert pauses == [0.5, 1.0]


def test_a_server_that_stays_busy_ends_the_import(tmp_path: Path, pauses: list[float]) -> None:
    """An import never waits for ever, and says how far it came and what to do."""
    calls = 0

    def answer(items: Sequence[Item]) -> list[LineResult]:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OverloadedError("the queue is full")
        return [LineResult("accepted") for _ in items]

    (tmp_path / "a").write_text("".join(line(f"e{number}") for number in range(501)))
    with pytest.raises(CommandError, match="the queue is full; 500 lines before are answered for, run the import again"):
        run(FakeServer(answer), tmp_path / "a")
    assert len(pauses) == 5


def test_a_failing_store_ends_the_import_at_once(tmp_path: Path, pauses: list[float]) -> None:
    """A store that fails is not asked again and again; the import is repeated when it works."""

    def answer(_: Sequence[Item]) -> list[LineResult]:
        raise StorageError

    (tmp_path / "a").write_text(line("e"))
    with pytest.raises(CommandError, match="nothing of this request was acknowledged"):
        run(FakeServer(answer), tmp_path / "a")
    assert pauses == []


def test_a_request_that_is_too_large_is_halved(tmp_path: Path) -> None:
    """A server with a small limit gets smaller requests; only an event that is too large by itself is left out."""

    def answer(items: Sequence[Item]) -> list[LineResult]:
        if len(items) > 3 or any(isinstance(item, Event) and len(item.agent_name) > 9 for item in items):
            raise RequestTooLargeError("too large for this server")
        return [LineResult("accepted") for _ in items]

    lines = [line(f"e{number}", agent_name="x" * (10 if number == 5 else 1)) for number in range(20)]
    (tmp_path / "a").write_text("".join(lines))
    summary, told = run(FakeServer(answer), tmp_path / "a", rejects=tmp_path / "rejects")
    assert summary.counts == {"accepted": 19, LEFT_OUT: 1}
    assert told == [f"{tmp_path / 'a'}:6: left out: too large for this server"]
    assert (tmp_path / "rejects").read_text() == lines[5]


def test_rejects_hold_the_lines_as_they_stand(tmp_path: Path) -> None:
    """Whoever mends a file finds exactly the bytes that were not stored, broken ones included."""
    bad = [b'{"event_id": "x",\xff}\n', b"no json\r\n", b"\xef\xbb\xbf{}\n", b'{"cut": ']
    (tmp_path / "a").write_bytes(b"\n".join([line("good").encode(), *bad]))

    def answer(items: Sequence[Item]) -> list[LineResult]:
        return [
            LineResult("accepted") if isinstance(item, Event) and item.event_id else LineResult(LEFT_OUT, "bad") for item in items
        ]

    (tmp_path / "rejects").write_text("of an earlier import\n")
    summary, told = run(FakeServer(answer), tmp_path / "a", rejects=tmp_path / "rejects")
    assert (tmp_path / "rejects").read_bytes() == b"".join(bad) + b"\n"
    assert [each.split(":")[-3] for each in told] == ["3", "5", "7", "9"]
    assert summary.exit_status is ExitStatus.PARTLY


def test_a_line_without_end_is_named_but_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is too long to be read is reported once; memory and the copy stay bounded, and reading goes on."""
    read = importing.read_json_lines
    monkeypatch.setattr(importing, "read_json_lines", lambda file: read(file, line_bytes_max=100))
    (tmp_path / "a").write_text("x" * 1000 + "\n" + line("good"))
    server = FakeServer(lambda items: [LineResult("accepted" if isinstance(item, Event) else LEFT_OUT, "long") for item in items])
    summary, told = run(server, tmp_path / "a", rejects=tmp_path / "rejects")
    assert summary.counts == {"accepted": 1, LEFT_OUT: 1}
    assert told == [f"{tmp_path / 'a'}:1: left out: long (too long for --rejects)"]
    assert (tmp_path / "rejects").read_bytes() == b""


def test_a_file_of_another_kind_does_not_flood_the_terminal(tmp_path: Path) -> None:
    """The first hundred bad lines are named, all of them are counted."""
    (tmp_path / "a").write_text("no event\n" * 1000)
    server = FakeServer(lambda items: [LineResult(LEFT_OUT, "bad") for _ in items])
    summary, told = run(server, tmp_path / "a")
    assert summary.counts == {LEFT_OUT: 1000}
    assert len(told) == 101


def test_the_copy_never_overwrites_what_is_read(tmp_path: Path) -> None:
    """`--rejects` that names an input file, by whatever path, is refused before anything is written."""
    (tmp_path / "a").write_text(line("e"))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(CommandError, match="is a file that is to be imported"):
        run(FakeServer(), tmp_path / "a", rejects=tmp_path / "link")
    assert (tmp_path / "a").read_text() == line("e")


def test_nothing_is_sent_when_one_of_the_files_is_missing(tmp_path: Path) -> None:
    """A slip in a list of files is found before the first of them is stored."""
    (tmp_path / "a").write_text(line("e"))
    server = FakeServer()
    for wrong, words in ((tmp_path / "nowhere", "No such file"), (tmp_path, "is a directory")):
        with pytest.raises(CommandError, match=words):
            run(server, tmp_path / "a", wrong)
    assert server.batches == []


def test_reasons_can_not_command_the_terminal(tmp_path: Path) -> None:
    """A reason quotes what a stranger wrote; it is shown, not obeyed."""
    (tmp_path / "a").write_text("x\n")
    server = FakeServer(lambda _: [LineResult("quarantined", "type: \x1b[2J\x07 is bad", "q1")])
    _, told = run(server, tmp_path / "a")
    assert told == [f"{tmp_path / 'a'}:1: quarantined: type:  [2J  is bad (kept as q1)"]
