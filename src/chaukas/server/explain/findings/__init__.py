"""What is missing, contradictory or against policy: one small pure function per code."""

from chaukas.server.explain.findings.catalogue import RULES, find_all
from chaukas.server.explain.findings.rule import Rule, finding

__all__ = ["RULES", "Rule", "find_all", "finding"]
