"""`python -m chaukas.verify`: check evidence, proofs, checkpoints and exports offline. See docs/verify.md."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chaukas.verify.checkpoints import parse_checkpoint
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.export_check import check_export
from chaukas.verify.key_chain import follow_key_changes
from chaukas.verify.reports import check_checkpoint, check_consistency, check_evidence, check_proof
from chaukas.verify.trust import Trust
from chaukas.verify.verdict import ASPECTS, Outcome, Report
from chaukas.verify.verifier_keys import VerifierKey, parse_verifier_keys

__all__ = ["main"]

_INPUT_BYTES_MAX = 1 << 30
_STATUS = {Outcome.VERIFIED: 0, Outcome.FAILED: 1, Outcome.NOT_CHECKED: 2}
_EPILOG = (
    "Exit status: 0 verified, 1 failed, 2 could not check. A FILE of - is standard input. docs/verify.md explains the verdicts."
)


def _read(path: str) -> bytes:
    """A file's bytes; `UnsupportedError` if it cannot be read."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(_INPUT_BYTES_MAX + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(_INPUT_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise UnsupportedError(f"{path} cannot be read: {error}") from error
    if len(data) > _INPUT_BYTES_MAX:
        raise UnsupportedError(f"{path} has more than {_INPUT_BYTES_MAX} bytes")
    return data


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    trust = common.add_argument_group("whom you trust (never taken from the server's answer)")
    trust.add_argument("--key", action="append", default=[], metavar="VKEY", help="verifier key of the log; may be repeated")
    trust.add_argument("--key-file", action="append", default=[], metavar="FILE", help="file with such keys, one per line")
    trust.add_argument(
        "--key-change",
        action="append",
        default=[],
        metavar="FILE",
        help="evidence of a change of the log's key, from a key that you gave to the next; may be repeated, in order",
    )
    trust.add_argument(
        "--witness", action="append", default=[], metavar="VKEY", help="verifier key of a witness; may be repeated"
    )
    trust.add_argument("--witness-file", action="append", default=[], metavar="FILE", help="file with such keys, one per line")
    trust.add_argument("--witnesses-min", type=int, default=0, metavar="N", help="how many of these witnesses must have signed")
    trust.add_argument("--origin", metavar="ORIGIN", help="origin of the log, if its key has another name")
    common.add_argument("--json", action="store_true", help="print the report as JSON")

    parser = argparse.ArgumentParser(prog="python -m chaukas.verify", description=__doc__, epilog=_EPILOG)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=about, epilog=_EPILOG, parents=[common])

    command("evidence", "evidence of one entry, as /v1/evidence answers it").add_argument("file", metavar="FILE")
    proof = command("proof", "a proof file (c2sp.org/tlog-proof@v1)")
    proof.add_argument("file", metavar="FILE")
    proof.add_argument("--event", metavar="FILE", help="the stored bytes of the event that the proof is said to be of")
    command("checkpoint", "a checkpoint and its witnesses").add_argument("file", metavar="FILE")
    consistency = command("consistency", "that a log has only grown between two checkpoints")
    consistency.add_argument("old", metavar="OLD")
    consistency.add_argument("new", metavar="NEW")
    consistency.add_argument("--proof", metavar="FILE", help="the answer of /v1/proof/consistency for their sizes")
    export = command("export", "a whole export, directory or ZIP archive")
    export.add_argument("path", metavar="PATH")
    export.add_argument("--against", metavar="CHECKPOINT", help="a checkpoint that you kept from earlier")
    return parser


def _trust(arguments: argparse.Namespace) -> Trust:
    def keys(texts: Sequence[str], files: Sequence[str]) -> tuple[VerifierKey, ...]:
        from_files = [key for file in files for key in parse_verifier_keys(_read(file).decode("utf-8", "replace"))]
        return (*map(VerifierKey.parse, texts), *from_files)

    trust = Trust(
        log_keys=keys(arguments.key, arguments.key_file),
        witness_keys=keys(arguments.witness, arguments.witness_file),
        origin=arguments.origin,
        witnesses_min=arguments.witnesses_min,
    )
    return follow_key_changes(map(_read, arguments.key_change), trust)


def _export(arguments: argparse.Namespace, trust: Trust) -> Report:
    against = parse_checkpoint(_read(arguments.against)) if arguments.against else None
    return check_export(Path(arguments.path), trust, against)


_COMMANDS: dict[str, Callable[[argparse.Namespace, Trust], Report]] = {
    "evidence": lambda given, trust: check_evidence(_read(given.file), trust),
    "proof": lambda given, trust: check_proof(_read(given.file), _read(given.event) if given.event else None, trust),
    "checkpoint": lambda given, trust: check_checkpoint(_read(given.file), trust),
    "consistency": lambda given, trust: check_consistency(
        _read(given.old), _read(given.new), _read(given.proof) if given.proof else None, trust
    ),
    "export": _export,
}


def _plain(value: object) -> str:
    """Text from outside, safe for a terminal: what is not printable is escaped, on one line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(value))


def _lines(report: Report) -> list[str]:
    lines = [f"Checking {report.subject}:"]
    for step in report.steps:
        lines.append(f"{step.number:3}. {step.outcome.value:11}  {_plain(step.text)}")
        if step.reason:
            lines.append(f"     {'':11}  {_plain(step.reason)}")
    lines.append("")
    for aspect in ASPECTS:
        verdict = report.verdict(aspect)
        lines.append(f"{aspect:13} {verdict.outcome.value}" + "".join(f"\n{'':13} - {_plain(one)}" for one in verdict.reasons))
    facts = _flat_facts(report.facts)
    if facts:
        lines += ["", "What it says (as far as it is verified above):", *facts]
    lines += ["", "Not checked:", *(f"- {_plain(sentence)}" for sentence in report.not_checked or ["nothing further"])]
    return [*lines, "", f"Outcome: {report.outcome.value}"]


def _flat_facts(facts: dict[str, Any], indent: str = "  ") -> list[str]:
    lines: list[str] = []
    for name, value in facts.items():
        if isinstance(value, list):
            for one in value:
                nested = _flat_facts(one, f"{indent}  ") if isinstance(one, dict) else [f"{indent}  {_plain(one)}"]
                lines += [f"{indent}{name}:", *nested]
        elif value not in (None, ""):
            lines.append(f"{indent}{name}: {_plain(value)}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 verified, 1 failed, 2 could not check."""
    given = _parser().parse_args(arguments)
    try:
        report = _COMMANDS[given.command](given, _trust(given))
    except VerificationError as error:  # a key, or a file that the auditor named: nothing was checked yet
        print(f"could not check: {_plain(error)}", file=sys.stderr)
        return 2
    text = json.dumps(report.as_json(), indent=1) if given.json else "\n".join(_lines(report))
    print(text)
    return _STATUS[report.outcome]


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # names in a log may have characters that the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
