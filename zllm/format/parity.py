"""Parity: Reed-Solomon blocks that mend what is damaged in the bytes before them (``docs/zllm-format.md``, "Parity").

A set covers some bytes of an archive, as rows of equally many: parity block i is the sum over all rows j, each times
the inverse of (k + i) xor j, in GF(2^8). That is a Cauchy matrix: any m damaged blocks of a group can be computed from
the others and m parity blocks. Multiplying is a table of 256 bytes and adding is an exclusive or: :class:`bytes` and
:class:`int` do both at a gigabyte a second, so archives can be mended wherever Python is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zllm.errors import DamagedError
from zllm.format.repair import Budget
from zllm.format.wire import Reader, checksum, put_varint

CODE = 1
HASH_SIZE = 4
LEAST_BLOCK, MOST_BLOCK = 64, 4096
MAX_COVERED = 1 << 28
"""Most bytes that a set covers."""
MOST_PARITY = 8
"""Parity blocks of a group that this program writes, at most: what packing costs grows with them."""
_WHAT = "a parity part"
_POLYNOMIAL = 0x11D
_SYMBOLS = 255
_BLOCKS = 6
"""Parity blocks of a set, at least: so many less one are what a burst may hit, wherever it begins."""


def _tables() -> tuple[tuple[int, ...], dict[int, int]]:
    powers, value = [], 1
    for _ in range(_SYMBOLS):
        powers.append(value)
        value = value << 1 ^ (_POLYNOMIAL if value & 0x80 else 0)
    return tuple(powers), {power: at for at, power in enumerate(powers)}


_POWERS, _LOGS = _tables()


def _product(first: int, second: int) -> int:
    return _POWERS[(_LOGS[first] + _LOGS[second]) % _SYMBOLS] if first and second else 0


def _inverse(value: int) -> int:
    return _POWERS[-_LOGS[value] % _SYMBOLS]


@functools.lru_cache(maxsize=256)
def _times(factor: int) -> bytes:
    """The product of each byte with ``factor``."""
    return bytes(_product(factor, value) for value in range(256))


@dataclass(frozen=True)
class Shape:
    """What a set covers: ``size`` bytes from ``offset`` of the archive on, in blocks of ``block`` bytes; a group has
    ``data`` blocks and ``parity`` ones. Neighbours are in different groups, so that a burst hits many groups once.
    """

    offset: int
    size: int
    block: int
    data: int
    parity: int

    @property
    def blocks(self) -> int:
        """Covered blocks."""
        return -(-self.size // self.block)

    @property
    def groups(self) -> int:
        """How many groups they are in."""
        return -(-self.blocks // self.data)

    @property
    def row(self) -> int:
        """Bytes of the parity blocks of a part: one for each group."""
        return self.groups * self.block

    def factor(self, number: int, row: int) -> int:
        """What block ``row`` of a group is multiplied by in its parity block ``number``."""
        return _inverse((self.data + number) ^ row)


@dataclass(frozen=True)
class ParityPart:
    """The parity blocks ``number`` of all groups, one after the other, and hashes of the covered blocks, or none."""

    shape: Shape
    number: int
    hashes: bytes
    blocks: bytes


def shape_for(offset: int, size: int, share: float) -> Shape:
    """A set of about ``share`` times ``size`` bytes that covers ``size`` bytes."""
    block = max(LEAST_BLOCK, min(MOST_BLOCK, int(share * size / _BLOCKS) // 16 * 16))
    blocks = -(-size // block)
    wanted = max(1, round(share * blocks))
    parity = max(1, min(MOST_PARITY, int(share * (_SYMBOLS - MOST_PARITY)), wanted, _SYMBOLS - 1))
    groups = max(-(-wanted // parity), -(-blocks // (_SYMBOLS - parity)))
    return Shape(offset, size, block, -(-blocks // groups), parity)


def encode(covered: bytes | bytearray, shape: Shape, seed: int) -> list[bytes]:
    """The bodies of the set's parts."""
    sums = [0] * shape.parity
    for row in range(shape.data):
        piece = bytes(covered[row * shape.row : (row + 1) * shape.row])
        for number in range(shape.parity):
            sums[number] ^= int.from_bytes(piece.translate(_times(shape.factor(number, row))), "little")
    hashes = b"".join(hashes_of(covered, shape, seed))
    last = shape.parity - 1
    return [
        pack(ParityPart(shape, number, hashes if number in (0, last) else b"", total.to_bytes(shape.row, "little")))
        for number, total in enumerate(sums)
    ]


def hashes_of(covered: bytes | bytearray | memoryview, shape: Shape, seed: int) -> list[bytes]:
    """The hash of each covered block."""
    view = memoryview(covered)
    out = []
    for start in range(0, shape.size, shape.block):
        piece = view[start : start + shape.block]
        out.append(hash_of(piece if len(piece) == shape.block else bytes(piece).ljust(shape.block, b"\0"), seed))
    return out


def hash_of(block: bytes | memoryview, seed: int) -> bytes:
    """The hash of a block."""
    return checksum(HASH_SIZE, block, seed=seed)


