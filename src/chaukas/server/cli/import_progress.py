"""The progress of an import on a terminal; silent where standard error is none."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

__all__ = ["ImportProgress"]


class _EventsColumn(ProgressColumn):
    """Acknowledged events and their rate."""

    def render(self, task: Task) -> Text:
        events = int(task.fields["events"])
        rate = events / task.elapsed if task.elapsed else 0.0
        return Text(f"{events:,} events  {rate:,.0f}/s")


class ImportProgress:
    """A bar over the bytes of all files, with events, rate and the time that is left; a context manager."""

    def __init__(self, console: Console, total_bytes: int | None) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(max_width=24, no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=20),
            TaskProgressColumn(table_column=Column(no_wrap=True)),
            _EventsColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("import", total=total_bytes, events=0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, source: str, read_bytes: int, events: int) -> None:
        """What is acknowledged so far, of which file: bytes of all files, and events."""
        self._progress.update(self._task, description=Path(source).name, completed=read_bytes, events=events)

    def report(self, line: str) -> None:
        """A line above the bar; on its own where there is no bar."""
        self._console.print(Text(line), soft_wrap=True)
