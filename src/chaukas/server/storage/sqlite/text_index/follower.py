"""The follower of the text index: reads what the record has and the index has not, and adds it.

It runs in a process of its own (`python -m chaukas.server.storage.sqlite.text_index.follower DIRECTORY`), so that finding words
costs ingest no turn of the interpreter. The process ends when its standard input ends, which it does with the server, however
the server ends. On standard output it says one line per step: `indexed <events>` in sum over all logs, or `problem <text>`.
What it saves is positions together with the entries up to them: after a crash it goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path

import apsw

from chaukas.server.collector import calm_garbage_collector
from chaukas.server.errors import ChaukasError
from chaukas.server.storage.sqlite.text_index.feed import RecordFeed
from chaukas.server.storage.sqlite.text_index.writer import TextIndexWriter

__all__ = ["TextFollower", "main"]

#: Events between two commits of the index: what a crash lets it do again.
_EVENTS_PER_COMMIT = 8_192
#: How long it sleeps when there is nothing to do; questions search what is not indexed themselves, so nobody waits for it.
_IDLE_S = 0.1
#: Ingest comes first: on a busy machine the index falls behind rather than the acknowledgements.
_NICENESS = 15


class TextFollower:
    """Feeds a writer from the record of a directory."""

    def __init__(self, directory: Path, *, vfs: str | None = None) -> None:
        """Raises `apsw.Error` when there is no record to read."""
        self._feed = RecordFeed(directory, vfs=vfs)
        try:
            self._writer = TextIndexWriter(directory)
            self._drop_foreign()
        except BaseException:
            self._feed.close()
            raise

    @property
    def indexed_events(self) -> int:
        """Events in the index, in sum over all logs."""
        return sum(self._writer.indexed().values())

    def close(self) -> None:
        """Close both files."""
        self._writer.close()
        self._feed.close()

    def version(self) -> int:
        """Changes with every commit to the record."""
        return self._feed.version()

    def missing(self) -> int:
        """Events of the record that the index does not have yet."""
        indexed = self._writer.indexed()
        return sum(max(0, head - indexed.get(log_no, 0)) for log_no, head in self._feed.heads().items())

    def step(self, events_max: int = _EVENTS_PER_COMMIT) -> int:
        """Add up to about `events_max` events and commit. Returns how many there were; 0 when the index is complete."""
        indexed = self._writer.indexed()
        added = 0
        for log_no, head in self._feed.heads().items():
            position = indexed.get(log_no, 0)
            if position >= head:
                continue
            for stretch in self._feed.stretches(log_no, position, head):
                self._writer.add(log_no, stretch.first_index, stretch.bodies)
                added += len(stretch.bodies)
                position = stretch.first_index + len(stretch.bodies)
                if added >= events_max:
                    break
            self._writer.set_mark(log_no, self._feed.mark(log_no, position) or b"")
            if added >= events_max:
                break
        if added:
            self._writer.commit()
        return added

    def drop(self) -> None:
        """Begin the index anew."""
        self._writer.drop()

    def settle(self) -> None:
        """Bring the index into its smallest form, while there is nothing else to do."""
        self._writer.settle()

    def _drop_foreign(self) -> None:
        """An index that was made of another record, or of a newer state of this one, is begun anew."""
        for log_no, (index, mark) in self._writer.marks().items():
            if self._feed.mark(log_no, index) != mark:
                self._writer.drop()
                return


def follow(follower: TextFollower, report: Callable[[str], None], wait: Callable[[float], bool]) -> None:
    """Index until `wait(seconds)` says that it is over."""
    seen = -1
    report(f"indexed {follower.indexed_events}")
    while True:
        version = follower.version()
        if version == seen:
            if wait(_IDLE_S):
                return
            continue
        while follower.step():
            report(f"indexed {follower.indexed_events}")
            if wait(0):
                return
        follower.settle()
        seen = version


def _wait_for_end(seconds: float) -> bool:
    """Whether standard input has ended, looked at for so long."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)


def _step_back() -> None:
    """Run only where nobody else wants to, as far as the system knows such a class.

    A task of low priority keeps a processor for milliseconds when ingest wakes; one of the idle class leaves it at once.
    """
    with contextlib.suppress(OSError):
        if sys.platform == "linux":
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        else:
            os.nice(_NICENESS)


def main(arguments: list[str]) -> int:
    """Follow the record in the directory that the first argument names; exit status 0 at the end of input, 1 on a problem."""
    _step_back()
    calm_garbage_collector()

    def report(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        follower = TextFollower(Path(arguments[0]))
        try:
            follow(follower, report, _wait_for_end)
        finally:
            follower.close()
    except (apsw.Error, ChaukasError, OSError) as error:
        with contextlib.suppress(OSError):
            report(f"problem {type(error).__name__}: {error}".replace("\n", " "))
        return 1
    except KeyboardInterrupt:
        # A terminal sends Ctrl-C to both processes; the server's end is what ends this one.
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
