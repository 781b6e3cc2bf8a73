"""``python -m bench NAME [options]``."""

from __future__ import annotations

import sys

from bench import exact, faults, gpu, media, memory, ratio, speed
from zllm.errors import ZllmError

BENCHMARKS = {
    "ratio": (ratio.main, "sizes and speeds of zllm beside those of other compressors"),
    "speed": (speed.main, "speed by kernel and number of threads, beside zpaq -m5 and zstd -19"),
    "exact": (exact.main, "bits that differ between kernels, numbers of threads and batch shapes"),
    "memory": (memory.main, "peak memory of packing and unpacking a large mixture"),
    "faults": (faults.main, "files that are right after a flipped bit, a burst or a cut, beside tar, 7z and zip"),
    "media": (media.main, "packed and JPEG files beside themselves and zstd -19"),
    "gpu": (gpu.main, "speed of a CUDA device beside the C core"),
}
_USAGE = "usage: python -m bench NAME [options]     python -m bench NAME --help shows them\n\n" + "".join(
    f"  {name:8} {summary}\n" for name, (_, summary) in BENCHMARKS.items()
)


def main(arguments: list[str]) -> int:
    """Run one benchmark; its exit code."""
    if arguments and arguments[0] in ("-h", "--help"):
        sys.stdout.write(_USAGE)
        return 0
    if not arguments or arguments[0] not in BENCHMARKS:
        sys.stderr.write(_USAGE)
        return 2
    try:
        return BENCHMARKS[arguments[0]][0](arguments[1:])
    except ZllmError as error:
        sys.stderr.write(f"bench: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
