"""The first promise: one archive, whatever kernel and however many threads made it, and each reads every other's."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zllm import _native as native

KERNELS = native.usable_kernels()


def run(*args: str, kernel: str) -> None:
    env = {**os.environ, "ZLLM_KERNEL": kernel}
    done = subprocess.run([sys.executable, "-m", "zllm", *args], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Text of several kinds: enough for more than one stream in one frame, and small members in another."""
    folder = tmp_path_factory.mktemp("texts") / "texts"
    folder.mkdir()
    docs = Path(__file__).parent.parent / "docs"
    parts = [p.read_bytes() for p in sorted(docs.glob("*.md"))]
    (folder / "long.md").write_bytes(b"\n".join(parts)[:40_000])
    for i, part in enumerate(parts[:4]):
        (folder / f"small{i}.txt").write_bytes(part[:1500])
    strange = "Grüße, 你好 \r\n\ttab \x00 nul\n".encode() * 20 + b"\xff\xfe stray bytes\n" * 5
    (folder / "strange.txt").write_bytes(strange)
    return folder


def test_same_archive_from_every_kernel_and_thread_count(texts: Path, tmp_path: Path) -> None:
    digests = {}
    for kernel in KERNELS:
        for threads in ("1", "3"):
            name = tmp_path / f"{kernel}-{threads}.zllm"
            run("create", str(name), "-C", str(texts.parent), "texts", "-j", threads, "--level", "9", kernel=kernel)
            digests[kernel, threads] = hashlib.sha256(name.read_bytes()).hexdigest()
    assert len(set(digests.values())) == 1, digests


@pytest.mark.parametrize("reader", KERNELS)
@pytest.mark.parametrize("writer", KERNELS)
def test_each_kernel_reads_every_others_archive(texts: Path, tmp_path: Path, writer: str, reader: str) -> None:
    archive, out = tmp_path / "a.zllm", tmp_path / "out"
    run("create", str(archive), "-C", str(texts.parent), "texts", "--level", "9", "-j", "2", kernel=writer)
    listing = subprocess.run(
        [sys.executable, "-m", "zllm", "list", "-v", str(archive)], capture_output=True, text=True, check=True
    )
    assert " llm " in listing.stdout  # or this test would prove nothing
    run("extract", str(archive), "-C", str(out), "-j", "1", kernel=reader)
    for path in texts.iterdir():
        assert (out / "texts" / path.name).read_bytes() == path.read_bytes()
