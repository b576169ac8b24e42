"""What of an event is handed to the index: its texts as one string that FTS5 cuts into exactly our tokens."""

from __future__ import annotations

from typing import Final

from chaukas.server.storage.sqlite.text_index.file import BOUNDARY
from chaukas.server.text.event_tokens import tokens_of_event
from chaukas.server.text.printing import printed_numbers, printed_of
from chaukas.server.text.tokens import space_symbols, tokens_of, without_typography

__all__ = ["indexed_text"]

_BETWEEN: Final = f" {BOUNDARY} "


def indexed_text(stored: bytes) -> str:
    """The texts of an event with `BOUNDARY` between them; empty when it has none.

    A string in ASCII is cut by FTS5 itself, in C, so that only the symbols have to stand apart; any other one is cut here and
    its tokens are joined by blanks. Raises `StorageError` for bytes that are no event.
    """
    printed = printed_of(stored)
    if printed is None or BOUNDARY in printed:
        return _BETWEEN.join(map(" ".join, tokens_of_event(stored)))
    texts = without_typography(printed).split('"')[1::2]
    texts += printed_numbers(printed)
    text = _BETWEEN.join(texts)
    if text.isascii():
        return space_symbols(text)
    return _BETWEEN.join(" ".join(tokens_of(text)) for text in texts)
