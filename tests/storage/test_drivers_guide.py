"""`docs/drivers.md`: what it tells authors of drivers works as it stands there."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chaukas.server.testing
from chaukas.server.testing import MemoryStore
from chaukas.server.testing.conformance import StoreConformance
from chaukas.server.testing.conformance_case import StoreCase, opened

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "drivers.md").read_text()


def code_blocks():
    return re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)


def test_the_suite_runs_in_a_project_of_its_own(tmp_path):
    """The guide's files, in a directory with nothing else but a driver, run the suite with warnings as errors."""
    for block in code_blocks():
        if named := re.match(r"# tests/(\w+\.py)\n", block):
            (tmp_path / named[1]).write_text(block)
    (tmp_path / "my_package.py").write_text("from chaukas.server.storage.sqlite import SqliteStore as MyStore\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:anyio",
        "-rA",
        "-c",
        "/dev/null",
    ]
    chosen = ["--rootdir", str(tmp_path), "-k", "figures or closing_twice or killed_process or alone", str(tmp_path)]
    done = subprocess.run(command + chosen, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED test_my_store.py::TestMyStore::test_figures" in done.stdout


def test_the_comparison_runs():
    """The guide's comparison of a driver with the oracle runs, and finds a driver that differs."""
    (block,) = [block for block in code_blocks() if "StorePair(" in block]
    names = {}
    exec(compile(block, "docs/drivers.md", "exec"), names)  # noqa: S102 - the guide is ours

    class LosesEvents(MemoryStore):
        async def append(self, items):
            return (await super().append(items[:1])) + (await super().append(items[:1])) * (len(items) - 1)

    async def run(driver):
        async with opened(driver):
            await names["compare"](driver)

    asyncio.run(run(MemoryStore()))
    with pytest.raises(AssertionError):
        asyncio.run(run(LosesEvents()))


def test_every_part_of_the_suite_is_named():
    """The guide and our own conftest name every module of the suite, and the suite has every part."""
    folder = Path(chaukas.server.testing.__file__).parent
    parts = sorted(path.stem.removeprefix("conformance_") for path in folder.glob("conformance_*.py"))
    for text in (GUIDE, (Path(__file__).parent.parent / "conftest.py").read_text()):
        named = re.search(r"\(\s*((?:\"\w+\",?\s*)+)\)", text)
        assert named is not None
        assert sorted(re.findall(r"\w+", named[1])) == parts
    # All but the base class that they share and the suite of the log, which not every driver keeps.
    assert len(StoreConformance.__bases__) == len(parts) - 2


def test_every_attribute_of_the_suite_is_documented():
    """Each class attribute that a driver may set stands in the guide with its default."""
    attributes = [name for part in StoreConformance.__mro__ for name in getattr(part, "__annotations__", {})]
    assert {"server_name", "second_server_refused", "oracle_events"} == set(attributes)
    for name in attributes:
        default = getattr(StoreConformance, name)
        shown = f'"{default}"' if isinstance(default, str) else f"{default:_}" if type(default) is int else str(default)
        assert f"| `{name}` | `{shown}` |" in GUIDE
    assert StoreCase in StoreConformance.__mro__


def test_the_fakes_need_no_pytest():
    """Store, records and comparison can be imported where pytest is not installed."""
    program = "import sys; sys.modules['pytest'] = None; import chaukas.server.testing; print(chaukas.server.testing.MemoryStore)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
