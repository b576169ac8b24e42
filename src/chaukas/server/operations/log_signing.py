"""Who signs the heads of this server's logs: what it does is counted and told."""

from __future__ import annotations

from chaukas.server.config import Settings
from chaukas.server.storage.log_contract import LogStore
from chaukas.server.telemetry import Telemetry
from chaukas.server.tlog.opening import open_sequencer
from chaukas.server.tlog.sequencer import Sequencer

__all__ = ["signing_sequencer"]


async def signing_sequencer(store: LogStore, settings: Settings, telemetry: Telemetry) -> Sequencer:
    """The sequencer of a server. Raises `CannotServeError` for a store that contradicts what was signed, `ConfigurationError`."""
    log = telemetry.logger("transparency_log")
    sequencer = await open_sequencer(
        store,
        settings.state_dir,
        settings.log_key_file,
        on_round=lambda figures: telemetry.record_heads(figures.heads, figures.duration_s, failed=figures.failed),
        on_problem=lambda problem: log.error("no head can be signed", problem=problem),
    )
    if sequencer.is_rotating:
        log.warning("a rotation of the key was interrupted: both keys sign; stop the server and run `chaukas key rotate` again")
    return sequencer
