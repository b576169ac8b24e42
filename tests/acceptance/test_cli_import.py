"""`chaukas import`, against a started server and without one."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict

from chaukas.server.wire.json_form import event_from_text
from chaukas.spec.common.v1.events_pb2 import Event, EventType
from tests.acceptance.command_line import CommandLine
from tests.acceptance.started_server import StartedServer, running_server

_PATIENCE_S = 60.0
_SERVER_FIELDS = ("hash_prev", "content_hash", "worm_proof_id", "server_timestamp")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StartedServer]:
    with running_server(tmp_path / "server") as started:
        yield started


@pytest.fixture
def chaukas(tmp_path: Path, server: StartedServer) -> CommandLine:
    return CommandLine(tmp_path, server.http_url)


def line(event_id: str, **fields: object) -> str:
    event = {"event_id": event_id, "tenant_id": "acme", "project_id": "shop", "type": "EVENT_TYPE_SYSTEM", **fields}
    return json.dumps(event) + "\n"


def counts(summary: str) -> dict[str, int]:
    """What a summary in JSON counts, without zeros."""
    told = json.loads(summary)
    return {name: number for name, number in told.items() if name not in ("files", "duration_s", "interrupted") and number}


def as_recorded(path: Path) -> dict[str, Event]:
    """The events of a recording, read by protobuf's own JSON reader; the SDK's times have no zone and are UTC."""
    events = {}
    for text in path.read_text().splitlines():
        value = json.loads(text)
        value["timestamp"] += "Z"
        events[value["event_id"]] = ParseDict(value, Event())
    return events


def test_every_recording_of_the_sdk_is_imported_whole(chaukas: CommandLine, recorded_dir: Path) -> None:
    """What the published SDK wrote in file mode comes back by query, every field of every event, nothing twice."""
    files = sorted(recorded_dir.glob("*/file_mode.jsonl"))
    recorded: dict[str, Event] = {}
    for file in files:
        recorded.update(as_recorded(file))
    assert counts(chaukas.output("import", *files, "--json")) == {"lines": len(recorded), "accepted": len(recorded)}

    answered: dict[str, Event] = {}
    for text in chaukas.output("query", "--all", "--format", "jsonl").splitlines():
        event = event_from_text(text.encode())
        assert isinstance(event, Event)
        for name in _SERVER_FIELDS:
            event.ClearField(name)
        assert event.event_id not in answered
        answered[event.event_id] = event
    assert answered == recorded


def test_counts_are_those_of_the_recordings(chaukas: CommandLine, recorded_dir: Path) -> None:
    """The statistics by type equal what the SDK says it wrote, added up over all scenarios."""
    written: Counter[str] = Counter()
    files = []
    for summary in sorted(recorded_dir.glob("*/summary.json")):
        told = json.loads(summary.read_text())["file_mode"]["written_by_type"]
        # The program of the scenario `killed` died before it could tell.
        if told:
            files.append(summary.parent / "file_mode.jsonl")
            written.update({f"EVENT_TYPE_{name}": number for name, number in told.items()})
    chaukas.output("import", *files)
    stats = json.loads(chaukas.output("stats", "--format", "json"))
    assert stats["events_by_type"] == written
    assert stats["total_events"] == written.total()


def test_an_import_is_safe_to_repeat(chaukas: CommandLine, recorded_dir: Path) -> None:
    """The same file a second time changes nothing, from a file, from a pipe, or in parts."""
    file = recorded_dir / "long_session" / "file_mode.jsonl"
    text = file.read_text()
    lines = text.splitlines(keepends=True)
    assert counts(chaukas.output("import", "-", "--json", given="".join(lines[:50]))) == {"lines": 50, "accepted": 50}
    assert counts(chaukas.output("import", file, "--json")) == {"lines": 113, "accepted": 63, "duplicate": 50}
    assert counts(chaukas.output("import", "-", file, "--json", given=text)) == {"lines": 226, "duplicate": 226}
    assert chaukas.output("query", "--count") == "113\n"


def test_bad_lines_are_named_kept_and_do_not_hold_up_the_others(chaukas: CommandLine) -> None:
    """One bad line costs one line: the rest is stored, and each bad one is reported with number, reason and where it is."""
    lines = [
        line("good"),
        "no json\n",
        line("good", agent_id="other content"),
        line("nobody", tenant_id=""),
        "\n",
        line("slip", sesion_id="s"),
        line("last"),
    ]
    (chaukas.directory / "mixed.jsonl").write_text("".join(lines))
    done = chaukas.run("import", "mixed.jsonl", "--rejects", "rejects.jsonl")
    assert done.status == 1
    assert "6 lines of 1 file" in done.output
    assert [remark.split(": ", 2)[:2] for remark in done.remarks] == [
        ["mixed.jsonl:2", "left out"],
        ["mixed.jsonl:3", "rejected"],
        ["mixed.jsonl:4", "quarantined"],
        ["mixed.jsonl:6", "quarantined"],
    ]
    assert (chaukas.directory / "rejects.jsonl").read_text() == "".join([lines[1], lines[2], lines[3], lines[5]])

    listed = [json.loads(text) for text in chaukas.output("quarantine", "list", "--format", "jsonl").splitlines()]
    assert {item["event_id"]: item["reasons"] for item in listed}.keys() == {"good", "nobody", "slip"}
    for remark, event_id in ((done.remarks[1], "good"), (done.remarks[2], "nobody"), (done.remarks[3], "slip")):
        kept = re.search(r"kept as (\S+)\)", remark)
        assert kept is not None
        assert json.loads(chaukas.output("quarantine", "show", kept[1], "--format", "json"))["event_id"] == event_id

    mended = line("other-id", agent_id="other content") + line("nobody") + line("slip", session_id="s")
    assert counts(chaukas.output("import", "-", "--json", given=mended)) == {"lines": 3, "accepted": 3}
    assert chaukas.output("query", "--count") == "5\n"


def test_a_second_try_of_bad_lines_is_not_kept_twice(chaukas: CommandLine, tmp_path: Path, server: StartedServer) -> None:
    """Repeating an import does not fill the quarantine, neither over the network nor offline."""
    text = line("nobody", tenant_id="", metadata=dict.fromkeys("abcdefgh", 1)) + line("slip", typ=1)
    for _ in range(3):
        assert chaukas.run("import", "-", given=text).status == 1
    server.stop()
    assert chaukas.run("import", "-", "--data", tmp_path / "server" / "data", given=text).status == 1
    listed = chaukas.output("quarantine", "list", "--data", tmp_path / "server" / "data", "--format", "jsonl").splitlines()
    assert [json.loads(item)["count"] for item in listed] == [4, 4]


def test_an_import_without_a_server_is_found_by_the_server(tmp_path: Path) -> None:
    """A directory that was filled offline is served like any other, and refused to a second process meanwhile."""
    chaukas, data = CommandLine(tmp_path), tmp_path / "server" / "data"
    chaukas.output("import", "-", "--data", data, given=line("offline"))
    with running_server(tmp_path / "server") as server:
        online = CommandLine(tmp_path, server.http_url)
        online.output("import", "-", given=line("online"))
        refusal = chaukas.refused("import", "--data", data, "-")
        assert "in use" in refusal
        assert "stop it" in refusal
        assert online.output("query", "--count") == "2\n"
    assert chaukas.output("query", "--data", data, "--count") == "2\n"


def test_settings_hold_offline_too(tmp_path: Path) -> None:
    """An offline import keeps the same limits as the server that will serve the directory."""
    (tmp_path / "chaukas.toml").write_text("tags_max = 1\n")
    chaukas = CommandLine(tmp_path)
    done = chaukas.run("import", "-", "--data", "data", "--config", "chaukas.toml", given=line("e", tags=["a", "b"]))
    assert done.status == 1
    assert "tags" in done.remarks[0]
    assert "--data" in chaukas.refused("import", "-", "--config", "chaukas.toml")


def test_a_server_with_small_requests_is_served_in_small_pieces(tmp_path: Path, recorded_dir: Path) -> None:
    """Whatever `request_bytes_max` says, an import goes through; only what no request can hold is left out."""
    file = recorded_dir / "unicode_large" / "file_mode.jsonl"
    with running_server(tmp_path / "server", request_bytes_max="64KiB", event_bytes_max="64KiB") as server:
        done = CommandLine(tmp_path, server.http_url).run("import", file, "--json")
    told = counts(done.output)
    sizes = [event.ByteSize() for event in as_recorded(file).values()]
    assert done.status == 1
    assert told["lines"] == len(sizes)
    assert told["accepted"] == sum(size < 60_000 for size in sizes)
    assert told["left_out"] == sum(size > 66_000 for size in sizes) > 0


def test_ctrl_c_ends_an_import_that_can_be_run_again(chaukas: CommandLine) -> None:
    """An interrupted import says so, keeps what was acknowledged, and is completed by running it again."""
    lines = [line(f"e{number}") for number in range(600)]
    process = subprocess.Popen(
        chaukas.command("import", "-", "--json"),
        cwd=chaukas.directory,
        env=chaukas.variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write("".join(lines).encode())
    process.stdin.flush()
    give_up_at = time.monotonic() + _PATIENCE_S
    while int(chaukas.output("query", "--count")) < 500:
        assert time.monotonic() < give_up_at
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 130
    assert errors == b""
    assert json.loads(output)["interrupted"] is True

    again = json.loads(chaukas.output("import", "-", "--json", given="".join(lines)))
    assert again["accepted"] + again["duplicate"] == 600
    assert again["duplicate"] >= 500
    assert chaukas.output("query", "--count") == "600\n"


def test_a_terminal_sees_progress_and_nobody_else(chaukas: CommandLine, recorded_dir: Path) -> None:
    """On a terminal an import shows events and rate; without one its only output is the summary."""
    file = recorded_dir / "support_tools" / "file_mode.jsonl"
    assert chaukas.run("import", file).remarks == []

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        chaukas.command("import", file), env=chaukas.variables(COLUMNS="100"), stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        # Linux ends a terminal that nobody writes to any more with an error.
        pass
    finally:
        os.close(ours)
    output, _ = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0
    assert b"23 events" in shown
    assert b"23 duplicates" in output


def test_what_can_not_begin_says_why(tmp_path: Path) -> None:
    """Nothing to read, nobody to talk to, a wrong address: one line each, and what to do."""
    chaukas = CommandLine(tmp_path)
    (tmp_path / "events.jsonl").write_text(line("e"))
    assert "chaukas serve" in chaukas.refused("import", "events.jsonl")
    assert "No such file" in chaukas.refused("import", "nowhere.jsonl")
    assert "is not a URL" in chaukas.refused("import", "events.jsonl", "--server", "localhost:8080")
    assert "--help" in chaukas.refused("import")
    assert "can not be written" in chaukas.refused("import", "events.jsonl", "--rejects", "nowhere/rejects")
    assert Counter(path.name for path in tmp_path.iterdir()) == {"events.jsonl": 1}


def test_an_address_of_something_else_is_noticed(tmp_path: Path) -> None:
    """A server that is not ours is named as such; no line counts as imported."""
    with subprocess.Popen(
        ["python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as other:
        try:
            assert other.stdout is not None
            port = re.search(rb"port (\d+)", other.stdout.readline())
            assert port is not None
            chaukas = CommandLine(tmp_path, f"http://127.0.0.1:{int(port[1])}")
            assert "not as a Chaukas server" in chaukas.refused("stats")
        finally:
            other.kill()


def test_types_of_the_contract_are_complete(chaukas: CommandLine) -> None:
    """Every event type of the contract can be imported, counted and asked for by its name."""
    names = [name for name, number in EventType.items() if number]
    chaukas.output("import", "-", given="".join(line(name, type=name) for name in names))
    assert json.loads(chaukas.output("stats", "--format", "json"))["events_by_type"] == dict.fromkeys(names, 1)
