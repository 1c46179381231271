"""Proofs over a packed data set, from its index: nothing leaks between splits, nothing between data sets. Reads only (docs/audit.md)."""

from radload.audit.compare import compare
from radload.audit.proof import audit
from radload.audit.report import Audit, Check, Status

__all__ = ["Audit", "Check", "Status", "audit", "compare"]
