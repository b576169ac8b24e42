"""Where tables are written."""

from __future__ import annotations

import os
from typing import Final

from rich.console import Console

__all__ = ["output_console"]

#: Characters per line where there is no terminal whose width counts: enough for every column.
_PIPE_WIDTH: Final = 240


def output_console() -> Console:
    """Standard output: as wide as the terminal, or as `COLUMNS` says; wide where it goes to a file or a program."""
    console = Console(highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(highlight=False, width=_PIPE_WIDTH)
