"""Finders of the operator's own: code that looks for findings beside the catalogue (docs/findings.md)."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import cast

from chaukas.server.errors import ConfigurationError
from chaukas.server.explain.findings import RULES
from chaukas.server.explain.model import Explanation, Finder, Finding

__all__ = ["load_finders"]


def load_finders(names: Sequence[str]) -> tuple[Finder, ...]:
    """The finder of each `module:NAME`, in order: an object, or a class that is made without arguments.

    Raises `ConfigurationError` that names the entry when it cannot be imported, is no finder, fails to start, or claims a code
    that the catalogue or another entry has.
    """
    taken = {code: "the catalogue" for rule in RULES for code in rule.codes}
    return tuple(_load(name, taken) for name in names)


def _load(name: str, taken: dict[str, str]) -> Finder:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ConfigurationError(f"finders: {name!r} does not have the form module:NAME")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
        finder = found() if isinstance(found, type) else found
        codes = tuple(finder.codes) if hasattr(finder, "codes") else ()
    except Exception as error:  # a module of the operator's raises what it likes
        raise ConfigurationError(f"finders: {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if not codes or not all(isinstance(code, str) and code for code in codes) or not callable(getattr(finder, "find", None)):
        raise ConfigurationError(f"finders: {name!r} has no `codes` or no `find`; see chaukas.server.explain.model.Finder")
    for code in codes:
        if code in taken:
            raise ConfigurationError(f"finders: {name!r} reports {code}, which belongs to {taken[code]}")
        taken[code] = name
    return _Guarded(name, cast("Finder", finder), codes)


class _Guarded:
    """A finder of the operator's: when it fails, the log says so, and the explanation goes on without it."""

    def __init__(self, name: str, finder: Finder, codes: tuple[str, ...]) -> None:
        self._name = name
        self._finder = finder
        self.codes = codes

    def find(self, explanation: Explanation) -> list[Finding]:
        try:
            found = list(self._finder.find(explanation))
            foreign = sorted({finding.code for finding in found} - set(self.codes))
        except Exception:
            logging.getLogger(__name__).exception("the finder %s failed", self._name)
            return []
        if foreign:
            logging.getLogger(__name__).error("the finder %s reports %s, which it does not list", self._name, ", ".join(foreign))
        return [finding for finding in found if finding.code not in foreign]
