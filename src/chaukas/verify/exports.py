"""The format of an export, `chaukas-export@v1`: its manifest and its records. docs/export.md describes it for people.

Nothing here is verified; `export_check` does that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from chaukas.verify.encodings import HASH_BYTES, parse_json_object
from chaukas.verify.errors import VerificationError
from chaukas.verify.export_files import ExportFiles, FileReader
from chaukas.verify.json_fields import JsonFields
from chaukas.verify.merkle import PROOF_HASHES_MAX
from chaukas.verify.origins import log_path
from chaukas.verify.payloads import Salts
from chaukas.verify.proofs import salt_flags, take_salts
from chaukas.verify.tiles import ENTRY_BYTES_MAX, TILE_WIDTH, TilePath, decode_bundle, hashes_on_level, number_path, tile_width

__all__ = [
    "EXPORT_FORMAT",
    "JSON_LINES_NAME",
    "KIND_LOG",
    "KIND_QUERY",
    "MANIFEST_NAME",
    "ExportedEntry",
    "ExportedLog",
    "Manifest",
    "encode_payload",
    "encode_result",
    "key_change_name",
    "key_change_names",
    "payloads_name",
    "read_entries",
    "results_name",
]

EXPORT_FORMAT = "chaukas-export@v1"
MANIFEST_NAME = "manifest.json"
JSON_LINES_NAME = "events.jsonl"
#: Complete logs, from the first entry to the checkpoint's last.
KIND_LOG = "log"
#: Some entries of one or more logs, each with a proof of its own.
KIND_QUERY = "query"

_MANIFEST_BYTES_MAX = 1 << 30
_PAYLOAD_BYTES_MAX = 1 << 30
_PAYLOAD_FLAG = 0x08
_INDEX = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ExportedLog:
    """One log in an export: `size` of its checkpoint, and how many of its entries are here."""

    origin: str
    size: int
    entries: int

    @property
    def path(self) -> str:
        """The folder of the log's files."""
        return log_path(self.origin)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export says of itself.

    `kind` is `log` or `query`; `query` is a JSON object that describes the question, or None; `files` maps the path of every file
    but the manifest to the hex SHA-256 of its bytes.
    """

    kind: str
    created_at: str
    query: dict[str, Any] | None
    logs: tuple[ExportedLog, ...]
    files: dict[str, str]

    def __bytes__(self) -> bytes:
        logs = [{"origin": log.origin, "path": log.path, "size": log.size, "entries": log.entries} for log in self.logs]
        value = {
            "format": EXPORT_FORMAT, "kind": self.kind, "created_at": self.created_at, "query": self.query, "logs": logs,
            "files": dict(sorted(self.files.items())),
        }  # fmt: skip
        return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read the manifest. Raises `VerificationError` for everything else, `UnsupportedError` for another version."""
        what = "the manifest"
        value = parse_json_object(data, what, _MANIFEST_BYTES_MAX)
        JsonFields.check_format(value, what, EXPORT_FORMAT)
        fields = JsonFields(value, what, ("format", "kind", "created_at", "query", "logs", "files"))
        logs, files, query = fields.value("logs"), fields.value("files"), fields.value("query")
        if fields.text("kind") not in (KIND_LOG, KIND_QUERY):
            raise VerificationError(f"{what}: kind is neither {KIND_LOG!r} nor {KIND_QUERY!r}")
        if not isinstance(logs, list) or not isinstance(files, dict) or not isinstance(query, dict | None):
            raise VerificationError(f"{what}: logs, files or query have the wrong type")
        if not all(isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in files.values()):
            raise VerificationError(f"{what}: a file has no hex SHA-256")
        parsed = tuple(map(_parse_log, logs))
        if len({log.origin for log in parsed}) != len(parsed):
            raise VerificationError(f"{what}: a log is listed twice")
        return cls(fields.text("kind"), fields.text("created_at"), query, parsed, files)


def _parse_log(value: object) -> ExportedLog:
    fields = JsonFields(value, "a log of the manifest", ("origin", "path", "size", "entries"))
    log = ExportedLog(fields.text("origin"), fields.number("size"), fields.number("entries"))
    if fields.text("path") != log.path:
        raise VerificationError(f"the path of the log {log.origin!r} is not {log.path}")
    return log


@dataclass(frozen=True, slots=True)
class ExportedEntry:
    """One entry of an export. `payload` is None if it is not there any more; `proof` is None in a complete log."""

    index: int
    entry: bytes
    salts: Salts
    payload: bytes | None
    proof: tuple[bytes, ...] | None = None


