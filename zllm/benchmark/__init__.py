"""``zllm bench``: the hybrid archive against other compressors, on the user's own data.

Every output is decoded and compared. Sizes are those of files; speeds are of this machine, this run, so compare them
with each other only.
"""

from zllm.benchmark.report import Report, Row, Section
from zllm.benchmark.runner import BenchOptions, run

__all__ = ["BenchOptions", "Report", "Row", "Section", "run"]
