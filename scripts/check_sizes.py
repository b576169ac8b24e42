"""Rooms stay small: a module above 400 lines gives its reason in its first docstring, one above 600 fails.

The reason is a sentence of the docstring that contains the words "one room because". Generated code is exempt.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

_REASON = "one room because"
_WANTS_REASON, _FAILS = 400, 600


def complaint(path: Path) -> str | None:
    """What is wrong with a module's size, or None."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines <= _WANTS_REASON:
        return None
    if lines > _FAILS:
        return f"{path}: {lines} lines, more than {_FAILS}: make two rooms of it"
    docstring = " ".join((ast.get_docstring(ast.parse(text)) or "").split())
    if _REASON not in docstring:
        return f'{path}: {lines} lines, more than {_WANTS_REASON}: split it, or say "{_REASON} …" in its docstring'
    return None


def main() -> int:
    """0 when all modules are fine."""
    root = Path(__file__).resolve().parent.parent
    modules = [
        path
        for folder in ("src", "scripts", "bench", "examples", "tests")
        for path in sorted((root / folder).rglob("*.py"))
        if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))
    ]
    complaints = [text for path in modules if (text := complaint(path))]
    sys.stderr.writelines(text + "\n" for text in complaints)
    sys.stdout.write(f"{len(modules)} modules measured, {len(complaints)} too large\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    raise SystemExit(main())
