"""A server that answers `/v1/tail` as it is told: for what a real one does only when something goes wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Answer", "EventStreamServer", "event", "message", "recent", "streaming"]


def event(number: int, **members: Any) -> dict[str, Any]:
    """An event in the public form."""
    return {
        "event_id": f"e-{number}",
        "tenant_id": "acme",
        "project_id": "shop",
        "session_id": "s-1",
        "type": "INPUT_RECEIVED",
        "status": "COMPLETED",
        "severity": "INFO",
        "timestamp": f"2026-01-31T12:00:{number:02d}Z",
        "content": {"kind": "message", "role": "user", "text": f"text {number}"},
        **members,
    }


def message(number: int, **members: Any) -> bytes:
    """The event as the stream has it; its cursor is `c-<number>`."""
    return f"event: event\nid: c-{number}\ndata: {json.dumps(event(number, **members))}\n\n".encode()


def recent(number: int) -> bytes:
    """One of the newest events at the beginning: it has no cursor."""
    return f"event: event\ndata: {json.dumps(event(number))}\n\n".encode()


@dataclass
class Answer:
    """One answer to `/v1/tail`: its pieces are sent one by one, then the connection is closed."""

    pieces: Sequence[bytes] = ()
    status: int = 200
    media_type: str = "text/event-stream"
    #: Stay connected after the last piece.
    hold: bool = False


@dataclass
class EventStreamServer:
    """What it was asked, and what it answers."""

    answers: Iterator[Answer]
    asked: list[tuple[dict[str, list[str]], str | None]] = field(default_factory=list)
    url: str = ""
    ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def streaming(answers: Sequence[Answer]) -> Iterator[EventStreamServer]:
    """Serve the answers, one for each request; a request too many is held without an answer's end."""
    told = EventStreamServer(iter(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            assert parts.path == "/v1/tail"
            parameters: dict[str, list[str]] = {}
            for name, value in parse_qsl(parts.query):
                parameters.setdefault(name, []).append(value)
            told.asked.append((parameters, self.headers.get("Last-Event-ID")))
            answer = next(told.answers, Answer(hold=True))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.media_type)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in answer.pieces:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.flush()
            if answer.hold:
                told.ended.wait(60)
            elif answer.status != 200:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield told
        finally:
            told.ended.set()
            server.shutdown()
            thread.join()
