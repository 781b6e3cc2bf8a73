"""Codecs pcm, image, tensors and rebuild in the reader in C: it gives and refuses what Python's gives and refuses."""

from __future__ import annotations

import hashlib
import io
import random
import runpy
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import media
import packed
import pytest
from library.conftest import Installed
from library.test_archive import CODES, MODES, run, tar_of

import zllm
from zllm.codecs.base import Codec
from zllm.codecs.image import ImageCodec
from zllm.codecs.pcm import PcmCodec
from zllm.codecs.rebuild import RebuildCodec
from zllm.codecs.tensors import TensorsCodec
from zllm.format import frames, limits, payloads
from zllm.format.frames import FrameRow
from zllm.format.sectionmap import Group, Record, SectionMap
from zllm.format.wire import varints

RNG = random.Random(8)
FLOATS = [RNG.gauss(0, 0.02) for _ in range(900)]
SINGLE = struct.pack(f"<{len(FLOATS)}f", *FLOATS)
WAV = media.wave(media.pack(media.waves(1200, 2, 16), 2), 2, 2)
PICTURE = packed.png(64, 48)
PLAIN = b"\0"
DAMAGES = 40

MADE: dict[str, tuple[Codec, bytes]] = {
    "samples": (PcmCodec(), WAV),
    "samples-fast": (PcmCodec(fast=1), WAV),
    "samples-none": (PcmCodec(), b"no samples at all"),
    "pixels": (ImageCodec(), media.images()[8]),
    "pixels-none": (ImageCodec(), b"no pixels at all"),
    "bfloat16": (TensorsCodec(), b"".join(SINGLE[at + 2 : at + 4] for at in range(0, len(SINGLE), 4))),
    "float32": (TensorsCodec(), SINGLE + b"end"),
    "float16": (TensorsCodec(), struct.pack(f"<{len(FLOATS)}e", *FLOATS)),
    "float64": (TensorsCodec(), struct.pack(f"<{len(FLOATS)}d", *FLOATS)),
    "integers": (TensorsCodec(), struct.pack("<900I", *range(70_000, 70_900))),
    "one-byte": (TensorsCodec(), b"x"),
    "image": (RebuildCodec(), packed.png(24, 20)),
    "files": (RebuildCodec(), packed.zipped({"a": packed.text(900), "b": packed.zipped({"c": packed.png(9, 9)})})),
    "nothing": (RebuildCodec(), b"no streams at all"),
}


def in_planes(data: bytes, width: int, *, turned: bool, start: int) -> bytes:
    """A payload of codec tensors, of numbers from ``start`` on: encoders choose by themselves how wide they are."""
    count = (len(data) - start) // width
    end = start + count * width
    rows = [bytearray(reversed(data[at : at + width])) for at in range(start, end, width)]
    for row in rows if turned else ():
        sign, exponent, mantissa = row[0] >> 7, (row[0] << 1 | row[1] >> 7) & 255, row[1] & 127
        row[:2] = exponent, sign << 7 | mantissa
    planes = [bytes(plane) for plane in zip(*rows, strict=True)]
    packed = [payloads.compress(plane) for plane in planes]
    kept = [code if len(code) < len(plane) else plane for code, plane in zip(packed, planes, strict=True)]
    lengths = [len(code) if len(code) < len(plane) else 0 for code, plane in zip(packed, planes, strict=True)]
    assert 0 < sum(map(bool, lengths)) < width, "some are stored, some are not"
    return b"".join([bytes([width + 16 * turned]), varints([start, *lengths]), *kept, data[:start], data[end:]])


PAYLOADS = {name: (codec, data, codec.encode(data)) for name, (codec, data) in MADE.items()}
for width, turned in ((2, True), (4, True), (2, False), (4, False), (8, False)):
    numbers = b"abc" + MADE[{2: "bfloat16", 4: "float32", 8: "float64"}[width]][1]
    kind = f"planes-{width}" + "-turned" * turned
    PAYLOADS[kind] = TensorsCodec(), numbers, in_planes(numbers, width, turned=turned, start=3)

