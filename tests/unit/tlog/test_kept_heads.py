"""The journal of signed heads: it remembers over starts, finds damage, and is written anew only when most of it is outdated."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaukas.server.errors import CannotServeError
from chaukas.server.tlog import kept_heads
from chaukas.server.tlog.kept_heads import KeptHead, KeptHeads
from tests.log_samples import seeded


def _head(log: int, size: int) -> KeptHead:
    return KeptHead(f"server/events/{log}", size, seeded(f"{log} {size}"))


def test_heads_are_remembered(tmp_path: Path) -> None:
    """The newest head of each log is there after a start, whatever was appended; a torn last line is dropped."""
    path = tmp_path / "signed-heads"
    heads = KeptHeads(path)
    for size in range(1, 20):
        heads.keep([_head(log, size) for log in range(size % 4 + 1)])
    assert KeptHeads(path).all() == heads.all()
    with path.open("ab") as file:
        file.write(b"server/events/0 99 torn")
    again = KeptHeads(path)
    assert again.all() == heads.all()
    again.keep([_head(0, 100)])
    assert KeptHeads(path).get("server/events/0") == _head(0, 100)


def test_damage_is_found(tmp_path: Path) -> None:
    """A line that was changed stops the start: without the file nobody can tell an older copy."""
    path = tmp_path / "signed-heads"
    KeptHeads(path).keep([_head(0, 1), _head(1, 1)])
    path.write_bytes(path.read_bytes().replace(b" 1 ", b" 2 ", 1))
    with pytest.raises(CannotServeError, match="line 1"):
        KeptHeads(path)


def test_many_logs_do_not_rewrite_the_file_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is written anew when it holds mostly what is outdated, and not because it is large."""
    monkeypatch.setattr(kept_heads, "_REWRITE_BYTES", 1_000)
    path = tmp_path / "signed-heads"
    heads = KeptHeads(path)
    heads.keep([_head(log, 1) for log in range(100)])
    heads.keep([_head(0, 2)])
    large = path.stat().st_size
    files = {path.stat().st_ino}
    for size in range(3, 53):
        heads.keep([_head(0, size)])
        files.add(path.stat().st_ino)
    # Fifty lines behind a hundred that are up to date: at most one new file.
    assert len(files) <= 2
    for size in range(53, 500):
        heads.keep([_head(0, size)])
    assert path.stat().st_size < 3 * large
    assert KeptHeads(path).all() == heads.all()
