"""Where a verb runs: in the caller's thread, in a thread of a pool, or on an event loop.

The flows of the framework are written once, as coroutines that await nothing but verbs. One rule decides how they run: *called
on an event loop they are awaited, called anywhere else they run to their end*. In a threaded gRPC server no verb suspends a
flow (plain verbs are called, async ones are waited for on an event loop in another thread), so a flow needs no loop there.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from types import MethodType
from typing import Any, ParamSpec, TypeVar, cast

__all__ = ["VerbRunner", "dual", "inline", "running_loop"]

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_INLINE_MARK = "_chaukas_inline"


class _Kind(Enum):
    """How a verb wants to be called when a loop is running."""

    ASYNC = "async"
    INLINE = "inline"
    THREAD = "thread"


def inline(verb: F) -> F:
    """Mark a plain verb as cheap: an asyncio server calls it on its event loop instead of in a thread.

    For verbs that neither wait nor compute for long; a thread hop costs some 50 µs, which is more than most checks of an event.
    """
    setattr(verb, _INLINE_MARK, True)
    return verb


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@functools.lru_cache(maxsize=1024)
def _kind_of_function(function: Callable[..., Any]) -> _Kind:
    if inspect.iscoroutinefunction(function):
        return _Kind.ASYNC
    return _Kind.INLINE if getattr(function, _INLINE_MARK, False) else _Kind.THREAD


def _kind_of(verb: Callable[..., Any]) -> _Kind:
    return _kind_of_function(getattr(verb, "__func__", verb))


def _drive(flow: Coroutine[Any, Any, T]) -> T:
    """Run a flow to its end without a loop. Its verbs never suspend it, because no loop runs in this thread."""
    try:
        flow.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    flow.close()
    raise RuntimeError("a flow waited for an event loop, but none runs in this thread")


class _Dual:
    """A coroutine function that runs to its end when it is called where no event loop runs.

    grpc.aio awaits a handler if `inspect.iscoroutinefunction` says so, and moves it to a thread otherwise; the threaded server
    calls every handler and takes what it returns. Being function-like in the sense of `inspect` (as compiled functions are:
    `__code__` and its companions are attributes), this object is a coroutine function to the one and a callable to the other.
    """

    def __init__(self, flow: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        functools.update_wrapper(self, flow)
        function = cast("Any", flow)
        self._flow = flow
        self.__code__ = function.__code__
        self.__defaults__ = function.__defaults__
        self.__kwdefaults__ = function.__kwdefaults__

    def __get__(self, instance: object, owner: type | None = None) -> object:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: object, **kwargs: object) -> object:
        flow = self._flow(*args, **kwargs)
        return flow if running_loop() is not None else _drive(flow)


def dual(flow: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Any]:
    """Make a flow callable from both worlds: it returns an awaitable of T on an event loop, and a T elsewhere."""
    return cast("Callable[P, Any]", _Dual(flow))


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class VerbRunner:
    """Calls the verbs of one servicer. Threads and the event loop are started when they are first needed.

    - On an event loop (asyncio server): async and `@inline` verbs are called there, other plain verbs in a pool of at most
      `threads_max` threads, with the caller's context variables.
    - Elsewhere (threaded server, pool thread): plain verbs are called directly; what an async verb returns is awaited on the loop
      of the asyncio server that uses this servicer, if there is one, otherwise on a loop in a thread of the runner's own.
    """

    def __init__(self, threads_max: int, name: str) -> None:
        self._threads_max = threads_max
        self._name = name
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._server_loop: asyncio.AbstractEventLoop | None = None
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._own_thread: threading.Thread | None = None

    async def call(self, verb: Callable[..., Any], *args: object) -> object:
        """What the verb returns, awaited if it is awaitable. Raises what the verb raises."""
        loop = running_loop()
        if loop is None:
            result = verb(*args)
            return self.wait(result) if inspect.isawaitable(result) else result
        self._server_loop = loop
        if _kind_of(verb) is _Kind.THREAD:
            result = await self._in_thread(loop, verb, *args)
        else:
            result = verb(*args)
        return await result if inspect.isawaitable(result) else result

    async def stage(self, verbs: Iterable[Callable[..., Any]], flow: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
        """Run a flow that calls these verbs many times; when they are plain, as one job of one thread instead of one per call."""
        loop = running_loop()
        if loop is not None:
            self._server_loop = loop
            kinds = {_kind_of(verb) for verb in verbs}
            if _Kind.THREAD in kinds and _Kind.ASYNC not in kinds:
                return cast("T", await self._in_thread(loop, lambda: _drive(flow(*args))))
        return await flow(*args)

    def wait(self, awaitable: Awaitable[T]) -> T:
        """Wait in this thread, which must not run a loop, until a loop has finished the awaitable."""
        flow = _awaited(awaitable)
        try:
            future = asyncio.run_coroutine_threadsafe(flow, self._loop())
        except RuntimeError:
            # The loop was closed in this instant. Closing both keeps them from being reported as forgotten.
            flow.close()
            if inspect.iscoroutine(awaitable):
                awaitable.close()
            raise
        return future.result()

    def close(self) -> None:
        """Let the threads end; what still runs on the runner's own loop is cancelled. A later call starts them again."""
        with self._lock:
            pool, self._pool = self._pool, None
            loop, self._own_loop = self._own_loop, None
            thread, self._own_thread = self._own_thread, None
        if pool is not None:
            pool.shutdown(wait=False)
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _in_thread(self, loop: asyncio.AbstractEventLoop, verb: Callable[..., T], *args: object) -> T:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads_max, thread_name_prefix=f"{self._name}-verb")
            pool = self._pool
        return await loop.run_in_executor(pool, functools.partial(contextvars.copy_context().run, verb, *args))

    def _loop(self) -> asyncio.AbstractEventLoop:
        server_loop = self._server_loop
        if server_loop is not None and server_loop.is_running():
            return server_loop
        with self._lock:
            if self._own_loop is None:
                self._own_loop = asyncio.new_event_loop()
                # A daemon, so that a servicer which nobody closes does not keep the process from ending.
                self._own_thread = threading.Thread(target=self._own_loop.run_forever, name=f"{self._name}-loop", daemon=True)
                self._own_thread.start()
            return self._own_loop
