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
