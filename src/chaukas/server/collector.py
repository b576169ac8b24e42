"""How often the interpreter looks for reference cycles, in the processes of this server."""

from __future__ import annotations

import gc

__all__ = ["calm_garbage_collector"]


def calm_garbage_collector() -> None:
    """Look for reference cycles more rarely: ingest makes and frees hundreds of thousands of objects a second, none in cycles.

    The default looks after every 700 new objects, and at all objects again and again; that took 5 % of the time of ingest. To be
    called when a process has imported what it needs: what there is then is not looked at any more.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
