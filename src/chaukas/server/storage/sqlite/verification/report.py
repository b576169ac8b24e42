"""What a verification of the record says: steps, three verdicts, and what was not checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaukas.server.storage.sqlite.verification.findings import Findings
from chaukas.server.storage.sqlite.verification.heads import check_signatures, trusted_keys
from chaukas.server.storage.sqlite.verification.record import LogOutcome, Outcome
from chaukas.verify.checkpoints import Checkpoint
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.notes import verify_note
from chaukas.verify.verdict import AUTHENTICITY, COMPLETENESS, INTEGRITY, Report
from chaukas.verify.verifier_keys import ED25519, VerifierKey

__all__ = ["EXEMPT", "Expectations", "report_of"]

#: What a change of is not found, and why; `docs/security.md` explains them to users.
EXEMPT: Mapping[str, str] = {
    "segments.digests": "decides only whether a repeated event is the same; what it is the digest of is not kept",
    "heads.signed_at_ns": "the server's clock, which the signed note does not cover",
    "heads, all but the newest": "older heads are removed in time; the newest one covers what they covered",
    "quarantine.event_id, reasons, arrivals, first_received_at_ns, last_received_at_ns": "notes for the operator;"
    " the entry commits to the bytes",
    "quarantine, rows": "operators remove them; what was attributed stays in its log, the rest was nobody's",
    "sqlite_sequence": "a counter; only that it gives no number twice is checked",
    "postings and pending_postings": "compared as one set: rows move from the latter to the former, in any number of rows",
    "text.db": "an index of words, made anew by `chaukas reindex`; what it finds is read from the record",
    "entries behind the newest signed head": "at most a second's, which nothing has signed yet",
}

_STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the tables are those of this format, and the guard stands", ("schema", "meta", "sqlite_sequence", "SQLite")),
    ("every payload is what its entry commits to, and entries follow each other", ("segments", "logs")),
    ("the tree over the entries is the one that is kept, and every signed head is one of its roots", ("tiles", "heads")),
    ("sessions are those of the events", ("sessions", "session_hours", "session_spans")),
    ("the columns that filters read are those of the events", ("blocks", "block_columns", "tail")),
    ("every id and tag leads to its events, and to no others", ("postings", "pending_postings")),
    ("the counts are those of the events", ("hours", "totals")),
    ("what was set aside is what its entry commits to", ("quarantine",)),
)


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the record is compared with that does not stand in it."""

    #: The newest head that was signed of each log, kept in the state directory: size and root. None: no such file was named.
    kept_heads: Mapping[str, tuple[int, bytes]] | None = None
    #: Public keys that sign every log of this server.
    public_keys: tuple[bytes, ...] = ()
    #: Verifier keys of logs by their origin; where there is one, `public_keys` do not count for its log.
    keys: tuple[VerifierKey, ...] = ()
    #: Checkpoints that somebody kept from earlier.
    against: tuple[Checkpoint, ...] = ()

    def sizes(self) -> dict[str, set[int]]:
        """The heads whose roots are needed."""
        sizes: dict[str, set[int]] = {}
        for origin, (size, _) in (self.kept_heads or {}).items():
            sizes.setdefault(origin, set()).add(size)
        for checkpoint in self.against:
            sizes.setdefault(checkpoint.origin, set()).add(checkpoint.size)
        return sizes

    def keys_of(self, origin: str) -> list[VerifierKey]:
        """The keys that are trusted to sign a log."""
        named = [key for key in self.keys if key.name == origin]
        return named or [VerifierKey(origin, ED25519, key) for key in self.public_keys]


def report_of(subject: str, outcome: Outcome, expected: Expectations) -> Report:
    """The report on a settled verification. What is compared here is added to the outcome's findings."""
    findings = outcome.findings
    report = Report(subject, required=frozenset({INTEGRITY, COMPLETENESS}))
    for text, tables in _STEPS:
        report.run(INTEGRITY, text, lambda tables=tables: _require(findings, tables, INTEGRITY))  # type: ignore[misc]
    entries = sum(log.size for log in outcome.logs.values())
    text = f"nothing is missing: {entries:,} entries of {len(outcome.logs):,} logs were read"
    tables = tuple(table for _, some in _STEPS for table in some)
    report.run(COMPLETENESS, text, lambda: _require(findings, tables, COMPLETENESS))
    _compare_kept(report, outcome, expected)
    for checkpoint in expected.against:
        _compare_checkpoint(report, outcome, checkpoint, expected)
    _check_authenticity(report, outcome, expected)
    report.facts = {
        "logs": len(outcome.logs),
        "entries": entries,
        "damage": {"total": findings.total, "by_table": dict(sorted(findings.by_table.items()))},
        "first_damage": str(findings.first) if findings.first else None,
    }
    report.leave(_left_open(outcome, expected))
    return report


def _require(findings: Findings, tables: Sequence[str], aspect: str) -> None:
    """Raise `VerificationError` with the first finding of these tables and the number of the others."""
    found = findings.of(*tables, aspect=aspect)
    if found:
        others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise VerificationError(f"{found[0]}{others}")


