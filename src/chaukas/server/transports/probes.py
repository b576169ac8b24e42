"""Asking listeners over their sockets whether they answer, before a server calls itself ready."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2

from chaukas.server.config import Address
from chaukas.server.errors import CannotServeError

__all__ = ["probe_grpc", "probe_http"]

_PROBE_S = 5.0


def _reachable(address: Address) -> Address:
    """Where this process reaches a listener that listens on every interface."""
    return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host), address.port)  # noqa: S104


async def probe_http(address: Address) -> None:
    """Ask the listener for something that it answers before the server is ready. Raises `CannotServeError`."""
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(*_parts(_reachable(address)))
            try:
                writer.write(b"GET /v1/capabilities HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                answer = await reader.readline()
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        raise CannotServeError(f"http_address: {address} was opened but does not answer: {error}") from error
    if not answer.startswith(b"HTTP/1.1 200"):
        raise CannotServeError(f"http_address: {address} was opened but does not answer as it should")


async def probe_grpc(address: Address) -> None:
    """Ask the health service. Raises `CannotServeError`."""
    options = (("grpc.enable_http_proxy", 0),)
    async with grpc.aio.insecure_channel(str(_reachable(address)), options=options) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            await check(health_pb2.HealthCheckRequest(), timeout=_PROBE_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise CannotServeError(f"grpc_address: {address} was opened but does not answer: {error.details()}") from error


def _parts(address: Address) -> tuple[str, int]:
    return address.host, address.port
