from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.errors import OverloadedError
from chaukas.server.telemetry import RequestMeter, Telemetry, new_request_id, request_id_of

_DOCUMENTATION = Path(__file__).parents[2] / "docs" / "metrics.md"


@given(st.text())
def test_a_callers_request_id_is_kept_only_when_it_is_safe_to_repeat(given_id: str) -> None:
    """No caller can write lines of their own into logs or headers by way of the request id."""
    kept = request_id_of(given_id)
    assert re.fullmatch(r"[A-Za-z0-9_.:/+=-]{1,128}", kept)
    assert kept == given_id or re.fullmatch(r"[0-9a-f]{16}", kept)


def test_request_ids_differ() -> None:
    """Two requests without an id of their own can be told apart."""
    assert len({new_request_id() for _ in range(1000)}) == 1000
    assert request_id_of("req-1") == "req-1"


def test_two_servers_in_one_process_keep_their_figures_apart() -> None:
    """Embedders and tests may run several servers; no figure is global."""
    first, second = Telemetry(), Telemetry()
    first.events.labels("grpc", "accepted").inc(3)
    assert b'chaukas_events_total{outcome="accepted",transport="grpc"} 3.0' in first.exposition()
    assert b"accepted" not in second.exposition()


def test_commits_are_measured_and_failures_counted() -> None:
    """The operator sees how large and how slow commits are, and that they fail."""
    telemetry = Telemetry()
    telemetry.record_commit(100, 120_000, 0.004, failed=False)
    telemetry.record_commit(1, 10, 0.1, failed=True)
    text = telemetry.exposition().decode()
    assert "chaukas_commit_events_sum 100.0" in text
    assert "chaukas_commit_size_bytes_count 1.0" in text
    assert "chaukas_commit_failures_total 1.0" in text


def test_the_meter_counts_and_bounds_requests() -> None:
    """More requests at once than configured are refused; leaving makes room again."""
    telemetry = Telemetry()
    meter = RequestMeter(telemetry, "http", 1)
    meter.enter()
    assert b'chaukas_requests_in_flight{transport="http"} 1.0' in telemetry.exposition()
    with pytest.raises(OverloadedError):
        meter.enter()
    meter.leave("/v1/events", "POST", "503", 0.1)
    meter.leave("/v1/events", "POST", "202", 0.1)
    meter.enter()
    text = telemetry.exposition().decode()
    assert 'chaukas_requests_total{method="POST",route="/v1/events",status="202",transport="http"} 1.0' in text
    assert 'chaukas_request_duration_seconds_count{method="POST",route="/v1/events",transport="http"} 2.0' in text


def test_log_lines_are_json_without_local_variables() -> None:
    """A log line can be read by a machine, and a traceback does not carry the content of events."""
    stream = io.StringIO()
    log = Telemetry(log_format="json", log_stream=stream).logger("http")

    def fail() -> None:
        text = "content of an event"
        raise ValueError(len(text))

    try:
        fail()
    except ValueError:
        log.exception("request failed", request_id="r1")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["room"], line["request_id"], line["level"]) == ("request failed", "http", "r1", "error")
    assert "ValueError" in stream.getvalue()
    assert "content of an event" not in stream.getvalue()


def test_what_is_below_the_level_is_not_written() -> None:
    """A quiet server writes nothing per request."""
    stream = io.StringIO()
    telemetry = Telemetry(log_level="warning", log_format="console", log_stream=stream)
    telemetry.logger("http").info("request")
    assert stream.getvalue() == ""
    assert not telemetry.logs_requests
    telemetry.logger("http").warning("refused", status=503)
    assert "refused" in stream.getvalue()
    assert "503" in stream.getvalue()


def test_libraries_log_through_us_until_released() -> None:
    """A warning of a library has the same form as our own, and nothing stays behind when the server is gone."""
    stream = io.StringIO()
    telemetry = Telemetry(log_format="json", log_stream=stream)
    handler = telemetry.capture_library_logs(["chaukas.test.library"])
    library = logging.getLogger("chaukas.test.library")
    library.warning("odd %s", "thing")
    telemetry.release_library_logs(handler, ["chaukas.test.library"])
    line = json.loads(stream.getvalue())
    assert (line["event"], line["room"], line["level"]) == ("odd thing", "chaukas.test.library", "warning")
    assert library.handlers == []
    assert library.propagate


def test_every_metric_is_documented() -> None:
    """`docs/metrics.md` names every metric that the server has, and no other of ours."""
    documented = set(re.findall(r"^\| `([a-z_]+)`", _DOCUMENTATION.read_text(), re.MULTILINE))
    assert documented == set(Telemetry().metric_names())
