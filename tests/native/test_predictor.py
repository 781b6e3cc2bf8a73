"""The adaptive predictor: text coded by it alone, and each kernel's operations against the generic ones."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zllm import _native as native
from zllm._native.core import ffi, lib
from zllm.errors import KernelError, UsageError

CC = shutil.which(os.environ.get("CC", "cc"))
PROSE = b"It was the best of times, it was the worst of times, it was the age of wisdom.\n"
LOG = b"".join(b"2026-03-0%d 10:%02d:00 host sshd[%d]: Failed password\n" % (i % 9, i % 60, i * 7) for i in range(400))
TEXTS = {
    "empty": b"",
    "one byte": b"\xff",
    "zeros": bytes(100_000),
    "all bytes": bytes(range(256)) * 4,
    "prose": PROSE * 40,
    "log": LOG,
    "noise": random.Random(5).randbytes(50_000),
    "utf-8": "压缩算法需要模型。\r\n".encode() * 50,
    "no line ends": b"a,b;c|d\te " * 3000,
}


@pytest.mark.parametrize("name", TEXTS)
def test_round_trip(name: str) -> None:
    text = TEXTS[name]
    counter = native.Counter()
    coded = native.cm_encode(text, counter=counter)
    assert counter.value == len(text)
    assert native.cm_decode(coded, len(text)) == text


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=600), st.data())
def test_round_trip_with_cuts(text: bytes, data: st.DataObject) -> None:
    boundaries = sorted(data.draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=5))) if len(text) > 1 else []
    coded = native.cm_encode(text, boundaries)
    assert native.cm_decode(coded, len(text), boundaries) == text


def test_what_is_learnt_survives_a_cut() -> None:
    text = random.Random(1).randbytes(2000) * 2
    assert len(native.cm_encode(text, [2000])) < 2200


def test_sizes() -> None:
    """Far below what it was given, and little above it for noise."""
    assert len(native.cm_encode(bytes(1_000_000))) < 60
    assert len(native.cm_encode(LOG)) < len(LOG) / 20
    assert len(native.cm_encode(TEXTS["noise"])) < 50_000 * 1.03


def test_records_are_found() -> None:
    """Counters and noise: what is above tells, what is before does not."""
    rng = random.Random(3)
    records = [struct.pack("<IB2s3s", i, rng.randrange(4), rng.randbytes(2), b"\0\x11\xff") for i in range(4000)]
    noise = 4000 * 18 // 8  # bits that nobody can predict
    assert noise < len(native.cm_encode(b"".join(records))) < 1.1 * noise


@pytest.mark.parametrize("boundaries", [[0], [5, 5], [7, 3], [len(PROSE)]])
def test_bad_cuts(boundaries: list[int]) -> None:
    with pytest.raises(UsageError):
        native.cm_encode(PROSE, boundaries)
    with pytest.raises(UsageError):
        native.cm_decode(b"", len(PROSE), boundaries)


def test_any_code_string_decodes_to_something() -> None:
    rng = random.Random(9)
    coded = native.cm_encode(LOG)
    for size in (0, 1, len(coded) // 2, len(coded) - 1):
        assert len(native.cm_decode(coded[:size], len(LOG))) == len(LOG)
    for _ in range(8):
        assert len(native.cm_decode(rng.randbytes(500), 3000, [10, 2999])) == 3000


def test_cancel() -> None:
    cancel, coded = native.Cancel(), native.cm_encode(LOG)
    cancel.set()
    with pytest.raises(KeyboardInterrupt):
        native.cm_encode(LOG, cancel=cancel)
    with pytest.raises(KeyboardInterrupt):
        native.cm_decode(coded, len(LOG), cancel=cancel)


@pytest.fixture(scope="module")
def program(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/native/predictor.c with the C core."""
    if CC is None:
        pytest.skip("no C compiler")
    csrc, out = checkout / "csrc", tmp_path_factory.mktemp("predictor") / "predictor"
    sources = [str(csrc / name) for name in (csrc / "sources.txt").read_text().split()]
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", *shlex.split(os.environ.get("ZLLM_CI_CFLAGS", ""))]
    flags += [f"-I{csrc}", f"-I{csrc}/include", str(checkout / "tests/native/predictor.c")]
    subprocess.run([CC, *flags, *sources, "-pthread", "-o", str(out)], check=True)
    return out


def test_all_kernels_agree(program: Path) -> None:
    """With a model and several streams, and with too little room: each kernel's predictor and the generic one."""
    said = set()
    for kernel in native.usable_kernels():
        run = subprocess.run([program, kernel], capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{kernel}: {run.returncode}\n{run.stdout}{run.stderr}"
        said.add(run.stdout)
    assert len(said) == 1


@pytest.mark.parametrize("kernel", native.usable_kernels())
def test_text_by_each_kernel(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Demanded by argument and by the environment, as a model's kernel is; one reads what another wrote."""
    coded = native.cm_encode(LOG, [99], kernel="generic")
    assert native.cm_encode(LOG, [99], kernel=kernel) == coded
    monkeypatch.setenv("ZLLM_KERNEL", kernel)
    assert native.cm_encode(LOG, [99]) == coded and native.cm_decode(coded, len(LOG), [99]) == LOG


def test_a_kernel_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {native.kernel_state(name): name for name in [*native.kernel_names(), "abacus"]}
    reasons = {"unknown": "unknown kernel", "not built": "is not built for", "unsupported": "cannot run the kernel"}
    assert {"unknown", "not built"} <= missing.keys()
    for state, reason in reasons.items():
        if state not in missing:
            continue
        with pytest.raises(KernelError, match=reason):
            native.cm_encode(PROSE, kernel=missing[state])
        monkeypatch.setenv("ZLLM_KERNEL", missing[state])
        with pytest.raises(KernelError, match=reason):
            native.cm_decode(b"", 10)


def test_the_core_tells_kernels_that_cannot_be_had_apart() -> None:
    codes = {
        "unknown": lib.ZLLM_E_KERNEL_UNKNOWN,
        "not built": lib.ZLLM_E_KERNEL_NOT_BUILT,
        "unsupported": lib.ZLLM_E_KERNEL_UNSUPPORTED,
        "usable": lib.ZLLM_OK,
    }
    for name in [*native.kernel_names(), "abacus"]:
        out, size = ffi.new("uint8_t[]", 99), ffi.new("size_t *", 99)
        watched = ffi.NULL, ffi.NULL, name.encode(), ffi.NULL
        assert lib.zllm_cm_encode(b"text", 4, ffi.NULL, 0, out, size, *watched) == codes[native.kernel_state(name)]
        assert lib.zllm_cm_decode(b"", 0, out, 4, ffi.NULL, 0, *watched) == codes[native.kernel_state(name)]


def test_which_operations_a_kernel_has() -> None:
    """Those of AVX2 with every kernel of x86 but the generic one."""
    for kernel in native.usable_kernels():
        assert native.predictor_variant(kernel) == ("avx2" if kernel.startswith("avx") else "generic")
    with pytest.raises(KernelError):
        native.predictor_variant("abacus")
    assert lib.zllm_kernel_predictor(b"abacus") == ffi.NULL
