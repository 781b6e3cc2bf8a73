"""Every probability of the core's predictor against the reference's, on made-up decisions."""

from __future__ import annotations

import random
from pathlib import Path

import c_predictor
import pytest
import reference
import reference_predictor

PROSE = b"It was the best of Times, it was the worst of times; it was the age of wisdom.\n"
FIELDS = b"".join(b"%d%s" % (i * i % 7, b",\t |;"[i % 5 : i % 5 + 1]) for i in range(45)) + b"end\n"
TEXTS = {
    "one byte": b"\xff",
    "one value": bytes(600),  # counts reach their limits, a match the longest class
    "all bytes": bytes(range(256)) + bytes(range(100)),
    "noise": random.Random(5).randbytes(400),  # more than the slots hold
    "prose": PROSE * 3,
    "empty lines": b"a\n\n\nb c\n\n\td e f g\n" * 12,
    "many fields": FIELDS * 3,
    "long lines": b"".join(b"%s %s\n" % (bytes([c]) * 270, PROSE[c % 9 : 30]) for c in (97, 98)),
    "utf-8": "压缩算法需要模型。\r\n".encode() * 8,
    "broken repeats": b"".join(PROSE[:i] + b"#" + PROSE[i + 1 :] for i in (40, 60, 41)) + PROSE[:30].upper() + PROSE,
    "chunks": b"".join(random.Random(0).choices([b"one two thr", b"three two o", b"two one", b"thr"], k=60)),
}
NOISE = random.Random(6).randbytes(540)
CERTAIN = [1, 2**24 - 1, 2**23]


class Both:
    """See :class:`reference.Cursor`: two that must say the same."""

    def __init__(self, core: reference.Cursor, python: reference.Cursor) -> None:
        self.core, self.python = core, python

    def bit(self, lm: int) -> int:
        p = self.core.bit(lm)
        assert p == self.python.bit(lm)
        return p

    def flag(self, lm: int) -> int:
        p = self.core.flag(lm)
        assert p == self.python.flag(lm)
        return p

    def update(self, bit: int) -> None:
        self.core.update(bit)
        self.python.update(bit)

    def skip(self, bit: int) -> None:
        self.core.skip(bit)
        self.python.skip(bit)

    def update_flag(self, end: int) -> None:
        self.core.update_flag(end)
        self.python.update_flag(end)

    def token(self, token: int) -> None:
        self.core.token(token)
        self.python.token(token)

    def cut(self) -> None:
        self.core.cut()
        self.python.cut()


