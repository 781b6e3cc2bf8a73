import os
import random
import threading

import pytest
from chooser.fake_llm import FakeLlm, share
from hypothesis import given, settings
from hypothesis import strategies as st

from zllm.chooser.categories import Category
from zllm.chooser.group import CodedFrame, Group, GroupCoder
from zllm.chooser.levels import LEVELS, get_level
from zllm.chooser.reasons import Reason, describe
from zllm.codecs import registry
from zllm.codecs.zstd import ZstdCodec

RNG = random.Random(3)
NOISE = RNG.randbytes(50_000)
WORDS = [bytes(RNG.choices(b"abcdefghijklmnopqrstuvwxyz", k=RNG.randint(2, 9))) for _ in range(2000)]


def prose(size: int, seed: int = 1) -> bytes:
    rng = random.Random(seed)
    return b" ".join(rng.choices(WORDS, k=size // 5))[:size]


def group(data: bytes, category: Category = Category.TEXT, *cuts: int) -> Group:
    return Group(category, memoryview(data), tuple(cuts))


def decode(frames: list[CodedFrame], llm: FakeLlm | None = None) -> bytes:
    codecs = {3: llm} if llm else {}
    return b"".join((codecs.get(f.codec_id) or registry.get(f.codec_id)).decode(f.payload, f.raw_size) for f in frames)


def coded(frames: list[CodedFrame]) -> int:
    return sum(len(frame.payload) for frame in frames)


@pytest.mark.parametrize("number", LEVELS)
def test_every_level_round_trips_every_category(number):
    llm = share(0.2)
    data = [prose(30_000), NOISE, b"", b"x", bytes(100_000)]
    groups = [group(part, category) for category in Category for part in data]
    for one, frames in zip(groups, GroupCoder(get_level(number), llm, 2).encode(groups), strict=True):
        assert decode(frames, llm) == one.data
        assert all(isinstance(Reason(frame.reason), Reason) for frame in frames)
        if number > 1:
            zstd = ZstdCodec(get_level(number).zstd_level)
            assert coded(frames) <= len(zstd.encode(one.data))


def test_reasons_without_a_model():
    groups = [group(prose(20_000)), group(prose(20_000), Category.BINARY), group(NOISE, Category.COMPRESSED)]

    def reasons(level: int) -> list[int]:
        return [frame.reason for frames in GroupCoder(get_level(level)).encode(groups) for frame in frames]

    assert reasons(1) == [Reason.LZ4_LEVEL, Reason.LZ4_LEVEL, Reason.STORE_INCOMPRESSIBLE]
    assert reasons(5) == [Reason.ZSTD_LEVEL, Reason.ZSTD_LEVEL, Reason.STORE_INCOMPRESSIBLE]
    assert reasons(6) == [Reason.ZSTD_NO_MODEL, Reason.ZSTD_NOT_TEXT, Reason.STORE_INCOMPRESSIBLE]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_levels_without_the_model_never_call_it(number):
    llm = share(0.01)
    GroupCoder(get_level(number), llm).encode([group(prose(10_000))])
    assert llm.batches == []


def test_the_model_gets_text_and_structured_text_only():
    llm = share(0.1)
    result = GroupCoder(get_level(6), llm).encode([group(prose(9000, seed), seed) for seed in map(Category, range(6))])
    assert [frames[0].uses_model for frames in result] == [True, True, False, False, False, False]
    assert llm.batches == [[(9000, ()), (9000, ())]]


def test_all_text_goes_through_one_batch():
    llm = share(0.1)
    big = prose(2_500_000)
    GroupCoder(get_level(6), llm).encode([group(big), group(prose(9000)), group(prose(100), Category.STRUCTURED)])
    whole, work = llm.batches  # it is clear that the model pays: nothing is asked twice
    assert max(size for size, _ in whole) == 4096
    assert sum(size for size, _ in whole) <= 6 * 5120
    assert [size for size, _ in work] == [1 << 20, 1 << 20, 2_500_000 - (2 << 20), 9000, 100]


def test_pieces_of_doubtful_text_are_probed_again():
    big = prose(2_500_000)
    llm = share(len(ZstdCodec(19).encode(big)) / len(big))  # no better than zstd, so far
    (frames,) = GroupCoder(get_level(6), llm).encode([group(big)])
    _, parts, work = llm.batches
    assert max(size for size, _ in parts) == 4096
    assert 3 * 2 * 5120 <= sum(size for size, _ in parts) <= 3 * 3 * 5120
    assert [size for size, _ in work] == [1 << 20, 1 << 20, 2_500_000 - (2 << 20)]
    assert [frame.uses_model for frame in frames] == [False]


def test_a_piece_that_disappoints_goes_to_zstd():
    """Windows that all pay, but then one piece of three does not; zstd keeps it, and the other two stay the model's."""
    big = prose(3 << 20)
    ratio = len(ZstdCodec(19).encode(big)) / len(big)
    seen = []

    def cost(data):
        seen.append(len(data))
        return ratio * len(data) * (2 if len(data) == 1 << 20 and seen.count(1 << 20) == 2 else 0.5)

    (frames,) = GroupCoder(get_level(6), FakeLlm(cost)).encode([group(big)])
    assert [frame.uses_model for frame in frames] == [True, False, True]
    assert [frame.reason for frame in frames] == [Reason.LLM_SMALLER, Reason.ZSTD_SMALLER, Reason.LLM_SMALLER]


def test_an_error_beside_the_model_is_raised(monkeypatch):
    def fail(*_):
        raise MemoryError("zstd")

    monkeypatch.setattr(ZstdCodec, "encode_batch", fail)
    with pytest.raises(MemoryError, match="zstd"):
        GroupCoder(get_level(6), share(0.1)).encode([group(prose(9000))])


@pytest.mark.parametrize(
    ("number", "gain", "wins"), [(6, 0.04, False), (6, 0.06, True), (7, 0.04, True), (8, 0.015, True)]
)
def test_the_levels_least_gain(number, gain, wins):
    data = prose(60_000)
    rival = len(ZstdCodec(19).encode(data))
    llm = FakeLlm(lambda _: rival * (1 - gain))
    (frames,) = GroupCoder(get_level(number), llm).encode([group(data)])
    assert [frame.uses_model for frame in frames] == [wins]
    assert frames[0].reason == (Reason.LLM_SMALLER if wins else Reason.ZSTD_SMALLER)
    assert frames[0].rival == pytest.approx(8000 * (rival if wins else rival * (1 - gain)) / 60_000, abs=1)


def test_the_model_is_named_in_an_archive_only_if_that_pays():
    """Naming it costs some 200 bytes, once."""
    small, large = prose(3000), prose(60_000)
    coder = GroupCoder(get_level(6), FakeLlm(lambda data: len(ZstdCodec(19).encode(data)) * 0.93))
    (first,) = coder.encode([group(small)])
    assert [frame.reason for frame in first] == [Reason.ZSTD_SMALLER]
    assert first[0].rival > 0
    (second,) = coder.encode([group(large)])
    (third,) = coder.encode([group(small)])
    assert second[0].uses_model and third[0].uses_model


def test_a_bad_probe_saves_the_work():
    llm = share(0.9)
    data = prose(3_000_000)
    (frames,) = GroupCoder(get_level(6), llm).encode([group(data)])
    assert len(llm.batches) == 1
    assert [frame.reason for frame in frames] == [Reason.ZSTD_PROBE]
    assert frames[0].rival == pytest.approx(7200, rel=0.01)
    assert "7.2" in describe(frames[0].reason, frames[0].rival)


def test_each_frame_takes_what_is_smaller_for_it():
    """A model that is bad at one frame of a group loses that frame only."""
    half = prose(1 << 20, 1)
    other = prose(1 << 20, 2)
    llm = FakeLlm(lambda data: (0.99 if data == other else 0.1) * len(data))
    (frames,) = GroupCoder(get_level(6), llm).encode([group(half + other, Category.TEXT)])
    assert [frame.uses_model for frame in frames] == [True, False]
    assert decode(frames, llm) == half + other


def test_the_model_is_not_asked_for_pieces_that_it_is_bad_at():
    """Half of a group is good for it, half is not: probes tell them apart, and zstd gets its part as one frame."""
    good, bad = prose(3 << 20, 1), prose(3 << 20, 2).upper()
    llm = FakeLlm(lambda data: (0.9 if data.isupper() else 0.1) * len(data))
    (frames,) = GroupCoder(get_level(6), llm).encode([group(good + bad, Category.TEXT, 3 << 20)])
    assert [(frame.uses_model, frame.raw_size) for frame in frames] == [(True, 1 << 20)] * 3 + [(False, 3 << 20)]
    assert [size for size, _ in llm.batches[-1]] == [1 << 20] * 3
    assert frames[3].reason == Reason.ZSTD_PROBE
    assert frames[3].rival == pytest.approx(7200, rel=0.01)
    assert decode(frames, llm) == good + bad
    whole = len(ZstdCodec(19).encode(bad))
    assert len(frames[3].payload) == whole


def test_zstd_over_all_of_it_beats_frames_that_win_one_by_one():
    """The same megabyte eight times: zstd sees it once, each frame by itself costs all of it."""
    data = prose(1 << 20) * 8
    whole = len(ZstdCodec(19).encode(data))
    llm = FakeLlm(lambda part: 0.01 * len(part) if len(part) < 10_000 else 0.9 * whole)
    (frames,) = GroupCoder(get_level(6), llm).encode([group(data)])
    assert coded(frames) == whole
    assert [frame.reason for frame in frames] == [Reason.ZSTD_SMALLER]


def test_noise_called_text_is_stored():
    llm = share(1.5)
    (frames,) = GroupCoder(get_level(6), llm).encode([group(NOISE)])
    assert [(frame.codec_id, frame.reason) for frame in frames] == [(0, Reason.STORE_INCOMPRESSIBLE)]


def test_cuts_reach_the_model_relative_to_each_frame():
    llm = share(0.1)
    data = prose(3000)
    GroupCoder(get_level(6), llm).encode([group(data, Category.TEXT, 1000, 2500)])
    assert llm.batches[-1] == [(3000, (1000, 2500))]


def test_large_member_is_one_zstd_frame_small_ones_share_frames():
    big = bytes(20 << 20)
    alone, shared = GroupCoder(get_level(2)).encode(
        [group(big, Category.BINARY), group(big, Category.BINARY, 7 << 20, 10 << 20, 16 << 20)]
    )
    assert [frame.raw_size for frame in alone] == [20 << 20]
    # At 7 MiB, since the next member would not fit; then at 10 MiB only 3 are in the frame: that one is cut.
    assert [frame.raw_size for frame in shared] == [7 << 20, 8 << 20, 5 << 20]


def test_a_member_beyond_the_frame_limit_is_cut():
    data = bytes((64 << 20) + 5)
    (frames,) = GroupCoder(get_level(1)).encode([group(data, Category.BINARY)])
    assert [frame.raw_size for frame in frames] == [64 << 20, 5]


@pytest.mark.parametrize("ratio", [0.1, 0.9])
@pytest.mark.parametrize("threads", [1, 2])
def test_progress_adds_up(ratio, threads):
    done = []
    groups = [group(prose(200_000, 1)), group(prose(9000, 2)), group(NOISE, Category.BINARY), group(b"")]
    GroupCoder(get_level(6), share(ratio), threads, done.append).encode(groups)
    assert sum(done) == 200_000 + 9000 + len(NOISE)
    assert min(done) >= 0


def test_threads_change_nothing():
    groups = [group(prose(9000 * n, n), category) for n in range(1, 5) for category in (Category.TEXT, Category.BINARY)]
    results = [GroupCoder(get_level(6), share(0.2), threads).encode(groups) for threads in (1, 2, 7)]
    assert results[0] == results[1] == results[2]


def test_cancelled():
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(KeyboardInterrupt):
        GroupCoder(get_level(6), share(0.1), 2, None, cancelled).encode([group(prose(9000)), group(NOISE)])


@given(
    parts=st.lists(st.binary(max_size=400) | st.integers(0, 5000).map(prose), max_size=6),
    ratio=st.floats(0.01, 1.2),
    number=st.integers(2, 9),
    category=st.sampled_from(Category),
)
@settings(max_examples=40, deadline=None)
def test_promise(parts, ratio, number, category):
    """Never larger than zstd at the level's zstd level, whatever the data, the model and the boundaries."""
    data = b"".join(parts)
    ends = [sum(map(len, parts[: n + 1])) for n in range(len(parts))]
    cuts = sorted(set(ends) - {0, len(data)})
    llm = share(ratio)
    (frames,) = GroupCoder(get_level(number), llm).encode([group(data, category, *cuts)])
    assert decode(frames, llm) == data
    assert coded(frames) <= len(ZstdCodec(get_level(number).zstd_level).encode(data))
    assert all(len(frame.payload) <= frame.raw_size for frame in frames)


def test_incompressible_data_costs_one_zstd_run_and_no_model():
    llm = share(0.1)
    (frames,) = GroupCoder(get_level(9), llm).encode([group(os.urandom(1 << 20), Category.COMPRESSED)])
    assert llm.batches == []
    assert [frame.codec_id for frame in frames] == [0]
