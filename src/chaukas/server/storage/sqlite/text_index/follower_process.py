"""The follower's process, as the server sees it: started when there is something to do, watched, started again when it ends."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from chaukas.server.storage.sqlite.own_process import own_process
from chaukas.server.storage.sqlite.text_index.file import remove_text_index

__all__ = ["FollowerProcess"]

_MODULE = "chaukas.server.storage.sqlite.text_index.follower"
#: Between two starts after a failure: it doubles up to the longest.
_PAUSE_S, _PAUSE_MAX_S = 0.5, 60.0
_STOP_S = 10.0


class FollowerProcess:
    """Keeps one follower running from `start` to `stop`; a thread reads what it says."""

    def __init__(self, directory: Path, on_problem: Callable[[str], None]) -> None:
        self._directory = directory
        self._on_problem = on_problem
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._damaged = threading.Event()
        #: Events in the index, in sum, as far as the follower has said.
        self.indexed_events = 0
        #: When it last said so (`time.monotonic`); 0 before it did.
        self.progress_at_s = 0.0
        #: How often it was started again after it had ended by itself.
        self.restarts = 0

    @property
    def started(self) -> bool:
        """Whether it was asked to run."""
        return self._thread is not None

    def start(self) -> None:
        """Run the follower from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="chaukas-text-follower", daemon=True)
            self._thread.start()

    def begin_anew(self) -> None:
        """Somebody has found the index damaged: end the follower, remove the file, and start again."""
        self._damaged.set()
        self._end_input()
        self.start()

    def stop(self) -> None:
        """End the process and wait for it. Idempotent."""
        self._stopping.set()
        process = self._end_input()
        if process is not None:
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread is not None:
            self._thread.join()

    def _end_input(self) -> subprocess.Popen[bytes] | None:
        """Close the follower's standard input, upon which it ends."""
        with self._lock:
            process = self._process
            if process is not None and process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        return process

    def _watch(self) -> None:
        pause_s = _PAUSE_S
        while not self._stopping.is_set():
            if self._damaged.is_set():
                self._damaged.clear()
                self._on_problem("a question found the text index damaged; it is made anew")
                remove_text_index(self._directory)
                self.indexed_events = 0
            before = self.indexed_events
            said = self._run_once()
            if self._stopping.is_set():
                return
            if self._damaged.is_set():
                continue
            self._on_problem(said or "the follower of the text index ended")
            self.restarts += 1
            pause_s = _PAUSE_S if self.indexed_events != before else min(2 * pause_s, _PAUSE_MAX_S)
            self._stopping.wait(pause_s)

    def _run_once(self) -> str:
        """One life of the process; returns the last problem it told."""
        with self._lock:
            if self._stopping.is_set():
                return ""
            try:
                process = self._process = own_process(_MODULE, str(self._directory))
            except OSError as error:
                return f"the follower of the text index cannot be started: {error}"
        problem = ""
        with process:
            for line in process.stdout or ():
                word, _, rest = line.decode(errors="replace").strip().partition(" ")
                if word == "indexed" and rest.isdigit():
                    self.indexed_events = int(rest)
                    self.progress_at_s = time.monotonic()
                elif word == "problem":
                    problem = f"the text index cannot be written: {rest}"
        return problem
