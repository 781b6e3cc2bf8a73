"""The codec jpeg, an extra: JPEG files come back and are a fifth smaller; without it they stay, and archives say so."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import media
import pytest

import zllm
from zllm.codecs import registry
from zllm.codecs.jpeg import JpegCodec, _pixels
from zllm.errors import DamagedError, MissingCodecError, UnsupportedVersionError, ZllmError
from zllm.format.category import Category
from zllm.format.wire import varints
from zllm.planner.candidates import Candidates
from zllm.planner.levels import get_level

HERE = importlib.util.find_spec("imagecodecs") is not None
with_extra = pytest.mark.skipif(not HERE, reason="needs the extra media")
RNG = random.Random(4)


def jpeg(columns: int, rows: int) -> bytes:
    """A picture, as a program for cameras would write it."""
    import imagecodecs
    import numpy

    pixels = numpy.frombuffer(bytes(media.picture(columns, rows, 3)), numpy.uint8).reshape(rows, columns, 3)
    return bytes(imagecodecs.jpeg8_encode(pixels, level=88))


@with_extra
@pytest.mark.parametrize(("columns", "rows"), [(160, 120), (97, 61), (1, 300), (640, 480)])
def test_files_pay(columns: int, rows: int) -> None:
    data = jpeg(columns, rows)
    payload = JpegCodec().encode(data)
    assert JpegCodec().decode(payload, len(data)) == data
    assert JpegCodec().recognises(data)
    if columns > 600:
        assert len(payload) < 0.85 * len(data)


@with_extra
def test_frames_of_several_members() -> None:
    parts = [jpeg(320, 240), b"\xff\xd8\xff no picture" * 50, RNG.randbytes(900), jpeg(200, 200) + b"tail"]
    parts.append(jpeg(160, 90)[:-900])
    data, boundaries = b"".join(parts), []
    for part in parts[:-1]:
        boundaries.append((boundaries[-1] if boundaries else 0) + len(part))
    payload = JpegCodec().encode(data, boundaries)
    assert JpegCodec().decode(payload, len(data), boundaries) == data
    assert len(payload) < len(data)


@with_extra
@pytest.mark.parametrize("seed", range(30))
def test_damaged_payloads_fail_or_decode(seed: int) -> None:
    rng, data = random.Random(seed), jpeg(96, 64)
    damaged = bytearray(JpegCodec().encode(data))
    place = rng.choice([rng.randrange(120), rng.randrange(len(damaged))])
    damaged[min(place, len(damaged) - 1)] ^= 1 << rng.randrange(8)
    with contextlib.suppress(ZllmError):
        assert len(JpegCodec().decode(bytes(damaged), len(data))) == len(data)


def test_pictures_that_claim_to_be_huge_are_refused() -> None:
    """The library is not even asked: it would reserve memory."""
    bits = 0 | 3 << 1 | (1 << 30) - 1 << 3 | 1 << 33  # 2^30 rows, square
    huge = (16 + 8).to_bytes(4, "big") + b"jxlc" + b"\xff\x0a" + bits.to_bytes(14, "little")
    assert _pixels(huge) == 1 << 60
    payload = b"\1" + varints([1, 2 * 9000 + 1, len(huge)]) + huge
    if HERE:
        with pytest.raises(DamagedError, match="so large"):
            JpegCodec().decode(payload, 9000)


def test_wrong_payloads() -> None:
    with pytest.raises(UnsupportedVersionError):
        JpegCodec().decode(b"\2\0", 4)
    for payload in (b"", b"\1", b"\1\0", b"\1\1\6abc", b"\1\1\x08abcd?", b"\1\2\x08\x08abcd"):
        with pytest.raises(DamagedError):
            JpegCodec().decode(payload, 4)
    assert JpegCodec().decode(b"\1\1\x08abcd", 4) == b"abcd"
    assert JpegCodec().decode(b"", 0) == b"" == JpegCodec().encode(b"")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JpegCodec, "extra", ("no_such_module", "media"))
    with pytest.raises(MissingCodecError, match=r"'jpeg' needs more .*: pip install 'zllm\[media\]'") as caught:
        registry.codec_class(JpegCodec.id)
    assert caught.value.exit_code == 4
    names = {codec.name for codec in Candidates(get_level(9), lambda codec: codec).of(Category.COMPRESSED)}
    assert "jpeg" not in names and "rebuild" in names


@with_extra
def test_an_archive_that_needs_it_says_so(tmp_path: Path) -> None:
    path, data = tmp_path / "a.zllm", jpeg(320, 240)
    with zllm.open(path, "w", level=5, llm=False) as archive:
        for name, content in (("a.jpg", data), ("b.txt", b"text " * 90)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    with zllm.open(path) as archive:
        assert next(iter(archive)).codecs == ("jpeg",)
        extracted = archive.extractfile("a.jpg")
        assert extracted is not None and extracted.read() == data
    program = (
        "import importlib.util as u, sys; f = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'imagecodecs' else f(name, *a); "
        "from zllm.cli.main import run_zllm; sys.argv[0] = 'zllm'; sys.exit(run_zllm())"
    )
    for command, wanted in ((("test",), "zllm[media]"), (("info", "--requires"), "zllm[media]")):
        done = subprocess.run(
            [sys.executable, "-c", program, *command, str(path)], capture_output=True, text=True, check=False
        )
        assert wanted in done.stdout + done.stderr, done
        assert "Traceback" not in done.stderr
