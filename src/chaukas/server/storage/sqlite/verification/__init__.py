"""Verification of the live record: everything is read, everything derived is made again (DESIGN "Tamper evidence")."""

from __future__ import annotations

from chaukas.server.storage.sqlite.verification.findings import Damage, Findings
from chaukas.server.storage.sqlite.verification.record import RecordVerification

__all__ = ["Damage", "Findings", "RecordVerification"]
