"""Frames against the reference: the order of tokens, documents, which bits are predicted and which are skipped."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import reference
import reference_code
import reference_predictor
from models import tiny
from reference_predictor import ARM_CODE, X86_CODE

from zllm import _native as native
from zllm.models import zlm
from zllm.models.store import Model, load

DOCUMENTS = ([[12]], [[5], [9]], [[3, 1, 4], [1], [11], [2, 2]])
"""Frames of streams of documents of so many tokens."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("m") / "m.zlm"
    return load(tiny.write(path, seed=3, layers=1, dim=32, heads=2, kv_heads=1, ffn=32))


def frame_of(
    model: Model, documents: list[list[int]], seed: int
) -> tuple[list[list[int]], list[tuple[int, list[int]]]]:
    """Tokens of each stream; its size and boundaries. Tokens of several bytes are as likely as those of one."""
    rng = random.Random(seed)
    longer = [i for i, token in enumerate(model.tokens) if len(token) > 1]
    streams, known = [], []
    for lengths in documents:
        ids: list[int] = []
        boundaries: list[int] = []
        size = 0
        for length in lengths:
            if size:
                ids.append(model.start | native.GIVEN)
                boundaries.append(size)
            part = [rng.choice([rng.choice(longer), rng.randrange(len(model.tokens))]) for _ in range(length)]
            ids += part
            size += sum(len(model.tokens[i]) for i in part)
        streams.append(ids)
        known.append((size, boundaries))
    return streams, known


def texts(model: Model, streams: list[list[int]]) -> list[bytes]:
    return [b"".join(model.tokens[i] for i in ids if i < native.GIVEN) for ids in streams]