@pytest.fixture(scope="module")
def cursors(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> c_predictor.Cursors:
    return c_predictor.Cursors(checkout, tmp_path_factory.mktemp("predictor"))


def frame(cursors: c_predictor.Cursors, sizes: list[int], model: bool) -> list[Both]:
    if model:
        pairs = zip(cursors.with_model(sizes), reference_predictor.with_model(sizes), strict=True)
    else:
        pairs = zip(cursors.alone(sizes), reference_predictor.alone(sizes), strict=True)
    return [Both(*pair) for pair in pairs]


def say_alone(cursor: Both, text: bytes, boundaries: set[int]) -> None:
    for at, byte in enumerate(text):
        if at in boundaries:
            cursor.cut()
        for k in range(7, -1, -1):
            cursor.bit(0)
            cursor.update(byte >> k & 1)


def say_token(cursor: Both, token: bytes, rng: random.Random) -> None:
    """As with a model, whatever it may say: any bit may be certain, any end asked for."""
    for depth, byte in enumerate(token):
        if depth and rng.random() < 0.7:
            cursor.flag(rng.choice([*CERTAIN, rng.randrange(1, 2**24)]))
            cursor.update_flag(int(rng.random() < 0.1))
        for k in range(7, -1, -1):
            bit = byte >> k & 1
            if rng.random() < 0.25:
                cursor.skip(bit)
                continue
            right = 2**24 - 2**14 if bit else 2**14
            cursor.bit(rng.choice([*CERTAIN, right, right, rng.randrange(1, 2**24)]))
            cursor.update(bit)
    cursor.token(rng.choice([0, len(token), rng.randrange(2**18)]))


def say_streams(streams: list[Both], texts: list[bytes], rng: random.Random, cut: float) -> None:
    """A token of each in turn, as far as they go."""
    at = [0] * len(texts)
    while any(text[n:] for n, text in zip(at, texts, strict=True)):
        for i, (cursor, text) in enumerate(zip(streams, texts, strict=True)):
            token = text[at[i] : at[i] + rng.choice([1, 1, 2, 3, 5, 9])]
            if token and at[i] and rng.random() < cut:
                cursor.cut()
            if token:
                say_token(cursor, token, rng)
            at[i] += len(token)


@pytest.mark.parametrize("name", TEXTS)
def test_text_alone(name: str, cursors: c_predictor.Cursors) -> None:
    text = TEXTS[name]
    (cursor,) = frame(cursors, [len(text)], False)
    say_alone(cursor, text, set())


@pytest.mark.parametrize("name", TEXTS)
def test_text_with_a_model(name: str, cursors: c_predictor.Cursors) -> None:
    text = TEXTS[name]
    say_streams(frame(cursors, [len(text)], True), [text], random.Random(name), 0)


@pytest.mark.parametrize("name", ["prose", "empty lines", "broken repeats"])
def test_documents(name: str, cursors: c_predictor.Cursors) -> None:
    text = TEXTS[name]
    (cursor,) = frame(cursors, [len(text)], False)
    say_alone(cursor, text, {1, 3, 90, 91, 170})
    say_streams(frame(cursors, [len(text)], True), [text], random.Random(name), 0.1)


@pytest.mark.parametrize(
    "names",
    [["prose", "prose", "prose"], ["many fields", "one byte", "noise", "many fields"], ["one value", "one value"]],
    ids=str,
)
@pytest.mark.parametrize("cut", [0, 0.05])
def test_streams(names: list[str], cut: float, cursors: c_predictor.Cursors) -> None:
    texts = [TEXTS[name][: 500 // len(names)] for name in names]
    say_streams(frame(cursors, [len(text) for text in texts], True), texts, random.Random(1), cut)


@pytest.mark.parametrize("size", [1023, 1025, 2056, 12_000, 100_000, 300_000])
def test_sizes(size: int, cursors: c_predictor.Cursors) -> None:
    """Tables are as large as the text is to be; only its beginning is said."""
    text = TEXTS["noise"][:100] + PROSE
    say_alone(frame(cursors, [size], False)[0], text, {120})
    streams = frame(cursors, [size // 3, size - size // 3], True)
    say_streams(streams, [text[:120], text[60:]], random.Random(size), 0.02)


def test_a_repeat_across_a_cut(cursors: c_predictor.Cursors) -> None:
    """As much of it as is compared, and on to the longest class."""
    (cursor,) = frame(cursors, [2 * len(NOISE)], False)
    say_alone(cursor, NOISE * 2, {len(NOISE) + 410})


def test_a_match_ends_with_its_stream(cursors: c_predictor.Cursors) -> None:
    """The text of the next stream, which follows at once, is another."""
    texts = [PROSE, b"Once more: " * 5 + PROSE + PROSE[::-1]]
    say_streams(frame(cursors, [len(text) for text in texts], True), texts, random.Random(3), 0)


def test_weights_reach_their_limits(cursors: c_predictor.Cursors) -> None:
    """The model is weakly right about noise, or wrong: weights of inputs fall to -2^15."""
    for sign in (1, -1):
        (cursor,) = frame(cursors, [len(NOISE)], True)
        for byte in NOISE[:400]:
            for k in range(7, -1, -1):
                bit = byte >> k & 1
                cursor.bit(2**23 + sign * (2 * bit - 1) * 3 * 2**19)
                cursor.update(bit)


@pytest.mark.parametrize("length", [14, 15])
def test_a_match_of_16_bytes_is_kept(length: int, cursors: c_predictor.Cursors) -> None:
    """A stream that was behind overtakes one that has a match; it would be a longer one from the next byte on."""
    same = NOISE[:60]
    first, second = b"#" * 30 + same, same[20:50] + same
    streams = frame(cursors, [len(first), len(second)], False)
    for turn in [(0, 0, 30), (1, 0, 30), *((i, 30 + n, 31 + n) for n in range(20 + length) for i in (1, 0))]:
        say_alone(streams[turn[0]], (first, second)[turn[0]][turn[1] : turn[2]], set())
    say_alone(streams[0], first[50 + length : 54 + length], set())
    say_alone(streams[1], second[50 + length :], set())
