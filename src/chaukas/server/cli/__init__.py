"""The command `chaukas`.

Exit statuses: 0 done; 1 done in part (a line or an item was kept aside, or is not there); 2 not done (wrong flag, nothing to
read, no server, a directory in use, a refused configuration); 130 ended by Ctrl-C. What went wrong is one line on standard
error, never a traceback.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.program import program
from chaukas.server.errors import ChaukasError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command with `arguments` (those of the process when None) and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can not show a character must not end a command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = typer.main.get_command(program()).main(given or ["--help"], prog_name="chaukas", standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "chaukas"
        return _fail(f"{error.format_message().rstrip('.')}; see `{command} --help`", ExitStatus.FAILED)
    except typer.Abort:
        return ExitStatus.INTERRUPTED
    except ChaukasError as error:
        return _fail(error.public_message, error.status if isinstance(error, CommandError) else ExitStatus.FAILED)
    except SystemExit as ended:
        # Typer ends so when nobody reads the output any more (`chaukas query | head`), and after shell completion.
        _close_output()
        return ended.code if isinstance(ended.code, int) else ExitStatus.DONE


def _fail(message: str, status: ExitStatus) -> int:
    one_line = " ".join(message.split())
    print(f"chaukas: {one_line}", file=sys.stderr)
    return status


def _close_output() -> None:
    """Write what can be written, and nothing more: the interpreter would complain about the closed pipe when it ends."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
