"""Settings from the command line, and `chaukas config`: what is in effect, and which source decided it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ByteSize

from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.failure import CommandError
from chaukas.server.config import EffectiveSetting, Settings, Source

__all__ = ["load_settings", "show_settings"]

_UNITS = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def load_settings(config_file: Path | None, flags: Mapping[str, object], assignments: Sequence[str]) -> Settings:
    """The settings of all sources; `assignments` are the values of `--set`, each `NAME=VALUE`.

    A flag of its own wins over `--set`. Raises `CommandError` for an assignment that is none and `ConfigurationError` for what
    the settings refuse.
    """
    given: dict[str, object] = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or not name.strip():
            raise CommandError(f"--set: {assignment!r} is not NAME=VALUE; `chaukas config` lists the names")
        given[name.strip()] = value
    given.update({name: value for name, value in flags.items() if value is not None})
    return Settings.load(config_file=config_file, flags=given)


def show_settings(settings: Settings, *, as_json: bool) -> None:
    """Write every setting on standard output: a TOML file that `--config` takes, its comments naming the sources; or JSON."""
    listing = settings.effective()
    if as_json:
        sys.stdout.write(f"{json_text({'settings': [_to_json(setting) for setting in listing]}, indent=2)}\n")
        return
    lines = [(_line(setting), _origin(setting)) for setting in listing]
    width = max(len(line) for line, _ in lines)
    for line, origin in lines:
        sys.stdout.write(f"{line:<{width}}  # {origin}\n")


def _line(setting: EffectiveSetting) -> str:
    # TOML has no word for "nothing": what is not set stands as a comment, so that the listing stays a configuration file.
    return f"# {setting.name} is not set" if setting.value is None else f"{setting.name} = {_toml(setting.value)}"


def _origin(setting: EffectiveSetting) -> str:
    return f"{setting.source} {setting.origin}".strip() if setting.source is not Source.ENVIRONMENT else setting.origin


def _to_json(setting: EffectiveSetting) -> dict[str, object]:
    return {
        "name": setting.name,
        "value": _plain(setting.value),
        "source": setting.source.value,
        "origin": setting.origin,
        "environment_variable": setting.environment_variable,
        "description": setting.description,
    }


def _plain(value: object) -> object:
    """The value as JSON has it; sizes in bytes."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _toml(value: object) -> str:
    """The value as TOML has it; sizes in the largest unit that says them exactly. JSON strings are TOML strings."""
    if isinstance(value, ByteSize):
        for unit_bytes, unit in _UNITS:
            if value and value % unit_bytes == 0:
                return f'"{value // unit_bytes}{unit}"'
    return json.dumps(_plain(value), ensure_ascii=False)
