"""`radload verify`: whether a data set on disk is what its index says, byte by byte, and what can be done where it is not."""

from radload.verify.problem import Problem
from radload.verify.repack import repack
from radload.verify.repair import drop
from radload.verify.run import Report, verify

__all__ = ["Problem", "Report", "drop", "repack", "verify"]
