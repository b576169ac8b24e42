"""`chaukas quarantine`, against a started server and on the directory of a stopped one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchRequest
from tests.acceptance.command_line import CommandLine
from tests.acceptance.serving import nested_too_deep
from tests.acceptance.started_server import StartedServer, running_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StartedServer]:
    with running_server(tmp_path / "server", tags_max=1) as started:
        yield started


@pytest.fixture
def chaukas(tmp_path: Path, server: StartedServer) -> CommandLine:
    return CommandLine(tmp_path, server.http_url)


def line(event_id: str, **fields: object) -> str:
    event = {"event_id": event_id, "tenant_id": "acme", "project_id": "shop", "type": "EVENT_TYPE_SYSTEM", **fields}
    return json.dumps(event) + "\n"


def listed(chaukas: CommandLine, *flags: object) -> list[dict[str, Any]]:
    return [json.loads(text) for text in chaukas.output("quarantine", "list", "--format", "jsonl", *flags).splitlines()]


def fill(chaukas: CommandLine, *lines: str) -> None:
    done = chaukas.run("import", "-", given="".join(lines))
    assert done.status == 1, done


def test_what_was_kept_aside_is_stored_after_its_cause_is_gone(server: StartedServer, chaukas: CommandLine) -> None:
    """An event above a limit waits in the quarantine, whole, and is stored by `resubmit` after the limit was raised."""
    fill(chaukas, line("two", tags=["a", "b"], metadata={"kept": "whole"}), line("three", tags=["a", "b", "c"]))
    ids = [item["quarantine_id"] for item in listed(chaukas)]
    refused = chaukas.run("quarantine", "resubmit", *ids)
    assert refused.status == 1
    assert refused.output.count("still kept aside: tags") == 2
    assert [item["count"] for item in listed(chaukas)] == [1, 1], "handing in again is no arrival"

    server.stop()
    server.settings = {"tags_max": 2}
    server.start()
    done = chaukas.run("quarantine", "resubmit", "--all")
    assert done.status == 1
    # The entries of what was kept aside stand in the log too, in front of it.
    assert re.search(rf"^{ids[0]}: accepted, stands at chaukas\.localhost/events/acme/shop#\d+$", done.output, re.MULTILINE)
    assert done.remarks == ["1 stored, 1 not"]
    assert [item["event_id"] for item in listed(chaukas)] == ["three"]
    [event] = [json.loads(text) for text in chaukas.output("query", "--format", "jsonl").splitlines()]
    assert (event["event_id"], event["metadata"]) == ("two", {"kept": "whole"})
    assert chaukas.run("quarantine", "resubmit", ids[0]).status == 1, "it is not there any more"


def test_the_stopped_server_s_directory_is_served_alike(tmp_path: Path, server: StartedServer, chaukas: CommandLine) -> None:
    """Listing, showing and handing in again work on the directory of a server that does not run, by today's limits."""
    fill(chaukas, line("two", tags=["a", "b"]))
    server.stop()
    offline = ("--data", tmp_path / "server" / "data")
    [item] = listed(chaukas, *offline)
    assert item["reasons"][0].startswith("tags: ")
    assert (
        json.loads(chaukas.output("quarantine", "show", item["quarantine_id"], "--format", "json", *offline))["event_id"] == "two"
    )
    assert "accepted" in chaukas.output("quarantine", "resubmit", "--all", *offline)
    assert listed(chaukas, *offline) == []
    assert chaukas.output("query", "--count", *offline) == "1\n"


def test_bytes_are_kept_as_they_came(chaukas: CommandLine, server: StartedServer) -> None:
    """What no protobuf runtime reads is kept byte for byte, and can be taken out byte for byte."""
    deep = nested_too_deep(Event(event_id="deep", tenant_id="acme", type=63)).SerializeToString()
    body = IngestEventBatchRequest()
    body.event_batch.events.add(event_id="good", tenant_id="acme", type=63)
    batch = body.event_batch.SerializeToString() + b"\x1a" + _length(deep) + deep
    answer = httpx.post(
        f"{server.http_url}/v1/events/batch",
        content=b"\x0a" + _length(batch) + batch,
        headers={"content-type": "application/x-protobuf"},
        trust_env=False,
    )
    assert answer.status_code == 202
    [item] = listed(chaukas)
    assert (item["event_id"], item["size_bytes"]) == ("deep", len(deep))

    chaukas.output("quarantine", "show", item["quarantine_id"], "--raw", "deep.bin")
    assert (chaukas.directory / "deep.bin").read_bytes() == deep
    shown = json.loads(chaukas.output("quarantine", "show", item["quarantine_id"], "--format", "json"))
    assert base64.b64decode(shown["raw"]) == deep
    assert "deep" in chaukas.output("quarantine", "show", item["quarantine_id"])
    assert chaukas.run("quarantine", "resubmit", item["quarantine_id"]).status == 1
    assert chaukas.output("query", "--count") == "1\n"


