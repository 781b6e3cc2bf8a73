"""Memory stays bounded, whatever the length and the number of threads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zllm.archive.builder import SECTION, SectionBuilder
from zllm.codecs.base import Run as CodecRun
from zllm.codecs.cm import CmCodec
from zllm.codecs.workspace import Workspace
from zllm.codecs.zstd import ZstdCodec

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
LIMIT_MB = 300


def peak_mb(result: subprocess.CompletedProcess[bytes]) -> int:
    match = re.search(rb"peak memory (\d+) MB\n$", result.stderr)
    assert match, result.stderr
    return int(match[1])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sections: one of noise, one of much in a few large files, one of small ones."""
    folder = tmp_path_factory.mktemp("large") / "in"
    folder.mkdir()
    noise = os.urandom(SECTION)
    (folder / "a-noise").write_bytes(noise)
    block = noise[: 2 << 20]
    for number in range(8):
        (folder / f"b{number}").write_bytes(bytes(number) + block[number:] + noise[number << 20 : (number + 2) << 20])
    for number in range(300):
        (folder / f"c{number:03}").write_bytes(noise[number * 99 : number * 99 + 100_000])
    return folder


@pytest.mark.parametrize(("level", "threads"), [("1", 4), ("3", 4), ("5", 4)])
def test_peak_of_packing_and_unpacking(level: str, threads: int, zllm: Run, large: Path, tmp_path: Path) -> None:
    words = ["--level", level, "-j", str(threads), "--stats", "a.zllm", "-C", large.parent, "in"]
    assert peak_mb(zllm("create", *words)) < LIMIT_MB
    assert peak_mb(zllm("test", "-j", str(threads), "--stats", "a.zllm")) < LIMIT_MB
    with open(tmp_path / "a.zllm", "rb") as archive:
        assert peak_mb(zllm("extract", "-q", "-j", str(threads), "--stats", "-", "-C", "out", stdin=archive)) < LIMIT_MB
    subprocess.run(["diff", "-r", large, tmp_path / "out" / "in"], check=True)


def test_groups_take_the_data_out_of_a_builder() -> None:
    builder = SectionBuilder()
    for number in range(3):
        builder.begin(b"h", f"name{number}", 1000 + number)
        builder.add(memoryview(os.urandom(1000 + number)))
    data = bytes(builder.data)
    _, work = builder.groups()
    assert not builder.data
    assert [bytes(group.data) for group in work] == [data] and work[0].boundaries == (1000, 2001)


def test_one_large_piece_is_not_copied() -> None:
    builder = SectionBuilder()
    builder.begin(b"h", "name", 1 << 20)
    builder.add(memoryview(os.urandom(1 << 20)))
    data = builder.data
    (group,) = builder.groups()[1]
    assert group.data.obj is data


def test_encoders_wait_for_memory() -> None:
    workspace = Workspace(100)
    seen: list[int] = []
    inside = 0
    lock = threading.Lock()

    def work(size: int) -> None:
        nonlocal inside
        with workspace.hold(size):
            with lock:
                inside += size
                seen.append(inside)
            threading.Event().wait(0.005)
            with lock:
                inside -= size

    threads = [threading.Thread(target=work, args=(size,)) for size in [60, 30, 50, 10, 90, 250, 20] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(seen) == len(threads) and inside == 0
    assert max(size for size in seen if size != 250) <= 100  # the one that never fits is alone


def test_an_encoder_that_fails_gives_its_memory_back() -> None:
    workspace = Workspace(100)
    with pytest.raises(ValueError, match="no"), workspace.hold(90):
        raise ValueError("no")
    with workspace.hold(100):
        pass


def test_a_frame_that_is_larger_than_the_workspace_is_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zllm.codecs.workspace.shared", Workspace(1))
    data = b"some text " * 100
    codec = ZstdCodec(19)
    assert codec.decode(codec.encode(data), len(data)) == data


MEASURE = """
import os, re, sys
from pathlib import Path
from zllm.codecs.cm import CmCodec

def peak(work):
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts at what is in use now
    before = used()
    result = work()
    return result, used() - before

def used():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

codec, size = CmCodec(), int(sys.argv[1])
data = os.urandom(size)
codec.decode(codec.encode(b"x" * 9), 9)
payload, encoder = peak(lambda: codec.encode(data))
_, decoder = peak(lambda: codec.decode(payload, size))
print(encoder, decoder, codec.encoder_memory(size) >> 10, codec.decoder_memory(size) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("size", [256 << 10, 1 << 20, 6 << 20])
def test_the_predictor_takes_what_it_declares(size: int) -> None:
    """With the payload or the data that comes out, which are counted elsewhere; KiB."""
    done = subprocess.run([sys.executable, "-c", MEASURE, str(size)], capture_output=True, text=True, check=True)
    encoder, decoder, declared, also_declared = map(int, done.stdout.split())
    result = size >> 10
    assert declared // 2 < encoder < declared + result + 2048
    assert decoder < also_declared + result + 2048


def test_frames_in_work_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of threads, and the payloads are the same."""
    held: list[int] = []
    inside = [0]

    class Counting(Workspace):
        @contextmanager
        def hold(self, size: int) -> Iterator[None]:
            with super().hold(size):
                inside[0] += size
                held.append(inside[0])
                yield
                inside[0] -= size

    codec = CmCodec()
    items = [(bytes(range(256)) * 40 * n, ()) for n in range(1, 9)]
    alone = codec.encode_batch(items, CodecRun(1))
    room = 2 * codec.encoder_memory(len(items[-1][0]))
    monkeypatch.setattr("zllm.codecs.workspace.shared", Counting(room))
    assert codec.encode_batch(items, CodecRun(8)) == alone
    assert len(held) == len(items) and max(held) <= room
    held.clear()
    sizes = [(payload, len(data), ()) for payload, (data, _) in zip(alone, items, strict=True)]
    assert codec.decode_batch(sizes, CodecRun(8)) == [data for data, _ in items]
    assert len(held) == len(items) and max(held) <= room
