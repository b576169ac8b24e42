"""The witnesses of this server's logs, and this server as a witness: what they do is counted and told."""

from __future__ import annotations

from chaukas.server.config import Settings
from chaukas.server.storage.log_contract import LogStore
from chaukas.server.telemetry import Telemetry
from chaukas.server.tlog.witness_service import WitnessService, open_witness
from chaukas.server.tlog.witness_submission import WitnessSubmission, parse_witness

__all__ = ["serving_witness", "submission_to_witnesses", "witness_name_of"]


def witness_name_of(settings: Settings) -> str:
    """The name in this witness's cosignatures."""
    return settings.witness_name or f"{settings.server_name}/witness"


def submission_to_witnesses(store: LogStore, settings: Settings, telemetry: Telemetry) -> WitnessSubmission:
    """What shows the heads of the logs to the configured witnesses. Raises `ConfigurationError`."""
    log = telemetry.logger("witnesses")

    def contradicted(problem: str) -> None:
        telemetry.witness_contradictions.inc()
        log.error("a witness contradicts a log", problem=problem)

    return WitnessSubmission(
        store,
        [parse_witness(text) for text in settings.witnesses],
        interval_s=settings.witness_interval_s,
        on_outcome=lambda name, outcome: telemetry.witness_submissions.labels(name, outcome).inc(),
        on_behind=lambda name, logs: telemetry.witness_behind_logs.labels(name).set(logs),
        on_contradiction=contradicted,
        on_trouble=lambda problem: log.warning("not cosigned", problem=problem),
    )


def serving_witness(settings: Settings, telemetry: Telemetry) -> WitnessService:
    """The witness that this server is. Raises `ConfigurationError`, and `CannotServeError` for its key and its memory."""
    log = telemetry.logger("witness")

    def contradicted(origin: str, reason: str) -> None:
        telemetry.witness_refused_contradictions.inc()
        log.error("a log contradicts what was cosigned; the evidence is kept", origin=origin, reason=reason)

    return open_witness(
        settings.state_dir,
        witness_name_of(settings),
        settings.witness_logs,
        on_answer=lambda status: telemetry.witness_requests.labels(str(status)).inc(),
        on_contradiction=contradicted,
    )
