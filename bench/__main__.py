"""``python -m bench NAME [options]``."""

from __future__ import annotations

import sys
from functools import partial

from bench import extraction, frames, gpu, memory, overhead, pareto, ratio, speed
from zllm.errors import ZllmError

BENCHMARKS = {
    "extraction": extraction.main,
    "frames": frames.main,
    "gpu": gpu.main,
    "memory": memory.main,
    "overhead": overhead.main,
    "plot": pareto.main,
    "ratio": ratio.main,
    "speed": speed.main,
}
# Each part of speed is also a benchmark of its own.
BENCHMARKS |= {part: partial(speed.main, part=part) for part in speed.PARTS}


def main(arguments: list[str]) -> int:
    """Run one benchmark; its exit code."""
    if not arguments or arguments[0] not in BENCHMARKS:
        sys.stderr.write(f"usage: python -m bench {{{','.join(sorted(BENCHMARKS))}}} [options]\n")
        return 2
    try:
        return BENCHMARKS[arguments[0]](arguments[1:])
    except ZllmError as error:
        sys.stderr.write(f"bench: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
