"""uvicorn as a part of this process: it shares the event loop with gRPC, and leaves signals to the composition root."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Iterator

import uvicorn

from chaukas.server.config import Address, Settings
from chaukas.server.errors import ConfigurationError
from chaukas.server.transports.http import HttpApp
from chaukas.server.transports.http_protocol import bounded_protocol

__all__ = ["HttpServer"]

_BACKLOG = 1024


class HttpServer:
    """The listener. Starts and stops once."""

    def __init__(self, app: HttpApp, settings: Settings) -> None:
        self._config = uvicorn.Config(
            app,
            http=bounded_protocol(int(settings.http_header_bytes_max), settings.http_keep_alive_s),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.http_keep_alive_s,
            backlog=_BACKLOG,
        )
        self._task: asyncio.Task[None] | None = None
        self._server: _EmbeddedServer | None = None

    async def start(self, address: Address) -> Address:
        """Listen and serve; returns the address with the real port. Raises `ConfigurationError` when that is impossible."""
        listener = _bind(address)
        self._server = _EmbeddedServer(self._config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="chaukas-http")
        started = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait((started, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            started.cancel()
            # It ended instead of serving; its own exception says why.
            await self._task
        port: int = listener.getsockname()[1]
        return Address(address.host, port)

    async def stop(self, grace_s: float) -> None:
        """Close the listener, wait for running requests for at most `grace_s` seconds, cancel the rest. Idempotent."""
        server, task = self._server, self._task
        self._server = self._task = None
        if server is None or task is None:
            return
        self._config.timeout_graceful_shutdown = math.ceil(grace_s)
        server.should_exit = True
        await task


class _EmbeddedServer(uvicorn.Server):
    """A uvicorn server that says when it listens and installs no signal handlers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bind(address: Address) -> socket.socket:
    """A listening socket. Raises `ConfigurationError`."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    dual = address.host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        raise ConfigurationError(f"http_address: cannot listen on {address}: {error.strerror or error}") from error
