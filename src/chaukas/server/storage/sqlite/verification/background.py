"""The background verification as the server sees it: a process that is started some time after the server, and watched."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaukas.server.storage.sqlite.own_process import own_process

__all__ = ["BackgroundVerification", "VerificationNews"]

_MODULE = "chaukas.server.storage.sqlite.verification.follower"
_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class VerificationNews:
    """What the process has said; what is not new is 0, None or empty."""

    #: Entries read since the last news.
    verified: int = 0
    #: How much damage is known; None when nothing was said of it.
    damage: int | None = None
    #: When everything had been compared and was whole, in seconds since 1970.
    whole_at_s: int | None = None
    #: A damage that was not told before.
    what: str = ""
    #: Why it cannot verify.
    problem: str = ""


class BackgroundVerification:
    """Runs the process from `start` to `stop`; `on_news` is called in a thread of its own."""

    def __init__(
        self,
        directory: Path,
        entries_per_s: float,
        on_news: Callable[[VerificationNews], None],
        *,
        delay_s: float = 60.0,
        retry_s: float = 600.0,
    ) -> None:
        """It begins `delay_s` after `start`, so as not to stand in its way; after a failure it tries again each `retry_s`."""
        self._arguments = str(directory), str(entries_per_s)
        self._on_news = on_news
        self._delay_s, self._retry_s = delay_s, retry_s
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Verify from now on, after the delay."""
        self._thread = threading.Thread(target=self._watch, name="chaukas-verification", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the process and wait for it. Idempotent."""
        self._stopping.set()
        with self._lock:
            process = self._process
            if process is not None and process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        if process is not None:
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        pause_s = self._delay_s
        while not self._stopping.wait(pause_s):
            self._run_once()
            pause_s = self._retry_s

    def _run_once(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            try:
                process = self._process = own_process(_MODULE, *self._arguments)
            except OSError as error:
                self._on_news(VerificationNews(problem=f"the background verification cannot be started: {error}"))
                return
        with process:
            for line in process.stdout or ():
                news = _parse(line.decode(errors="replace").strip())
                if news is not None:
                    self._on_news(news)


def _parse(line: str) -> VerificationNews | None:
    word, _, rest = line.partition(" ")
    number, _, text = rest.partition(" ")
    if word == "problem":
        return VerificationNews(problem=rest)
    if not number.isdigit():
        return None
    if word == "verified":
        return VerificationNews(verified=int(number))
    if word == "damage":
        return VerificationNews(damage=int(number), what=text)
    if word == "damaged":
        return VerificationNews(damage=int(number))
    return VerificationNews(damage=0, whole_at_s=int(number)) if word == "whole" else None
