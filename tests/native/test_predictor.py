"""The adaptive predictor: text coded by it alone, and all of its ways of mixing against each other."""

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
from zllm.errors import UsageError

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
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=5))) if len(text) > 1 else []
    coded = native.cm_encode(text, cuts)
    assert native.cm_decode(coded, len(text), cuts) == text


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


@pytest.mark.parametrize("cuts", [[0], [5, 5], [7, 3], [len(PROSE)]])
def test_bad_cuts(cuts: list[int]) -> None:
    with pytest.raises(UsageError):
        native.cm_encode(PROSE, cuts)
    with pytest.raises(UsageError):
        native.cm_decode(b"", len(PROSE), cuts)


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


def test_all_ways_of_mixing_agree(checkout: Path, tmp_path: Path) -> None:
    """With a model and several streams, and with too little room; AVX2, SSE2 (where there are any) and plain C."""
    if CC is None:
        pytest.skip("no C compiler")
    csrc = checkout / "csrc"
    sources = [str(checkout / "tests/native/predictor.c"), str(csrc / "cm.c"), str(csrc / "pages.c")]
    sources += map(str, sorted(csrc.glob("predictor/*.c")))
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", *shlex.split(os.environ.get("ZLLM_CI_CFLAGS", ""))]
    said = set()
    for define in ("-DZLLM_ANY", "-DZLLM_NARROW", "-DZLLM_SCALAR"):
        out = tmp_path / define
        subprocess.run([CC, *flags, define, f"-I{csrc}", f"-I{csrc}/include", *sources, "-o", str(out)], check=True)
        run = subprocess.run([out], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        said.add(run.stdout)
    assert len(said) == 1
