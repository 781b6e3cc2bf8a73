"""Numbers in the payloads of text codecs: seven bits a byte, the lowest first."""

from __future__ import annotations

from zllm.errors import DamagedError


def varint(value: int) -> bytes:
    """A number as bytes."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """The number at an offset, and where it ends.

    Raises:
        DamagedError: there is none.
    """
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(view):
            break
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DamagedError("damaged text frame: bad number")
