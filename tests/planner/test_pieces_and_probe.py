import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planner.fake_llm import FakeLlm, share

from zllm.codecs.base import Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.planner.probe import QUICK, best_models, gains, spread
from zllm.planner.units import Piece, cut_pieces
from zllm.stats import Stats

NUMBERS = struct.pack(">262144I", *range(1 << 18))


def piece(data: bytes, *boundaries: int) -> Piece:
    return Piece(memoryview(data), boundaries)


@given(
    size=st.integers(0, 300),
    boundaries=st.sets(st.integers(1, 299), max_size=20),
    limit=st.integers(1, 120),
)
def test_pieces_are_the_whole(size, boundaries, limit):
    data = bytes(index % 251 for index in range(size))
    inner = tuple(sorted(boundary for boundary in boundaries if boundary < size))
    pieces = cut_pieces(piece(data, *inner), limit)
    assert b"".join(part.data for part in pieces) == data
    assert all(0 < len(part.data) <= limit for part in pieces)
    # Every boundary is either between two pieces or inside one.
    at, seen = 0, set()
    for part in pieces:
        seen |= {at + boundary for boundary in part.boundaries} | {at}
        assert all(0 < boundary < len(part.data) for boundary in part.boundaries)
        at += len(part.data)
    assert set(inner) <= seen


@pytest.mark.parametrize(
    ("boundaries", "sizes"),
    [
        ((), [84, 83, 83]),
        ((90, 180), [90, 90, 70]),  # whole members
        ((40, 120), [84, 83, 83]),  # 40 would leave a frame less than half full
        ((50, 140), [50, 90, 55, 55]),
        ((100, 200), [100, 100, 50]),
        (tuple(range(10, 250, 10)), [80, 80, 90]),  # the nearest to an equal share
        ((80, 90), [80, 85, 85]),
    ],
)
def test_where_pieces_end(boundaries, sizes):
    assert [len(part.data) for part in cut_pieces(piece(bytes(250), *boundaries), 100)] == sizes


def test_a_probe_is_small_and_one_batch():
    alone, llm = share(0.4), share(0.3)
    found = gains([piece(bytes(256 << 10)), piece(bytes(9 << 20))], alone, [llm], Run())
    assert found == [[pytest.approx(0.25, abs=0.001)]] * 2
    assert len(llm.batches) == len(alone.batches) == 1
    assert [size for size, _ in llm.batches[0]] == [32 << 10, 64 << 10] * 2


def test_samples_are_a_stage_of_their_own():
    stats = Stats()
    gains([piece(bytes(256 << 10))], CmCodec(), [share(0.3)], Run(stats=stats))
    assert list(stats.stages) == ["probe"]


def test_what_is_saved_at_the_start_does_not_count():
    alone, llm = FakeLlm(lambda data: 0.2 * len(data) + 6000), FakeLlm(lambda data: 0.21 * len(data))
    assert gains([piece(bytes(256 << 10))], alone, [llm], Run()) == [[pytest.approx(-0.05, abs=0.001)]]


def test_the_best_of_several_models():
    """By a sample; a short text is its own."""
    letters, digits = (
        FakeLlm(lambda data, kind=kind: len(data) * (0.2 if getattr(data, kind)() else 0.3))
        for kind in ("isalpha", "isdigit")
    )
    pieces = [piece(b"a" * 300_000), piece(b"1" * 300_000), piece(b"a"), piece(b"12" * 900)]
    assert best_models(pieces, [letters, digits], Run()) == [0, 1, 0, 1]
    assert [size for size, _ in digits.batches[0]] == [64 << 10, 64 << 10, 1, 1800]
    assert gains(pieces[:2], share(0.4), [letters, digits], Run()) == [
        [pytest.approx(0.5, abs=0.01), pytest.approx(0.25, abs=0.01)],
        [pytest.approx(0.25, abs=0.01), pytest.approx(0.5, abs=0.01)],
    ]


def test_one_model_needs_no_samples_to_be_the_best():
    llm = share(0.1)
    assert best_models([piece(b"abc")] * 3, [llm], Run()) == [0, 0, 0] and llm.batches == []


def test_quick_sizes_see_as_far_as_zstd_19():
    """Or else -19 could win where nobody lets it run: what comes again after 6 MiB is beyond the window of -9."""
    noise = random.Random(1).randbytes(6 << 20)
    twice, run = noise + noise, Run()
    assert (
        QUICK.payload_sizes([(twice, ())], run)[0]
        < 1.01 * len(noise)
        < 1.9 * len(noise)
        < len(ZstdCodec(9).encode(twice))
    )


def test_parts_of_parts():
    whole = piece(bytes(range(100)), 10, 20, 50, 90)
    part = whole.part(20, 90)
    assert (part.start, part.end, part.boundaries, bytes(part.data)) == (20, 90, (30,), bytes(range(20, 90)))
    inner = part.part(30, 40)
    assert (inner.start, inner.end, inner.boundaries, bytes(inner.data)) == (30, 40, (), bytes(range(50, 60)))


@given(size=st.integers(0, 1 << 18), sample=st.integers(1, 1 << 15), spots=st.integers(1, 9))
def test_samples_are_spread(size, sample, spots):
    data = NUMBERS[:size]
    taken = spread(memoryview(data), sample, spots)
    assert len(taken) == (size if size <= sample else sample // spots * spots)
    part = sample // spots
    if size > 2 * sample and part >= 16:
        middles = [data.find(taken[spot * part :][:part]) + part / 2 for spot in range(spots)]
        assert all(spot * size <= middle * spots <= (spot + 1) * size for spot, middle in enumerate(middles))