def _compare_kept(report: Report, outcome: Outcome, expected: Expectations) -> None:
    """The heads that were signed last, as the state directory has them."""
    if expected.kept_heads is None:
        report.leave(["the heads in the state directory were not compared: a record that was put back to an older copy passes"])
        return
    findings = outcome.findings

    def compare() -> None:
        before = findings.by_table["signed-heads"]
        for origin, (size, root) in (expected.kept_heads or {}).items():
            _compare_head(findings, "signed-heads", outcome.logs.get(origin), origin, size, root)
        for origin, log in outcome.logs.items():
            size = (expected.kept_heads or {}).get(origin, (0, b""))[0]
            newer = sum(checkpoint.size > size for checkpoint in log.heads.checkpoints)
            # A crash leaves one head in the record that the file does not have yet.
            if newer > 1:
                findings.add(
                    "signed-heads", f"the file knows a head of {size} entries, and {newer} newer ones were signed", origin
                )
        if findings.by_table["signed-heads"] > before:
            _require(findings, ("signed-heads",), COMPLETENESS)
            _require(findings, ("signed-heads",), INTEGRITY)

    report.run(COMPLETENESS, "the logs hold what was signed last, as the state directory remembers it", compare)


def _compare_head(findings: Findings, table: str, log: LogOutcome | None, origin: str, size: int, root: bytes) -> None:
    if log is None or log.size < size:
        has = 0 if log is None else log.size
        what = f"a head of {size} entries was signed, and the log has {has}"
        findings.add(table, what, origin, has, aspect=COMPLETENESS)
    elif log.roots.get(size) is None:
        findings.add(table, f"the tree of {size} entries could not be made", origin, aspect=COMPLETENESS)
    elif log.roots[size] != root:
        findings.add(table, f"its first {size} entries are not those that were signed", origin)


def _compare_checkpoint(report: Report, outcome: Outcome, checkpoint: Checkpoint, expected: Expectations) -> None:
    """A checkpoint that was kept: the log continues it, and its signers are those that are trusted."""
    findings, origin = outcome.findings, checkpoint.origin
    log = outcome.logs.get(origin)

    def compare() -> None:
        found = Findings()
        _compare_head(found, "kept checkpoint", log, origin, checkpoint.size, checkpoint.root)
        for each in found.kept:
            findings.add(each.table, each.what, each.origin, each.index, aspect=each.aspect)
            raise VerificationError(str(each))

    report.run(INTEGRITY, f"{origin} continues the kept checkpoint of {checkpoint.size} entries", compare)
    trusted = expected.keys_of(origin)

    def signed() -> None:
        if log is None or not trusted:
            raise UnsupportedError("there is no key to check it with")
        try:
            verify_note(checkpoint.note, trusted_keys(log.heads, trusted))
        except VerificationError as error:
            findings.add("kept checkpoint", str(error), origin, aspect=AUTHENTICITY)
            raise

    report.run(
        AUTHENTICITY, f"the kept checkpoint of {origin} is signed by a key that signs the log now, or did before it", signed
    )


def _check_authenticity(report: Report, outcome: Outcome, expected: Expectations) -> None:
    """The signatures of all heads."""
    findings = outcome.findings
    signed = [log for log in outcome.logs.values() if log.heads.checkpoints]
    unsigned = [log.origin for log in outcome.logs.values() if log.size and not log.heads.checkpoints]
    unknown = [log.origin for log in signed if not expected.keys_of(log.origin)]
    for origins, why in ((unsigned, "nothing of {} was signed yet"), (unknown, "no key of {} was given: name --state or --key")):
        if origins:
            others = f" and {len(origins) - 1} other logs" if len(origins) > 1 else ""
            report.skip(AUTHENTICITY, "every log is signed by a key that is trusted here", why.format(origins[0] + others))

    def check() -> None:
        before = findings.by_aspect[AUTHENTICITY]
        for log in signed:
            trusted = expected.keys_of(log.origin)
            if trusted:
                check_signatures(log.heads, trusted_keys(log.heads, trusted), findings)
        if findings.by_aspect[AUTHENTICITY] > before:
            raise VerificationError(str(findings.of("heads", aspect=AUTHENTICITY)[0]))

    if len(signed) > len(unknown):
        entries = sum(log.heads.size for log in signed if expected.keys_of(log.origin))
        report.run(
            AUTHENTICITY,
            f"the heads of {len(signed) - len(unknown):,} logs, over {entries:,} entries, are signed by their keys",
            check,
        )


def _left_open(outcome: Outcome, expected: Expectations) -> list[str]:
    unread = "sessions, counts, columns and postings of {}: what they are made of cannot be read"
    left = [unread.format(origin) for origin in outcome.unread]
    unsigned = sum(log.size - log.heads.size for log in outcome.logs.values())
    if unsigned:
        left.append(
            f"{unsigned:,} entries stand behind the newest signed head of their log: who changes them now is not found out"
        )
    if outcome.unlogged_items:
        left.append(
            f"{outcome.unlogged_items:,} items of the quarantine belong to nobody, or have no entry yet: nothing vouches for them"
        )
    if not expected.against:
        left.append(
            "no kept checkpoint was named (--against): who has the state directory too can put everything back to an older state"
        )
        left.append("whoever has the signing key can write a new history: only a kept checkpoint or a witness shows that")
    left.append("that what clients sent is true, and that everything was sent; times of receipt are the server's word")
    left += [f"{name}: {why}" for name, why in EXEMPT.items()]
    return left