def pack(part: ParityPart) -> bytes:
    """The body of a parity part."""
    shape = part.shape
    out = bytearray([CODE])
    for number in (shape.offset, shape.size, shape.block):
        put_varint(out, number)
    out += bytes((shape.data, shape.parity, part.number, bool(part.hashes)))
    return bytes(out) + part.hashes + part.blocks


def unpack(body: bytes) -> ParityPart:
    """The inverse of :func:`pack`.

    Raises:
        DamagedError: it contradicts itself or a limit, or is of a code that this program does not know.
    """
    reader = Reader(body, _WHAT)
    shape, number, hashed = read_front(reader)
    hashes = reader.take(HASH_SIZE * shape.blocks) if hashed else b""
    blocks = reader.take(shape.row)
    reader.end()
    return ParityPart(shape, number, hashes, blocks)


def read_front(reader: Reader) -> tuple[Shape, int, bool]:
    """What stands before hashes and blocks: of which set, number in it, and whether there are hashes.

    Raises:
        DamagedError: as :func:`unpack`.
    """
    if reader.fixed(1) != CODE:
        raise DamagedError(f"{_WHAT} has a code that this program does not know")
    offset, size, block = reader.varint(1 << 62), reader.varint(MAX_COVERED), reader.varint(MAX_COVERED)
    data, parity, number, hashed = (reader.fixed(1) for _ in range(4))
    if not size or block < LEAST_BLOCK or not data or not parity or data + parity > _SYMBOLS or number >= parity:
        raise DamagedError(f"{_WHAT} is damaged: its numbers make no sense")
    return Shape(offset, size, block, data, parity), number, bool(hashed)


def rebuild(
    covered: bytes, shape: Shape, parts: Sequence[ParityPart], wrong: Iterable[int], budget: Budget
) -> dict[int, bytes]:
    """The blocks whose numbers are in ``wrong``, computed from the others, where there are enough of them."""
    groups: dict[int, list[int]] = {}
    for number in wrong:
        groups.setdefault(number % shape.groups, []).append(number // shape.groups)
    found: dict[int, bytes] = {}
    for group, rows in groups.items():
        work = len(rows) * (shape.data + len(rows) ** 2)
        if len(rows) > len(parts) or not budget.spend(work, shape.block):
            continue
        for row, block in zip(rows, _solved(covered, shape, parts[: len(rows)], group, rows), strict=True):
            found[row * shape.groups + group] = block
    return found


def _solved(covered: bytes, shape: Shape, parts: Sequence[ParityPart], group: int, rows: Sequence[int]) -> list[bytes]:
    """Blocks ``rows`` of a group: as many equations, one of each part."""
    left = [_block(part.blocks, group, shape) for part in parts]
    for row in set(range(shape.data)) - set(rows):
        block = _block(covered, row * shape.groups + group, shape)
        for at, part in enumerate(parts):
            left[at] = _sum(left[at], block, shape.factor(part.number, row))
    matrix = [[shape.factor(part.number, row) for row in rows] for part in parts]
    for column in range(len(rows)):  # a part of a Cauchy matrix: no pivot is 0 for good, and some row has another
        pivot = next(at for at in range(column, len(rows)) if matrix[at][column])
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        left[column], left[pivot] = left[pivot], left[column]
        scale = _inverse(matrix[column][column])
        matrix[column] = [_product(scale, value) for value in matrix[column]]
        left[column] = left[column].translate(_times(scale))
        for at in range(len(rows)):
            factor = matrix[at][column]
            if at != column and factor:
                matrix[at] = [a ^ _product(factor, b) for a, b in zip(matrix[at], matrix[column], strict=True)]
                left[at] = _sum(left[at], left[column], factor)
    return left


def _block(data: bytes, number: int, shape: Shape) -> bytes:
    return data[number * shape.block : (number + 1) * shape.block].ljust(shape.block, b"\0")


def _sum(first: bytes, second: bytes, factor: int) -> bytes:
    """``first`` and ``factor`` times ``second``."""
    total = int.from_bytes(first, "little") ^ int.from_bytes(second.translate(_times(factor)), "little")
    return total.to_bytes(len(first), "little")


class Cover:
    """Bytes that are being written, of which sets are made: ``put`` is given the body of each part."""

    def __init__(self, share: float, put: Callable[[bytes], None]) -> None:
        self._share = share
        self._offset = 0
        self._put = put
        self._held = bytearray()

    def add(self, data: bytes | memoryview, offset: int) -> None:
        """Some bytes more, which stand at ``offset`` of the archive: right behind the last ones of the same set."""
        if not self._held:
            self._offset = offset
        self._held += data

    def end_set(self, seed: int, *, least: int = 1) -> None:
        """Make a set of what there is, unless it is less than ``least`` bytes; what comes next begins another."""
        if len(self._held) < least:
            return
        covered, self._held = self._held, bytearray()
        start = self._offset
        pieces = -(-len(covered) // MAX_COVERED)
        step = -(-len(covered) // pieces)
        for at in range(0, len(covered), step):
            piece = covered[at : at + step]
            for body in encode(piece, shape_for(start + at, len(piece), self._share), seed):
                self._put(body)