def test_text_is_shown_as_text(chaukas: CommandLine) -> None:
    """A line of JSON that is no event is shown and kept as the line that it was, without what a terminal would obey."""
    raw = b'{"event_id": "slip", "tenant_id": "acme", "typo": "\xc3\xbcber \xc2\x9b2J"}'
    assert chaukas.run("import", "-", given=raw).status == 1
    [item] = listed(chaukas)
    shown = chaukas.output("quarantine", "show", item["quarantine_id"])
    assert "über  2J" in shown
    assert "typo: unknown key" in shown
    chaukas.output("quarantine", "show", item["quarantine_id"], "--raw", "line.json")
    assert (chaukas.directory / "line.json").read_bytes() == raw


def test_nobody_s_items_find_an_owner(chaukas: CommandLine) -> None:
    """An event without a tenant is stored once somebody says whose it is; what belongs to a tenant stays with it."""
    fill(chaukas, line("nobody", tenant_id="", project_id=""), line("acme", tags=["a", "b"]))
    [nobody] = listed(chaukas, "--unattributed")
    [acme] = listed(chaukas, "--tenant", "acme", "--project", "shop")
    assert (nobody["event_id"], acme["event_id"]) == ("nobody", "acme")
    assert listed(chaukas, "--tenant", "globex") == []

    stolen = chaukas.run("quarantine", "resubmit", acme["quarantine_id"], "--as-tenant", "globex")
    assert stolen.status == 1
    assert "attributed to 'acme'" in stolen.output
    done = chaukas.output("quarantine", "resubmit", "--all", "--unattributed", "--as-tenant", "globex", "--as-project", "ops")
    assert "stands at chaukas.localhost/events/globex/ops#0" in done
    assert json.loads(chaukas.output("query", "--format", "jsonl"))["tenant_id"] == "globex"


def test_an_id_that_stands_for_other_content_stays_aside(chaukas: CommandLine) -> None:
    """Handing in a conflicting event never overwrites the stored one."""
    fill(chaukas, line("e", agent_id="first"), line("e", agent_id="second"))
    [item] = listed(chaukas)
    assert "still kept aside" in chaukas.run("quarantine", "resubmit", item["quarantine_id"]).output
    assert json.loads(chaukas.output("query", "--format", "jsonl"))["agent_id"] == "first"
    assert [row["quarantine_id"] for row in listed(chaukas)] == [item["quarantine_id"]]


def test_long_listings_come_in_pages_and_fit_the_terminal(chaukas: CommandLine) -> None:
    """A full quarantine is listed whole with `--all`, oldest first, and a default limit is announced."""
    names = [f"e{number:04}" for number in range(1203)]
    fill(chaukas, *(line(name, tags=["a", "b"], agent_id="x" * 100) for name in names))
    assert [item["event_id"] for item in listed(chaukas, "--all")] == names
    assert len(json.loads(chaukas.output("quarantine", "list", "--limit", 700, "--format", "json"))) == 700
    first = chaukas.run("quarantine", "list", COLUMNS="80")
    assert first.remarks == ["100 items shown, more are kept: use --limit N or --all"]
    assert max(map(len, first.output.splitlines())) <= 80
    assert "EVENT ID" in chaukas.output("quarantine", "list", COLUMNS="140")


def test_wrong_questions_are_one_line(chaukas: CommandLine) -> None:
    """What does not exist or contradicts itself is said in one line, with a status of its own."""
    missing = chaukas.run("quarantine", "show", "q999")
    assert (missing.status, missing.output, len(missing.remarks)) == (1, "", 1)
    for flags, words in (
        (["resubmit"], "name the items"),
        (["resubmit", "q1", "--all"], "name the items"),
        (["resubmit", "q1", "--tenant", "acme"], "select among --all"),
        (["list", "--unattributed", "--tenant", "acme"], "contradicts"),
        (["list", "--tenant", ""], "must not be empty"),
        (["list", "--limit", "1", "--all"], "contradict"),
        (["show"], "Missing argument"),
        ([], "Missing command"),
    ):
        assert words in chaukas.refused("quarantine", *flags)


def _length(data: bytes) -> bytes:
    """The length of a field as a varint."""
    out, value = bytearray(), len(data)
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
