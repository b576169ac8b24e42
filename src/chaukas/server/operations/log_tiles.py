"""Tiles and entry bundles of a log (C2SP tlog-tiles), as far as the newest signed head reaches."""

from __future__ import annotations

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import NotFoundError, StorageError
from chaukas.server.operations.log_access import log_of_hash, logs_for
from chaukas.server.operations.services import Services
from chaukas.server.tlog.tile_reading import read_tile
from chaukas.verify.errors import VerificationError
from chaukas.verify.tiles import TILE_WIDTH, encode_bundle, parse_tile_path, tile_width

__all__ = ["get_tile"]


async def get_tile(services: Services, principal: Principal, origin_hash: str, path: str) -> bytes:
    """The bytes of a tile or bundle by its path below the log's prefix, `tile/0/x001/234.p/5`; they never change.

    A partial tile is given for every width up to the one that it has under the newest signed head, also when it is full by
    now: whoever holds an older checkpoint asks for that width. Raises `NotFoundError` for an unknown log, for what is no path of
    a tile, and for what lies behind the newest signed head; `StorageError` when it is missing.
    """
    log = await log_of_hash(services, principal, origin_hash)
    try:
        tile = parse_tile_path(path)
    except VerificationError as error:
        raise NotFoundError(f"{path[:100]!r} is {error}") from error
    logs = logs_for(services, principal)
    head = await logs.store.head(log.log_id)
    size = 0 if head is None else head.size
    if tile.width > tile_width(size, tile.level or 0, tile.number):
        raise NotFoundError(f"the newest signed head of this log covers {size} entries; {path} lies behind them")
    if tile.level is not None:
        return await read_tile(logs.store, log.log_id, tile.level, tile.number, tile.width)
    start = tile.number * TILE_WIDTH
    entries = await logs.store.entries(log.log_id, start, start + tile.width)
    if len(entries) != tile.width:
        raise StorageError(f"the record is damaged: entries from {start} on of the log {log.origin} are missing")
    try:
        return encode_bundle(entries)
    except VerificationError as error:
        raise StorageError(f"the record is damaged: {error}") from error