class Remembering(reference.ModelAlone):
    """Shares one adaptive number with the other streams, so that another order of tokens gives another code string, and
    checks that it is told every bit of every token, once."""

    def __init__(self, shared: list[int], expected: bytes) -> None:
        self.shared, self.expected = shared, expected
        self.seen: list[int] = []
        self.ends: list[int] = []

    def bit(self, lm: int) -> int:
        return max(1, min(2**24 - 1, (3 * lm + self.shared[0]) >> 2))

    def update(self, bit: int) -> None:
        self.shared[0] += ((bit << 24) - self.shared[0]) >> 3
        self.seen.append(bit)

    def skip(self, bit: int) -> None:
        self.seen.append(bit)

    def flag(self, lm: int) -> int:
        assert len(self.seen) % 8 == 0
        return self.bit(lm)

    def update_flag(self, end: int) -> None:
        self.shared[0] += ((end << 24) - self.shared[0]) >> 4

    def token(self, token: int) -> None:
        assert len(self.seen) % 8 == 0
        self.ends.append(len(self.seen) // 8)

    def text(self) -> bytes:
        return bytes(
            sum(bit << (7 - k) for k, bit in enumerate(self.seen[at : at + 8])) for at in range(0, len(self.seen), 8)
        )


@pytest.mark.parametrize("documents", DOCUMENTS)
def test_the_reference_alone(model: Model, documents: list[list[int]]) -> None:
    """Encoded and decoded without any C."""
    file = zlm.read(model.path)
    streams, known = frame_of(model, documents, 1)
    wanted = texts(model, streams)
    made: list[list[Remembering]] = []

    def predictor(sizes: list[int]) -> list[Remembering]:
        assert sizes == [size for size, _ in known]
        shared = [1 << 23]
        made.append([Remembering(shared, text) for text in wanted])
        return made[-1]

    coded = reference.encode(file, model.tokens, streams, model.start, predictor)
    assert reference.decode(file, model.tokens, coded, known, model.start, predictor) == wanted
    assert [[cursor.text() for cursor in cursors] for cursors in made] == [wanted, wanted]
    lengths = [[len(model.tokens[i]) for i in ids if i < native.GIVEN] for ids in streams]
    for cursors in made:
        assert [[b - a for a, b in zip([0, *c.ends], c.ends, strict=False)] for c in cursors] == lengths


def test_the_order_of_tokens_and_documents(model: Model) -> None:
    """The first of every stream, then the second; a document's start takes a turn."""
    file = zlm.read(model.path)
    streams, known = frame_of(model, [[1, 2], [4], [1], [1, 1, 1]], 2)
    order: list[tuple[int, str]] = []

    class Noting(reference.ModelAlone):
        def __init__(self, number: int) -> None:
            self.number = number

        def token(self, token: int) -> None:
            order.append((self.number, "token"))

        def cut(self) -> None:
            order.append((self.number, "cut"))

    def predictor(sizes: list[int]) -> list[Noting]:
        return [Noting(number) for number in range(len(sizes))]

    turns = ["0", "1", "2", "3", "0c", "1", "3c", "0", "1", "3", "0", "1", "3c", "3"]
    wanted = [(int(turn[0]), "cut" if turn[1:] else "token") for turn in turns]
    coded = reference.encode(file, model.tokens, streams, model.start, predictor)
    assert order == wanted
    order.clear()
    assert reference.decode(file, model.tokens, coded, known, model.start, predictor) == texts(model, streams)
    assert order == wanted


def check_core(model: Model, streams: list[list[int]], known: list[tuple[int, list[int]]]) -> None:
    """The core gives the reference's code string, and both decode it."""
    file, predictor = zlm.read(model.path), reference_predictor.with_model
    coded = reference.encode(file, model.tokens, streams, model.start, predictor)
    sized = [(ids, size) for ids, (size, _) in zip(streams, known, strict=True)]
    job = model.native.encoder(sized, model.start)
    native.work([job], 0)
    assert job.result() == coded
    assert reference.decode(file, model.tokens, coded, known, model.start, predictor) == texts(model, streams)
    job = model.native.decoder(coded, known, model.start)
    native.work([job], 0)
    assert job.result() == b"".join(texts(model, streams))


@pytest.mark.parametrize("documents", DOCUMENTS)
@pytest.mark.parametrize("seed", range(3))
def test_the_core_equals_the_reference(model: Model, documents: list[list[int]], seed: int) -> None:
    check_core(model, *frame_of(model, documents, seed))


def test_streams_that_say_the_same(model: Model) -> None:
    """Matches lead from one stream to another that is ahead by a cut, to a document before, and past a stream's end."""
    (ids,), ((size, _),) = frame_of(model, [[25]], 4)
    cut = model.start | native.GIVEN
    streams = [[*ids, cut, *ids], ids, [*ids[:2], cut, *ids], [*ids, *ids]]
    first = sum(len(model.tokens[i]) for i in ids[:2])
    check_core(model, streams, [(2 * size, [size]), (size, []), (first + size, [first]), (2 * size, [])])


def coded_by_the_reference(text: bytes, boundaries: list[int], profile: int) -> bytes:
    coder = reference.RangeCoder()
    for k in range(7, -1, -1):
        coder.put(2**16, profile >> k & 1)
    (cursor,) = reference_predictor.alone([len(text)], profile)
    edges = [0, *boundaries, len(text)]
    absolute = {X86_CODE: reference_code.x86_absolute, ARM_CODE: reference_code.arm_absolute}.get(profile, bytes)
    for at, byte in enumerate(b"".join(absolute(text[a:b]) for a, b in pairwise(edges))):
        if at in boundaries:
            cursor.cut()
        for k in range(7, -1, -1):
            coder.put(cursor.bit(0), byte >> k & 1)
            cursor.update(byte >> k & 1)
    return coder.finish()


BOUNDARIES = pytest.mark.parametrize("boundaries", [[], [1], [4, 9, 10], [40, 80]], ids=str)
ANY_TEXT = [b"every bit of every byte\n\xff\x00\x80" * 4, b"\0" * 90, bytes(range(256))]


@BOUNDARIES
@pytest.mark.parametrize("text", ANY_TEXT, ids=len)
def test_text_alone_equals_the_reference(text: bytes, boundaries: list[int]) -> None:
    coded = coded_by_the_reference(text, boundaries, reference_predictor.TEXT)
    assert native.cm_encode(text, boundaries) == coded
    assert native.cm_decode(coded, len(text), boundaries) == text


# One of each kind of instruction that the reader knows, and addresses near and far.
INSTRUCTIONS = bytes.fromhex(
    "e810000000 e8f0ffffff e900000100 488b0510000000 488d3d00ffffff ff1510000000 ff2520000000 "
    "0f8410000000 c5f96f05e0ffffff c4e27918442410 660f3a0fc108 660f3a63c10a c8100000 c20800 "
    "48b80102030405060708 b801020304 66b80102 f6c001 f7c001000000 66f7c00100 f7d8 48890424 8b04258000c000 "
    "8b44240c 8b842400010000 81c400010000 6681c40001 83ec10 0f05 0fa2 0fbae003 6a01 6800000100 "
    "69c064000000 6bc064 9b cc c3 f30f1efa 2e668484000000000000 0f0b d9c0 dfe0 eb10 7410 a801 a900000000 "
    "c0e004"
)
INSTRUCTIONS += (0x94000010).to_bytes(4, "little") + (0x97FFFFF0).to_bytes(4, "little") + INSTRUCTIONS[3:40]
PARTS = b"".join(b"It is the %d. of many words.\n" % (i * i) + (i * 300).to_bytes(3, "big") for i in range(40))


@BOUNDARIES
@pytest.mark.parametrize("profile", [1, 2, 3, 20, 253])
def test_profiles_equal_the_reference(profile: int, boundaries: list[int]) -> None:
    """What the program chooses is its own affair: whatever is chosen is decoded."""
    coded = coded_by_the_reference(PARTS, boundaries, profile)
    assert coded != coded_by_the_reference(PARTS, boundaries, 0)
    assert native.cm_decode(coded, len(PARTS), boundaries) == PARTS


@pytest.mark.parametrize("boundaries", [[], [1], [6, 17, 18], [40, 80, 247]], ids=str)
@pytest.mark.parametrize("profile", [X86_CODE, ARM_CODE])
@pytest.mark.parametrize(
    "text", [PARTS, INSTRUCTIONS * 3, random.Random(3).randbytes(900), b"\xe8" * 300, b"\xe8\0\0\0"], ids=len
)
def test_profiles_of_code_equal_the_reference(text: bytes, profile: int, boundaries: list[int]) -> None:
    boundaries = [at for at in boundaries if at < len(text)]
    assert native.cm_decode(coded_by_the_reference(text, boundaries, profile), len(text), boundaries) == text
