"""Single wrong bits and bytes of parts, and what they were: behind a body the checksum tells which (a CRC), and of an
envelope all changes are tried.

Of a part with more than one wrong byte, a checksum of 32 bits tells nonsense where it tells anything: one time in 500
of a part of a megabyte. So what is read by it is proved by the hashes of frames and members, or by the structure of a
map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from zllm.errors import DamagedError
from zllm.format import crcsearch
from zllm.format.envelope import CHECK_SIZE, ENVELOPE_CHECK_SIZE, MAX_SIZE, SYNC, Envelope, crc_of, parse
from zllm.format.wire import varints

_OVERHEAD = 2048
"""What a try costs beside its bytes, in bytes hashed."""
MOST_BYTES = 16 << 10
"""In a longer part only bits are corrected: more changes of bytes than the checksum tells apart with some certainty."""
_PER_SEARCH, _PER_BYTE = 256 << 10, 32
"""What a search costs, and for each byte of the part, in bytes hashed."""


class Budget:
    """What may be hashed in searches for one archive: about a second of work, however many of its parts are damaged."""

    def __init__(self, left: int = 16 << 30) -> None:
        self.left = left

    def spend(self, tries: int, size: int) -> bool:
        """Whether there is enough left for so many tries of ``size`` bytes each; then it is taken."""
        cost = tries * (size + _OVERHEAD)
        if cost > self.left:
            return False
        self.left -= cost
        return True


def body(front: bytes, data: bytes | memoryview, seed: int, budget: Budget) -> bytes | None:
    """``data`` with the one bit, or the one byte, changed that makes the checksum at its end hold; None: there is none.

    ``front`` is what is known to stand before it, and is hashed, too.
    """
    return next(bodies(front, data, seed, budget), None)


def bodies(front: bytes, data: bytes | memoryview, seed: int, budget: Budget) -> Iterator[bytes]:
    """All that :func:`body` might be: single bits first, other bytes only where they are few enough to be believed."""
    text, size = data[:-CHECK_SIZE], len(data) - CHECK_SIZE
    if size < 0 or not budget.spend(1, _PER_SEARCH + _PER_BYTE * len(data)):
        return
    crc = crc_of(seed, front, text)
    syndrome = crc ^ int.from_bytes(data[-CHECK_SIZE:], "little")
    if sum(byte != 0 for byte in syndrome.to_bytes(CHECK_SIZE, "little")) <= 1:  # the checksum itself is wrong
        yield bytes(text) + crc.to_bytes(CHECK_SIZE, "little")
        return
    for at, change in crcsearch.places(syndrome, size):
        if change & (change - 1) and size > MOST_BYTES:
            return
        yield b"".join((text[:at], bytes([text[at] ^ change]), data[at + 1 :]))


_PER_ENVELOPE = 32 << 20
"""What trying all changes of an envelope costs, in bytes hashed."""
_SEQUENCE_AT = len(SYNC) + 2


def envelope(
    data: bytes, seed: int, sequence: int, proved: Callable[[Envelope], bool], budget: Budget
) -> Envelope | None:
    """The envelope of part number ``sequence`` that ``data`` begins with but for one byte; None: there is none.

    ``proved`` is asked whether the part's checksum holds with the envelope.
    """
    number = varints([sequence])
    start = SYNC + data[2:_SEQUENCE_AT] + number
    wrong = sum(a != b for a, b in zip(start, data, strict=False))
    if wrong > 1 or len(data) < len(start) or not budget.spend(1, _PER_ENVELOPE):
        return None
    text = start + data[len(start) : MAX_SIZE]
    tried = _envelopes(text, seed, len(start)) if not wrong else _parsed(text, seed)
    return next((found for found in tried if found.sequence == sequence and proved(found)), None)


def _envelopes(data: bytes, seed: int, start: int) -> Iterator[Envelope]:
    """The envelopes that ``data`` begins with but for one byte behind the sequence number, which ends at ``start``, or
    one of kind and flags."""
    try:
        found = parse(data, None)
    except DamagedError:
        end = len(data)
    else:
        end = found.size + 1
        stored = data[found.size - ENVELOPE_CHECK_SIZE : found.size]
        if sum(a != b for a, b in zip(found.pack(seed)[-ENVELOPE_CHECK_SIZE:], stored, strict=True)) == 1:
            yield found
    text = bytearray(data)
    for at in (2, 3, *range(start, min(end, len(data)))):
        byte = text[at]
        for value in range(1, 256):
            text[at] = byte ^ value
            yield from _parsed(text, seed)
        text[at] = byte


def _parsed(data: bytes | bytearray, seed: int) -> Iterator[Envelope]:
    try:
        yield parse(data, seed)
    except DamagedError:
        return
