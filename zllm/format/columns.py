"""Column sets: many byte strings in one blob, each stored in the way that is smallest.

Layout::

    varint  length of the joint part
    varint  its coded length
    joint   deflated with the dictionary: directory, then the joint columns one after the other
    ...     the other columns, coded, in order

    directory := varint number of columns, per column: varint (length << 2 | kind), for 2 and 3 also varint coded length
    kind      := 0 joint, 1 raw, 2 zstd, 3 adaptive context mixing (as codec cm: u8 arithmetic version, code string)

All zstd data is magicless, without checksum, content size and dictionary id.
"""

from __future__ import annotations

import zlib

from zllm.errors import DamagedError, UnsupportedVersionError
from zllm.format import limits
from zllm.format.dictionary import DICTIONARY
from zllm.format.payloads import compress, decompress
from zllm.format.wire import Reader, put_varint

JOINT, RAW, ZSTD, MIXED = range(4)

_SMALL = 64  # a column below this is always cheaper in the joint part: a zstd frame of its own costs about 10 bytes


def deflate(data: bytes) -> bytes:
    """``data`` deflated (RFC 1951) against the dictionary: some ten bytes less than zstd takes for a hundred bytes."""
    coders = [
        zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy, DICTIONARY)
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED)
    ]
    return min((coder.compress(data) + coder.flush() for coder in coders), key=len)


def inflate(payload: bytes, size: int, what: str) -> bytes:
    """The inverse of :func:`deflate`: exactly ``size`` bytes, which the caller has checked against a limit.

    Raises:
        DamagedError: the payload is not such data, or not of that size.
    """
    coder = zlib.decompressobj(-zlib.MAX_WBITS, DICTIONARY)
    try:
        data = coder.decompress(payload, size + 1)
    except zlib.error as exc:
        raise DamagedError(f"{what} is damaged: {exc}") from None
    if len(data) != size or not coder.eof or coder.unused_data:
        raise DamagedError(f"{what} is damaged: it does not unpack to {size} bytes")
    return data


def _mix(column: bytes) -> bytes:
    from zllm import _native  # readers of archives without such columns do without it

    return bytes([_native.ARITHMETIC_VERSION]) + _native.cm_encode(column)


def _unmix(payload: bytes, size: int, what: str) -> bytes:
    from zllm import _native

    if not payload:
        raise DamagedError(f"{what} is damaged: impossible length of a column")
    if payload[0] != _native.ARITHMETIC_VERSION:
        raise UnsupportedVersionError(
            f"{what} was coded with arithmetic version {payload[0]}, this program has {_native.ARITHMETIC_VERSION}"
        )
    return _native.cm_decode(payload[1:], size)


def pack(columns: list[bytes], *, mixed: bool = False) -> bytes:
    """A column set as one blob. ``mixed``: whether columns may be coded as text is by codec ``cm``."""
    blob, total = _pack(columns, mixed=mixed)
    if total > limits.FREE_MIXED + limits.MAX_MIXED_RATIO * len(blob):  # readers would not wait for it
        blob, _ = _pack(columns, mixed=False)
    return blob


def pack_plain(columns: list[bytes]) -> bytes:
    """A column set as one blob, all columns as they are: longer than any limit that is in proportion to it asks for."""
    return _assemble(columns, [RAW] * len(columns), columns)


def _pack(columns: list[bytes], *, mixed: bool) -> tuple[bytes, int]:
    """A column set as one blob, and how many bytes its columns of kind 3 have."""
    kinds = [JOINT] * len(columns)
    coded = [b""] * len(columns)
    for number, column in enumerate(columns):
        if len(column) < _SMALL:
            continue
        ways = [(RAW, column), (ZSTD, compress(column))]
        if mixed and len(column) <= limits.MAX_MIXED:
            ways.append((MIXED, _mix(column)))
        kinds[number], coded[number] = min(ways, key=lambda way: len(way[1]))
    together = _assemble(columns, [RAW if kind == RAW else JOINT for kind in kinds], coded)
    apart = _assemble(columns, kinds, coded)
    if len(together) <= len(apart):
        return together, 0
    return apart, sum(len(column) for column, kind in zip(columns, kinds, strict=True) if kind == MIXED)


def _assemble(columns: list[bytes], kinds: list[int], coded: list[bytes]) -> bytes:
    head = bytearray()
    put_varint(head, len(columns))
    for column, kind, own in zip(columns, kinds, coded, strict=True):
        put_varint(head, len(column) << 2 | kind)
        if kind in (ZSTD, MIXED):
            put_varint(head, len(own))
    joint = bytes(head) + b"".join(c for c, kind in zip(columns, kinds, strict=True) if kind == JOINT)
    packed = deflate(joint)
    out = bytearray()
    put_varint(out, len(joint))
    put_varint(out, len(packed))
    return bytes(out) + packed + b"".join(own for own, kind in zip(coded, kinds, strict=True) if kind != JOINT)


def unpack(blob: bytes, limit: int, what: str) -> list[bytes]:
    """The columns of a set whose columns take at most ``limit`` bytes together.

    Raises:
        DamagedError: the blob is malformed or too large.
        UnsupportedVersionError: a column needs another version of the arithmetic.
    """
    outer = Reader(blob, what)
    joint_size = outer.varint(limit + 20 * limits.MAX_COLUMNS)
    packed = outer.take(outer.varint(limits.MAX_MAP))
    inner = Reader(inflate(packed, joint_size, what), what)
    columns = []
    for size, kind, coded in _directory(inner, len(blob), limit, what):
        if kind == JOINT:
            columns.append(inner.take(size))
        elif kind == RAW:
            columns.append(outer.take(size))
        elif kind == ZSTD:
            columns.append(decompress(outer.take(coded), size, what))
        else:
            columns.append(_unmix(outer.take(coded), size, what))
    inner.end()
    outer.end()
    return columns


def _directory(reader: Reader, packed: int, limit: int, what: str) -> list[tuple[int, int, int]]:
    """Size, kind and coded size of each column of a set of ``packed`` bytes, before any of them is decoded."""
    rows = []
    total = mixed = 0
    for _ in range(reader.varint(limits.MAX_COLUMNS)):
        size, kind = divmod(reader.varint(limit << 2 | 3), 4)
        rows.append((size, kind, reader.varint(limits.MAX_MAP) if kind in (ZSTD, MIXED) else size))
        total += size
        mixed += size if kind == MIXED else 0
        if kind == MIXED and size > limits.MAX_MIXED:
            raise DamagedError(f"{what} is damaged: impossible length of a column")
    if total > limit:
        raise DamagedError(f"{what} is damaged: it unpacks to more than {limit} bytes")
    if mixed > limits.FREE_MIXED + limits.MAX_MIXED_RATIO * packed:
        raise DamagedError(f"{what} is damaged: {packed} bytes claim {mixed} of text")
    return rows
