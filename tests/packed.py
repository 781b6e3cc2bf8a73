"""Files that zlib packs: PNG images, zip and gzip files, made with any of its parameters."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib

WORDS = [bytes(random.Random(n).choices(b"etaoinshrdlu", k=2 + n % 7)) for n in range(300)]


def text(size: int, seed: int = 1) -> bytes:
    """Words in a random order."""
    rng = random.Random(seed)
    return b" ".join(rng.choices(WORDS, k=size // 4))[:size]


def deflate(data: bytes, level: int = 6, memory: int = 8, strategy: int = 0, window: int = 15) -> bytes:
    """A stream of deflate."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -window, memory, strategy)
    return packer.compress(data) + packer.flush()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _paeth(a: int, b: int, c: int) -> int:
    return min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]


def _filtered(kind: int, row: bytes, up: bytes, pixel: int) -> bytes:
    left = bytes(pixel) + row[:-pixel]
    corner = bytes(pixel) + up[:-pixel]
    guesses = {
        0: bytes(len(row)),
        1: left,
        2: up,
        3: bytes((a + b) // 2 for a, b in zip(left, up, strict=True)),
        4: bytes(_paeth(a, b, c) for a, b, c in zip(left, up, corner, strict=True)),
    }
    return bytes((x - g) & 255 for x, g in zip(row, guesses[kind], strict=True))


def png(
    columns: int, rows: int, colour: int = 2, depth: int = 8, *, level: int = 6, piece: int = 8192, seed: int = 1
) -> bytes:
    """A smooth picture with all filters in turn, its stream cut into chunks of ``piece`` bytes."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    size = max(1, samples * depth // 8)
    row = (columns * samples * depth + 7) // 8
    rng = random.Random(seed)
    lines, up = [], bytes(row)
    for y in range(rows):
        now = bytes((y * 2 + x // 3 * (x % size + 1) + rng.randrange(3)) & 255 for x in range(row))
        lines.append(bytes([y % 5]) + _filtered(y % 5, now, up, size))
        up = now
    stream = zlib.compress(b"".join(lines), level)
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0)
    pieces = b"".join(_chunk(b"IDAT", stream[at : at + piece]) for at in range(0, len(stream), piece))
    ends = _chunk(b"tEXt", b"Comment\0made up"), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + pieces + b"".join(ends)


def zipped(files: dict[str, bytes], level: int = 6) -> bytes:
    """A zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()
