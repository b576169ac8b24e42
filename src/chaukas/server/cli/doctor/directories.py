"""The data directory and the state directory: whether they are there, whose they are, and who else may read them."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from chaukas.server.cli.doctor.finding import Finding, ok, problem, warning
from chaukas.server.config import Settings

__all__ = ["check_directories", "existing_part"]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_directories(settings: Settings) -> Iterator[Finding]:
    """Both directories, and that they are apart."""
    data, state = settings.data_dir.absolute(), settings.state_dir.absolute()
    yield from _check("data directory", data)
    yield from _check("state directory", state)
    if data == state or data in state.parents:
        yield warning(
            "state directory",
            f"{state} lies in the data directory",
            "keep keys apart from the data, so that a copy of the data does not carry them along: set state_dir",
        )


def existing_part(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next(part for part in (path, *path.parents) if _exists(part) or part == part.parent)


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        # Also what stands in a directory that is closed to this user: then that directory is what can be looked at.
        return False
    return True


def _check(check: str, path: Path) -> Iterator[Finding]:
    try:
        status = path.stat()
    except FileNotFoundError:
        yield _to_be_made(check, path)
        return
    except OSError as error:
        yield problem(check, f"{path} can not be looked at: {error.strerror}", "run this as the server's user, or let it in")
        return
    if not stat.S_ISDIR(status.st_mode):
        yield problem(check, f"{path} is no directory", "name another one, or move the file away")
        return
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield problem(
            check,
            f"{path} belongs to {_user(status.st_uid)} and can not be written by {_user(os.geteuid())}",
            f"run this and the server as {_user(status.st_uid)}, or change the owner with chown -R",
        )
        return
    strangers = [found for found in sorted(path.iterdir()) if _is_closed(found)]
    if strangers:
        yield problem(
            check,
            f"{strangers[0]} belongs to {_user(strangers[0].stat().st_uid)} and can not be read and written",
            f"change the owner with chown -R {_user(status.st_uid)} {path}",
        )
        return
    yield ok(check, f"{path}, of {_user(status.st_uid)}, mode {stat.S_IMODE(status.st_mode):o}")
    if status.st_mode & _OTHERS:
        yield warning(check, f"other users may look into {path}", f"if they should not: chmod 700 {path}")


def _to_be_made(check: str, path: Path) -> Finding:
    parent = existing_part(path)
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return ok(check, f"{path} is not there yet; the first start makes it")
    return problem(
        check,
        f"{path} is not there, and {_user(os.geteuid())} can not make it in {parent}",
        f"make it: mkdir -p {path} && chown {_user(os.geteuid())} {path}",
    )


def _is_closed(path: Path) -> bool:
    return path.is_file() and not os.access(path, os.R_OK | os.W_OK)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
