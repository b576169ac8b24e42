"""`chaukas config` and `chaukas version`."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from chaukas.server.config import Settings
from tests.acceptance.command_line import CommandLine


@pytest.fixture
def chaukas(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_every_setting_says_who_decided_it(chaukas: CommandLine) -> None:
    """Defaults, file, environment and flags are told apart, and the later one wins."""
    (chaukas.directory / "chaukas.toml").write_text('hold_s = 1.5\ntags_max = 3\nid_bytes_max = 99\nlog_level = "error"\n')
    told = json.loads(
        chaukas.output(
            "config", "--json", "--config", "chaukas.toml", "--log-level", "debug", "--set", "queue_events_max=7",
            CHAUKAS_SERVER_TAGS_MAX="4", CHAUKAS_SERVER_LOG_LEVEL="warning",
        )
    )  # fmt: skip
    settings = {setting["name"]: (setting["value"], setting["source"], setting["origin"]) for setting in told["settings"]}
    assert settings["hold_s"] == (1.5, "file", "chaukas.toml")
    assert settings["id_bytes_max"] == (99, "file", "chaukas.toml")
    assert settings["tags_max"] == (4, "environment", "CHAUKAS_SERVER_TAGS_MAX")
    assert settings["log_level"] == ("debug", "flag", "")
    assert settings["queue_events_max"] == (7, "flag", "")
    assert settings["event_bytes_max"] == (2 * 1024 * 1024, "default", "")
    assert list(settings) == list(Settings.model_fields)
    assert all(setting["description"] for setting in told["settings"])


def test_every_flag_of_serve_reaches_its_setting(chaukas: CommandLine) -> None:
    """A flag sets what its name says, and wins over `--set`."""
    told = tomllib.loads(
        chaukas.output(
            "config", "--data", "d", "--state", "s", "--grpc", "127.0.0.1:1", "--http", "0.0.0.0:2", "--insecure-no-auth",
            "--workers", "1", "--server-name", "log.example", "--log-level", "error", "--log-format", "json",
            "--set", "data_dir=other",
        )
    )  # fmt: skip
    assert told["data_dir"] == "d"
    assert told["state_dir"] == "s"
    assert told["grpc_address"] == "127.0.0.1:1"
    assert told["http_address"] == "0.0.0.0:2"
    assert told["insecure_no_auth"] is True
    assert told["workers"] == 1
    assert told["server_name"] == "log.example"
    assert (told["log_level"], told["log_format"]) == ("error", "json")


def test_the_listing_is_a_configuration_file(chaukas: CommandLine) -> None:
    """What `config` prints can be kept and given back: every value means the same."""
    flags = ("--set", "event_bytes_max=1500", "--set", "hooks=a.b:C,d:E", "--set", "hold_s=0.25", "--data", 'odd "name" \\ ü')
    (chaukas.directory / "again.toml").write_text(chaukas.output("config", *flags))
    once = json.loads(chaukas.output("config", "--json", *flags))["settings"]
    again = json.loads(chaukas.output("config", "--json", "--config", "again.toml"))["settings"]
    assert [(setting["name"], setting["value"]) for setting in once] == [(setting["name"], setting["value"]) for setting in again]
    assert {setting["source"] for setting in again if setting["value"] is not None} == {"file"}


def test_nothing_is_made_by_looking(chaukas: CommandLine) -> None:
    """`config` touches neither the data nor the state directory."""
    chaukas.output("config")
    assert list(chaukas.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--set", "tags_max"], "is not NAME=VALUE"),
        (["--set", "tag_max=1"], "did you mean tags_max?"),
        (["--set", "tags_max=many"], "tags_max"),
        (["--config", "nowhere.toml"], "cannot be read"),
        (["--grpc", "127.0.0.1"], "is not HOST:PORT"),
        (["--http", "0.0.0.0:8080"], "--insecure-no-auth"),
        (["--workers", "2"], "PostgreSQL"),
        (["--log-level", "loud"], "log_level"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(chaukas: CommandLine, flags: list[str], words: str) -> None:
    """A setting that cannot be used is refused in one line that says which it is and what is allowed."""
    assert words in chaukas.refused("config", *flags)


def test_a_wrong_setting_refuses_the_start(chaukas: CommandLine) -> None:
    """`serve` refuses what `config` refuses, in the same words, before anything is made."""
    flags = ("--http", "0.0.0.0:8080", "--data", "data")
    assert chaukas.refused("serve", *flags) == chaukas.refused("config", *flags)
    assert list(chaukas.directory.iterdir()) == []


def test_the_version_is_that_of_the_distribution(chaukas: CommandLine) -> None:
    """People who report a problem can say what they run."""
    assert chaukas.output("version") == f"chaukas {version('chaukas-spec-server')}\n"
