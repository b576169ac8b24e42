"""Writing an export (docs/export.md): the files of `chaukas-export@v1`, in the order in which a stream of entries gives them.

`ExportWriter` needs what a reader of the store has: entries in the order of their index, a checkpoint, and tiles. It keeps one
bundle of 256 entries in memory. What it wrote is complete only once the manifest is there, which `finish` writes last.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from chaukas.server.tlog.tiling import TileEdge
from chaukas.verify.checkpoints import Checkpoint
from chaukas.verify.evidence import Evidence
from chaukas.verify.exports import (
    JSON_LINES_NAME,
    KIND_LOG,
    KIND_QUERY,
    MANIFEST_NAME,
    ExportedEntry,
    ExportedLog,
    Manifest,
    encode_payload,
    encode_result,
    key_change_name,
    payloads_name,
    results_name,
)
from chaukas.verify.merkle import leaf_hash
from chaukas.verify.tiles import TILE_WIDTH, TilePath, encode_bundle
from chaukas.verify.verifier_keys import VerifierKey

__all__ = ["DirectorySink", "ExportSink", "ExportWriter", "ZipSink"]


class ExportSink(Protocol):
    """Where the files of an export go."""

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Write one new file from its parts."""

    def close(self) -> None:
        """All files are written."""


class DirectorySink:
    """A new or empty directory."""

    def __init__(self, root: Path) -> None:
        """Raises `FileExistsError` if there is anything in the directory."""
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise FileExistsError(f"{root} is not empty")
        self._root = root

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Write one new file."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.writelines(parts)

    def close(self) -> None:
        """Nothing is held open."""


class ZipSink:
    """A new ZIP archive, deflated. Members have no time stamps, so that the same export is the same archive."""

    def __init__(self, path: Path) -> None:
        """Raises `FileExistsError` if there is such a file."""
        self._archive = zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED, compresslevel=6)

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Write one new member."""
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        with self._archive.open(info, "w", force_zip64=True) as member:
            for part in parts:
                member.write(part)

    def close(self) -> None:
        """Write the archive's directory."""
        self._archive.close()


class ExportWriter:
    """Writes one export to a sink.

    Call shape: `complete_log` for each log, or `results` for each log that a query's results come from, and `key_changes` behind
    each of them; perhaps `json_lines`; then `finish`.
    """

    def __init__(self, sink: ExportSink) -> None:
        self._sink = sink
        self._files: dict[str, str] = {}
        self._logs: list[ExportedLog] = []
        self._kinds: set[str] = set()

    def _write(self, name: str, parts: Iterable[bytes]) -> None:
        digest = sha256()

        def hashed() -> Iterator[bytes]:
            for part in parts:
                digest.update(part)
                yield part

        self._sink.write(name, hashed())
        self._files[name] = digest.hexdigest()

    def _begin(self, kind: str, log: ExportedLog, checkpoint: Checkpoint, keys: Iterable[VerifierKey]) -> None:
        self._kinds.add(kind)
        self._logs.append(log)
        self._write(f"{log.path}/checkpoint", [bytes(checkpoint)])
        self._write(f"{log.path}/verifier-keys", [f"{key}\n".encode() for key in keys])

    def complete_log(self, entries: Iterable[ExportedEntry], checkpoint: Checkpoint, keys: Iterable[VerifierKey]) -> None:
        """A log up to `checkpoint`. `entries` begins with index 0; what it has beyond the checkpoint's size is not read.

        `keys` are the log's verifier keys, for information. Raises `ValueError` if there are fewer entries, they are not
        consecutive, or do not lead to the root of the checkpoint: then the store is damaged, and no manifest is written.
        """
        log = ExportedLog(checkpoint.origin, checkpoint.size, checkpoint.size)
        self._begin(KIND_LOG, log, checkpoint, keys)
        edge = TileEdge()
        stream = islice(entries, checkpoint.size)
        while bundle := list(islice(stream, TILE_WIDTH)):
            if [one.index for one in bundle] != list(range(edge.size, edge.size + len(bundle))):
                raise ValueError(f"the entries after index {edge.size} are not consecutive")
            number, width = edge.size // TILE_WIDTH, len(bundle)
            self._write(f"{log.path}/{TilePath(None, number, width)}", [encode_bundle([one.entry for one in bundle])])
            self._write(payloads_name(log, number, width), (encode_payload(one.salts, one.payload) for one in bundle))
            self._write_tiles(log, edge.extend([leaf_hash(one.entry) for one in bundle]))
        self._write_tiles(log, edge.partial_tiles())
        if (edge.size, edge.root()) != (checkpoint.size, checkpoint.root):
            raise ValueError(f"the {edge.size} entries of {log.origin} do not lead to the checkpoint of size {checkpoint.size}")

    def _write_tiles(self, log: ExportedLog, tiles: Iterable[tuple[TilePath, bytes]]) -> None:
        for path, tile in tiles:
            self._write(f"{log.path}/{path}", [tile])

    def results(self, entries: Iterable[ExportedEntry], checkpoint: Checkpoint, keys: Iterable[VerifierKey]) -> None:
        """The results of a query in one log, in the order of their index, each with its inclusion proof for `checkpoint`."""
        name = ExportedLog(checkpoint.origin, checkpoint.size, 0)
        stream = iter(entries)
        count = number = 0
        while part := list(islice(stream, TILE_WIDTH)):
            self._write(results_name(name, number), map(encode_result, part))
            count, number = count + len(part), number + 1
        self._begin(KIND_QUERY, ExportedLog(checkpoint.origin, checkpoint.size, count), checkpoint, keys)

    def key_changes(self, changes: Iterable[Evidence]) -> None:
        """Evidence of the changes of key of a log that was begun, each with the checkpoint that both keys signed."""
        for evidence in changes:
            log = next(log for log in self._logs if log.origin == evidence.origin)
            self._write(key_change_name(log, evidence.index), [bytes(evidence)])

    def json_lines(self, lines: Iterable[bytes]) -> None:
        """The events as JSON Lines, for people: `{"origin": …, "index": …, "event": {…}}`, each ended by a newline."""
        self._write(JSON_LINES_NAME, lines)

    def finish(self, created_at: str, query: dict[str, Any] | None = None) -> None:
        """Write the manifest and close the sink. Raises `ValueError` if complete logs and results were mixed."""
        if len(self._kinds) > 1:
            raise ValueError("an export holds complete logs or the results of a query, not both")
        kind = KIND_QUERY if query is not None or KIND_QUERY in self._kinds else KIND_LOG
        self._sink.write(MANIFEST_NAME, [bytes(Manifest(kind, created_at, query, tuple(self._logs), self._files))])
        self._sink.close()
