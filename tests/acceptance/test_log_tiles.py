"""Over HTTP a log is a C2SP tlog-tiles log: a client that knows nothing of us re-derives its root from entries and from tiles."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chaukas.verify.__main__ import main as verify
from tests.acceptance.log_events import ORIGIN, add_events
from tests.acceptance.started_server import StartedServer, running_server
from tests.acceptance.tile_client import SeenCheckpoint, TileClient, merkle_root, tile_path

#: Around the places where a tile becomes full, on two levels.
_SIZES = (1, 255, 256, 257, 65_535, 65_536, 65_537, 65_800)
_PREFIX = f"/log/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/"


class _Grown:
    """A server whose log grew through all sizes, with the checkpoint of each as it was seen then."""

    def __init__(self, server: StartedServer, http: httpx.Client, client: TileClient, key: str) -> None:
        self.server, self.http, self.client, self.key = server, http, client, key
        self.seen: dict[int, SeenCheckpoint] = {}
        self.partial: dict[int, bytes] = {}


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Grown]:
    directory = tmp_path_factory.mktemp("tiles")
    with running_server(directory, text_index="false") as server, httpx.Client(base_url=server.http_url, trust_env=False) as http:
        result = add_events(http, 0, 1)
        assert result[0]["worm_proof_id"] == f"{ORIGIN}#0"
        [listed] = http.get("/v1/logs").json()["logs"]
        assert (listed["origin"], listed["path"], listed["size"]) == (ORIGIN, _PREFIX, 1)
        client = TileClient(server.http_url + _PREFIX, listed["verifier_key"])
        log = _Grown(server, http, client, listed["verifier_key"])
        before = 1
        for size in _SIZES:
            add_events(http, before, size) if size > before else None
            before = size
            log.seen[size] = client.checkpoint()
            width = size % 256
            log.partial[size] = client.get(tile_path("0", size // 256, width)) if width else b""
        yield log


def test_every_checkpoint_covers_all_that_was_acknowledged(grown: _Grown) -> None:
    """A checkpoint is signed on demand: it covers every event that was acknowledged before it was asked for."""
    assert [seen.size for seen in grown.seen.values()] == list(_SIZES)


@pytest.mark.parametrize("size", _SIZES)
def test_the_root_follows_from_the_tiles(grown: _Grown, size: int) -> None:
    """Tiles hash to the root that was signed, and to the tiles above them, for every size that was ever seen."""
    levels = grown.client.levels(size)
    assert merkle_root(levels[0]) == grown.seen[size].root


def test_the_root_follows_from_the_entries(grown: _Grown) -> None:
    """Entry bundles hold exactly what was hashed, and with it every root that was ever signed."""
    leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in grown.client.entries(_SIZES[-1])]
    assert {size: merkle_root(leaves[:size]) for size in _SIZES} == {size: seen.root for size, seen in grown.seen.items()}
    assert leaves == grown.client.level(0, _SIZES[-1])


def test_what_was_once_served_is_served_for_ever(grown: _Grown) -> None:
    """A partial tile stays what it was, also when the tile is full by now: older checkpoints ask for it."""
    for size, before in grown.partial.items():
        if before:
            assert grown.client.get(tile_path("0", size // 256, size % 256)) == before


@pytest.mark.parametrize(
    "path",
    [
        tile_path("0", 257, 9),  # one hash more than the signed head covers
        tile_path("0", 257, 256),
        tile_path("0", 258, 1),
        tile_path("entries", 257, 9),
        tile_path("2", 0, 2),
        tile_path("3", 0, 1),
        "tile/0/000.p/0",  # empty tiles are never served
        "tile/0/000.p/256",
        "tile/0/x000/001",
        "tile/0/1",
        "tile/-1/000",
        "tile/64/000",
        "tile/0/",
        "tile/",
        "checkpoint/",
        "",
    ],
)
def test_what_is_no_tile_of_the_signed_tree_is_not_served(grown: _Grown, path: str) -> None:
    """Nothing beyond the newest signed head is served, no empty tile, and each tile under one path only."""
    assert grown.client.get(tile_path("0", 257, 8))
    assert grown.client.status(path) == 404


def test_no_other_log_is_served_under_a_similar_prefix(grown: _Grown) -> None:
    """A prefix names a log by the whole hash of its origin: one wrong digit, or upper case, finds nothing."""
    good = _PREFIX.split("/")[2]
    for origin_hash in (good[:-1] + ("0" if good[-1] != "0" else "1"), good.upper(), good[:16], "{origin_hash}", "x" * 64):
        assert grown.http.get(f"/log/{origin_hash}/checkpoint").status_code == 404
        assert grown.http.get(f"/log/{origin_hash}/tile/0/000").status_code == 404


def test_headers(grown: _Grown) -> None:
    """Full tiles may be cached for ever, checkpoints not at all; the media types are those of tlog-tiles."""
    full = grown.http.get(f"{_PREFIX}tile/0/000")
    assert (full.headers["content-type"], "immutable" in full.headers["cache-control"]) == ("application/octet-stream", True)
    partial = grown.http.get(f"{_PREFIX}tile/entries/257.p/8")
    assert "immutable" not in partial.headers["cache-control"]
    note = grown.http.get(f"{_PREFIX}checkpoint")
    assert (note.headers["content-type"], note.headers["cache-control"]) == ("text/plain; charset=utf-8", "no-cache")
    head = grown.http.head(f"{_PREFIX}tile/0/000")
    assert (head.status_code, head.content) == (200, b"")
    refused = grown.http.post(f"{_PREFIX}checkpoint")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(("old", "new"), [(1, 255), (256, 257), (255, 65_536), (65_536, 65_800), (257, 257)])
def test_the_verifier_accepts_the_growth(grown: _Grown, tmp_path: Path, old: int, new: int) -> None:
    """Between any two checkpoints that were seen, the answer of the server convinces the offline verifier."""
    (tmp_path / "old").write_bytes(grown.seen[old].note)
    (tmp_path / "new").write_bytes(grown.seen[new].note)
    answer = grown.http.get("/v1/proof/consistency", params={"origin": ORIGIN, "from": old, "to": new})
    (tmp_path / "proof").write_bytes(answer.content)
    files = [str(tmp_path / name) for name in ("old", "new")]
    assert verify(["consistency", *files, "--proof", str(tmp_path / "proof"), "--key", grown.key]) == 0


def test_the_verifier_finds_another_history(grown: _Grown, tmp_path: Path) -> None:
    """A proof for other sizes, or a checkpoint that was changed, does not pass."""
    (tmp_path / "old").write_bytes(grown.seen[255].note)
    (tmp_path / "new").write_bytes(grown.seen[65_536].note)
    answer = grown.http.get("/v1/proof/consistency", params={"origin": ORIGIN, "from": 256, "to": 65_536}).json()
    (tmp_path / "proof").write_text(json.dumps({**answer, "old_size": 255}))
    files = [str(tmp_path / name) for name in ("old", "new")]
    assert verify(["consistency", *files, "--proof", str(tmp_path / "proof"), "--key", grown.key]) == 1


@pytest.mark.parametrize("number", [0, 1, 254, 255, 256, 65_535, 65_536, 65_799])
def test_the_verifier_accepts_evidence_and_proof(grown: _Grown, tmp_path: Path, number: int) -> None:
    """Evidence and proof file of an event, by id or by place, convince the offline verifier."""
    entry = {"origin": ORIGIN, "index": number} if number % 2 else {"tenant_id": "acme", "event_id": f"event-{number}"}
    evidence = grown.http.get("/v1/evidence", params=entry)
    (tmp_path / "evidence").write_bytes(evidence.content)
    assert verify(["evidence", str(tmp_path / "evidence"), "--key", grown.key]) == 0
    by_accept = grown.http.get("/v1/proof/inclusion", params=entry, headers={"accept": "text/plain"})
    proof = grown.http.get("/v1/proof/inclusion", params={**entry, "format": "text"})
    assert proof.content == by_accept.content
    (tmp_path / "proof").write_bytes(proof.content)
    (tmp_path / "event").write_bytes(base64.b64decode(evidence.json()["payload"]))
    assert verify(["proof", str(tmp_path / "proof"), "--event", str(tmp_path / "event"), "--key", grown.key]) == 0
    (tmp_path / "checkpoint").write_bytes(grown.seen[_SIZES[-1]].note)
    assert verify(["checkpoint", str(tmp_path / "checkpoint"), "--key", grown.key]) == 0
    as_json = grown.http.get("/v1/proof/inclusion", params=entry).json()
    assert (as_json["index"], as_json["size"]) == (number, 65_800)
    lines = proof.text.partition("\n\n")[0].splitlines()
    assert lines[lines.index(f"index {number}") + 1 :] == as_json["hashes"]
