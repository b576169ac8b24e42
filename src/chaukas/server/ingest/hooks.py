"""User hooks: code of the operator's own that takes part in ingest (docs/hooks.md)."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence

from chaukas.server.errors import ConfigurationError, ValidationError
from chaukas.server.storage.contract import Outcome
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["IngestHook", "enrich_by_hooks", "load_hooks", "report_stored", "validate_by_hooks"]


class IngestHook:
    """Base class of hooks; a verb that is not overridden does nothing.

    One instance, made without arguments when the server starts, serves all requests. The verbs are called in the server's event
    loop, where everything behind waits for them: they must be quick and must not wait for a network.
    """

    def validate(self, event: Event) -> Sequence[str]:  # noqa: ARG002 - a name that overriding methods share
        """Why the event must not be stored, a sentence per reason; empty lets it pass. Must leave the event as it is.

        Called with events that keep the server's own rules, tenant and project filled in. To raise
        `chaukas.server.errors.ValidationError` means the same as to return reasons.
        """
        return ()

    def enrich(self, event: Event) -> None:
        """Change the event before it is stored. Its `event_id`, `tenant_id` and `project_id` must stay as they are."""

    def stored(self, event_id: str, outcome: Outcome) -> None:
        """Learn what became of an event, once that is durable. What is raised here is logged and changes nothing."""


def load_hooks(names: Sequence[str]) -> tuple[IngestHook, ...]:
    """One instance of each `module:Class`, in order.

    Raises `ConfigurationError` that names the entry when it cannot be imported, is no `IngestHook`, or fails to start.
    """
    return tuple(_load(name) for name in names)


def _load(name: str) -> IngestHook:
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise ConfigurationError(f"hooks: {name!r} does not have the form module:Class")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # a module of the operator's raises what it likes
        raise ConfigurationError(f"hooks: {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, IngestHook)):
        raise ConfigurationError(f"hooks: {name!r} is not a subclass of chaukas.server.ingest.hooks.IngestHook")
    try:
        return found()
    except Exception as error:
        raise ConfigurationError(f"hooks: {name!r} cannot be started: {type(error).__name__}: {error}") from error


def validate_by_hooks(hooks: Sequence[IngestHook], event: Event) -> list[str]:
    """The reasons of all hooks why the event must not be stored. A hook that fails is a reason."""
    reasons: list[str] = []
    for hook in hooks:
        try:
            found = hook.validate(event)
        except ValidationError as error:
            found = error.public_message
        except Exception as error:  # noqa: BLE001 - the operator's code: its event is set aside, everything else goes on
            found = _failed(hook, "validate", event.event_id, error)
        # One text is one reason, although it is a sequence of texts, too; and a method that returns nothing has none.
        reasons.extend([found] if isinstance(found, str) else found or ())
    return reasons


def enrich_by_hooks(hooks: Sequence[IngestHook], event: Event) -> list[str]:
    """Let every hook change the event, in order, until one fails; why the result must not be stored.

    What names the event and says whose it is decides about duplicates and was authorised: a hook must not change it.
    """
    identity = event.event_id, event.tenant_id, event.project_id
    for hook in hooks:
        reason = _enrich(hook, event)
        if (event.event_id, event.tenant_id, event.project_id) != identity:
            event.event_id, event.tenant_id, event.project_id = identity
            reason = f"{_of_server(hook)} changed event_id, tenant_id or project_id"
        if reason:
            return [reason]
    return []


def _enrich(hook: IngestHook, event: Event) -> str:
    try:
        hook.enrich(event)
    except ValidationError as error:
        return error.public_message
    except Exception as error:  # noqa: BLE001 - as above
        return _failed(hook, "enrich", event.event_id, error)
    return ""


def report_stored(hooks: Sequence[IngestHook], outcomes: Sequence[Outcome]) -> None:
    """Tell every hook what became of each event. Call it when the answer is decided; nothing is raised."""
    for hook in hooks:
        if type(hook).stored is IngestHook.stored:
            continue
        for outcome in outcomes:
            try:
                hook.stored(outcome.event_id, outcome)
            except Exception as error:  # noqa: BLE001 - the outcome is durable, whatever the operator's code makes of it
                _failed(hook, "stored", outcome.event_id, error)


def _of_server(hook: IngestHook) -> str:
    return f"the server's hook {type(hook).__module__}:{type(hook).__qualname__}"


def _failed(hook: IngestHook, verb: str, event_id: str, error: Exception) -> str:
    """Log what a hook raised; the reason to give for it."""
    logging.getLogger(__name__).error("%s failed in %s, event %r", _of_server(hook), verb, event_id, exc_info=error)
    return f"{_of_server(hook)} failed in {verb}; the server's log says why"
