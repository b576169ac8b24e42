"""`chaukas selftest tamper`: every change that an attacker could make to a copy of a record, and whether it is found."""

from __future__ import annotations

from chaukas.server.cli.tampering.drill import Trial, run_drill, trials

__all__ = ["Trial", "run_drill", "trials"]
