"""`chaukas export`, `import` of exports and `key rotate`: commands in processes of their own, over real recordings."""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaukas.server.storage.entry import KIND_EVENT, entry_kind
from chaukas.server.storage.sqlite.export_reader import ExportReader
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.verify.__main__ import main as verify
from chaukas.verify.export_files import open_export
from chaukas.verify.exports import ExportedEntry, Manifest, read_entries
from chaukas.verify.verifier_keys import parse_verifier_keys
from tests.acceptance.command_line import CommandLine
from tests.acceptance.started_server import running_server


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data and a state directory with the demo's sessions, signed by a server that ran on them."""
    directory = tmp_path_factory.mktemp("filled")
    CommandLine(directory).output("demo", "--data", "data")
    with running_server(directory):
        pass
    return directory


@pytest.fixture
def command(filled: Path, tmp_path: Path) -> CommandLine:
    for name in ("data", "state"):
        shutil.copytree(filled / name, tmp_path / name)
    return CommandLine(tmp_path)


_DIRECTORIES = ("--data", "data", "--state", "state")


def _stored(data: Path) -> dict[tuple[str, str, str], bytes]:
    """The stored bytes of every event by tenant, project and id."""
    reader = ExportReader(data)
    found: dict[tuple[str, str, str], bytes] = {}
    for log, _ in reader.logs(None, None):
        for record in reader.records(log, 0, log.size):
            if entry_kind(record.entry) == KIND_EVENT:
                found[log.tenant_id, log.project_id, Event.FromString(record.stored).event_id] = record.stored
    reader.close()
    return found


def _exported(path: Path) -> Iterator[tuple[str, ExportedEntry]]:
    files = open_export(path)
    with contextlib.closing(files.open("manifest.json")) as file:
        manifest = Manifest.parse(file.rest(1 << 20))
    for log in manifest.logs:
        for bundle in read_entries(files, manifest.kind, log):
            yield from ((log.origin, one) for one in bundle)
    files.close()