WRONG: list[tuple[type[Codec], bytes, int]] = [
    *((codec, payload, 9) for codec in (PcmCodec, ImageCodec) for payload in (b"", PLAIN, b"\2\0", b"\1", b"\1\xff")),
    *((codec, PLAIN + bytes(8), size) for codec in (PcmCodec, ImageCodec) for size in (7, 9)),
    *((codec, b"\1\0", limits.FREE_MIXED_TEXT + limits.MAX_MIXED_TEXT_RATIO + 1) for codec in (PcmCodec, ImageCodec)),
    *((TensorsCodec, payload, 4) for payload in (b"", b"\x14", b"\x14\5\0\0\0\0abcd", b"\x14\0\0\0\0\0abcde")),
    *((TensorsCodec, bytes([form]) + bytes(9) + b"8 bytes!", 8) for form in (0, 1, 3, 5, 16, 24, 34, 66)),
    (TensorsCodec, b"\2\0\0\0abc", 4),
    *((RebuildCodec, payload, 9) for payload in (b"", PLAIN, PLAIN + bytes(8), b"\2", b"\1\0", b"\1\1\0\1\1xx")),
    *((RebuildCodec, b"\1\1" + piece, 9) for piece in (b"\4\1\0", b"\3\1\1x", b"\0\0\0", b"\0\1\1x")),
    (RebuildCodec, b"\1" + varints([1, 8, 9, 11]) + b"\1" + varints([1, 8, 9, 6]) + b"\1\1\0\1\1x", 9),
    (TensorsCodec, b"\2\0\2\0abcd", 4),
]


@pytest.fixture(scope="module")
def tools(checkout: Path) -> dict[str, Any]:
    """What makes archives of any parts."""
    return runpy.run_path(str(checkout / "tools" / "make_conformance.py"))


def archive_of(tools: dict[str, Any], codec: int, payload: bytes, size: int, data: bytes | None) -> bytes:
    """A member "a" of ``size`` bytes in a frame with this payload, which decodes to ``data``; one without data, "b"."""
    row = FrameRow(size, len(payload), codec, sha256=frames.hash_of(data or b""))
    sha256 = hashlib.sha256(data or b"").digest() if size > 8192 else b""
    record = Record(tools["header"]("a", size), size, -size % 512, 0, sha256=sha256)
    plan = tools["Plan"]().section(SectionMap([record], [Group(0, 1, [row])]), [payload])
    made: bytes = plan.member("b", b"").bytes()
    return made


def decoded(codec: Codec, payload: bytes, size: int) -> bytes | zllm.ZllmError:
    try:
        return codec.decode(payload, size)
    except zllm.ZllmError as exc:
        return exc


def check(
    installed: Installed, path: Path, made: Callable[[bytes | None], bytes], wanted: bytes | zllm.ZllmError
) -> None:
    """``unzllm`` gives the stream that has the wanted data, or fails as the codec does."""
    right = wanted if isinstance(wanted, bytes) else None
    path.write_bytes(made(right))
    done = run(installed, path, "file")
    if right is None:
        assert done.returncode == CODES[type(wanted).__name__], (wanted, done.stderr)
        assert done.stderr.startswith(b"unzllm: ")
        assert b"another SHA-256" not in done.stderr, "it was decoded to something"
    else:
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout[512:][: len(right)] == right and done.stdout == tar_of(path)


@MODES
@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads_come_back(installed: Installed, tools: dict[str, Any], tmp_path: Path, name: str, mode: str) -> None:
    codec, data, payload = PAYLOADS[name]
    assert codec.decode(payload, len(data)) == data
    path = tmp_path / "a.zllm"
    path.write_bytes(archive_of(tools, codec.id, payload, len(data), data))
    done = run(installed, path, mode)
    assert (done.returncode, done.stderr, done.stdout[512:][: len(data)]) == (0, b"", data)
    assert run(installed, path, mode, "-t").returncode == 0


