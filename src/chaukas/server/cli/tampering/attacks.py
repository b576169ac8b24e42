"""What the three attackers do beside changing single rows: whole files, older copies, a new history with or without the key."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from chaukas.server.cli.tampering.sample import make_record
from chaukas.server.storage.sqlite.connection import DATABASE_NAME
from chaukas.server.tlog.keys import SigningKey, write_key_file
from chaukas.server.tlog.opening import HEADS_FILE, KEY_FILE

__all__ = ["Attack", "Attacker", "Expected", "attacks"]


class Attacker(StrEnum):
    """Who changes something (DESIGN "Three attackers")."""

    DATABASE = "the database"
    STATE = "database and state"
    EVERYTHING = "everything"


class Expected(StrEnum):
    """What must find it."""

    LOCALLY = "found locally"
    KEPT = "found by a kept checkpoint only"
    EXEMPT = "exempt"


@dataclass(frozen=True, slots=True)
class Attack:
    """One change to a copy: `apply(directory)`, which has `data` and `state`; False when it cannot be made here."""

    attacker: Attacker
    name: str
    expected: Expected
    apply: Callable[[Path], bool]


def attacks(older: Path, *, of_demo: bool) -> Iterator[Attack]:
    """Attacks on a record of which `older` holds an earlier copy."""
    local, kept = Expected.LOCALLY, Expected.KEPT
    yield Attack(Attacker.DATABASE, "record.db: put back to an older copy", local, lambda at: _copy(older, at, "data"))
    yield Attack(Attacker.DATABASE, "record.db: cut short by a page", local, lambda at: _cut(at / "data" / DATABASE_NAME, 4096))
    yield Attack(
        Attacker.DATABASE, "record.db: a page of zeros", local, lambda at: _overwrite(at / "data" / DATABASE_NAME, 0.4, 4096)
    )
    yield Attack(Attacker.DATABASE, "record.db: removed", local, lambda at: _remove(at / "data" / DATABASE_NAME))
    yield Attack(
        Attacker.DATABASE, "text.db: a page of zeros", Expected.EXEMPT, lambda at: _overwrite(at / "data" / "text.db", 0.4, 512)
    )
    yield Attack(Attacker.STATE, "signed-heads: a byte changed", local, lambda at: _overwrite(at / "state" / HEADS_FILE, 0.5, 1))
    yield Attack(
        Attacker.STATE, "signed-heads: put back to an older copy", local, lambda at: _copy(older, at, f"state/{HEADS_FILE}")
    )
    yield Attack(Attacker.STATE, "signed-heads: removed", local, lambda at: _remove(at / "state" / HEADS_FILE))
    yield Attack(Attacker.STATE, "log.key: a byte changed", local, lambda at: _overwrite(at / "state" / KEY_FILE, 0.5, 1))
    yield Attack(Attacker.STATE, "log.key: another key", local, lambda at: _new_key(at / "state"))
    yield Attack(
        Attacker.STATE, "database and state put back to an older copy", kept,
        lambda at: _copy(older, at, "data") and _copy(older, at, "state"),
    )  # fmt: skip
    if of_demo:
        yield Attack(
            Attacker.DATABASE, "a new history in the database, signed by another key", local, lambda at: _rewrite(at, "data")
        )
        yield Attack(
            Attacker.STATE,
            "a new history, signed-heads made anew, log.key kept elsewhere",
            local,
            lambda at: _rewrite(at, "heads"),
        )
        yield Attack(
            Attacker.STATE, "a new history, signed by the log.key of the state directory", kept, lambda at: _rewrite(at, "all")
        )
        yield Attack(Attacker.EVERYTHING, "a new history, signed by the key wherever it is", kept, lambda at: _rewrite(at, "all"))


def _copy(source: Path, target: Path, name: str) -> bool:
    if (source / name).is_dir():
        shutil.rmtree(target / name)
        shutil.copytree(source / name, target / name)
    else:
        shutil.copy2(source / name, target / name)
    return True


def _cut(path: Path, size: int) -> bool:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - size)
    return True


def _overwrite(path: Path, at: float, size: int) -> bool:
    """Change bytes in the middle of a file."""
    if not path.exists():
        return False
    data = bytearray(path.read_bytes())
    start = int(len(data) * at) // size * size
    data[start : start + size] = bytes(byte ^ 1 for byte in data[start : start + size]) if size == 1 else bytes(size)
    path.write_bytes(data)
    return True


def _remove(path: Path) -> bool:
    path.unlink()
    return True


def _new_key(state: Path) -> bool:
    (state / KEY_FILE).unlink()
    write_key_file(state / KEY_FILE, SigningKey.generate())
    return True


def _rewrite(at: Path, part: str) -> bool:
    """A record with another history, whole in itself. `part`: what of it the attacker can put in place."""
    made = at / "made"
    (made / "state").mkdir(parents=True)
    if part == "all":
        shutil.copy2(at / "state" / KEY_FILE, made / "state" / KEY_FILE)
    asyncio.run(make_record(made, changed="what really happened was different"))
    _copy(made, at, "data")
    if part in {"heads", "all"}:
        _copy(made, at, f"state/{HEADS_FILE}")
    shutil.rmtree(made)
    return True
