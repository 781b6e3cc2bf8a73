"""tests/golden/: archives and hashes that hold on every machine, with every kernel, for any number of threads.

If a test fails because a version number rose: ``python tools/make_golden.py``. If none rose, the code is wrong.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cross import bundle, vectors

from zllm import _native as native
from zllm.format.ends import FORMAT_VERSION

KERNELS = native.usable_kernels()
GOLDEN = vectors.GOLDEN
RECORDED = vectors.recorded()
AGAIN = "made again by tools/make_golden.py when a version rises, and only then"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> vectors.Models:
    return vectors.Models(tmp_path_factory.mktemp("models"), RECORDED["models"])


@pytest.fixture(scope="module")
def golden(models: vectors.Models) -> vectors.Vectors:
    return vectors.all_vectors(models)


def test_versions_are_the_codes() -> None:
    assert RECORDED["arithmetic"] == native.ARITHMETIC_VERSION, AGAIN
    assert RECORDED["format"] == FORMAT_VERSION, AGAIN


def test_golden_files_are_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 300_000


@pytest.mark.parametrize("archive", sorted(vectors.ARCHIVES))
def test_archives_are_the_recorded_ones(archive: str) -> None:
    assert hashlib.sha256((GOLDEN / archive).read_bytes()).hexdigest() == RECORDED["archives"][archive]["sha256"]


@pytest.mark.parametrize("threads", ["1", "2", "7"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("archive", sorted(vectors.ARCHIVES))
def test_archives_decode(archive: str, kernel: str, threads: str, tmp_path: Path) -> None:
    words = ["extract", str(GOLDEN / archive), "-C", str(tmp_path / "out"), "-j", threads]
    if vectors.ARCHIVES[archive] == "tiny":
        words += ["--model", str(GOLDEN / "tiny.zlm")]
    env = {**os.environ, "ZLLM_KERNEL": kernel}
    command = [sys.executable, "-m", "zllm", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    found = {str(p.relative_to(tmp_path / "out")): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    assert found == RECORDED["archives"][archive]["members"]


def test_archives_hold_what_they_are_to_prove(golden: vectors.Vectors) -> None:
    """Frames of one stream and of several, documents that end inside of streams, more tokens than a window; all by the
    model, or all by the predictor alone."""
    by_model = {item.name: item for item in golden.frames if item.name in vectors.ARCHIVES}
    assert set(by_model) == {name for name, model in vectors.ARCHIVES.items() if model}
    for item in by_model.values():
        streams = [stream for frame in item.frames for stream in frame.streams]
        assert {1, 4} <= {len(frame.streams) for frame in item.frames}
        assert sum(bool(stream.boundaries) for stream in streams) >= 2
        assert max(len(stream.tokens) for stream in streams) > 1500
        assert sum(stream.size for stream in streams) > 35_000
    alone = [item for item in golden.others if isinstance(item, vectors.Text) and item.name.startswith("cm.zllm/")]
    assert len(alone) >= 3 and any(item.boundaries for item in alone)
    assert sum(len(item.data) for item in alone) > 35_000
    for archive in RECORDED["archives"].values():
        assert {"empty", "noise.bin", "chinese.txt", "small/0.txt"} <= set(archive["members"])


@pytest.mark.parametrize("kernel", KERNELS)
def test_vectors(kernel: str, models: vectors.Models, golden: vectors.Vectors) -> None:
    found = golden.hashes(models, kernel, slow=False)
    wanted = {k: v for k, v in RECORDED["vectors"].items() if k not in golden.slow_items()}
    assert found == wanted, AGAIN


@pytest.fixture(scope="module")
def program(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/cross/machine.c with the C core."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler")
    out = tmp_path_factory.mktemp("cross") / "machine"
    sources = [f"csrc/{name}" for name in (checkout / "csrc" / "sources.txt").read_text().split()]
    parts = [f"tests/cross/{name}.c" for name in ("machine", "frames", "text", "bundle", "sha256")]
    flags = ["-O2", "-pthread", "-std=c11", "-Icsrc/include", "-Icsrc"]
    subprocess.run([compiler, *flags, *sources, *parts, "-o", str(out)], cwd=checkout, check=True)
    return out


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    bundle.write(folder)
    return folder


def run(program: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=300)


def test_the_c_program_knows_the_same_kernels(program: Path) -> None:
    lines = run(program, "--kernels").stdout.splitlines()
    assert lines == [f"{name} {native.kernel_state(name)}" for name in native.kernel_names()]


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_c_program_agrees(program: Path, inputs: Path, kernel: str) -> None:
    done = run(program, inputs / "bundle.bin", kernel, "--short")
    assert done.returncode == 0, done.stderr
    assert sorted(set(done.stdout.splitlines())) == (inputs / "expected-short.txt").read_text().splitlines()


def test_one_other_weight_is_noticed(program: Path, inputs: Path, tmp_path: Path, models: vectors.Models) -> None:
    """Or comparing hashes would prove nothing."""
    data = (inputs / "bundle.bin").read_bytes()
    weights = models.files["extreme"].tensors["head.q"][2].tobytes()
    place = data.index(weights)
    other = tmp_path / "other.bin"
    other.write_bytes(data[:place] + bytes([data[place] ^ 2]) + data[place + 1 :])
    done = run(program, other, KERNELS[0], "--short")
    assert done.returncode == 0, done.stderr
    wanted = set((inputs / "expected-short.txt").read_text().splitlines())
    changed = {line.split()[1] for line in set(done.stdout.splitlines()) - wanted}
    assert changed == {"evaluate/extreme/logits", "evaluate/extreme/sums"}


def test_damaged_bundles_are_refused(program: Path, inputs: Path, tmp_path: Path) -> None:
    data = (inputs / "bundle.bin").read_bytes()
    broken = tmp_path / "broken.bin"
    front = len(bundle.MAGIC) + 4
    cases = [b"", b"ZLLM", data[: front - 1], data[: front + 3], data[: front + 40], data[:50_000], data[:-1]]
    cases += [b"X" + data[1:], data[:front] + b"?" + data[front + 1 :], data[: front + 4] + b"\xff" * 60]
    for case in cases:
        broken.write_bytes(case)
        done = run(program, broken, KERNELS[0], "--short")
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith("machine: ")
