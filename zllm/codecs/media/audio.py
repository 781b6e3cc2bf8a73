"""Where audio samples are in a frame: in WAV, AIFF and AU files by their headers, elsewhere by measurement.

A header may lie: what it says is a proposal, which costs bytes where it is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from zllm._native.media import PcmRun, pcm_measure
from zllm.codecs.media.coder import Changes, parts

_MOST_CHUNKS = 64
"""Chunks of a file that are walked."""
_MEASURED = 1 << 12
"""Bytes of a member from which on it is measured."""
_LOOKED_AT = 1 << 12
"""Bytes that tell whether lowest bits may be unused."""
_PCM_GUID = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
_BYTES_OF_AU = {2: 1, 3: 2, 4: 3, 5: 4}


class _Samples(NamedTuple):
    """In a file: from ``start`` on, ``size`` bytes or fewer."""

    start: int
    size: int
    width: int
    channels: int
    big: bool
    centred: bool


def runs(data: memoryview, boundaries: Sequence[int]) -> list[PcmRun]:
    """The samples of a frame, whose members begin at ``boundaries``; none if it has none."""
    found: list[PcmRun] = []
    changes = Changes(len(data))
    end = 0
    for start, part in parts(data, boundaries):
        run = _member(part)
        if run is None or not changes.allow(*run[2:]):
            continue
        run = run._replace(raw=start + run.raw - end)
        end += run.raw + run.frames * run.frame
        found.append(run)
    return found


def _member(data: memoryview) -> PcmRun | None:
    said = _wave(data) or _aiff(data) or _au(data)
    if said is not None:
        usable = 1 <= said.width <= 4 and 1 <= said.channels <= 8
        count = min(said.size, len(data) - said.start) // (said.width * said.channels) if usable else 0
        run = PcmRun(said.start, count, said.width, said.channels, 0, said.big, said.centred) if count > 0 else None
    else:
        run = pcm_measure(data) if len(data) >= _MEASURED else None
    if run is None:
        return None
    return run._replace(shift=_unused(data[run.raw : run.raw + run.frames * run.frame], run))


def _unused(samples: memoryview, run: PcmRun) -> int:
    """How many of the lowest bits are zero in all samples."""
    shift = 0
    for byte in range(run.width):
        lowest = run.width - 1 - byte if run.big else byte
        plane = samples[lowest :: run.width]
        if _used(plane[: _LOOKED_AT // run.width].tobytes()) & 1:
            return shift  # nearly always, and soon known
        used = _used(plane.tobytes())
        if used:
            return shift + (used & -used).bit_length() - 1
        shift += 8
    return 0  # all are zero


def _used(plane: bytes) -> int:
    used = 0
    for byte in set(plane):
        used |= byte
    return used


def _chunks(data: memoryview, order: str) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, size) of the chunks of a RIFF or IFF file."""
    at = 12
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return
        size = int.from_bytes(data[at + 4 : at + 8], "little" if order == "little" else "big")
        yield bytes(data[at : at + 4]), at + 8, size
        at += 8 + size + (size & 1)


def _wave(data: memoryview) -> _Samples | None:
    if bytes(data[:4]) not in (b"RIFF", b"RF64") or bytes(data[8:12]) != b"WAVE":
        return None
    channels = block = 0
    for name, start, size in _chunks(data, "little"):
        if name == b"fmt " and size >= 16:
            tag = int.from_bytes(data[start : start + 2], "little")
            extensible = tag == 0xFFFE and size >= 40 and bytes(data[start + 26 : start + 40]) == _PCM_GUID
            if extensible:
                tag = int.from_bytes(data[start + 24 : start + 26], "little")
            channels = int.from_bytes(data[start + 2 : start + 4], "little") if tag == 1 else 0
            block = int.from_bytes(data[start + 12 : start + 14], "little")
        if name == b"data":
            if not channels or block % channels:
                return _Samples(start, 0, 0, 0, big=False, centred=False)
            return _Samples(start, size, block // channels, channels, big=False, centred=block == channels)
    return None


def _aiff(data: memoryview) -> _Samples | None:
    if bytes(data[:4]) != b"FORM" or bytes(data[8:12]) not in (b"AIFF", b"AIFC"):
        return None
    width = channels = 0
    big = True
    place: tuple[int, int] | None = None
    for name, start, size in _chunks(data, "big"):
        if name == b"COMM" and size >= 18:
            channels = int.from_bytes(data[start : start + 2], "big")
            width = (int.from_bytes(data[start + 6 : start + 8], "big") + 7) // 8
            kind = bytes(data[start + 18 : start + 22]) if bytes(data[8:12]) == b"AIFC" else b"NONE"
            big = kind != b"sowt"
            if kind not in (b"NONE", b"twos", b"sowt", b"in24", b"in32"):
                width = 0
        if name == b"SSND":
            place = start + 8 + int.from_bytes(data[start : start + 4], "big"), max(0, size - 8)
        if place is not None and channels:
            return _Samples(*place, width, channels, big, centred=False)
    return None


def _au(data: memoryview) -> _Samples | None:
    if bytes(data[:4]) != b".snd" or len(data) < 24:
        return None
    start, size, coding, _, channels = (int.from_bytes(data[at : at + 4], "big") for at in range(4, 24, 4))
    return _Samples(start, size, _BYTES_OF_AU.get(coding, 0), channels, big=True, centred=False)
