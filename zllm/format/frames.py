"""Frames: one codec, one checksum each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from zllm.errors import DamagedError
from zllm.format import limits, sealing
from zllm.format.envelope import CHECK_SIZE, SEALED, Envelope, Kind, check_of, seal
from zllm.format.wire import put_varint

HASH_SIZE = 8
"""Bytes of a SHA-256 that a frame of small members keeps of its data."""


@dataclass(frozen=True)
class FrameRow:
    """What the section map says of a frame. Sizes in bytes, ``rival`` in thousandths of a bit per byte (0: none).

    ``slot`` is 0 or the number of the model in the section, from 1. ``reason`` is the planner's code.
    ``sha256`` is the first :data:`HASH_SIZE` bytes of the SHA-256 of the frame's data, if it has members without a hash
    of their own; else empty. ``sequence`` is the number of the part: a section's frames follow it. ``sealed``: its
    body is encrypted.
    """

    raw_size: int
    payload_size: int
    codec: int
    slot: int = 0
    reason: int = 0
    rival: int = 0
    sha256: bytes = b""
    sequence: int = field(default=0, compare=False)
    sealed: bool = field(default=False, compare=False)

    def front(self) -> bytes:
        """What stands before the payload in the body."""
        out = bytearray((self.codec, self.slot))
        put_varint(out, self.raw_size)
        return bytes(out)

    @property
    def envelope(self) -> Envelope:
        """The frame's envelope."""
        size = len(self.front()) + self.payload_size
        if self.sealed:
            return Envelope(Kind.FRAME, self.sequence, sealing.sealed_size(size), SEALED)
        return Envelope(Kind.FRAME, self.sequence, size)

    @property
    def header_size(self) -> int:
        """Bytes before the payload, envelope included."""
        return self.envelope.size + len(self.front())

    @property
    def coded_size(self) -> int:
        """Bytes in the file, all included."""
        return self.envelope.whole


def pack(row: FrameRow, payload: bytes | memoryview, seed: int) -> tuple[bytes, bytes]:
    """What stands before the payload, and what behind it."""
    front = row.front()
    envelope, check = seal(seed, row.envelope, front, payload)
    return envelope + front, check


def hash_of(data: bytes | memoryview) -> bytes:
    """What a frame of small members keeps of its data's SHA-256."""
    return hashlib.sha256(data).digest()[:HASH_SIZE]


def payload_of(
    part: memoryview, row: FrameRow, seed: int, opener: sealing.Opener = sealing.LOCKED
) -> tuple[memoryview, bool]:
    """The payload of a frame, after its checksum was compared, and whether all that is before it is as it should be.

    The map says all that stands before the payload, so that damage to that alone costs nothing.

    Raises:
        DamagedError: the payload is damaged.
        AuthenticationError: it is not what was encrypted.
    """
    if row.sealed:
        return _opened(part, row, seed, opener)
    front = row.envelope.pack(seed) + row.front()
    if len(part) != row.coded_size or row.payload_size > limits.MAX_PAYLOAD:
        raise DamagedError("a frame is damaged: its length is wrong")
    payload = part[len(front) : -CHECK_SIZE]
    if check_of(seed, front, payload) != part[-CHECK_SIZE:]:
        raise DamagedError("a frame is damaged: its checksum does not match")
    return payload, part[: len(front)] == front


def _opened(part: memoryview, row: FrameRow, seed: int, opener: sealing.Opener) -> tuple[memoryview, bool]:
    """As :func:`payload_of`, of a sealed frame."""
    own = row.envelope
    front = own.pack(seed)
    if len(part) != own.whole or row.payload_size > limits.MAX_PAYLOAD:
        raise DamagedError("a frame is damaged: its length is wrong")
    body = part[len(front) : -CHECK_SIZE]
    if check_of(seed, front, body) != part[-CHECK_SIZE:]:
        raise DamagedError("a frame is damaged: its checksum does not match")
    return payload_in(opener.open(seed, own, body), row), part[: len(front)] == front


def payload_in(body: bytes, row: FrameRow) -> memoryview:
    """The payload in the opened body of a sealed frame.

    Raises:
        DamagedError: it is of another frame than the map says.
    """
    front = row.front()
    if body[: len(front)] != front:
        raise DamagedError("a frame is damaged: it is not what the map says")
    return memoryview(body)[len(front) :]
