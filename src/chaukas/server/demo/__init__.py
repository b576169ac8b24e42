"""Sessions to look at: what agents of several frameworks might have done on one working day.

The same moment gives the same events, byte for byte, so that loading them twice stores them once.
"""

from __future__ import annotations

from chaukas.server.demo.catalogue import BEGAN_BEFORE_S, DEMO_TENANT, DemoSession, demo_sessions

__all__ = ["BEGAN_BEFORE_S", "DEMO_TENANT", "DemoSession", "demo_sessions"]
