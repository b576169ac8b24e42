"""`chaukas query` and `chaukas stats`, against a started server that holds the recordings of the SDK."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from tests.acceptance.command_line import CommandLine
from tests.acceptance.started_server import running_server

Recorded = dict[str, Any]


@pytest.fixture(scope="module")
def recorded(recorded_dir: Path) -> list[Recorded]:
    """Every recorded event, as the SDK wrote it."""
    files = sorted(recorded_dir.glob("*/file_mode.jsonl"))
    return [json.loads(text) for file in files for text in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def chaukas(tmp_path_factory: pytest.TempPathFactory, recorded_dir: Path) -> Iterator[CommandLine]:
    directory = tmp_path_factory.mktemp("query")
    with running_server(directory / "server") as server:
        command_line = CommandLine(directory, server.http_url)
        command_line.output("import", *sorted(recorded_dir.glob("*/file_mode.jsonl")))
        yield command_line


def events_of(chaukas: CommandLine, *arguments: object) -> list[Recorded]:
    return [json.loads(text) for text in chaukas.output("query", "--format", "jsonl", *arguments).splitlines()]


def ids_of(chaukas: CommandLine, *arguments: object) -> list[str]:
    return [event["event_id"] for event in events_of(chaukas, *arguments)]


_CASES: dict[str, tuple[list[str], Callable[[Recorded], bool]]] = {
    "tenant": (["--tenant", "globex"], lambda event: event["tenant_id"] == "globex"),
    "project": (["--project", "chat"], lambda event: event["project_id"] == "chat"),
    "agent": (["--agent", "Support Agent"], lambda event: event.get("agent_id") == "Support Agent"),
    "type": (["--type", "tool-call-start"], lambda event: event["type"] == "EVENT_TYPE_TOOL_CALL_START"),
    "types": (
        ["--type", "RETRY,ERROR", "--type", "EVENT_TYPE_SYSTEM"],
        lambda event: event["type"] in ("EVENT_TYPE_RETRY", "EVENT_TYPE_ERROR", "EVENT_TYPE_SYSTEM"),
    ),
    "status": (["--status", "failed"], lambda event: event["status"] == "EVENT_STATUS_FAILED"),
    "severity": (
        ["--severity", "WARN", "--severity", "ERROR"],
        lambda event: event["severity"] in ("SEVERITY_WARN", "SEVERITY_ERROR"),
    ),
    "tag": (["--tag", "prod", "--tag", "team:support"], lambda event: {"prod", "team:support"} <= set(event.get("tags", ()))),
    "together": (
        ["--tenant", "acme", "--status", "FAILED", "--type", "ERROR"],
        lambda event: (event["tenant_id"], event["status"], event["type"]) == ("acme", "EVENT_STATUS_FAILED", "EVENT_TYPE_ERROR"),
    ),
    "nothing": (["--session", "no such session"], lambda _: False),
}  # fmt: skip


@pytest.mark.parametrize("case", _CASES)
def test_every_filter_finds_what_it_says(chaukas: CommandLine, recorded: list[Recorded], case: str) -> None:
    """Each flag selects exactly the recorded events that a plain comparison selects."""
    flags, matches = _CASES[case]
    expected = sorted(event["event_id"] for event in recorded if matches(event))
    assert sorted(ids_of(chaukas, "--all", *flags)) == expected


def test_counting_is_exact(chaukas: CommandLine, recorded: list[Recorded]) -> None:
    """`--count` prints the number of all matches, however many pages they would fill."""
    flags, matches = _CASES["status"]
    assert chaukas.output("query", "--count", *flags) == f"{sum(map(matches, recorded))}\n"
    assert chaukas.output("query", "--count") == f"{len(recorded)}\n"


@pytest.mark.parametrize("name", ["session", "trace", "span"])
def test_ids_are_compared_as_a_whole(chaukas: CommandLine, recorded: list[Recorded], name: str) -> None:
    """An id finds its own events, and no part of it finds any."""
    wanted = recorded[40][f"{name}_id"]
    expected = sorted(event["event_id"] for event in recorded if event[f"{name}_id"] == wanted)
    assert sorted(ids_of(chaukas, f"--{name}", wanted)) == expected
    assert ids_of(chaukas, f"--{name}", wanted[:-1]) == []


def test_a_range_of_time_is_half_open(chaukas: CommandLine, recorded: list[Recorded]) -> None:
    """`--since` is included and `--until` is not, so ranges that follow each other neither miss nor repeat an event."""
    times = sorted(event["timestamp"] for event in recorded)
    first, last = times[100], times[300]
    expected = sorted(event["event_id"] for event in recorded if first <= event["timestamp"] < last)
    assert sorted(ids_of(chaukas, "--all", "--since", first, "--until", last)) == expected
    parts = [("--until", first), ("--since", first, "--until", last), ("--since", last)]
    assert sum(int(chaukas.output("query", "--count", *part)) for part in parts) == len(recorded)


def test_times_relative_to_now(tmp_path: Path) -> None:
    """`-1h` is an hour before now, by the clock of whoever asks."""
    chaukas, now = CommandLine(tmp_path), datetime.now(UTC)
    lines = [
        json.dumps(
            {"event_id": name, "tenant_id": "acme", "type": "SYSTEM", "timestamp": (now - timedelta(minutes=age)).isoformat()}
        )
        for name, age in (("old", 90), ("young", 30), ("future", -30))
    ]
    chaukas.output("import", "-", "--data", "data", given="\n".join(lines))
    for flags, expected in (
        (["--since", "-1h"], {"young", "future"}),
        (["--since", "-2h", "--until", "now"], {"old", "young"}),
        (["--until", "-1h10m"], {"old"}),
        (["--since", "+10m"], {"future"}),
    ):
        assert set(ids_of(chaukas, "--data", "data", *flags)) == expected


def test_order_and_pages(chaukas: CommandLine, recorded: list[Recorded]) -> None:
    """Newest first or oldest first; `--limit` and `--all` go over as many pages as it takes and repeat nothing."""
    newest = events_of(chaukas, "--all")
    assert [event["timestamp"] for event in newest] == sorted((event["timestamp"] for event in newest), reverse=True)
    assert len({event["event_id"] for event in newest}) == len(recorded)
    assert events_of(chaukas, "--all", "--oldest-first") == newest[::-1]
    assert events_of(chaukas, "--limit", 250) == newest[:250]
    assert events_of(chaukas, "-n", 1) == newest[:1]
    assert json.loads(chaukas.output("query", "-n", 3, "-f", "json")) == newest[:3]
    assert json.loads(chaukas.output("query", "--session", "none", "--format", "json")) == []


def test_smaller_pages_of_the_server_change_nothing(tmp_path: Path, recorded_dir: Path) -> None:
    """An operator who allows small pages only is asked for small pages."""
    with running_server(tmp_path / "server", page_events_max=7, page_events_default=5) as server:
        chaukas = CommandLine(tmp_path, server.http_url)
        chaukas.output("import", recorded_dir / "support_tools" / "file_mode.jsonl")
        assert len(set(ids_of(chaukas, "--all"))) == 23
        assert len(set(ids_of(chaukas, "--limit", 12))) == 12


def test_nobody_takes_the_first_hundred_for_everything(chaukas: CommandLine) -> None:
    """A default limit is announced on standard error, in every format; one that was asked for is not."""
    for form in ("table", "jsonl", "json"):
        assert chaukas.run("query", "--format", form).remarks == ["100 events shown, more match: use --limit N or --all"]
    assert chaukas.run("query", "--limit", 100).remarks == []
    assert chaukas.run("query", "--all").remarks == []
    assert chaukas.run("query", "--status", "failed").remarks == []


@pytest.mark.parametrize("width", [60, 80, 100, 132, 200])
def test_a_table_fits_the_terminal(chaukas: CommandLine, width: int) -> None:
    """No line of a table is wider than the terminal from 80 characters on, and time and type can be read in full."""
    lines = chaukas.output("query", "--limit", 300, COLUMNS=str(width)).splitlines()
    assert len(lines) == 301
    assert max(map(cell_len, lines)) <= width
    if width >= 80:
        newest = events_of(chaukas, "--limit", 300)
        for line, event in zip(lines[1:], newest, strict=True):
            assert line.startswith(f"{event['timestamp'][:10]} {event['timestamp'][11:23]}  {event['type']} ")
    assert ("SESSION" in lines[0]) is (width >= 160)


def test_colour_is_for_terminals(chaukas: CommandLine) -> None:
    """A pipe gets plain text; a terminal sees failures in red."""
    assert "\x1b" not in chaukas.output("query", "--status", "failed")
    assert "\x1b[1;31mFAILED" in chaukas.output("query", "--status", "failed", FORCE_COLOR="1", COLUMNS="100")
    assert "\x1b" not in chaukas.output("query", "--status", "failed", FORCE_COLOR="1", NO_COLOR="1", TERM="dumb")


def test_nothing_recorded_commands_the_terminal(tmp_path: Path) -> None:
    """Control characters in an event reach no terminal, in no format; JSON still says exactly what was recorded."""
    evil = "\x1b]0;title\x07\x9b2J\x7f\u202e\r\nnext"
    event = {"event_id": evil, "tenant_id": "acme", "type": "SYSTEM", "agent_name": evil, "message": {"role": evil, "text": evil}}
    chaukas = CommandLine(tmp_path)
    chaukas.output("import", "-", "--data", "data", given=json.dumps(event))
    for form in ("table", "jsonl", "json"):
        shown = chaukas.output("query", "--data", "data", "--format", form)
        assert not {character for character in shown if character != "\n" and (character < " " or "\x7f" <= character <= "\x9f")}
    [back] = events_of(chaukas, "--data", "data")
    assert (back["event_id"], back["agent_name"], back["content"]["text"]) == (evil, evil, evil)


def test_a_reader_that_stops_early_is_no_error(chaukas: CommandLine) -> None:
    """`chaukas query --all | head` ends quietly."""
    query = subprocess.Popen(
        chaukas.command("query", "--all", "--format", "json"),
        env=chaukas.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert query.stdout is not None
    assert query.stderr is not None
    assert query.stdout.readline() == b"[\n"
    query.stdout.close()
    assert query.stderr.read() == b""
    query.stderr.close()
    assert query.wait(60) == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--since", "yesterday"], "--since: 'yesterday' is not a time"),
        (["--since", "now", "--until", "-1h"], "--since now is after --until -1h"),
        (["--type", "TOOLCALL"], "--type: 'TOOLCALL' is not known; choose from SESSION_START"),
        (["--session", ""], "--session: the id is empty"),
        (["--limit", "0"], "--limit"),
        (["--limit", "5", "--all"], "--all and --limit contradict each other"),
        (["--format", "xml"], "'xml' is not one of 'table', 'jsonl', 'json'"),
        (["--tenat", "acme"], "--tenant"),
        (["--server", "ftp://localhost"], "is not a URL"),
        (["--data", "nowhere"], "there is no event store in nowhere"),
        (["--data", "."], "there is no event store in ."),
    ],
)
def test_a_wrong_flag_is_one_clear_line(chaukas: CommandLine, flags: list[str], words: str) -> None:
    """A slip of the pen ends in one line that names the flag and what is allowed; it never widens the question."""
    assert words in chaukas.refused("query", *flags)


def test_statistics_are_exact(chaukas: CommandLine, recorded: list[Recorded]) -> None:
    """Counts of a scope and a range equal a plain count of the recordings, in the table too."""
    times = sorted(event["timestamp"] for event in recorded)
    since, until = times[50], times[600]
    chosen = [event for event in recorded if event["tenant_id"] == "acme" and since <= event["timestamp"] < until]
    flags = ["--tenant", "acme", "--since", since, "--until", until]
    stats = json.loads(chaukas.output("stats", "--format", "json", *flags))
    assert stats["total_events"] == len(chosen)
    assert stats["total_sessions"] == len({event["session_id"] for event in chosen})
    for name, number in stats["events_by_type"].items():
        assert number == sum(event["type"] == name for event in chosen)
    assert sum(stats["events_by_type"].values()) == len(chosen)
    assert f"events           {len(chosen)}" in chaukas.output("stats", *flags)
    assert json.loads(chaukas.output("stats", "--project", "none", "--format", "json"))["total_events"] == 0


def test_help_is_there_at_once(chaukas: CommandLine) -> None:
    """Help needs no server, no library of the server, and names every flag."""
    for command in ((), ("query",), ("quarantine", "list")):
        assert "--help" in chaukas.output(*command, "--help")
    assert "--tenant" in chaukas.output("query", "-h")
    assert chaukas.output() == chaukas.output("--help")
    loaded = subprocess.run(
        [chaukas.command()[0], "-X", "importtime", *chaukas.command("--help")[1:]], capture_output=True, text=True, check=True
    ).stderr
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in loaded.splitlines()}
    assert "typer" in modules
    assert not modules & {"grpc", "pydantic", "google", "uvicorn", "starlette", "apsw", "structlog"}
