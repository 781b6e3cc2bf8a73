"""Writers decode what they coded: a codec that is wrong makes no archive."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pytest

import zllm
from zllm.archive import verifying
from zllm.codecs.base import Codec, Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.lz4 import Lz4Codec
from zllm.codecs.store import StoreCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.format import sectionmap
from zllm.format.frames import FrameRow

TEXT = b"".join(b"Line %d of a text that every codec makes smaller.\n" % number for number in range(6000))
NOISE = random.Random(1).randbytes(20_000)


def pack(level: int, verify: bool | None, *data: bytes, **options: Any) -> bytes:
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", level=level, llm=False, verify=verify, **options) as archive:
        for number, text in enumerate(data):
            info = zllm.ZllmInfo(f"{number}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return out.getvalue()


@pytest.mark.parametrize("level", [1, 2, 5])
def test_no_byte_depends_on_it(level: int) -> None:
    assert len({pack(level, verify, TEXT, NOISE, b"") for verify in (None, True, False)}) == 1


@pytest.mark.parametrize(
    ("level", "codec", "data"),
    [(1, Lz4Codec, TEXT), (2, ZstdCodec, TEXT), (2, StoreCodec, NOISE), (5, CmCodec, TEXT)],
)
@pytest.mark.parametrize("wrong", ["other data", "shorter", "damaged"])
def test_a_codec_that_is_wrong_makes_no_archive(  # noqa: PLR0917
    level: int, codec: type[Codec], data: bytes, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = codec.decode_batch

    def decode_batch(self: Codec, items: Any, run: Run) -> list[bytes]:
        if wrong == "damaged":
            raise zllm.DamagedError("a frame is damaged")
        *others, last = real(self, items, run)
        found = bytearray(last)
        found[len(found) // 2] ^= 1
        return [*others, bytes(found if wrong == "other data" else last[:-1])]

    monkeypatch.setattr(codec, "decode_batch", decode_batch)
    for verify in (None, True):
        with pytest.raises(zllm.VerificationError, match="please report it"):
            pack(level, verify, data)
        with (
            pytest.raises(zllm.VerificationError),
            zllm.open(tmp_path / "a.zllm", "w", level=level, llm=False, verify=verify) as archive,
        ):
            (tmp_path / "data").write_bytes(data)
            archive.add(tmp_path / "data", "data")
        assert [path.name for path in tmp_path.iterdir()] == ["data"]
    pack(level, False, data)


def test_a_map_that_is_wrong_makes_no_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sectionmap.encode

    def encode(found: sectionmap.SectionMap, **kwargs: bool) -> tuple[bytes, int]:
        found.records[0].zeros += 512
        try:
            return real(found, **kwargs)
        finally:
            found.records[0].zeros -= 512

    monkeypatch.setattr(sectionmap, "encode", encode)
    with pytest.raises(zllm.VerificationError, match="map"):
        pack(2, None, TEXT)
    pack(2, False, TEXT)


@pytest.mark.parametrize(("verify", "share"), [(None, 2), (True, 8), (False, 0)])
def test_how_many_frames_are_decoded(verify: bool | None, share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = CmCodec.decode_batch

    def decode_batch(self: CmCodec, items: Any, run: Run) -> list[bytes]:
        decoded.extend(size for _, size, _ in items)
        return real(self, items, run)

    monkeypatch.setattr(CmCodec, "decode_batch", decode_batch)
    pack(5, verify, *(TEXT[number:] for number in range(8)), frame_size=len(TEXT))
    assert len(decoded) == share
    assert verify or len(TEXT) in decoded[:1] or not decoded  # the first, always


def test_every_frame_may_be_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    real = verifying.Verifier._chosen

    def chosen(self: verifying.Verifier, rows: list[FrameRow]) -> dict[tuple[int, int], list[int]]:
        found = real(self, rows)
        seen.update(n for numbers in found.values() for n in numbers)
        return found

    monkeypatch.setattr(verifying.Verifier, "_chosen", chosen)
    for _ in range(30):
        pack(5, None, *(TEXT[number : number + 9000] for number in range(4)), frame_size=9000)
    assert len(seen) >= 3
