"""What each ingredient of the adaptive predictor is worth: texts coded by it alone, one ingredient left out at a time.

python tools/ablate_predictor.py [--bytes N] FILE... compiles csrc/predictor for every row and prints Markdown.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

CSRC = Path(__file__).resolve().parents[1] / "csrc"
CONTEXTS = (
    "last 3 bytes", "second and third last byte", "what followed the last two bytes",
    "last 2 bytes", "last 4 bytes", "last 6 bytes", "word", "word and the one before",
    "column and byte above", "field and byte above it", "line's first word and field",
    "byte that the match expects", "classes of the last bytes",
)  # fmt: skip
SETS = ("match length", "classes of three bytes", "last byte", "orders known", "bits so far")
ROWS = (
    [("nothing", ""), ("match model", "-DZLLM_WITHOUT_MATCH"), ("probability maps", "-DZLLM_WITHOUT_MAPS")]
    + [(f"context: {name}", f"-DZLLM_WITHOUT_CONTEXT={i}") for i, name in enumerate(CONTEXTS, 2)]
    + [(f"weights by {name}", f"-DZLLM_WITHOUT_SET={i}") for i, name in enumerate(SETS)]
)


def compile_library(define: str, out: Path) -> ctypes.CDLL:
    """The predictor as a shared library of its own."""
    sources = [CSRC / "cm.c", CSRC / "pages.c", *sorted((CSRC / "predictor").glob("*.c"))]
    flags = ["-std=c11", "-O2", "-shared", "-fPIC", f"-I{CSRC}", f"-I{CSRC / 'include'}", *([define] if define else [])]
    subprocess.run([os.environ.get("CC", "cc"), *flags, *map(str, sources), "-o", str(out)], check=True)
    return ctypes.CDLL(str(out))


def coded_size(library: ctypes.CDLL, text: bytes) -> int:
    """Bytes of the text's code string."""
    size = ctypes.c_size_t(20 * len(text) + 64)
    out = ctypes.create_string_buffer(size.value)
    call = library.zllm_cm_encode
    pointer, number = ctypes.c_void_p, ctypes.c_size_t
    call.argtypes = [ctypes.c_char_p, number, pointer, number, pointer, pointer, pointer, pointer]
    code = call(text, len(text), None, 0, ctypes.addressof(out), ctypes.addressof(size), None, None)
    if code != 0:
        raise RuntimeError(f"zllm_cm_encode failed: {code}")
    return size.value


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=1 << 20, help="of each file, at most")
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args(argv)
    texts = [path.read_bytes()[: args.bytes] for path in args.files]
    whole: list[int] = []
    print("| left out | " + " | ".join(path.name for path in args.files) + " | geometric mean |")
    print("|---|" + "--:|" * (len(texts) + 1))
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, define) in enumerate(ROWS):
            library = compile_library(define, Path(folder) / f"{i}.so")
            sizes = [coded_size(library, text) for text in texts]
            whole = whole or sizes
            more = [size / best for size, best in zip(sizes, whole, strict=True)]
            mean = math.exp(sum(map(math.log, more)) / len(more))
            cells = [f"{s:,}" for s in sizes] if i == 0 else [f"{100 * (m - 1):+.2f}%" for m in more]
            print(f"| {name} | " + " | ".join(cells) + f" | {100 * (mean - 1):+.2f}% |", flush=True)


if __name__ == "__main__":
    main()
