"""A process of our own beside the server: the same interpreter, one module of this package, and nothing of the terminal's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

__all__ = ["own_process"]


def own_process(module: str, *arguments: str, descriptors: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start `python -m module`. Raises `OSError`.

    It inherits `descriptors` and talks over them; without any it talks over its standard input and output, and its standard error
    is dropped. Modules come from where they are installed, never from the directory that the server was started in. It is in a
    group of its own: a Ctrl-C in the terminal is for the server, which then ends it. It has no session of its own: to Linux that
    would be a group of tasks as important as all of the server's, however low its priority within it (autogroup).
    """
    talk = subprocess.DEVNULL if descriptors else subprocess.PIPE
    return subprocess.Popen(  # noqa: S603  our own interpreter and module; no argument is an option
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=talk,
        stdout=talk,
        stderr=None if descriptors else subprocess.DEVNULL,
        pass_fds=descriptors,
        process_group=0,
    )
