"""Every bit and every length of small archives: nothing is lost to one wrong bit, and nothing wrong is given.

``ZLLM_EVERY_BIT=1`` flips all bits of archives of each codec, which takes hours; without it, a sample.
"""

from __future__ import annotations

import io
import os
import random

import pytest
import takeapart

import zllm
from zllm.archive import builder
from zllm.errors import ZllmError
from zllm.format.envelope import Kind

LEVELS = {"lz4": {"level": 1}, "zstd": {"level": 4}, "cm": {"level": 5}, "llm": {"level": 8, "model": "fast"}}
WORDS = [f"word{number % 37}{chr(97 + number % 26)}" for number in range(400)]


def text(size: int, seed: int) -> bytes:
    rng = random.Random(seed)
    return " ".join(rng.choices(WORDS, k=size // 5)).encode()[:size]


def files(codec: str) -> dict[str, bytes]:
    every = bool(os.environ.get("ZLLM_EVERY_BIT")) and codec != "llm"
    scale = 4 if every else 1
    found = {f"doc{number}.txt": text(900 * scale, number) for number in range(4)}
    found["large.txt"] = text(9_000 * scale if codec != "llm" else 8_500, 9)
    found["noise.bin"] = random.Random(1).randbytes(300 * scale)
    return found


def build(codec: str) -> bytes:
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", threads=1, **LEVELS[codec]) as archive:
        for name, data in files(codec).items():
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def given_back(data: bytes, mode: str) -> tuple[dict[str, bytes], ZllmError | None]:
    """Members that can be read, and what was said to be wrong."""
    found: dict[str, bytes] = {}
    error: ZllmError | None = None
    try:
        archive = zllm.open(fileobj=io.BytesIO(data), mode=mode, threads=1)
        try:
            for member in archive:
                try:
                    stream = archive.extractfile(member)
                    assert stream is not None
                    found[member.name] = stream.read()
                except ZllmError as exc:
                    error = exc
        except ZllmError as exc:
            error = exc
        error = error or archive.problem
    except ZllmError as exc:
        error = exc
    return found, error


@pytest.mark.parametrize("codec", LEVELS)
def test_every_bit(codec: str) -> None:
    good, wanted = build(codec), files(codec)
    assert given_back(good, "r") == (wanted, None)
    places = [(at, bit) for at in range(len(good)) for bit in range(8)]
    if not os.environ.get("ZLLM_EVERY_BIT"):
        places = random.Random(codec).sample(places, 12 if codec == "llm" else 150)
    for number, (at, bit) in enumerate(places):
        bad = bytearray(good)
        bad[at] ^= 1 << bit
        found, error = given_back(bytes(bad), ("r", "r|")[number % 2])
        assert found == wanted, (at, bit, error)
        assert isinstance(error, zllm.DamagedError), (at, bit)


@pytest.mark.parametrize("mode", ["r", "r|"])
@pytest.mark.parametrize("codec", ["lz4", "zstd", "cm"])
def test_every_length(codec: str, mode: str) -> None:
    """Never anything wrong, and always an error; without the end nothing is lost."""
    good, wanted = build(codec), files(codec)
    steps = range(len(good)) if codec == "zstd" else random.Random(codec).sample(range(len(good)), 60)
    for size in steps:
        found, error = given_back(good[:size], mode)
        assert isinstance(error, ZllmError), size
        assert all(wanted[name] == data for name, data in found.items()), size
    for part in takeapart.parts(good):  # all that is in frames before the cut
        if part.envelope.kind == Kind.DIRECTORY:
            assert given_back(good[: part.offset], mode)[0] == wanted
            assert given_back(good[: part.end], mode)[0] == wanted
            assert given_back(good[: part.end + 3], mode)[0] == wanted


@pytest.mark.parametrize("mode", ["r", "r|"])
@pytest.mark.parametrize("codec", ["zstd", "cm"])
def test_members_before_a_cut_inside_a_frame_come_back(codec: str, mode: str) -> None:
    out, wanted = io.BytesIO(), {f"doc{n}.txt": text(30_000, n) for n in range(20)}
    with zllm.open(fileobj=out, mode="w", threads=1, **LEVELS[codec]) as archive:
        for name, data in wanted.items():
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    good = out.getvalue()
    found, error = given_back(good[: len(good) * 3 // 4], mode)
    assert isinstance(error, zllm.DamagedError)
    assert all(wanted[name] == data for name, data in found.items())
    assert len(found) >= 8


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_small_members_before_damage_are_proved_by_their_run(mode: str) -> None:
    out, wanted = io.BytesIO(), {f"doc{n:03}.txt": text(4_000, n) for n in range(150)}
    with zllm.open(fileobj=out, mode="w", threads=1, **LEVELS["cm"]) as archive:
        for name, data in wanted.items():
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    bad = bytearray(out.getvalue())
    middle = len(bad) // 2
    bad[middle : middle + 40] = bytes(40)
    found, error = given_back(bytes(bad), mode)
    assert isinstance(error, zllm.DamagedError)
    assert all(wanted[name] == data for name, data in found.items())
    assert 40 <= len(found) < 150


def test_a_corrected_frame_of_a_member_that_spans_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash is that of all of it: read whole it is right, and a part of it alone is refused."""
    monkeypatch.setattr(builder, "SECTION", 64 << 10)
    data, out = random.Random(4).randbytes(200_000), io.BytesIO()
    with zllm.open(fileobj=out, mode="w", level=2, threads=1) as archive:
        info = zllm.ZllmInfo("x")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    bad = bytearray(out.getvalue())
    bad[len(bad) // 2] ^= 1
    for mode in ("r", "r|"):
        found, error = given_back(bytes(bad), mode)
        assert found == {"x": data} and isinstance(error, zllm.DamagedError)
    stream = zllm.open(fileobj=io.BytesIO(bytes(bad))).extractfile("x")
    assert stream is not None
    stream.seek(len(data) // 2)
    with pytest.raises(zllm.DamagedError):
        stream.read(100)
