from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaukas.server.config import ENVIRONMENT_PREFIX, Address, Settings, Source
from chaukas.server.errors import ConfigurationError

_DOCUMENTATION = Path(__file__).parents[2] / "docs" / "configuration.md"


def load(tmp_path: Path, text: str = "", *, flags=None, environment=None) -> Settings:
    file = tmp_path / "chaukas.toml"
    file.write_text(text)
    return Settings.load(config_file=file, flags=flags, environment=environment or {})


def test_each_source_overrides_the_one_below(tmp_path: Path) -> None:
    """A flag beats the environment, the environment the file, the file the default; `effective` says which it was."""
    settings = load(
        tmp_path,
        'tags_max = 10\nid_bytes_max = 11\nhold_s = 1\nlog_level = "debug"',
        environment={"CHAUKAS_SERVER_ID_BYTES_MAX": "12", "CHAUKAS_SERVER_HOLD_S": "2"},
        flags={"hold_s": 3, "tag_bytes_max": None},
    )
    assert (settings.tags_max, settings.id_bytes_max, settings.hold_s, settings.tag_bytes_max) == (10, 12, 3.0, 256)
    found = {setting.name: (setting.source, setting.origin) for setting in settings.effective()}
    assert found["tags_max"] == (Source.FILE, str(tmp_path / "chaukas.toml"))
    assert found["id_bytes_max"] == (Source.ENVIRONMENT, "CHAUKAS_SERVER_ID_BYTES_MAX")
    assert found["hold_s"] == (Source.FLAG, "")
    assert found["tag_bytes_max"] == (Source.DEFAULT, "")
    assert list(found) == list(Settings.model_fields)


def test_building_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is built by code depends on its arguments alone."""
    monkeypatch.setenv("CHAUKAS_SERVER_TAGS_MAX", "1")
    assert Settings().tags_max == 64
    assert Settings.load(environment={}).tags_max == 64
    assert Settings.load().tags_max == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("event_byte_max = 1", "event_byte_max: there is no such setting; did you mean event_bytes_max?"),
        ("[limits]\ntags_max = 1", "limits: there is no such setting"),
        ('hold_s = "soon"', "hold_s: "),
        ("tags_max = 0", "tags_max: "),
        ('http_address = "8080"', "http_address: '8080' is not HOST:PORT"),
        ('http_address = "127.0.0.1:70000"', "a port above 65535"),
        ('server_name = "my server"', "server_name: must be a host name"),
        ('hooks = ["nonsense"]', "hooks: 'nonsense' is not module:Class"),
        ('log_level = "loud"', "log_level: "),
        ('request_bytes_max = "1GiB"', "request_bytes_max must not be above inflight_bytes_max"),
        ("page_events_default = 2000", "page_events_default must not be above page_events_max"),
    ],
)
def test_a_wrong_file_is_refused_with_the_name_of_the_setting(tmp_path: Path, text: str, expected: str) -> None:
    """A slip of the pen in the file never leaves a limit silently at its default."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    assert expected in str(caught.value)


def test_all_problems_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    """Who mends a configuration sees every problem and where it stands, not one per attempt."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, "tags_max = 0\nnonsense = 1", environment={"CHAUKAS_SERVER_HOLD_S": "-1"})
    text = str(caught.value)
    assert "tags_max: " in text
    assert "nonsense: " in text
    assert "chaukas.toml" in text
    assert "(set by CHAUKAS_SERVER_HOLD_S)" in text


@pytest.mark.parametrize(("content", "expected"), [(b"a = ", "is not TOML"), (b"\xff", "is not TOML"), (None, "cannot be read")])
def test_an_unreadable_file_is_a_configuration_error(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """A file that cannot be read stops the start with a sentence, not with a traceback."""
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=expected):
        Settings.load(config_file=file, environment={})


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "192.168.1.4:1", "example.com:80"])
@pytest.mark.parametrize("name", ["grpc_address", "http_address"])
def test_other_machines_are_refused_without_the_insecure_setting(name: str, address: str) -> None:
    """Without keys nobody from outside gets in by accident; the refusal says what to do."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(flags={name: address}, environment={})
    assert f"{name} {address} can be reached from other machines" in str(caught.value)
    assert "--insecure-no-auth" in str(caught.value)
    assert Settings(**{name: address}, insecure_no_auth=True).insecure_no_auth


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.8.9.1:80", "[::1]:443", "localhost:8080"])
def test_loopback_needs_nothing(address: str) -> None:
    """The default use, everything on one machine, works without any setting."""
    assert Settings(http_address=address).http == Address.parse(address)


def test_several_workers_are_refused_naming_postgresql() -> None:
    """More processes than the embedded store can serve are refused before they can harm it."""
    with pytest.raises(ConfigurationError, match="PostgreSQL"):
        Settings.load(flags={"workers": 2}, environment={})


def test_sizes_and_lists_are_written_in_the_usual_ways() -> None:
    """`64MiB` and `a:B, c:D` mean in a variable what they say."""
    settings = Settings.load(
        environment={"CHAUKAS_SERVER_REQUEST_BYTES_MAX": "32MiB", "CHAUKAS_SERVER_HOOKS": "a.b:C, d:E,"},
    )
    assert settings.request_bytes_max == 32 * 1024 * 1024
    assert settings.hooks == ("a.b:C", "d:E")


def test_settings_cannot_be_changed_behind_the_servers_back() -> None:
    """What was checked at the start is what runs."""
    with pytest.raises(ValidationError):
        Settings().tags_max = 1  # type: ignore[misc]


@given(st.from_regex(r"[a-z0-9.-]{1,20}|[0-9a-f:]*:[0-9a-f:]*", fullmatch=True), st.integers(0, 65535))
def test_an_address_is_read_as_it_is_written(host: str, port: int) -> None:
    """The address in the ready line can be given back to the server, IPv6 brackets included."""
    address = Address(host, port)
    assert Address.parse(str(address)) == address


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    """No text makes the check of an address fail in another way than with a sentence."""
    with contextlib.suppress(ValueError):
        address = Address.parse(text)
        assert Address.parse(str(address)) == address


def test_every_setting_is_documented_with_variable_and_default() -> None:
    """`docs/configuration.md` has a row for every setting and for nothing else."""
    text = _DOCUMENTATION.read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| `(CHAUKAS_SERVER_[A-Z_]+)` \|", text, re.MULTILINE))
    assert rows == {name: ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields}
