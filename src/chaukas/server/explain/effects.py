"""What a tool's name says about it: whether it reads or changes something. A name is no proof, and sentences say so."""

from __future__ import annotations

import re
from enum import StrEnum

__all__ = ["Effect", "effect_of"]


class Effect(StrEnum):
    """What a name suggests."""

    READS = "reads"
    CHANGES = "changes"
    UNKNOWN = "unknown"


_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# fmt: off
_CHANGES = frozenset((
    "add", "adjust", "apply", "approve", "archive", "assign", "buy", "cancel", "charge", "close", "commit", "create", "delete",
    "deploy", "disable", "dispatch", "drop", "edit", "email", "enable", "execute", "exec", "grant", "insert", "install",
    "invite", "kill", "lock", "make", "merge", "modify", "move", "notify", "open", "pay", "publish", "purchase", "push",
    "put", "refund", "reject", "release", "remove", "rename", "replace", "reply", "reserve", "reset", "restart",
    "revoke", "save", "send", "sign", "start", "stop", "store", "submit", "suspend", "transfer", "uninstall", "unlock",
    "update", "upload", "upsert", "withdraw", "write",
))
# fmt: on
# fmt: off
_READS = frozenset((
    "browse", "check", "compare", "count", "describe",
    "detect", "fetch", "find", "get", "grep", "inspect", "list", "load", "look", "lookup",
    "measure", "peek", "query", "read", "recall", "retrieve", "search", "select",
    "show", "verify", "view", "weather",
))
# fmt: on


def effect_of(name: str) -> Effect:
    """Judge by the first word of a name that is known to either list: `refund_order` changes, `getWeather` reads."""
    for word in _WORDS.findall(name):
        lower = word.lower()
        if lower in _CHANGES:
            return Effect.CHANGES
        if lower in _READS:
            return Effect.READS
    return Effect.UNKNOWN
