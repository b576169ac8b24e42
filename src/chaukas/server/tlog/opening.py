"""The signing side of a server's logs, from its state directory: the key, the heads that were signed, the sequencer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chaukas.server.errors import CannotServeError, ConfigurationError
from chaukas.server.storage.log_contract import LogStore
from chaukas.server.tlog.kept_heads import KeptHeads
from chaukas.server.tlog.keys import SigningKey, read_key_file, write_key_file
from chaukas.server.tlog.sequencer import Sequencer, SequencerFigures

__all__ = ["HEADS_FILE", "KEY_FILE", "next_key_file", "open_sequencer", "signing_keys"]

KEY_FILE = "log.key"
HEADS_FILE = "signed-heads"


def next_key_file(path: Path) -> Path:
    """What stands beside a key file while the key is being replaced: then both sign (`chaukas key rotate`)."""
    return path.with_name(path.name + ".next")


def signing_keys(state_dir: Path, key_file: Path | None, *, create: bool) -> list[SigningKey]:
    """The keys that sign, the newest one last.

    1. The configured file, or `log.key` in the state directory; with `create` the latter is made when neither it nor any signed
       head is there: a key that is missing although heads were signed was lost, and another one would be a stranger's.
    2. The key that replaces it, while that is under way.

    Raises `ConfigurationError` for a file that is missing, readable by others, or no key.
    """
    # 1.
    path = key_file or state_dir / KEY_FILE
    try:
        key = read_key_file(path)
    except FileNotFoundError:
        if key_file is not None or not create:
            raise ConfigurationError(f"the key file {path} does not exist") from None
        if (state_dir / HEADS_FILE).exists():
            raise CannotServeError(
                f"the log key {path} is gone, but heads were signed with it: restore it from a backup, because auditors trust it"
            ) from None
        key = SigningKey.generate()
        write_key_file(path, key)
    # 2.
    following = next_key_file(path)
    return [key, read_key_file(following)] if following.exists() else [key]


async def open_sequencer(
    store: LogStore,
    state_dir: Path,
    key_file: Path | None,
    *,
    on_round: Callable[[SequencerFigures], None] | None = None,
    on_problem: Callable[[str], None] | None = None,
) -> Sequencer:
    """A sequencer that may sign: the store holds at least what was signed before.

    Raises `CannotServeError` for a store that was put back to an older state or changed, `ConfigurationError` for its key.
    """
    keys = signing_keys(state_dir, key_file, create=True)
    sequencer = Sequencer(store, keys, KeptHeads(state_dir / HEADS_FILE), on_round=on_round, on_problem=on_problem)
    await sequencer.check_kept()
    return sequencer