def test_complete_logs_come_back(command: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    """An export holds every event, verifies with the logs' keys, and imports into another server with the same bytes."""
    name = "out.zip"
    path = command.directory / name
    (command.directory / "keys").write_text(command.output("key", "show", *_DIRECTORIES))
    summary = json.loads(command.output("export", name, *_DIRECTORIES, "--json"))
    original = _stored(command.directory / "data")
    assert (summary["kind"], summary["entries"], summary["unsigned"]) == ("log", len(original), 0)
    assert verify(["export", str(path), "--key-file", str(command.directory / "keys")]) == 0
    assert "completeness  verified" in capsys.readouterr().out
    assert {one.payload for _, one in _exported(path)} == set(original.values())
    first = json.loads(command.output("import", name, "--data", "second", "--key-file", "keys", "--json"))
    assert (first["accepted"], first["authentic"], first["other_entries"]) == (len(original), True, 0)
    assert _stored(command.directory / "second") == original
    again = command.run("import", name, "--data", "second")
    assert f"0 stored, {len(original)} duplicates" in again.output
    assert "nobody vouches" in again.remarks[0]
    # Into the record that it came from.
    assert json.loads(command.output("import", name, "--data", "data", "--json"))["duplicate"] == len(original)


def test_results_of_a_query(command: CommandLine) -> None:
    """The results of a query are those that `query` shows, each with its proof, also beside a running server."""
    flags = ("--type", "TOOL_CALL_START", "--tenant", "demo", "--since", "2026-01-01")
    wanted = [json.loads(line) for line in command.output("query", *flags, "--all", "-f", "jsonl", "--data", "data").splitlines()]
    with running_server(command.directory):
        command.output("export", "out.zip", *flags, *_DIRECTORIES)
    (command.directory / "keys").write_text(command.output("key", "show", *_DIRECTORIES))
    path = command.directory / "out.zip"
    assert verify(["export", str(path), "--key-file", str(command.directory / "keys")]) == 0
    found = {Event.FromString(one.payload or b"").event_id for _, one in _exported(path)}
    assert found == {event["event_id"] for event in wanted}
    assert found
    with zipfile.ZipFile(path) as archive:
        lines = [json.loads(line) for line in archive.read("events.jsonl").splitlines()]
        assert {line["event"]["event_id"] for line in lines} == found
        assert json.loads(archive.read("manifest.json"))["query"]["types"] == ["EVENT_TYPE_TOOL_CALL_START"]
    text = json.loads(command.output("export", "text", "--text", "refund", "--without-json", *_DIRECTORIES, "--json"))
    assert 0 < text["entries"] < len(_stored(command.directory / "data"))
    assert not (command.directory / "text" / "events.jsonl").exists()


def test_a_rotated_key_is_followed(command: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever trusts the first key verifies exports of complete logs and of results after two rotations."""
    (command.directory / "first").write_text(command.output("key", "show", *_DIRECTORIES))
    second = command.output("key", "rotate", *_DIRECTORIES)
    done = json.loads(command.output("key", "rotate", *_DIRECTORIES, "--json"))
    assert {log["old_key"] for log in done["logs"]} == set(map(str, parse_verifier_keys(second)))
    listed = parse_verifier_keys(command.output("key", "show", "--all", *_DIRECTORIES))
    assert len(listed) == 3 * len(done["logs"])
    assert {str(key) for key in listed} >= set((command.directory / "first").read_text().split())
    # A server goes on with the newest key.
    with running_server(command.directory) as server:
        command.output("demo", "--at", "2026-02-15", "--server", server.http_url)
        given = []
        for number, log in enumerate((done["logs"][0]["index"] - 1, done["logs"][0]["index"])):
            change = command.directory / f"change{number}"
            origin = done["logs"][0]["origin"]
            command.output("proof", "--origin", origin, "--index", log, "--evidence", "-o", change, "--server", server.http_url)
            given += ["--key-change", str(change)]
        command.output("checkpoint", origin, "-o", "checkpoint", "--server", server.http_url)
    # The server's own evidence leads from the first key to the one that signs now.
    given = ["checkpoint", str(command.directory / "checkpoint"), "--key-file", str(command.directory / "first"), *given]
    assert (verify(given[:4]), verify(given)) == (1, 0)
    command.output("export", "all", *_DIRECTORIES)
    command.output("export", "some.zip", "--type", "TOOL_CALL_END", *_DIRECTORIES)
    for name in ("all", "some.zip"):
        capsys.readouterr()
        assert verify(["export", str(command.directory / name), "--key-file", str(command.directory / "first")]) == 0
        assert "lead from a key that was given" in capsys.readouterr().out
    # Without what leads from one key to the next, the newest key is a stranger's.
    for changes in (command.directory / "all").glob("log/*/key-changes"):
        shutil.rmtree(changes)
    assert verify(["export", str(command.directory / "all"), "--key-file", str(command.directory / "first")]) == 1


def test_damage_is_refused(command: CommandLine) -> None:
    """A damaged export is not imported, nor one that another key signed; and a path that is taken is left alone."""
    command.output("export", "out", *_DIRECTORIES)
    assert "is taken" in command.refused("export", "out", *_DIRECTORIES)
    payloads = next((command.directory / "out").glob("log/*/payloads/000.p/*"))
    data = bytearray(payloads.read_bytes())
    data[-1] ^= 1
    payloads.write_bytes(data)
    done = command.run("import", "out", "--data", "second")
    assert done.status == 2
    assert "is not imported, because it is damaged" in done.remarks[0]
    command.output("export", "whole.zip", *_DIRECTORIES)
    stranger = "chaukas.localhost/events/demo/claims+ddc3878a+AW83uqZYiFaE8aqnNUAj8emq2rmfs98JBJV5TVjrGWGy"
    assert command.run("import", "whole.zip", "--data", "second", "--key", stranger).status == 2
    assert "import it alone" in command.refused("import", "whole.zip", "whole.zip", "--data", "second")
    assert "nothing to export" in command.refused("export", "none", "--tenant", "nobody", *_DIRECTORIES)
    assert "there is no event store" in command.refused("export", "none2", "--data", "nowhere")


def test_keys_for_witnesses(command: CommandLine) -> None:
    """The key of a witness and the key that stands for all logs of a server are shown as its settings take them."""
    (prefix,) = parse_verifier_keys(command.output("key", "show", "--prefix", *_DIRECTORIES))
    assert prefix.name == "chaukas.localhost/events/"
    assert "first start with --witness" in command.refused("key", "show", "--witness", "--state", "state")
    with running_server(command.directory, witness="true", witness_logs=prefix):
        pass
    (witness,) = parse_verifier_keys(command.output("key", "show", "--witness", "--state", "state"))
    assert (witness.name, witness.is_witness) == ("chaukas.localhost/witness", True)
    assert "--state" in command.refused("key", "show", "--witness")
    assert "--data" in command.refused("key", "show", "--all")
