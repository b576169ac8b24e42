"""Where the time goes while the server takes events in.

    python -m bench.profile_ingest [--load grpc-batch|http-batch|grpc-single] [--gil] [--native]

Runs the server as a child of py-spy, a sampling profiler that needs no change of the program and, for its own children,
no privileges. Prints four tables: how busy each thread was (waiting for the disk counts), which module of this project had
the time (with what libraries did on its behalf), which functions the time was spent in, and which functions of this project
it was spent below. With `--gil` only moments count in which a thread held the interpreter lock: what can not run beside
anything else. Sampling costs the server some speed; rates are measured by `python -m bench`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.load import LoadResult, run_load
from bench.machine import process_tree
from bench.process import ProductServer
from bench.sender import SenderOrder
from bench.workload import WorkloadSpec

__all__ = ["Profile", "main", "read_profile"]

_RESULTS = Path(__file__).resolve().parent / "results"
#: Frames of importing modules: the start of the server is not what is asked about.
_IMPORTING = "_find_and_load"
_OWN = "chaukas/server/"
#: On every stack of the event loop's thread; naming them would hide that the time went to the loop and to gRPC's own code.
_ROOTS = ("chaukas/server/app.py", "chaukas/server/cli/")
_THREAD_NUMBER = re.compile(r"thread \(\w+\): ")


@dataclass
class Profile:
    """Samples by thread, by the innermost module of this project, by innermost function, and by function in between."""

    samples: int
    threads: Counter[str]
    modules: Counter[str]
    innermost: Counter[str]
    below: Counter[str]


def _shortened(frame: str) -> str:
    """`function (path:line)` with the path from the project or the library on, not from the root of the machine."""
    name, _, place = frame.partition(" (")
    for start in (_OWN, "site-packages/", "lib/python3.", "chaukas/verify/"):
        if start in place:
            place = place[place.index(start) :].removeprefix("site-packages/")
            break
    return f"{name} ({place}"


def read_profile(path: Path) -> Profile:
    """Read collapsed stacks (`thread;frame;frame count`), leaving out those of importing modules."""
    profile = Profile(0, Counter(), Counter(), Counter(), Counter())
    for line in path.read_text().splitlines():
        stack, _, count_text = line.rpartition(" ")
        if _IMPORTING in stack:
            continue
        count = int(count_text)
        thread, *frames = stack.split(";")
        frames = [_shortened(frame) for frame in frames]
        own = [frame for frame in frames if f"({_OWN}" in frame and not any(root in frame for root in _ROOTS)]
        profile.samples += count
        profile.threads[_THREAD_NUMBER.sub("", thread)] += count
        profile.modules[own[-1].partition("(")[2].rpartition(":")[0] if own else "libraries alone"] += count
        if frames:
            profile.innermost[frames[-1]] += count
        for frame in set(own):
            profile.below[frame] += count
    return profile


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.profile_ingest", description="Profile the server under load.")
    parser.add_argument("--load", choices=("grpc-batch", "http-batch", "grpc-single"), default="grpc-batch")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--rate", type=int, default=100, help="samples per second")
    parser.add_argument("--gil", action="store_true", help="only while holding the interpreter lock")
    parser.add_argument("--native", action="store_true", help="show functions of C extensions too")
    parser.add_argument("--lines", type=int, default=30, help="lines of a table")
    return parser.parse_args()


def _order(options: argparse.Namespace, server: ProductServer) -> tuple[SenderOrder, int]:
    sessions = {"grpc-batch": 5, "http-batch": 1, "grpc-single": 1}[options.load]
    order = SenderOrder(
        kind=options.load,
        port=server.http_port if options.load == "http-batch" else server.grpc_port,
        workload=WorkloadSpec().to_json(),
        first_session=0,
        sessions_per_request=sessions,
        requests=options.events // (20 * sessions),
        in_flight=64 if options.load == "grpc-single" else 1,
    )
    return order, 1 if options.load == "grpc-single" else options.senders


def _end(server: ProductServer) -> None:
    """End the profiler first, so that it writes what it saw; the server goes on and is ended after it."""
    profiler, *served = process_tree(server.pid)
    os.kill(profiler, signal.SIGINT)
    end = time.monotonic() + 60.0
    while _lives(profiler) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in served:
        if _lives(pid):
            os.kill(pid, signal.SIGTERM)
    while any(_lives(pid) for pid in served) and time.monotonic() < end:
        time.sleep(0.1)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def _print(profile: Profile, result: LoadResult, options: argparse.Namespace) -> None:
    wanted = options.rate * result.seconds
    print(
        f"{options.load}, {result.events:,} events at {result.rate:,.0f} events/s under the profiler "
        f"(server {result.machine['server_cores']} cores, senders {result.machine['sender_cores']}), {profile.samples} samples"
    )
    tables = (
        ("share of the time in which a thread was busy", profile.threads, wanted),
        ("module of this project, with the libraries that it called", profile.modules, profile.samples),
        ("function in which the time was spent", profile.innermost, profile.samples),
        ("function of this project below which it was spent", profile.below, profile.samples),
    )
    for title, counter, whole in tables:
        print(f"\n| {title} | % |\n|---|---|")
        for name, count in counter.most_common(options.lines):
            print(f"| `{name}` | {100 * count / max(1, whole):.1f} |")


def main() -> int:
    """Run the server under the profiler and print the tables."""
    options = _arguments()
    profiler = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if profiler is None:
        print("py-spy is missing: pip install py-spy", file=sys.stderr)
        return 2
    _RESULTS.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="profile-", dir=_RESULTS))
    stacks = home / "stacks.txt"
    wrapper = [profiler, "record", "--rate", str(options.rate), "--format", "raw", "--threads", "--function"]
    wrapper += ["--full-filenames", "--nonblocking"]
    wrapper += ["--output", str(stacks), *(["--gil"] if options.gil else []), *(["--native"] if options.native else []), "--"]
    # One process, so that one profile holds everything.
    server = ProductServer(home, wrapper, settings={"CHAUKAS_SERVER_WRITER_PROCESS": "false"})
    try:
        server.start()
        order, senders = _order(options, server)
        result = run_load(server, order, senders)
        _end(server)
        _print(read_profile(stacks), result, options)
    finally:
        server.kill()
        shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
