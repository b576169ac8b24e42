"""Part `schemathesis`: requests that follow from OpenAPI documents, right ones and wrong ones, against real servers.

Three documents: the server's own, the contract's as `contract_document` writes it, and the published one where a copy of it lies
at `.cache/published/public.yaml` (it is not part of any package, so nothing fetches it).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.contract_document import contract_document
from campaign.outcome import Stage
from tests.acceptance.started_server import StartedServer, running_server

__all__ = ["run"]

_ROOT = Path(__file__).resolve().parent.parent
_PUBLISHED = _ROOT / ".cache" / "published" / "public.yaml"
_SHOWN_CHARACTERS = 3_000
#: What it may take beyond the time that it is given.
_LONGER_S_MAX = 60
#: The server reads more than the documents say, on purpose: protobuf's JSON form, null, numbers as text.
_LENIENT = "negative_data_rejection"
#: The contract's documents name only the answer to what is right, and not what the server offers beside the contract.
_TERSE = ("status_code_conformance", "unsupported_method", "allow_header_conformance")
#: A schema does not say all that makes an event valid: a tenant for callers without a key, the length of ids in bytes.
_PARTIAL = "positive_data_acceptance"


@dataclass(frozen=True, slots=True)
class _Document:
    name: str
    location: str
    #: Which requests follow from it: right ones ("positive"), or wrong ones too ("all").
    mode: str
    excluded: tuple[str, ...]


def run(stage: Stage) -> None:
    """Each document in turn, against a server of its own, which stays alive and never answers 5xx."""
    if importlib.util.find_spec("schemathesis") is None:
        stage.problem("schemathesis is missing: install the extra `campaign`")
        return
    contract = stage.directory / "contract.json"
    contract.write_text(json.dumps(contract_document(), indent=1))
    documents = [
        _Document("the server's own", "{server}/openapi.json", "all", (_LENIENT, _PARTIAL)),
        _Document("the contract's", str(contract), "all", (_LENIENT, *_TERSE)),
    ]
    if _PUBLISHED.exists():
        # It lists words for fields that are free text in the contract: what it forbids may be stored, and is answered then.
        documents.append(_Document("the published one", str(_PUBLISHED), "positive", (*_TERSE, _PARTIAL)))
    else:
        stage.note("no copy of the published document lies here: it was not run")
    for number, document in enumerate(documents):
        # A server for each: what one document allows to be stored, another one need not describe.
        with running_server(stage.directory / f"server-{number}") as server:
            _run_document(stage, server, document, stage.directory / f"report-{number}.json", len(documents))


def _run_document(stage: Stage, server: StartedServer, document: _Document, report: Path, share: int) -> None:
    plan = stage.plan
    command = [str(Path(sys.executable).with_name("schemathesis")), "run"]
    command += [document.location.format(server=server.http_url), "--url", server.http_url, "--mode", document.mode]
    command += ["--max-examples", str(plan.schemathesis_examples), "--max-time", str(max(1, plan.schemathesis_max_s // share))]
    command += ["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--exclude-checks", ",".join(document.excluded)]
    command += ["--seed", str(stage.seed), "--warnings", "off", "--report", "json", "--report-json-path", str(report)]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "COLUMNS": "120"}
    limit_s = plan.schemathesis_max_s + _LONGER_S_MAX
    try:
        done = subprocess.run(
            command, cwd=stage.directory, env=environment, check=False, capture_output=True, text=True, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        stage.problem(f"{document.name}: schemathesis did not end within {limit_s} s")
        return
    if not report.exists():
        stage.problem(f"{document.name}: schemathesis did not run: {(done.stdout + done.stderr)[-_SHOWN_CHARACTERS:]}")
        return
    told: dict[str, Any] = json.loads(report.read_text())
    operations, cases = told["operations"], told["test_cases"]
    what = f"{document.name}: requests to {operations['tested']} of {operations['total']} operations"
    failures = cases["unique_failures"] + cases["errored"]
    stage.bounded(what, f"{cases['generated']:,}", "no failed check", met=failures == 0)
    if failures:
        _, _, shown = done.stdout.partition("= FAILURES =")
        stage.problem(f"{document.name}: {shown[:_SHOWN_CHARACTERS] or done.stdout[-_SHOWN_CHARACTERS:]}")
    stage.say(f"{document.name}: {cases['generated']:,} requests, {failures} failures")
