import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planner.fake_llm import FakeLlm, share

from zllm.codecs.base import Run
from zllm.codecs.cm import CmCodec
from zllm.planner.probe import MIN_PROBED, gains
from zllm.planner.units import Piece, cut_pieces
from zllm.stats import Stats


def piece(data: bytes, *cuts: int) -> Piece:
    return Piece(memoryview(data), cuts)


@given(
    size=st.integers(0, 300),
    cuts=st.sets(st.integers(1, 299), max_size=20),
    limit=st.integers(1, 120),
)
def test_pieces_are_the_whole(size, cuts, limit):
    data = bytes(index % 251 for index in range(size))
    inner = tuple(sorted(cut for cut in cuts if cut < size))
    pieces = cut_pieces(piece(data, *inner), limit)
    assert b"".join(part.data for part in pieces) == data
    assert all(0 < len(part.data) <= limit for part in pieces)
    # Every boundary is either between two pieces or inside one.
    at, seen = 0, set()
    for part in pieces:
        seen |= {at + cut for cut in part.cuts} | {at}
        assert all(0 < cut < len(part.data) for cut in part.cuts)
        at += len(part.data)
    assert set(inner) <= seen


@pytest.mark.parametrize(
    ("cuts", "sizes"),
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
def test_where_pieces_end(cuts, sizes):
    assert [len(part.data) for part in cut_pieces(piece(bytes(250), *cuts), 100)] == sizes


def test_small_pieces_are_not_probed():
    llm = share(0.1)
    assert gains([piece(bytes(MIN_PROBED - 1)), piece(b"")], share(0.2), llm, Run()) == [None, None]
    assert llm.batches == []


def test_probe_is_small_and_one_batch():
    alone, llm = share(0.4), share(0.3)
    found = gains([piece(bytes(MIN_PROBED)), piece(b"x"), piece(bytes(9 << 20))], alone, llm, Run())
    assert found == [pytest.approx(0.25, abs=0.001), None, pytest.approx(0.25, abs=0.001)]
    assert len(llm.batches) == len(alone.batches) == 1
    assert sum(size for size, _ in llm.batches[0]) == (1 + 4) * (48 << 10)


def test_samples_are_a_stage_of_their_own():
    stats = Stats()
    gains([piece(bytes(MIN_PROBED))], CmCodec(), share(0.3), Run(stats=stats))
    assert list(stats.stages) == ["probe"]


def test_what_is_saved_at_the_start_does_not_count():
    alone, llm = FakeLlm(lambda data: 0.2 * len(data) + 6000), FakeLlm(lambda data: 0.21 * len(data))
    assert gains([piece(bytes(MIN_PROBED))], alone, llm, Run()) == [pytest.approx(-0.05, abs=0.001)]


def test_parts_of_parts():
    whole = piece(bytes(range(100)), 10, 20, 50, 90)
    part = whole.part(20, 90)
    assert (part.start, part.end, part.cuts, bytes(part.data)) == (20, 90, (30,), bytes(range(20, 90)))
    inner = part.part(30, 40)
    assert (inner.start, inner.end, inner.cuts, bytes(inner.data)) == (30, 40, (), bytes(range(50, 60)))


def test_windows_are_spread_and_carry_their_cuts():
    data = bytearray(4 << 20)
    seen = []
    llm = FakeLlm(lambda part: seen.append(bytes(part)) or len(part))
    for offset in range(0, len(data), 1 << 15):
        data[offset : offset + (1 << 15)] = bytes([offset >> 15]) * (1 << 15)
    cuts = tuple(range(1000, len(data), 1000))
    gains([piece(bytes(data), *cuts)], share(1), llm, Run())
    windows = [part for part in seen if len(part) == 32 << 10]
    marks = sorted(max(part) for part in windows)
    assert len(windows) == 4
    assert marks[0] < 32 and marks[-1] >= 96
    for (size, inner), part in zip(llm.batches[0], seen, strict=True):
        assert size == len(part)
        assert all(0 < cut < size for cut in inner)
        assert len(inner) in (size // 1000, size // 1000 + 1)


@given(st.integers(0, 1 << 24))
def test_windows_stay_inside(size):
    from zllm.planner.probe import _WINDOW, _starts

    starts = _starts(size)
    assert starts == sorted(set(starts))
    assert all(0 <= start <= size - _WINDOW for start in starts)
    assert all(b - a >= _WINDOW for a, b in itertools.pairwise(starts))
