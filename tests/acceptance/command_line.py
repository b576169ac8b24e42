"""The command `chaukas`, run as a user runs it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CommandLine", "Done"]

_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Done:
    """What a command did."""

    status: int
    output: str
    #: Lines on standard error.
    remarks: list[str]


@dataclass
class CommandLine:
    """Runs commands in a directory of the test, against one server."""

    directory: Path
    server_url: str = "http://127.0.0.1:9"
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "chaukas.server.cli", *map(str, arguments)]

    def variables(self, **more: str) -> dict[str, str]:
        """The environment without what the tests' own says about servers, SDKs and terminals."""
        foreign = ("CHAUKAS_", "COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**kept, "CHAUKAS_SERVER_URL": self.server_url, **self.environment, **more}

    def run(self, *arguments: object, given: str | bytes = b"", **variables: str) -> Done:
        """Run one command to its end; `given` is its standard input."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            env=self.variables(**variables),
            input=given.encode() if isinstance(given, str) else given,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        remarks = done.stderr.decode().splitlines()
        assert not any(line.startswith("Traceback") for line in remarks), done.stderr.decode()
        return Done(done.returncode, done.stdout.decode(), remarks)

    def output(self, *arguments: object, given: str | bytes = b"", **variables: str) -> str:
        """The output of a command that must succeed."""
        done = self.run(*arguments, given=given, **variables)
        assert done.status == 0, (done.output, done.remarks)
        return done.output

    def refused(self, *arguments: object, **variables: str) -> str:
        """The one line that a command ends with which can not run."""
        done = self.run(*arguments, **variables)
        assert (done.status, done.output, len(done.remarks)) == (2, "", 1), done
        assert done.remarks[0].startswith("chaukas: ")
        return done.remarks[0].removeprefix("chaukas: ")
