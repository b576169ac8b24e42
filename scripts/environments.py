"""Virtual environments and package directories under ``.cache``, made once and kept.

Standard library only: these scripts run before anything is installed. A directory counts as ready when its stamp
file holds the recipe that it was made from, and the stamp is written last: whatever was interrupted is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["ROOT", "ensure_environment", "ensure_target", "make_environment", "pip", "pip_install", "python_of"]

ROOT = Path(__file__).resolve().parent.parent
_STAMP = ".made-from.json"


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / "bin" / "python"


def pip(command: str, *arguments: str | Path, python: Path | None = None) -> None:
    """Run one pip command quietly, on another environment if its interpreter is given.

    The pip is that of the running interpreter, because environments without a pip of their own are made ten times as
    fast. Raises ``subprocess.CalledProcessError`` after pip has printed why.
    """
    line = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    line += ["--python", str(python)] if python else []
    subprocess.run([*line, command, *map(str, arguments)], check=True, env=_clean_environment())


def pip_install(*arguments: str | Path, python: Path | None = None) -> None:
    """Install packages, without compiling them: most of what is installed here is run once or never."""
    pip("install", "--no-compile", "--root-user-action", "ignore", *arguments, python=python)


def make_environment(path: Path, *requirements: str) -> Path:
    """Make a fresh virtual environment without pip, install the requirements, and return its interpreter."""
    venv.create(path, with_pip=False, symlinks=True)
    if requirements:
        pip_install(*requirements, python=python_of(path))
    return python_of(path)


def ensure_environment(path: Path, requirements: Sequence[str]) -> Path:
    """Make sure that a virtual environment holds the requirements; return its interpreter."""
    _ensure(path, requirements, lambda: make_environment(path, *requirements))
    return python_of(path)


def ensure_target(path: Path, requirement: str) -> Path:
    """Make sure that a directory holds one distribution, without what it depends on; return the directory."""
    _ensure(path, [requirement], lambda: pip_install("--no-deps", "--target", path, requirement))
    return path


def _ensure(path: Path, requirements: Sequence[str], build: Callable[[], object]) -> None:
    # An environment leans on the interpreter that made it: with another one it is made anew.
    recipe = json.dumps({"python": [sys.version, sys.base_prefix], "requirements": list(requirements)}, indent=1)
    stamp = path / _STAMP
    with _locked(path):
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == recipe:
            return
        shutil.rmtree(path, ignore_errors=True)
        build()
        stamp.write_text(recipe, encoding="utf-8")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time work on a directory: test workers start together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clean_environment() -> dict[str, str]:
    """The environment without what would let one interpreter see the packages of another."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
