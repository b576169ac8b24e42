"""`chaukas key show`: the verifier keys that are not those of single logs: prefixes, retired keys, the witness's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chaukas.server.cli.failure import CommandError
from chaukas.server.cli.http_log import LogLine
from chaukas.server.cli.terminal import output_console
from chaukas.server.config import Settings
from chaukas.server.operations.witnessing import witness_name_of
from chaukas.server.tlog.opening import signing_keys
from chaukas.server.tlog.retired_keys import read_retired_keys
from chaukas.server.tlog.witness_service import witness_signing_key
from chaukas.verify.verifier_keys import VerifierKey

__all__ = ["directory_settings", "show_prefix_keys", "show_retired_keys", "show_witness_key"]

_EVENTS = "/events/"


def directory_settings(data_dir: Path | None, state_dir: Path | None, config_file: Path | None) -> Settings:
    """The settings of a server whose directories are named."""
    flags = {"data_dir": data_dir, "state_dir": state_dir}
    return Settings.load(config_file=config_file, flags=flags)


def show_prefix_keys(logs: Sequence[LogLine]) -> None:
    """One key that stands for all logs of the server, as a witness takes it: its name ends with a slash.

    Raises `CommandError` before there is a log.
    """
    prefixes: dict[str, None] = {}
    for log in logs:
        key = VerifierKey.parse(log.verifier_key)
        server, events, _ = key.name.partition(_EVENTS)
        if events:
            prefixes[str(VerifierKey(server + events, key.signature_type, key.public_key))] = None
    if not prefixes:
        raise CommandError("--prefix: there is no log yet; store an event first")
    _write(prefixes)


def show_retired_keys(logs: Sequence[LogLine], settings: Settings) -> None:
    """The keys that signed each log before, oldest first, as the verifier's `--key-file` reads them."""
    current = signing_keys(settings.state_dir, settings.log_key_file, create=False)[0].public_key
    retired = read_retired_keys(settings.state_dir, current)
    _write([f"{key.log_key(log.origin)}\n# retired {key.retired_at}" for log in logs for key in retired])


def show_witness_key(settings: Settings) -> None:
    """The witness's verifier key. Raises `ConfigurationError` before it is made."""
    _write([str(witness_signing_key(settings.state_dir, create=False).witness_key(witness_name_of(settings)))])


def _write(lines: Sequence[str] | dict[str, None]) -> None:
    output = output_console().file
    for line in lines:
        output.write(f"{line}\n")
