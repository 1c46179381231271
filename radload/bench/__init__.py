"""`radload bench`: what this machine does with a data set, stage by stage, and which stage is the limit."""

from __future__ import annotations

from radload.bench.command import bench
from radload.bench.options import BenchOptions
from radload.bench.result import Result

__all__ = ["BenchOptions", "Result", "bench"]
