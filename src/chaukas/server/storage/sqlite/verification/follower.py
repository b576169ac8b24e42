"""The background verification: reads the record again and again, slowly, in a process of its own.

`python -m chaukas.server.storage.sqlite.verification.follower DIRECTORY ENTRIES_PER_S`; it ends when its standard input ends,
which it does with the server, however the server ends. On standard output it says `verified <entries>` after each step, `damage
<count> <text>` for each damage it has not told yet, and `whole <seconds since 1970>` or `damaged <findings>` when it has compared
everything.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw

from chaukas.server.errors import ChaukasError
from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK
from chaukas.server.storage.sqlite.verification.findings import Findings
from chaukas.server.storage.sqlite.verification.record import RecordVerification

__all__ = ["follow", "main"]

#: Only what nobody else wants.
_NICENESS = 19
#: Everything that is added up is compared so often, and everything is read anew so often, at most.
_SETTLE_S, _ROUND_S = 600.0, 3_600.0
_IDLE_S = 10.0
#: Damage that is told one by one.
_TOLD_MAX = 1_000


def follow(directory: Path, entries_per_s: float, report: Callable[[str], None], wait: Callable[[float], bool]) -> None:
    """Verify until `wait(seconds)` says that it is over. Raises what `RecordVerification` raises."""
    told: set[str] = set()
    while True:
        with closing(RecordVerification(directory)) as verification:
            if _round(verification, entries_per_s, report, wait, told):
                return


def _round(
    verification: RecordVerification,
    entries_per_s: float,
    report: Callable[[str], None],
    wait: Callable[[float], bool],
    told: set[str],
) -> bool:
    """From the first entry on, and behind what arrives meanwhile, until it is time to begin anew. True when it is over."""
    began_s, settled_s = time.monotonic(), 0.0
    while True:
        read = verification.step(EVENTS_PER_BLOCK)
        if read:
            report(f"verified {read}")
            _tell(verification.findings, report, told)
            if wait(read / entries_per_s):
                return True
            continue
        if not settled_s or time.monotonic() - settled_s > _SETTLE_S:
            settled_s = time.monotonic()
            findings = verification.settle().findings
            _tell(findings, report, told)
            report(f"damaged {findings.total}" if findings.total else f"whole {int(time.time())}")
        if time.monotonic() - began_s > _ROUND_S:
            return False
        if wait(_IDLE_S):
            return True


def _tell(findings: Findings, report: Callable[[str], None], told: set[str]) -> None:
    for damage in map(str, findings.kept):
        if damage not in told and len(told) < _TOLD_MAX:
            told.add(damage)
            report(f"damage {findings.total} {damage}".replace("\n", " "))


def _wait_for_end(seconds: float) -> bool:
    """Whether standard input has ended, looked at for so long."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)


def main(arguments: list[str]) -> int:
    """Verify the record in the directory that the first argument names, at the rate of the second one; 1 on a problem."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)

    def report(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        follow(Path(arguments[0]), float(arguments[1]), report, _wait_for_end)
    except (apsw.Error, ChaukasError, OSError) as error:
        with contextlib.suppress(OSError):
            report(f"problem {error}".replace("\n", " "))
        return 1
    except KeyboardInterrupt:
        # A terminal sends Ctrl-C to both processes; the server's end is what ends this one.
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
