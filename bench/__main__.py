"""``python -m bench NAME [options]``."""

from __future__ import annotations

import sys

from bench import exact, gpu, memory, ratio, speed
from zllm.errors import ZllmError

BENCHMARKS = {
    "exact": exact.main,
    "gpu": gpu.main,
    "memory": memory.main,
    "ratio": ratio.main,
    "speed": speed.main,
}


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
