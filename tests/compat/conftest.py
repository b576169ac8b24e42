"""The published packages and fresh environments, fetched and made when a test first asks for them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .published import Published

# The scripts are no package: they run before anything is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import environments
from fetch_published import PUBLISHED, SDK, fetch_published


@pytest.fixture(scope="session", params=PUBLISHED, ids="-".join)
def published(request: pytest.FixtureRequest) -> Published:
    """Each published distribution of the stubs in turn."""
    return Published(*request.param, packages=fetch_published(*request.param))


@pytest.fixture(scope="session")
def published_server() -> Published:
    """The newest published server stubs: a client of the server service that we did not write."""
    return Published("chaukas-spec-server", "1.0.5", fetch_published("chaukas-spec-server", "1.0.5"))


@pytest.fixture(scope="session")
def our_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our distribution, built from a copy: what is left over from other builds has no part in it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(environments.ROOT / name, source)
    shutil.copytree(environments.ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    wheels = tmp_path_factory.mktemp("wheels")
    environments.pip("wheel", "--no-deps", "--wheel-dir", wheels, source)
    (wheel,) = wheels.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def make_environment(our_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Give the interpreter of a fresh environment that holds us and the published SDK, by the order of installation.

    The orders are ``ours-first`` and ``published-first``. Each environment is built once, when it is first asked for.
    """
    steps = {"ours-first": ([str(our_wheel)], SDK), "published-first": (SDK, [str(our_wheel)])}
    interpreters: dict[str, Path] = {}

    def environment(order: str) -> Path:
        if order not in interpreters:
            interpreters[order] = environments.make_environment(tmp_path_factory.mktemp(order) / "venv")
            for requirements in steps[order]:
                environments.pip_install(*requirements, python=interpreters[order])
        return interpreters[order]

    yield environment
    for interpreter in interpreters.values():
        shutil.rmtree(interpreter.parents[1])
