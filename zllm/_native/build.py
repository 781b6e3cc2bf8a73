"""cffi (API mode) build of the C core: one plain extension, kernels chosen at run time, no machine flags."""

from __future__ import annotations

import os
import re
import runpy
import shlex
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [f"csrc/{name}" for name in (ROOT / "csrc" / "sources.txt").read_text(encoding="utf-8").split()]
# -ffp-contract=off and no fast-math: there is no floating point to contract, and it stays so.
EXTRA = shlex.split(os.environ.get("ZLLM_CI_CFLAGS", ""))
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-DZLLM_STATIC", *EXTRA]


def declarations(name: str) -> str:
    """A header without its comments, its preprocessor lines and what is for C++; constants are declared by name."""
    text = (ROOT / "csrc" / "include" / name).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"^#ifdef __cplusplus$.*?^#endif$", "", text, flags=re.S | re.M)
    lines = (line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    return "".join(lines).replace("ZLLM_API ", "")


CONSTANTS = ("ZLLM_ARITHMETIC_VERSION", "ZLLM_GIVEN", "ZLLM_ENDED")
ffi = FFI()
ffi.cdef("".join(f"#define {name} ...\n" for name in CONSTANTS))
ffi.cdef(declarations("zllm.h") + declarations("zllm_testing.h"))
ffi.set_source(
    "zllm._native._core",
    '#include "zllm_testing.h"',
    sources=SOURCES,
    include_dirs=["csrc/include", "csrc"],
    extra_compile_args=FLAGS,
)

# The source of a decoder, for archives that carry it: package data, which has to be there before that is gathered.
runpy.run_path(str(ROOT / "tools" / "amalgamate.py"))["carried"](ROOT / "zllm" / "_native" / "unzllm.tar.gz")

if __name__ == "__main__":
    os.chdir(ROOT)
    ffi.compile(verbose=True)
