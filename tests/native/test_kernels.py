"""Kernels against the scalar one, in C: every primitive up to its limits, and kernels that are broken on purpose."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from zllm import _native as native

CC = shutil.which(os.environ.get("CC", "cc"))
Program = Callable[..., Path]


@pytest.fixture
def program(checkout: Path, tmp_path: Path) -> Program:
    """Compile ``program("tests/x.c", "dispatch.c")``: a file of the tests with the C core, but for what it replaces."""
    if CC is None:
        pytest.skip("no C compiler")

    def build(main: str, *replaced: str) -> Path:
        csrc, out = checkout / "csrc", tmp_path / Path(main).stem
        sources = [str(csrc / name) for name in (csrc / "sources.txt").read_text().split() if name not in replaced]
        flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", *shlex.split(os.environ.get("ZLLM_CI_CFLAGS", ""))]
        includes = [f"-I{csrc}", f"-I{csrc / 'include'}"]
        subprocess.run([CC, *flags, *includes, str(checkout / main), *sources, "-pthread", "-o", str(out)], check=True)
        return out

    return build


def test_kernels_equal_plain_loops(program: Program) -> None:
    run = subprocess.run([program("tests/cross/kernels.c")], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    said = dict(line.split(" ", 1) for line in run.stdout.splitlines())
    assert said["generic"] == "equal"
    states = {name: native.kernel_state(name) for name in native.kernel_names()}
    assert said == {name: "equal" if state == "usable" else state for name, state in states.items()}


def test_broken_kernels_are_refused(program: Program) -> None:
    run = subprocess.run(
        [program("tests/native/broken_kernel.c", "dispatch.c")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    *faults, last = run.stdout.splitlines()
    assert len(faults) == 64 and all(line.endswith(" refused") for line in faults)
    assert last == "right kernel checked once"


def test_broken_operations_of_the_predictor_are_refused(program: Program) -> None:
    run = subprocess.run(
        [program("tests/native/broken_predictor.c", "dispatch.c")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    *faults, last = run.stdout.splitlines()
    assert len(faults) == 30 and all(line.endswith(" refused") for line in faults)
    assert last == "right operations checked once, and used"


@pytest.mark.parametrize("kernel", native.usable_kernels())
def test_kernels_of_this_machine_pass(kernel: str) -> None:
    native.check_kernel(kernel)
