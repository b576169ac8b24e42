# ruff: noqa: PLC0415  A command imports what it needs when it runs: `--help` and a slip of the pen are answered at once.
"""`chaukas verify` and `chaukas selftest tamper`: their flags. What they do stands in modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chaukas.server.cli.failure import ExitStatus
from chaukas.server.cli.flags import ConfigFlag, DataDirectoryFlag, StateDirectoryFlag

__all__ = ["selftest_commands", "verify"]


def verify(
    data: DataDirectoryFlag = None,
    state: StateDirectoryFlag = None,
    config_file: ConfigFlag = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="FILE", help="A checkpoint that you kept: the log must continue it. Repeatable."),
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="VKEY", help="Verifier key of a log, instead of the one in --state. Repeatable."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FILE", help="Keep the position here, and go on from it when interrupted."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> ExitStatus:
    """Read the whole record, beside a running server too: status 0 says it is whole, 1 damaged, 2 not checked."""
    from chaukas.server.cli.configuration import load_settings
    from chaukas.server.cli.verifying import verify_directory

    settings = load_settings(config_file, {"data_dir": data, "state_dir": state}, ())
    return verify_directory(
        settings.data_dir,
        settings.state_dir if state is not None or settings.state_dir.is_dir() else None,
        settings.log_key_file,
        against=against or (),
        keys=keys or (),
        resume=resume,
        as_json=as_json,
        quiet=quiet,
    )


def selftest_commands() -> typer.Typer:
    """The commands below `chaukas selftest`."""
    commands = typer.Typer(no_args_is_help=True, help="Try what the server promises, on copies.")
    commands.callback()(_selftest)
    commands.command("tamper")(tamper)
    return commands


def _selftest() -> None:
    """Try what the server promises, on copies."""


def tamper(
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Copy this data directory; otherwise one is made from the demo's sessions."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="The state directory that belongs to it; needed with --data.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> ExitStatus:
    """Change a copy of a record in every way that an attacker could, and see that each change is found."""
    from chaukas.server.cli.tampering import run_drill

    return run_drill(data, state, as_json=as_json)