@pytest.mark.parametrize("name", [name for name in PAYLOADS if not name.startswith("one")])
def test_damaged_payloads_mean_the_same(installed: Installed, tools: dict[str, Any], tmp_path: Path, name: str) -> None:
    codec, data, good = PAYLOADS[name]
    rng = random.Random(name)
    for _ in range(DAMAGES):
        payload = bytearray(good[: rng.choice([len(good), rng.randrange(1, len(good))])])
        payload[min(rng.choice([rng.randrange(9), rng.randrange(len(payload))]), len(payload) - 1)] ^= (
            1 << rng.randrange(8)
        )
        size = rng.choice([len(data), len(data), len(data) - 1, rng.randrange(1, 8192)])
        wanted = decoded(codec, bytes(payload), size)

        def made(right: bytes | None, payload: bytes = bytes(payload), size: int = size) -> bytes:
            return archive_of(tools, codec.id, payload, size, right)

        check(installed, tmp_path / "a.zllm", made, wanted)


@pytest.mark.parametrize("wrong", WRONG)
def test_payloads_that_do_not_fit_are_refused(
    installed: Installed, tools: dict[str, Any], tmp_path: Path, wrong: tuple[type[Codec], bytes, int]
) -> None:
    codec, payload, size = wrong
    wanted = decoded(codec(), payload, size)
    assert isinstance(wanted, zllm.ZllmError)
    check(installed, tmp_path / "a.zllm", lambda right: archive_of(tools, codec.id, payload, size, right), wanted)


def test_every_allocation_may_fail(installed: Installed, tools: dict[str, Any], checkout: Path, tmp_path: Path) -> None:
    program, source = tmp_path / "failing", checkout / "tests" / "library" / "failing.c"
    flags = ["-std=c11", "-DZLLM_STATIC", f"-I{checkout / 'csrc' / 'include'}"]
    libraries = [str(installed.root / "usr/lib/libzllm.a"), "-lzstd", "-llz4", "-lz", "-pthread"]
    subprocess.run(["cc", *flags, str(source), "-o", str(program), *libraries], check=True)
    for name in ("samples", "samples-fast", "pixels", "planes-4-turned", "image", "files"):
        codec, data, payload = PAYLOADS[name]
        path = tmp_path / "a.zllm"
        path.write_bytes(archive_of(tools, codec.id, payload, len(data), data))
        done = subprocess.run([str(program), str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and int(done.stdout.split()[0]) > 20, done.stdout


def test_a_codec_of_others_is_missing(installed: Installed, tools: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.zllm"
    path.write_bytes(archive_of(tools, 63, b"data", 4, b"data"))
    done = run(installed, path, "file")
    assert done.returncode == 4 and b"codec 63 is not known" in done.stderr


@MODES
@pytest.mark.parametrize(("level", "codecs"), [(3, {"tensors"}), (9, {"pcm", "image", "rebuild"})])
def test_archives_of_media(installed: Installed, tmp_path: Path, mode: str, level: int, codecs: set[str]) -> None:
    path = tmp_path / "a.zllm"
    numbers = struct.pack("<40000f", *(RNG.gauss(0, 0.02) for _ in range(40_000)))
    pixels = media.pixmap(bytes(media.picture(160, 120, 3)), 160, 120, 3)
    sound = media.wave(media.pack(media.waves(20_000, 2, 16), 2), 2, 2)
    with zllm.open(path, "w", level=level, llm=False) as archive:
        files = {"a.wav": sound, "b.ppm": pixels, "c.safetensors": numbers, "d.txt": b"text " * 99, "e.png": PICTURE}
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with zllm.open(path) as archive:
        used = {codec for member in archive for codec in member.codecs}
    assert used >= codecs
    for threads in ("1", "3"):
        done = run(installed, path, mode, "--threads", threads)
        assert (done.returncode, done.stdout, done.stderr) == (0, tar_of(path), b"")
        assert run(installed, path, mode, "-t", "--threads", threads).returncode == 0
