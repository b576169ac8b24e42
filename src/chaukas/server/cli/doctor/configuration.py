"""Where the settings come from, and what was probably meant to be one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from chaukas.server.cli.doctor.finding import Finding, ok, warning
from chaukas.server.config import ENVIRONMENT_PREFIX, Settings, Source

__all__ = ["check_configuration"]

_CHECK: Final = "configuration"
#: Variables with the prefix that belong to something else: the command line's, and those that container platforms make up.
_FOREIGN: Final = frozenset({f"{ENVIRONMENT_PREFIX}URL"})
_NEAR: Final = 0.75


def check_configuration(settings: Settings, config_file: Path | None, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Settings that were read; refused ones never come here."""
    origins = [setting.source for setting in settings.effective()]
    counts = {source: origins.count(source) for source in Source}
    parts = [f"{config_file} ({counts[Source.FILE]})"] if config_file is not None else []
    if counts[Source.ENVIRONMENT]:
        parts.append(f"environment ({counts[Source.ENVIRONMENT]})")
    if counts[Source.FLAG]:
        parts.append(f"flags ({counts[Source.FLAG]})")
    parts.append(f"defaults ({counts[Source.DEFAULT]})")
    yield ok(_CHECK, f"{len(origins)} settings from {', '.join(parts)}; `chaukas config` lists them")
    known = [ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields]
    for variable in sorted(environment):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in known and variable not in _FOREIGN:
            near = difflib.get_close_matches(variable, known, n=1, cutoff=_NEAR)
            if near:
                yield warning(_CHECK, f"the variable {variable} sets nothing", f"did you mean {near[0]}?")
    for name, address in (("grpc_address", settings.grpc), ("http_address", settings.http)):
        if not address.is_loopback:
            yield warning(
                _CHECK,
                f"anybody who reaches {name} {address} may read and write",
                "let a proxy that knows its callers stand in front, or listen on 127.0.0.1",
            )
