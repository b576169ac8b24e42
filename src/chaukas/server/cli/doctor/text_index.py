"""How far the text index is behind the record. It is derived data: nothing is lost when it is, questions only take longer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chaukas.server.cli.doctor.finding import Finding, ok, warning
from chaukas.server.config import Settings
from chaukas.server.errors import CannotServeError
from chaukas.server.storage.sqlite.inspection import RecordFigures, indexed_events, unrecovered_bytes
from chaukas.server.storage.sqlite.text_index.file import TEXT_INDEX_NAME

__all__ = ["check_text_index"]

_CHECK: Final = "text index"
#: Reading so many events takes a question about a second.
_LAG_MAX: Final = 100_000


def check_text_index(settings: Settings, figures: RecordFigures, holder: int | None) -> Iterator[Finding]:
    """Whether questions for words are answered from the index."""
    if holder is None and unrecovered_bytes(settings.data_dir, TEXT_INDEX_NAME):
        yield ok(_CHECK, "the next start works through its write-ahead log, and lets it catch up")
        return
    try:
        indexed = indexed_events(settings.data_dir, served=holder is not None)
    except CannotServeError as error:
        yield warning(_CHECK, error.public_message, "stop the server and remove text.db; the next start makes it anew")
        return
    lag = figures.events - (indexed or 0)
    if lag > _LAG_MAX and holder is not None:
        text = f"it is {lag:,} events behind; questions for words read these one by one"
        yield warning(_CHECK, text, "wait while it catches up; if it does not, read the server's log")
    elif lag > _LAG_MAX:
        yield ok(_CHECK, f"it is {lag:,} events behind; the next start lets it catch up")
    elif indexed is None:
        yield ok(_CHECK, "there is none yet; a small record is searched without one")
    else:
        yield ok(_CHECK, f"{indexed:,} events, {max(lag, 0):,} behind the record")
