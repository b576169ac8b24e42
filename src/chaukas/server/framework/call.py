"""One RPC: its context for the verbs, and the one place where exceptions become gRPC statuses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import grpc

from chaukas.server.errors import status_of
from chaukas.server.framework.background import Followups
from chaukas.server.framework.results import EventResult
from chaukas.server.framework.trailers import Metadata, bounded_details

__all__ = [
    "Call",
    "Context",
    "UnimplementedVerbError",
    "add_trailers",
    "call_of",
    "current_context",
    "is_abort",
    "log_failures",
    "rpc",
]

_LOG = logging.getLogger("chaukas.server.framework")

#: What is not the caller's doing.
_LOGGED_CODES = frozenset({"INTERNAL", "UNKNOWN", "FAILED_PRECONDITION"})

R = TypeVar("R")
T = TypeVar("T")

#: Both kinds of server give a context; what the framework uses of it is the same in both.
Context: TypeAlias = "grpc.ServicerContext | grpc.aio.ServicerContext[Any, Any]"


class UnimplementedVerbError(NotImplementedError):
    """A verb that the backend does not override; the call is answered UNIMPLEMENTED."""

    def __init__(self, verb: str) -> None:
        super().__init__(f"this server does not implement {verb}")


@dataclass(frozen=True, slots=True)
class Call:
    """What belongs to the RPC that is being answered."""

    context: Context
    followups: Followups | None = None


_CALL: ContextVar[Call | None] = ContextVar("chaukas_call", default=None)


def call_of() -> Call | None:
    """The call on behalf of which this code runs, or None."""
    return _CALL.get()


def current_context() -> Context:
    """The gRPC context of the call on behalf of which a verb runs, in whatever thread or task: metadata, peer, deadline.

    In a threaded server a `grpc.ServicerContext`, in an asyncio server a `grpc.aio.ServicerContext`. Raises `LookupError` outside
    a call, and so in `process_event_async`, which runs when the call is over.
    """
    call = _CALL.get()
    if call is None:
        raise LookupError("no call is being answered here")
    return call.context


async def rpc(
    flow: Callable[[R, Context], Coroutine[Any, Any, T]],
    request: R,
    context: Context,
    empty: Callable[[], T],
    followups: Followups | None = None,
) -> T:
    """Answer a request by a flow; an exception becomes the status that `chaukas.server.errors` has for it."""
    token = _CALL.set(Call(context, followups))
    try:
        return await flow(request, context)
    except UnimplementedVerbError as error:
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        context.set_details(str(error))
    except Exception as error:
        if is_abort(error, context):
            raise
        refuse(context, error)
        log_failure(error, "a call failed")
    finally:
        _CALL.reset(token)
    return empty()


def refuse(context: Context, error: BaseException) -> None:
    """Set the status of the call."""
    status = status_of(error)
    context.set_code(grpc.StatusCode[status.grpc])
    context.set_details(bounded_details(status.message))


def is_abort(error: BaseException, context: Context) -> bool:
    """Whether a verb ended the call itself, by `context.abort`; gRPC must see that exception.

    The threaded server raises a bare `Exception()` there, after setting the code.
    """
    if isinstance(error, grpc.aio.AbortError):
        return True
    return type(error) is Exception and not error.args and getattr(context, "code", lambda: None)() is not None


def add_trailers(context: Context, trailers: Metadata) -> None:
    """Add trailing metadata to what a verb may have set."""
    if trailers:
        # The context that grpc.aio gives to plain handlers cannot tell what was set.
        before: Metadata = getattr(context, "trailing_metadata", tuple)() or ()
        context.set_trailing_metadata((*before, *trailers))


def log_failures(results: Sequence[EventResult]) -> None:
    """Log the events of a batch that failed without the caller's doing: one record per kind of error, not per event."""
    by_kind: dict[type[Exception], list[EventResult]] = {}
    for result in results:
        if result.error is not None:
            by_kind.setdefault(type(result.error), []).append(result)
    for failed in by_kind.values():
        log_failure(failed[0].error, f"{len(failed)} event(s) failed, the first has id {failed[0].event_id!r}")


def log_failure(error: Exception | None, what: str) -> None:
    """Log what the caller is not told. What the caller did wrong is not logged."""
    if error is not None and status_of(error).grpc in _LOGGED_CODES:
        _LOG.error("%s", what, exc_info=error)
