"""`chaukas tail`, against a server that answers as it is told, and against a real one."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaukas.server.cli.http_tail import HttpTail
from tests.acceptance.command_line import CommandLine
from tests.acceptance.event_stream_server import Answer, event, message, recent, streaming
from tests.acceptance.started_server import running_server

_PATIENCE_S = 30.0


class Following:
    """A `chaukas tail` that runs; its lines are read while they come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: queue.Queue[str] = queue.Queue()
        self.remarks: queue.Queue[str] = queue.Queue()
        for stream, lines in ((process.stdout, self.lines), (process.stderr, self.remarks)):
            threading.Thread(target=self._read, args=(stream, lines), daemon=True).start()

    @staticmethod
    def _read(stream: object, lines: queue.Queue[str]) -> None:
        for line in stream:  # type: ignore[attr-defined]
            lines.put(line.decode().rstrip("\n"))

    def line(self) -> str:
        return self.lines.get(timeout=_PATIENCE_S)

    def event_id(self) -> str:
        return str(json.loads(self.line())["event_id"])

    def remark(self) -> str:
        return self.remarks.get(timeout=_PATIENCE_S)


@contextlib.contextmanager
def following(directory: Path, url: str, *arguments: str, **variables: str) -> Iterator[Following]:
    command_line = CommandLine(directory, url)
    with subprocess.Popen(
        command_line.command("tail", *arguments),
        cwd=directory,
        env=command_line.variables(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield Following(process)
        finally:
            process.kill()


def test_events_come_as_json_lines_while_they_are_sent(tmp_path: Path) -> None:
    """`--json` writes each event on one line as soon as it has come, as the server says it, with nothing added or lost."""
    odd = event(2, content={"kind": "message", "role": "user", "text": "東京 \x9b31m\u2028 end"})
    pieces = [
        b": beat\n\n",
        message(1),
        b"event: event\nid: c-2\n",
        f"data: {json.dumps(odd, ensure_ascii=False)}\n".encode(),
        b"\n",
    ]
    with streaming([Answer(pieces, hold=True)]) as server, following(tmp_path, server.url, "--json", "-n", "0") as tail:
        assert json.loads(tail.line()) == event(1)
        line = tail.line()
        assert json.loads(line) == odd
        assert "\x9b" not in line
        assert "東京" in line


def test_the_newest_stored_events_come_first_and_none_twice(tmp_path: Path) -> None:
    """`-n` asks for the newest stored events; when they come again after a lost connection, they are shown once."""
    answers = [
        Answer([recent(1), recent(2)]),
        Answer([recent(1), recent(2), recent(3), b": waiting\nid: c-3\n\n", message(4)]),
        Answer([message(5)], hold=True),
    ]
    with streaming(answers) as server, following(tmp_path, server.url, "--json", "-n", "3") as tail:
        assert [tail.event_id() for _ in range(5)] == ["e-1", "e-2", "e-3", "e-4", "e-5"]
        assert [(asked["recent"], cursor) for asked, cursor in server.asked] == [(["3"], None), (["3"], None), (["3"], "c-4")]


def test_a_lost_connection_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Whatever ends a connection, the next one goes on behind the last whole event, and people are told on standard error."""
    half = message(3)[:-20]
    answers = [
        Answer([message(1), message(2), half]),
        Answer([b'{"title": "x", "status": 503, "detail": "draining"}'], status=503, media_type="application/problem+json"),
        Answer([]),
        Answer([b": beat\n\n", message(3)], hold=True),
    ]
    with streaming(answers) as server, following(tmp_path, server.url, "--json", "-n", "0") as tail:
        assert [tail.event_id() for _ in range(3)] == ["e-1", "e-2", "e-3"]
        assert "is lost" in tail.remark()
        assert [cursor for _, cursor in server.asked] == [None, "c-2", "c-2", "c-2"]


def test_a_position_without_an_event_is_kept(tmp_path: Path) -> None:
    """An id that comes alone is where a lost connection goes on: what is stored before the first event is not lost."""
    answers = [Answer([b"id: c-here\n\n"]), Answer([message(1)], hold=True)]
    with streaming(answers) as server, following(tmp_path, server.url, "--json", "-n", "0") as tail:
        assert tail.event_id() == "e-1"
        assert [cursor for _, cursor in server.asked] == [None, "c-here"]


def test_a_server_that_falls_silent_is_asked_again() -> None:
    """A connection that nobody holds any more at the other end is given up, although no error ever comes."""
    remarks: list[str] = []
    with (
        streaming([Answer([message(1)], hold=True), Answer([message(2)], hold=True)]) as server,
        contextlib.closing(HttpTail(server.url, [], remarks.append, backoff_s=(0.01,), silence_s=0.3)) as tail,
    ):
        tail.open()
        arrivals = tail.messages()
        assert [next(arrivals)[0].id for _ in range(2)] == ["c-1", "c-2"]
        assert [cursor for _, cursor in server.asked] == [None, "c-1"]
    assert ["no answer" in remarks[0], "again" in remarks[1]] == [True, True]


def test_filters_go_to_the_server(tmp_path: Path) -> None:
    """Every filter flag reaches the server as its query parameter; the server alone decides what matches."""
    flags = ["--tenant", "acme", "--project", "shop", "--session", "s 1&x", "--agent", "a", "--trace", "t", "--span", "p"]
    flags += ["--type", "tool-call-start,ERROR", "--status", "failed", "--severity", "WARN", "--tag", "x", "--tag", "y=1"]
    flags += ["--text", '"a b" c*']
    with streaming([Answer([message(1)], hold=True)]) as server, following(tmp_path, server.url, "-n", "0", *flags) as tail:
        tail.line()
        assert server.asked[0][0] == {
            "tenant_id": ["acme"],
            "project_id": ["shop"],
            "session_id": ["s 1&x"],
            "agent_id": ["a"],
            "trace_id": ["t"],
            "span_id": ["p"],
            "type": ["TOOL_CALL_START", "ERROR"],
            "status": ["FAILED"],
            "severity": ["WARN"],
            "tag": ["x", "y=1"],
            "text_query": ['"a b" c*'],
        }


def test_the_table_has_one_heading(tmp_path: Path) -> None:
    """For people each event is a line of one table, without escapes where the output is no terminal."""
    answers = [Answer([message(1), message(2)]), Answer([message(3)], hold=True)]
    with streaming(answers) as server, following(tmp_path, server.url, "-n", "0", COLUMNS="90") as tail:
        lines = [tail.line() for _ in range(4)]
        assert lines[0].split() == ["TIME", "(UTC)", "TYPE", "STATUS", "CONTENT"]
        assert [line.split()[-1] for line in lines[1:]] == ["1", "2", "3"]
        assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer([b'{"status": 400, "detail": "since: is not a cursor of this tail"}'], status=400), "is not a cursor"),
        (Answer([b'{"status": 404, "detail": "no such route"}'], status=404), "no such route"),
        (Answer([b"<html>"], status=404), "check --server"),
        (Answer([b"{}"], media_type="application/json"), "check --server"),
        (Answer([b"event: event\nid: 1\ndata: nonsense\n\n"], hold=True), "check --server"),
    ],
)
def test_a_refusal_ends_with_one_line(tmp_path: Path, answer: Answer, said: str) -> None:
    """What will not get better by trying again ends the command with one line and exit status 2."""
    with streaming([answer]) as server:
        assert said in CommandLine(tmp_path, server.url).refused("tail", "-n", "0")


def test_nobody_at_the_address_is_told_at_once(tmp_path: Path) -> None:
    """Without a server the command ends and says so, rather than wait for one."""
    assert "no server answers" in CommandLine(tmp_path).refused("tail")


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    """Ctrl-C is the way to end it: exit status 130 and no traceback."""
    with streaming([Answer([message(1)], hold=True)]) as server, following(tmp_path, server.url, "--json", "-n", "0") as tail:
        tail.line()
        tail.process.send_signal(signal.SIGINT)
        assert tail.process.wait(_PATIENCE_S) == 130
        assert tail.remarks.empty()


def test_a_server_that_is_killed_and_started_again_is_followed_exactly(tmp_path: Path) -> None:
    """Against a real server: events before, between and after a crash come once each, in the order of their arrival."""
    writer = CommandLine(tmp_path)

    def store(*numbers: int) -> None:
        lines = "".join(json.dumps(event(number)) + "\n" for number in numbers)
        writer.output("import", "-", "--server", server.http_url, given=lines)

    with running_server(tmp_path / "server") as server:
        store(1, 2, 3)
        with following(tmp_path, server.http_url, "--json", "-n", "2", "--tenant", "acme") as tail:
            assert [tail.event_id() for _ in range(2)] == ["e-2", "e-3"]
            store(4)
            assert tail.event_id() == "e-4"
            server.kill()
            assert "is lost" in tail.remark()
            server.start()
            store(5, 6)
            assert [tail.event_id() for _ in range(2)] == ["e-5", "e-6"]
            assert "again" in tail.remark()


def test_the_demonstration_can_be_watched(tmp_path: Path) -> None:
    """The filters of a tail select what a query with the same flags selects."""
    flags = ["--tenant", "demo", "--status", "failed", "--type", "TOOL_CALL_END,ERROR", "--tag", "prod"]
    with running_server(tmp_path / "server") as server:
        chaukas = CommandLine(tmp_path, server.http_url)
        # Whatever is stored before the tail begins is among the newest ones, all else comes after them.
        with following(tmp_path, server.http_url, "--json", "-n", "1000", *flags) as tail:
            chaukas.output("demo")
            expected = [json.loads(line) for line in chaukas.output("query", "--all", "-f", "jsonl", *flags).splitlines()]
            came = [json.loads(tail.line()) for _ in expected]
            by_id = {each["event_id"]: each for each in expected}
            assert {each["event_id"]: each for each in came} == by_id
