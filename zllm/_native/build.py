"""cffi (API mode) build of the C core: one plain extension, kernels chosen at run time, no machine flags."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    "csrc/attention.c",
    "csrc/cm.c",
    "csrc/decode.c",
    "csrc/dispatch.c",
    "csrc/distribution.c",
    "csrc/encode.c",
    "csrc/evaluate.c",
    "csrc/fixed.c",
    "csrc/job.c",
    "csrc/kernel_generic.c",
    "csrc/measure.c",
    "csrc/model.c",
    "csrc/pages.c",
    "csrc/repeats.c",
    "csrc/selfcheck.c",
    "csrc/stages.c",
    "csrc/steps.c",
    "csrc/team.c",
    "csrc/transformer.c",
    "csrc/trie.c",
    "csrc/variants.c",
    "csrc/waiting.c",
    "csrc/workspace.c",
    "csrc/predictor/context.c",
    "csrc/predictor/expect.c",
    "csrc/predictor/flag.c",
    "csrc/predictor/predictor.c",
    "csrc/predictor/profile.c",
    "csrc/predictor/tables.c",
    "csrc/arm/kernel_neon.c",
    "csrc/arm/kernel_neon_dotprod.c",
    "csrc/x86/kernel_avx2.c",
    "csrc/x86/kernel_avx512vnni.c",
    "csrc/x86/kernel_avxvnni.c",
]
# -ffp-contract=off and no fast-math: there is no floating point to contract, and it stays so.
EXTRA = shlex.split(os.environ.get("ZLLM_CI_CFLAGS", ""))
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", *EXTRA]


def declarations() -> str:
    """The public header without its preprocessor lines; constants are declared by name."""
    text = (ROOT / "csrc" / "include" / "zllm.h").read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


ffi = FFI()
ffi.cdef("#define ZLLM_ARITHMETIC_VERSION ...\n#define ZLLM_GIVEN ...\n#define ZLLM_ENDED ...\n" + declarations())
ffi.set_source(
    "zllm._native._core",
    '#include "zllm.h"',
    sources=SOURCES,
    include_dirs=["csrc/include", "csrc"],
    extra_compile_args=FLAGS,
)

if __name__ == "__main__":
    os.chdir(ROOT)
    ffi.compile(verbose=True)
