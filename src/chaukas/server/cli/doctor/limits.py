"""What the system allows a process of this user."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Final

from chaukas.server.cli.doctor.finding import Finding, ok, warning
from chaukas.server.config import Settings

__all__ = ["check_open_files"]

_CHECK: Final = "open files"
#: The store, the log, the listeners, modules that are loaded late.
_FILES_OF_ITS_OWN: Final = 128


def check_open_files(settings: Settings) -> Iterator[Finding]:
    """Whether all connections that the settings allow can be open at once: each request of gRPC and HTTP takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * settings.requests_max + _FILES_OF_ITS_OWN
    unlimited = resource.RLIM_INFINITY
    text = f"{'any number' if soft == unlimited else f'{soft:,}'} at once, {wanted:,} are wanted"
    if soft == unlimited or soft >= wanted:
        yield ok(_CHECK, text)
    elif hard == unlimited or hard >= wanted:
        yield warning(_CHECK, text, f"ulimit -n {wanted} before the start, or LimitNOFILE={wanted}")
    else:
        yield warning(_CHECK, f"{text}; this user may have {hard:,}", "raise the limit, or lower requests_max")
