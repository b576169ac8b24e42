# ruff: noqa: PLC0415  A command imports what it needs when it runs: `--help` and a slip of the pen are answered at once.
"""Which server a command asks, from the flags `--server`, `--data` and `--config`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from chaukas.server.cli.failure import CommandError

if TYPE_CHECKING:
    from chaukas.server.cli.connection import Connection

__all__ = ["SERVER_URL", "SERVER_VARIABLE", "connect"]

#: Where a server listens that was started without flags.
SERVER_URL: Final = "http://127.0.0.1:8080"
#: Names another one for all commands of a shell.
SERVER_VARIABLE: Final = "CHAUKAS_SERVER_URL"


def connect(server_url: str, data_dir: Path | None, config_file: Path | None, *, create: bool = False) -> Connection:
    """The directory's data when one is named, the running server otherwise; see `DirectoryConnection` for `create`."""
    if data_dir is not None:
        from chaukas.server.cli.directory_connection import DirectoryConnection

        return DirectoryConnection(data_dir, config_file, create=create)
    if config_file is not None:
        raise CommandError("--config holds the settings of a directory; give --data DIR with it")
    from chaukas.server.cli.http_connection import HttpConnection

    return HttpConnection(server_url)
