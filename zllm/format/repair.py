"""Single wrong bits and bytes of parts: found by trying which change makes the checksum hold.

A checksum of 32 bits tells one change from the others: of the 2,000,000 that are tried at most, one in two thousand
searches would find a wrong one, and what is read by it is proved by hashes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import xxhash

from zllm.errors import DamagedError
from zllm.format.envelope import CHECK_SIZE, ENVELOPE_CHECK_SIZE, MAX_SIZE, SYNC, Envelope, parse
from zllm.format.wire import varints

_OVERHEAD = 2048
"""What a try costs beside its bytes, in bytes hashed."""
_MASK = 0xFFFFFFFF


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


def body(front: bytes, data: bytes, seed: int, budget: Budget) -> bytes | None:
    """``data`` with the one bit, or the one byte, changed that makes the checksum at its end hold; None: there is none.

    ``front`` is what is known to stand before it, and is hashed, too.
    """
    text, at = bytearray(front + data[:-CHECK_SIZE]), len(front)
    check = int.from_bytes(data[-CHECK_SIZE:], "little")
    if len(data) < CHECK_SIZE or not budget.spend(1, len(text)):
        return None
    digest = xxhash.xxh3_64_intdigest(text, seed) & _MASK
    if sum(byte != 0 for byte in (digest ^ check).to_bytes(CHECK_SIZE, "little")) <= 1:  # the checksum itself is wrong
        return data[:-CHECK_SIZE] + digest.to_bytes(CHECK_SIZE, "little")
    for values in (_BITS, _BYTES):
        if budget.spend(len(values) * (len(text) - at), len(text)) and _try(text, at, check, seed, values):
            return bytes(text[at:]) + data[-CHECK_SIZE:]
    return None


_BITS = tuple(1 << bit for bit in range(8))
_BYTES = tuple(value for value in range(1, 256) if value & (value - 1))


def _try(text: bytearray, start: int, check: int, seed: int, values: tuple[int, ...]) -> bool:
    """Leave ``text`` changed if a change from ``start`` on makes the checksum hold."""
    digest = xxhash.xxh3_64_intdigest
    for at in range(start, len(text)):
        byte = text[at]
        for value in values:
            text[at] = byte ^ value
            if digest(text, seed) & _MASK == check:
                return True
        text[at] = byte
    return False


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
