"""How a command ends when it can not do what it was asked: one line for a person, and an exit status for a script."""

from __future__ import annotations

from enum import IntEnum

from chaukas.server.errors import ChaukasError

__all__ = ["CommandError", "ExitStatus"]


class ExitStatus(IntEnum):
    """The exit statuses of every command; `docs/cli.md` lists them for users."""

    #: Everything that was asked for is done.
    DONE = 0
    #: The command ran to its end, but something was kept aside or not found; the output names it.
    PARTLY = 1
    #: The command could not run: wrong flag, nothing to read, nobody to talk to, directory in use, configuration refused.
    FAILED = 2
    #: Ended by Ctrl-C; what was acknowledged until then is stored.
    INTERRUPTED = 130


class CommandError(ChaukasError):
    """A command can not go on. The message is one line that says what is wrong and what to do about it."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.FAILED) -> None:
        super().__init__(message)
        self.status = status
