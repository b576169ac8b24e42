"""`chaukas doctor`: every check in turn, one line each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.text import Text

from chaukas.server.cli.configuration import load_settings
from chaukas.server.cli.doctor.clock import check_clock
from chaukas.server.cli.doctor.configuration import check_configuration
from chaukas.server.cli.doctor.directories import check_directories
from chaukas.server.cli.doctor.disk import check_disk, check_file_system
from chaukas.server.cli.doctor.finding import Finding, Verdict, problem
from chaukas.server.cli.doctor.limits import check_open_files
from chaukas.server.cli.doctor.ports import check_ports
from chaukas.server.cli.doctor.record import check_record, find_holder, read_figures
from chaukas.server.cli.doctor.software import check_software
from chaukas.server.cli.doctor.text_index import check_text_index
from chaukas.server.cli.event_line import printable
from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.failure import ExitStatus
from chaukas.server.cli.terminal import output_console
from chaukas.server.config import Settings
from chaukas.server.errors import ConfigurationError

__all__ = ["examine"]

_STYLES: Final = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "bold red"}
_CHECK_WIDTH: Final = 15


def examine(config_file: Path | None, flags: Mapping[str, object], assignments: Sequence[str], *, as_json: bool) -> ExitStatus:
    """Check what `serve` would need with these settings, and print a line for each finding.

    Returns `PARTLY` when there is a problem and `FAILED` when the settings are refused, because nothing that depends on them can
    be checked then.
    """
    try:
        settings = load_settings(config_file, flags, assignments)
    except ConfigurationError as error:
        refused = problem("configuration", error.public_message, "mend it; what depends on it was not checked")
        _print([refused, *check_software()], as_json=as_json)
        return ExitStatus.FAILED
    findings = list(_findings(settings, config_file))
    _print(findings, as_json=as_json)
    return ExitStatus.PARTLY if any(finding.verdict is Verdict.PROBLEM for finding in findings) else ExitStatus.DONE


def _findings(settings: Settings, config_file: Path | None) -> Iterator[Finding]:
    yield from check_configuration(settings, config_file, os.environ)
    yield from check_software()
    yield from check_directories(settings)
    yield from check_file_system(settings)
    yield from check_disk(settings)
    holder, lock = find_holder(settings)
    yield lock
    figures = read_figures(settings, holder)
    if isinstance(figures, Finding):
        yield figures
        yield from check_clock(None)
    else:
        yield from check_record(settings, figures)
        if figures is not None and figures.is_record and figures.recovered:
            yield from check_text_index(settings, figures, holder)
        yield from check_clock(None if figures is None else figures.newest_received_at_ns)
    yield from check_ports(settings, holder)
    yield from check_open_files(settings)


def _print(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        listing = [
            {"check": each.check, "verdict": each.verdict.value, "text": each.text, "advice": each.advice} for each in findings
        ]
        sys.stdout.write(f"{json_text({'findings': listing}, indent=2)}\n")
        return
    console = output_console()
    for each in findings:
        line = Text(f"{each.verdict.value:<8} ", style=_STYLES[each.verdict])
        line.append(f"{each.check:<{_CHECK_WIDTH}}  {printable(each.text)}", style="default")
        if each.advice:
            line.append(f" → {printable(each.advice)}", style="default")
        console.print(line, soft_wrap=True)
    counts = [sum(each.verdict is verdict for each in findings) for verdict in (Verdict.PROBLEM, Verdict.WARNING)]
    console.print(Text(f"\n{len(findings)} checks, {_counted(counts[0], 'problem')}, {_counted(counts[1], 'warning')}"))


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
