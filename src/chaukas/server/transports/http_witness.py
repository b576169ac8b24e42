"""Serving as a witness over HTTP: C2SP tlog-witness `add-checkpoint`. The answers' forms are those of that text, not problems."""

from __future__ import annotations

from typing import Final

from chaukas.server.errors import NotFoundError
from chaukas.server.operations.services import Services
from chaukas.server.tlog.witness_messages import REQUEST_BYTES_MAX
from chaukas.server.transports.http_body import BodyReader
from chaukas.server.transports.http_exchange import Exchange

__all__ = ["WITNESS_PATH", "WitnessRoute"]

#: Below the submission prefix, which is the server's address.
WITNESS_PATH: Final = "/add-checkpoint"


class WitnessRoute:
    """Hangs on the application like ingest."""

    def __init__(self, services: Services) -> None:
        self._witness = services.witness
        self._body = BodyReader("of tlog-witness", REQUEST_BYTES_MAX, services.settings.http_body_s, services.admission)

    async def post(self, exchange: Exchange) -> None:
        """Cosign a checkpoint, or say why not: 200, 400, 403, 404, 409 with the known size, 422."""
        if self._witness is None:
            raise NotFoundError("this server is no witness (see the setting witness)")
        answer = await self._witness.add_checkpoint(await self._body.read(exchange))
        await exchange.answer(answer.status, answer.content_type.encode("ascii"), answer.body)
