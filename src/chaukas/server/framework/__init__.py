"""The framework: a backend of your own, from small verbs. See `docs/framework.md`.

from chaukas.server import ChaukasServicer

class MyBackend(ChaukasServicer):
    def store_event(self, event):
        ...
"""

from chaukas.server.errors import StorageError, ValidationError
from chaukas.server.framework.call import current_context
from chaukas.server.framework.client_service import ChaukasClientServicer
from chaukas.server.framework.execution import inline
from chaukas.server.framework.filters import effective_filter
from chaukas.server.framework.results import EventResult
from chaukas.server.framework.servicer import ChaukasServicer

__all__ = [
    "ChaukasClientServicer",
    "ChaukasServicer",
    "EventResult",
    "StorageError",
    "ValidationError",
    "current_context",
    "effective_filter",
    "inline",
]
