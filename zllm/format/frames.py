"""Frames: one codec, one checksum each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from zllm.errors import DamagedError
from zllm.format import limits
from zllm.format.wire import checksum32, put_varint

MAGIC = b"\x9aZ"
_CHECK_SIZE = 4
LEAST_FRAME = len(MAGIC) + 4 + _CHECK_SIZE
"""Bytes of a frame without a payload."""
HASH_SIZE = 8
"""Bytes of a SHA-256 that a frame of small members keeps of its data."""


@dataclass(frozen=True)
class FrameRow:
    """What the section map says of a frame. Sizes in bytes, ``rival`` in thousandths of a bit per byte (0: none).

    ``slot`` is 0 or the number of the model in the section header, from 1. ``reason`` is the planner's code.
    ``sha256`` is the first :data:`HASH_SIZE` bytes of the SHA-256 of the frame's data, if it has members without a hash
    of their own; else empty.
    """

    raw_size: int
    payload_size: int
    codec: int
    slot: int = 0
    reason: int = 0
    rival: int = 0
    sha256: bytes = b""

    @property
    def header_size(self) -> int:
        """Bytes of the frame header."""
        return len(_fields(self)) + _CHECK_SIZE

    @property
    def coded_size(self) -> int:
        """Bytes in the file, frame header included."""
        return self.header_size + self.payload_size


def _fields(row: FrameRow) -> bytes:
    out = bytearray(MAGIC)
    out += bytes((row.codec, row.slot))
    put_varint(out, row.raw_size)
    put_varint(out, row.payload_size)
    return bytes(out)


def pack(row: FrameRow, payload: bytes | memoryview) -> bytes:
    """The frame's header; the payload follows it."""
    fields = _fields(row)
    return fields + checksum32(fields, payload).to_bytes(_CHECK_SIZE, "little")


def hash_of(data: bytes | memoryview) -> bytes:
    """What a frame of small members keeps of its data's SHA-256."""
    return hashlib.sha256(data).digest()[:HASH_SIZE]


def payload_of(frame: memoryview, row: FrameRow) -> memoryview:
    """The payload of a frame, after its checksum and its row in the map were compared.

    Raises:
        DamagedError: they do not agree.
    """
    fields = _fields(row)
    start = len(fields) + _CHECK_SIZE
    if len(frame) != start + row.payload_size or row.payload_size > limits.MAX_PAYLOAD:
        raise DamagedError("a frame is damaged: its length is wrong")
    payload = frame[start:]
    if frame[: len(fields)] != fields:
        raise DamagedError("a frame is damaged: its header and the section map disagree")
    if checksum32(fields, payload).to_bytes(_CHECK_SIZE, "little") != frame[len(fields) : start]:
        raise DamagedError("a frame is damaged: its checksum does not hold")
    return payload
