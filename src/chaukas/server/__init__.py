"""The framework for backends of your own, and the ready server.

What a backend builder needs is importable from here; it is loaded when it is first asked for, so importing a module of the
server loads no more than that module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaukas.server.framework import (
        ChaukasClientServicer,
        ChaukasServicer,
        EventResult,
        StorageError,
        ValidationError,
        current_context,
        effective_filter,
        inline,
    )

__all__ = [
    "ChaukasClientServicer",
    "ChaukasServicer",
    "EventResult",
    "StorageError",
    "ValidationError",
    "current_context",
    "effective_filter",
    "inline",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("chaukas.server.framework"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