def payloads_name(log: ExportedLog, number: int, width: int = TILE_WIDTH) -> str:
    """The file with the payloads of the entries in the bundle of this number and width."""
    return f"{log.path}/payloads/{str(TilePath(None, number, width)).removeprefix('tile/entries/')}"


def results_name(log: ExportedLog, number: int) -> str:
    """The file with the `number`-th 256 results of a query in this log."""
    return f"{log.path}/results/{number_path(number)}"


def key_change_name(log: ExportedLog, index: int) -> str:
    """The file with the evidence of the log's change of key at this index, proven by the checkpoint that both keys signed."""
    return f"{log.path}/key-changes/{index}"


def key_change_names(log: ExportedLog, files: Iterable[str]) -> list[str]:
    """Those files of an export, in the order of their indices. Names that are no such file are not among them."""
    prefix = f"{log.path}/key-changes/"
    numbers = (name.removeprefix(prefix) for name in files if name.startswith(prefix))
    return [prefix + number for number in sorted(filter(_INDEX.fullmatch, numbers), key=int)]


def encode_payload(salts: Salts, payload: bytes | None) -> bytes:
    """A payload record: flags (salts as in a proof's extra data; 0x08 payload), salts, length in 32 bits, payload."""
    flags, joined = salt_flags(salts)
    if payload is None:
        return bytes((flags,)) + joined
    return bytes((flags | _PAYLOAD_FLAG,)) + joined + len(payload).to_bytes(4, "big") + payload


def encode_result(result: ExportedEntry) -> bytes:
    """A result record: index in 64 bits, entry after its length in 16, payload record, number of hashes in 8 bits, hashes."""
    proof = result.proof or ()
    if len(result.entry) > ENTRY_BYTES_MAX or len(proof) > PROOF_HASHES_MAX:
        raise VerificationError("an entry or its proof is too long for an export")
    head = result.index.to_bytes(8, "big") + len(result.entry).to_bytes(2, "big") + result.entry
    return head + encode_payload(result.salts, result.payload) + bytes((len(proof),)) + b"".join(proof)


def _read_payload(file: FileReader) -> tuple[Salts, bytes | None]:
    flags = file.number(1)
    salt_bits = flags & ~_PAYLOAD_FLAG
    salts, _ = take_salts(salt_bits, file.take(16 * salt_bits.bit_count()))
    if not flags & _PAYLOAD_FLAG:
        return salts, None
    length = file.number(4)
    if length > _PAYLOAD_BYTES_MAX:
        raise VerificationError(f"a payload of {length} bytes; at most {_PAYLOAD_BYTES_MAX} are read")
    return salts, file.take(length)


def _read_result(file: FileReader) -> ExportedEntry:
    index = file.number(8)
    entry = file.take(file.number(2))
    salts, payload = _read_payload(file)
    count = file.number(1)
    if count > PROOF_HASHES_MAX:
        raise VerificationError(f"a proof of {count} hashes; no tree needs more than {PROOF_HASHES_MAX}")
    return ExportedEntry(index, entry, salts, payload, tuple(file.take(HASH_BYTES) for _ in range(count)))


def read_entries(files: ExportFiles, kind: str, log: ExportedLog) -> Iterator[list[ExportedEntry]]:
    """The entries of one log of an export, up to 256 at a time, in the order of their index: what import and verifier read.

    Each file is read to its end. Raises `VerificationError` where a file is missing or not of the format.
    """
    if kind == KIND_LOG:
        if log.entries != log.size:
            raise VerificationError(f"a complete log of {log.size} entries cannot have {log.entries} in the export")
        for number in range((hashes_on_level(log.size, 0) + TILE_WIDTH - 1) // TILE_WIDTH):
            yield _read_bundle(files, log, number)
        return
    for number in range((log.entries + TILE_WIDTH - 1) // TILE_WIDTH):
        file = files.open(results_name(log, number))
        try:
            yield [_read_result(file) for _ in range(min(TILE_WIDTH, log.entries - number * TILE_WIDTH))]
            file.finish()
        finally:
            file.close()


def _read_bundle(files: ExportFiles, log: ExportedLog, number: int) -> list[ExportedEntry]:
    width = tile_width(log.size, 0, number)
    bundle = files.open(f"{log.path}/{TilePath(None, number, width)}")
    try:
        entries = decode_bundle(bundle.rest(width * (ENTRY_BYTES_MAX + 2)), width)
    finally:
        bundle.close()
    file = files.open(payloads_name(log, number, width))
    try:
        first = number * TILE_WIDTH
        found = [ExportedEntry(first + at, entry, *_read_payload(file)) for at, entry in enumerate(entries)]
        file.finish()
    finally:
        file.close()
    return found
