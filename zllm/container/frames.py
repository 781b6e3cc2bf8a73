"""Frames: one codec, one checksum each."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from zllm.container import limits
from zllm.container.wire import checksum64
from zllm.errors import DamagedError

MAGIC = b"\x9aZ"
_FIELDS = struct.Struct("<2sBBII")
_CHECK = struct.Struct("<Q")
HEADER_SIZE = _FIELDS.size + _CHECK.size


@dataclass(frozen=True)
class FrameRow:
    """What the section map says of a frame. Sizes in bytes, ``rival`` in thousandths of a bit per byte (0: none).

    ``slot`` is 0 or the number of the model in the section header, from 1. ``reason`` is the chooser's code.
    """

    raw_size: int
    payload_size: int
    codec: int
    slot: int = 0
    reason: int = 0
    rival: int = 0

    @property
    def coded_size(self) -> int:
        """Bytes in the file, frame header included."""
        return HEADER_SIZE + self.payload_size


def pack(row: FrameRow, payload: bytes | memoryview) -> bytes:
    """The frame's header; the payload follows it."""
    fields = _FIELDS.pack(MAGIC, row.codec, row.slot, row.raw_size, row.payload_size)
    return fields + _CHECK.pack(checksum64(fields, payload))


def payload_of(frame: memoryview, row: FrameRow) -> memoryview:
    """The payload of a frame, after its checksum and its row in the map were compared.

    Raises:
        DamagedError: they do not agree.
    """
    if len(frame) != row.coded_size or row.payload_size > limits.MAX_PAYLOAD:
        raise DamagedError("a frame is damaged: its length is wrong")
    fields, check = frame[: _FIELDS.size], frame[_FIELDS.size : HEADER_SIZE]
    payload = frame[HEADER_SIZE:]
    if _CHECK.unpack(check)[0] != checksum64(fields, payload):
        raise DamagedError("a frame is damaged: its checksum does not hold")
    if _FIELDS.unpack(fields) != (MAGIC, row.codec, row.slot, row.raw_size, row.payload_size):
        raise DamagedError("a frame is damaged: its header and the section map disagree")
    return payload
