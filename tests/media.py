"""Made-up media, by integers alone: the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator


def noise(seed: int) -> Iterator[int]:
    """Numbers of 16 bits that look random."""
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        yield state >> 48


def waves(count: int, channels: int, bits: int, seed: int = 1) -> list[int]:
    """``count`` samples of each channel, interleaved, signed: damped oscillators that noise excites, some in both."""
    rng = noise(seed)
    states = [[0, 0] for _ in range(channels + 1)]
    most = (1 << (bits - 1)) - 1
    out = []
    for _ in range(count):
        for k, state in enumerate(states):
            excited = (next(rng) - 32768) << 8
            new = (state[0] * (31000 - 900 * k) >> 14) - (state[1] * 16200 >> 14) + excited
            state[0], state[1] = new, state[0]
        for k in range(channels):
            value = (states[k][0] + 2 * states[channels][0]) >> (33 - bits)
            out.append(max(-most - 1, min(most, value)))
    return out


def pack(samples: list[int], width: int, *, big: bool = False, centred: bool = False) -> bytes:
    """Samples as bytes."""
    middle = 1 << (8 * width - 1) if centred else 0
    order = "big" if big else "little"
    return b"".join((x + middle).to_bytes(width, order, signed=not centred) for x in samples)  # type: ignore[arg-type]


def wave(samples: bytes, channels: int, width: int, *, tag: int = 1, rf64: bool = False, extra: bytes = b"") -> bytes:
    """A WAV file; ``extra``: chunks before the data's."""
    block = channels * width
    form = b"".join(
        value.to_bytes(size, "little")
        for value, size in ((tag, 2), (channels, 2), (44100, 4), (44100 * block, 4), (block, 2), (8 * width, 2))
    )
    if tag == 0xFFFE:
        form += b"\x16\0" + (8 * width).to_bytes(2, "little") + bytes(4) + b"\1\0"
        form += b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    body = b"WAVEfmt " + len(form).to_bytes(4, "little") + form + extra + b"data"
    size = 0xFFFFFFFF if rf64 else len(samples)
    body += size.to_bytes(4, "little") + samples + bytes(len(samples) & 1)
    return (b"RF64" if rf64 else b"RIFF") + len(body).to_bytes(4, "little") + body


def aiff(samples: bytes, channels: int, width: int, kind: bytes = b"") -> bytes:
    """An AIFF file; with a kind, an AIFC file."""
    count = len(samples) // (channels * width)
    common = channels.to_bytes(2, "big") + count.to_bytes(4, "big") + (8 * width).to_bytes(2, "big")
    common += b"\x40\x0e\xac\x44" + bytes(6) + (kind + b"\0\0" if kind else b"")
    sound = bytes(8) + samples
    body = (b"AIFC" if kind else b"AIFF") + b"COMM" + len(common).to_bytes(4, "big") + common
    body += b"SSND" + len(sound).to_bytes(4, "big") + sound
    return b"FORM" + len(body).to_bytes(4, "big") + body


def picture(columns: int, rows: int, planes: int, bits: int = 8, seed: int = 1) -> list[int]:
    """Samples of a picture, row by row: slopes, a grid of patches, and a little noise."""
    rng = noise(seed)
    most, fine = (1 << bits) - 1, 1 << (bits - 8)
    out = []
    for y in range(rows):
        for x in range(columns):
            common = 40 + x * 120 // columns + y * 60 // rows + (x // 17 * 31 + y // 13 * 17) % 23
            for c in range(planes):
                value = fine * (common + c * (x - y) // 16) + next(rng) * 5 * fine // 65536
                out.append(max(0, min(most, value)))
    return out


def samples16(values: list[int], *, big: bool) -> bytes:
    """Words of 16 bits."""
    return b"".join(value.to_bytes(2, "big" if big else "little") for value in values)


def bitmap(pixels: bytes, columns: int, rows: int, planes: int) -> bytes:
    """A BMP file."""
    used = columns * planes
    body = b"".join(pixels[row * used : (row + 1) * used] + bytes(-used % 4) for row in range(rows))
    palette = b"".join(bytes([n, n, n, 0]) for n in range(256)) if planes == 1 else b""
    head = (40).to_bytes(4, "little") + columns.to_bytes(4, "little") + rows.to_bytes(4, "little")
    head += b"\1\0" + (8 * planes).to_bytes(2, "little") + bytes(24)
    start = 14 + len(head) + len(palette)
    size = start + len(body)
    return b"BM" + size.to_bytes(4, "little") + bytes(4) + start.to_bytes(4, "little") + head + palette + body


def pixmap(pixels: bytes, columns: int, rows: int, planes: int, most: int = 255) -> bytes:
    """A PGM, PPM or PAM file."""
    if planes in (1, 3):
        return b"P%d\n# made up\n%d %d\n%d\n" % (5 if planes == 1 else 6, columns, rows, most) + pixels
    return b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL %d\nENDHDR\n" % (columns, rows, planes, most) + pixels


def targa(pixels: bytes, columns: int, rows: int, planes: int) -> bytes:
    """A TGA file with a name and a footer."""
    kind = 3 if planes == 1 else 2
    head = bytes([4, 0, kind]) + bytes(9) + columns.to_bytes(2, "little") + rows.to_bytes(2, "little")
    return head + bytes([8 * planes, 32]) + b"name" + pixels + bytes(8) + b"TRUEVISION-XFILE.\0"


def tiff(pixels: bytes, columns: int, rows: int, planes: int, *, width: int = 1, order: str = "little") -> bytes:
    """A TIFF file in strips of 10 rows, its directory at the end."""
    row = columns * planes * width
    strips = [(8 + y * row, min(10, rows - y) * row) for y in range(0, rows, 10)]

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little" if order == "little" else "big")

    at = 8 + len(pixels)
    lists = b"".join(number(start, 4) for start, _ in strips) + b"".join(number(size, 4) for _, size in strips)
    entries = [(256, 3, 1, columns), (257, 3, 1, rows), (258, 3, 1, 8 * width), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, len(strips), at), (277, 3, 1, planes), (279, 4, len(strips), at + 4 * len(strips))]
    directory = number(len(entries), 2)
    for tag, kind, count, value in entries:
        inside = number(value, 2) + bytes(2) if kind == 3 else number(value, 4)
        directory += number(tag, 2) + number(kind, 2) + number(count, 4) + inside
    head = (b"II*\0" if order == "little" else b"MM\0*") + number(at + len(lists), 4)
    return head + pixels + lists + directory + bytes(4)


def images() -> list[bytes]:
    """One of each kind, small."""
    made = []
    for planes in (1, 2, 3, 4):
        pixels = bytes(picture(61, 30, planes))
        words = samples16(picture(61, 30, planes, 12), big=True)
        made += [pixmap(pixels, 61, 30, planes), pixmap(words, 61, 30, planes, 4095)]
        made += [tiff(pixels, 61, 30, planes), tiff(words, 61, 30, planes, width=2, order="big")]
        made += [] if planes == 2 else [bitmap(pixels, 61, 30, planes), targa(pixels, 61, 30, planes)]
    return made
