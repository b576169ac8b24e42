"""The tokens of an event: what an index stores and what a query is compared with."""

from __future__ import annotations

from chaukas.server.text.printing import printed_numbers, printed_of
from chaukas.server.text.texts import texts_of
from chaukas.server.text.tokens import ASCII_TOKENS, space_symbols, tokens_of, without_typography

__all__ = ["tokens_of_event"]

#: As `ASCII_TOKENS`, but quotation marks stay: they stand around each text.
_ASCII_TOKENS = ASCII_TOKENS[: ord('"')] + '"' + ASCII_TOKENS[ord('"') + 1 :]


def tokens_of_event(stored: bytes) -> list[list[str]]:
    """The tokens of each text of an event that has any, text by text: a phrase never crosses from one text to another.

    The same as `tokens_of` of each of `texts_of`, in another order. Raises `StorageError` for bytes that are no event.
    """
    printed = printed_of(stored)
    if printed is None:
        return [tokens for text in texts_of(stored) if (tokens := tokens_of(text))]
    numbers = printed_numbers(printed)
    printed = without_typography(printed)
    if printed.isascii():
        # All texts at once: one event has some twenty of them, most of them short.
        texts = space_symbols(printed).translate(_ASCII_TOKENS).split('"')[1::2]
        found = [tokens for text in texts if (tokens := text.split())]
    else:
        found = [tokens for text in printed.split('"')[1::2] if (tokens := tokens_of(text))]
    if numbers:
        found += map(tokens_of, numbers)
    return found
