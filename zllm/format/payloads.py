"""Payloads of frames, and zstd data as the format has it everywhere: what their bytes mean, without any codec.

A payload of codec llm is repeats, sizes of streams, code string; one of codec cm is the version of the arithmetic and
the code string (``docs/zllm-format.md``, "Payloads").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import zstandard

from zllm.errors import DamagedError, UnsupportedVersionError
from zllm.format import limits
from zllm.format.wire import Reader, varints

MAX_DATA = limits.WINDOW
"""Most bytes of data of one frame: a few bytes may claim, and be, any amount of text."""
ZSTD_BLOCK, ZSTD_LEAST = 128 << 10, 4
"""No zstd block unpacks to more bytes, and the shortest one that unpacks to anything takes so many."""
_PREFIX_STEP = 64
"""Damaged data is handed over in small pieces: what a piece gave before the error would be lost with it."""
_MIN_WINDOW, _MAX_WINDOW = 1 << 10, 1 << 27
_TEXT = "a text frame"
Repeat = tuple[int, int, int]
"""(offset, length, distance): ``length`` bytes at ``offset`` are a copy of those ``distance`` bytes earlier."""


@dataclass(frozen=True)
class TextPayload:
    """A payload of codec llm. ``ends``: where each stream ends in the text without its repeats."""

    repeats: tuple[Repeat, ...]
    ends: list[int]
    code: memoryview


def pack_text_front(repeats: Sequence[Repeat], sizes: Sequence[int]) -> bytes:
    """What stands before the code string; ``sizes`` of the streams are bytes of text."""
    numbers, at = [len(repeats)], 0
    for start, length, distance in repeats:
        numbers += (start - at, length - 1, distance - 1)
        at = start + length
    return varints([*numbers, len(sizes) - 1, *sizes[:-1]])


def least_text_code(size: int, streams: int) -> int:
    """Bytes that the code string of ``size`` bytes of text, without repeats, has at least.

    Readers refuse a shorter one, which would ask for memory or time out of proportion.
    """
    for_size = -(-(size - limits.FREE_MODEL_TEXT) // limits.MAX_MODEL_TEXT_RATIO)
    return max(0, for_size, (streams - limits.FREE_STREAMS) * limits.STREAM_CODE)


def read_text(payload: bytes | memoryview, size: int) -> TextPayload:
    """The payload of ``size`` bytes of text, of which there are some.

    Raises:
        DamagedError: it does not fit such a text.
    """
    _check_size(size)
    reader = Reader(payload, _TEXT)
    repeats = _read_repeats(reader, size)
    left = size - sum(length for _, length, _ in repeats)
    count = reader.varint()
    if count >= min(left, limits.MAX_STREAMS):
        raise DamagedError(f"{_TEXT} is damaged: too many streams")
    ends, end = [], 0
    for _ in range(count):
        length = reader.varint()
        end += length
        ends.append(end)
        if not length or end >= left:
            raise DamagedError(f"{_TEXT} is damaged: its streams do not fit it")
    if reader.left < least_text_code(left, count + 1):
        raise DamagedError(f"{_TEXT} is damaged: {reader.left} bytes claim to be {left} in {count + 1} streams")
    return TextPayload(repeats, [*ends, left], reader.data[reader.pos :])


def _read_repeats(reader: Reader, size: int) -> tuple[Repeat, ...]:
    found: list[Repeat] = []
    end = 0
    count = reader.varint()
    if count > 1 + size // limits.REPEAT_DATA:
        raise DamagedError(f"{_TEXT} is damaged: too many repeats")
    for _ in range(count):
        start = end + reader.varint()
        length, distance = reader.varint() + 1, reader.varint() + 1
        end = start + length
        if distance > start or end > size:
            raise DamagedError(f"{_TEXT} is damaged: a repeat does not fit it")
        found.append((start, length, distance))
    return tuple(found)


def pack_cm(version: int, code: bytes, size: int) -> bytes:
    """A payload of codec cm, of ``size`` bytes of data; ``version`` is that of the arithmetic.

    Zeros at the end of a code string change nothing: one that readers would refuse as too short gets some.
    """
    least = -(-(size - limits.FREE_MIXED_TEXT) // limits.MAX_MIXED_TEXT_RATIO)
    return bytes([version]) + code.ljust(least, b"\0")


def read_cm(payload: bytes | bytearray | memoryview, size: int, version: int) -> memoryview:
    """The code string of a payload of codec cm, of ``size`` bytes of data.

    Raises:
        DamagedError: it claims too much, or is empty.
        UnsupportedVersionError: it was made with another version of the arithmetic.
    """
    _check_size(size)
    view = memoryview(payload)
    if size > limits.FREE_MIXED_TEXT + limits.MAX_MIXED_TEXT_RATIO * max(0, len(view) - 1):
        raise DamagedError(f"{_TEXT} is damaged: {len(view)} bytes claim to be {size}")
    if size and not view:
        raise DamagedError(f"{_TEXT} is damaged: it is empty")
    if size and view[0] != version:
        raise UnsupportedVersionError(
            f"the text was coded with arithmetic version {view[0]}, this program has {version}"
        )
    return view[1:]


MEDIA_VERSION = 1
"""Of the arithmetic of codecs pcm and image: the first byte of their payloads. Raised whenever an integer changes."""
_MEDIA = "a frame of media"


def pack_media(payload: bytes, size: int) -> bytes:
    """A payload of codec pcm or image, of ``size`` bytes of data; as long as readers ask for, as in :func:`pack_cm`."""
    return payload.ljust(-(-(size - limits.FREE_MIXED_TEXT) // limits.MAX_MIXED_TEXT_RATIO) + 1, b"\0")


def pack_plain_media(data: bytes | bytearray | memoryview) -> bytes:
    """The same of data in which there is nothing for such a codec."""
    return b"\0" + bytes(data)


def read_media(payload: bytes | bytearray | memoryview, size: int) -> memoryview | bytes:
    """What C decodes to ``size`` bytes of data, or that data itself.

    Raises:
        DamagedError: it does not fit such data.
        UnsupportedVersionError: it was made with another version of the arithmetic.
    """
    view = memoryview(payload)
    if size > MAX_DATA:
        raise DamagedError(f"{_MEDIA} is damaged: {size} bytes are more than one may have")
    if size == 0 and not view:
        return b""
    if not view or not size:
        raise DamagedError(f"{_MEDIA} is damaged: {len(view)} bytes claim to be {size}")
    if view[0] == 0 and len(view) == size + 1:
        return bytes(view[1:])
    if view[0] == 0 or size > limits.FREE_MIXED_TEXT + limits.MAX_MIXED_TEXT_RATIO * (len(view) - 1):
        raise DamagedError(f"{_MEDIA} is damaged: {len(view)} bytes claim to be {size}")
    if view[0] != MEDIA_VERSION:
        raise UnsupportedVersionError(
            f"media were coded with version {view[0]} of their arithmetic, this program has {MEDIA_VERSION}"
        )
    return view


def _check_size(size: int) -> None:
    if size > MAX_DATA:
        raise DamagedError(f"{_TEXT} is damaged: {size} bytes are more than one may have")


def zstd_parameters(level: int, size: int, **own: Any) -> zstandard.ZstdCompressionParameters:
    """Of a bare zstd frame: without magic number, content size, dictionary id and checksum."""
    return zstandard.ZstdCompressionParameters.from_level(
        level, source_size=size, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=0, write_checksum=0,
        write_dict_id=0, **own,
    )  # fmt: skip


def compress(data: bytes | memoryview, level: int = 19) -> bytes:
    """``data`` as a bare zstd frame."""
    coder = zstandard.ZstdCompressor(compression_params=zstd_parameters(level, len(data)))
    return coder.compress(data)


def decompress(payload: bytes | memoryview, size: int, what: str) -> bytes:
    """The inverse of :func:`compress`: exactly ``size`` bytes, which the caller has checked against a limit.

    Never allocates more than ``size`` and a window that is no larger than needed.

    Raises:
        DamagedError: the payload is not such data, or not of that size.
    """
    if size == 0:
        if payload:
            raise DamagedError(f"{what} is damaged: {len(payload)} bytes where none belong")
        return b""
    if size > ZSTD_BLOCK * (len(payload) // ZSTD_LEAST + 1):
        raise DamagedError(f"{what} is damaged: {len(payload)} bytes cannot unpack to {size}")
    if not payload or payload[0] != 0:  # a content size that is claimed in there would be allocated unseen
        raise DamagedError(f"{what} is damaged: a zstd frame has a header that zllm does not write")
    try:
        data = _decompressor(size).decompress(payload, max_output_size=size, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as exc:
        raise DamagedError(f"{what} is damaged: {exc}") from None
    if len(data) != size:
        raise DamagedError(f"{what} is damaged: it unpacks to {len(data)} bytes instead of {size}")
    return data


def decompress_prefix(payload: memoryview, size: int) -> bytes:
    """As much of ``size`` bytes as damaged data of :func:`compress` gives, some of which may be wrong."""
    out = bytearray()
    coder = _decompressor(size).decompressobj()
    payload = memoryview(b"\0" + payload[1:])  # that one is known
    try:
        for start in range(0, len(payload), _PREFIX_STEP):
            if coder.eof or len(out) >= size:
                break
            out += coder.decompress(payload[start : start + _PREFIX_STEP])
    except (zstandard.ZstdError, MemoryError):
        pass
    return bytes(out[:size])


def _decompressor(size: int) -> zstandard.ZstdDecompressor:
    """For ``size`` bytes of data, whose window is no larger than they need."""
    window = min(max(1 << (size - 1).bit_length(), _MIN_WINDOW), _MAX_WINDOW)
    return zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS, max_window_size=window)
