import dataclasses
import os
import random
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner.fake_llm import FakeLlm, share

from zllm.codecs import registry
from zllm.codecs.cm import CmCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.planner.categories import Category
from zllm.planner.levels import LEVELS, Level, get_level
from zllm.planner.planner import CodedFrame, Group, Planner
from zllm.planner.probe import expected
from zllm.planner.reasons import Reason, Why, describe, millibits
from zllm.planner.text import MODEL_COST
from zllm.planner.units import FRAME_COST

RNG = random.Random(3)
NOISE = RNG.randbytes(50_000)
WORDS = [bytes(RNG.choices(b"abcdefghijklmnopqrstuvwxyz", k=RNG.randint(2, 9))) for _ in range(2000)]


def prose(size: int, seed: int = 1) -> bytes:
    rng = random.Random(seed)
    return b" ".join(rng.choices(WORDS, k=size // 5))[:size]


def group(data: bytes, category: Category = Category.TEXT, *boundaries: int) -> Group:
    return Group(category, memoryview(data), tuple(boundaries))


def small_frames(size: int) -> Level:
    """Level 6 with text frames of another size."""
    return dataclasses.replace(get_level(6), text_frame=size, shared_frame=size, alone_frame=size)


def decode(frames: list[CodedFrame], llm: FakeLlm | None = None, boundaries: Sequence[int] = ()) -> bytes:
    codecs = {3: llm} if llm else {}
    data = b""
    for frame in frames:
        codec = codecs.get(frame.codec_id) or registry.get(frame.codec_id)
        end = len(data) + frame.raw_size
        inside = [boundary - len(data) for boundary in boundaries if len(data) < boundary < end]
        data += codec.decode(frame.payload, frame.raw_size, inside)
    return data


def coded(frames: list[CodedFrame]) -> int:
    return sum(len(frame.payload) for frame in frames)


@pytest.mark.parametrize("number", LEVELS)
def test_every_level_round_trips_every_category(number):
    llm = share(0.2)
    data = [prose(30_000), NOISE, b"", b"x", bytes(100_000)]
    groups = [group(part, category) for category in Category for part in data]
    for one, frames in zip(groups, Planner(get_level(number), [llm], 2).encode(groups), strict=True):
        assert decode(frames, llm) == one.data
        assert all(describe(frame.reason, frame.rival) for frame in frames)
        assert coded(frames) <= len(one.data)
        if number > 1:
            zstd = ZstdCodec(get_level(number).zstd_level)
            assert coded(frames) <= len(zstd.encode(one.data))


@pytest.mark.parametrize("number", LEVELS)
def test_reasons_without_a_model(number):
    groups = [group(prose(20_000)), group(prose(20_000), Category.BINARY), group(NOISE, Category.COMPRESSED)]
    reasons = [frame.choice for frames in Planner(get_level(number)).encode(groups) for frame in frames]
    assert reasons[2] == Reason(Why.INCOMPRESSIBLE)
    if number < 5:
        assert reasons[:2] == [Reason(Why.LEVEL), Reason(Why.LEVEL)]
    else:
        assert {(reason.why, reason.other) for reason in reasons[:2]} == {(Why.SMALLEST, ZstdCodec.id)}


def test_what_zstd_would_have_taken_is_noted():
    data = prose(20_000)
    ((frame,),) = Planner(get_level(5)).encode([group(data)])
    zstd = len(ZstdCodec(19).encode(data))
    assert frame.codec_id == CmCodec.id and len(frame.payload) < zstd
    assert frame.rival == millibits(zstd, len(data))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_levels_without_the_model_never_call_it(number):
    llm = share(0.01)
    (frames,) = Planner(get_level(number), [llm]).encode([group(prose(10_000))])
    assert llm.batches == []
    assert [frame.codec_id for frame in frames] == [{1: 1, 5: CmCodec.id}.get(number, ZstdCodec.id)]


def test_the_model_gets_text_and_structured_text_only():
    llm = share(0.1)
    result = Planner(get_level(6), [llm]).encode([group(prose(9000, seed), seed) for seed in map(Category, range(6))])
    assert [frames[0].model for frames in result] == [1, 1, 0, 0, 0, 0]
    assert llm.batches == [[(9000, ()), (9000, ())]]


def test_the_predictor_gets_everything_that_can_be_made_smaller():
    result = Planner(get_level(5)).encode([group(prose(9000, seed), seed) for seed in map(Category, range(6))])
    assert [frames[0].codec_id for frames in result] == [CmCodec.id] * 6
    ((noise,),) = Planner(get_level(5)).encode([group(NOISE, Category.BINARY)])
    assert (noise.codec_id, noise.choice) == (0, Reason(Why.INCOMPRESSIBLE))


RUSSIAN_WORDS = ("архив", "читается", "по", "частям", "и", "каждая", "часть", "проверяется", "отдельно")
RUSSIAN = " ".join(random.Random(2).choices(RUSSIAN_WORDS, k=6000))


@pytest.mark.parametrize("encoding", ["koi8-r", "cp1251", "utf-16"])
def test_models_are_not_asked_about_encodings_that_they_have_never_read(encoding):
    llm = share(0.01)
    data = RUSSIAN.encode(encoding)[:30_000]
    ((frame,),) = Planner(get_level(6), [llm]).encode([group(data)])
    assert llm.batches == []
    assert (frame.codec_id, frame.choice.other) == (CmCodec.id, ZstdCodec.id)


def test_the_others_of_a_unit_are_asked_about_all_the_same():
    """The model is, of the frames whose text it can read; progress counts all of them."""
    llm, done = share(0.01), []
    data = prose(30_000) + RUSSIAN.encode("koi8-r")[:30_000]
    (frames,) = Planner(small_frames(30_000), [llm], 1, done.append).encode([group(data)])
    assert llm.batches == [[(30_000, ())]]
    assert [frame.codec_id for frame in frames] == [llm.id, CmCodec.id]
    assert decode(frames, llm) == data and sum(done) == len(data)


def test_a_model_that_has_not_helped_leaves_the_predictor_its_larger_frames():
    """Access logs and tables: what is learnt in a megabyte helps with the next."""
    level = dataclasses.replace(get_level(6), text_frame=30_000, shared_frame=60_000, alone_frame=60_000)
    llm = share(0.9)
    ((frame,),) = Planner(level, [llm]).encode([group(prose(60_000))])
    assert llm.batches == [[(30_000, ()), (30_000, ())]]
    assert (frame.codec_id, frame.raw_size) == (CmCodec.id, 60_000)
    assert frame.choice == Reason(Why.SMALLEST, llm.id, 7200)


def test_of_several_models_each_unit_has_its_own():
    letters = FakeLlm(lambda data: len(data) * (0.1 if data[:1].isalpha() else 0.3))
    digits = FakeLlm(lambda data: len(data) * (0.3 if data[:1].isalpha() else 0.1))
    digits.id = 99
    groups = [group(prose(30_000)), group(b"1" + prose(30_000), Category.STRUCTURED), group(NOISE, Category.BINARY)]
    (one,), (other,), (noise,) = Planner(get_level(6), [letters, digits]).encode(groups)
    assert (one.codec_id, one.model) == (letters.id, 1)
    assert (other.codec_id, other.model) == (digits.id, 2)
    assert noise.model == 0


def test_each_of_several_models_has_to_earn_its_name():
    """One does; what the other saves of a small text is less than naming it costs."""
    of_letters, of_digits = (
        FakeLlm(
            lambda data, mine=mine, part=part: len(CmCodec().encode(data)) * (part if data[:1].isalpha() == mine else 2)
        )
        for mine, part in ((True, 0.5), (False, 0.95))
    )
    groups = [group(prose(60_000)), group(b"1" + prose(1500), Category.STRUCTURED)]
    ((first,), (second,)) = Planner(get_level(6), [of_letters, of_digits]).encode(groups)
    assert (first.model, second.model) == (1, 0)
    assert second.codec_id == CmCodec.id


def test_all_text_goes_through_one_batch_after_one_of_samples():
    llm = share(0.1)
    big = prose(600_000)
    structured = Category.STRUCTURED
    groups = [group(big, structured), group(prose(9000)), group(prose(100), structured)]
    Planner(small_frames(200_000), [llm]).encode(groups)
    samples, work = llm.batches
    assert [size for size, _ in samples] == [32 << 10, 64 << 10]
    assert [size for size, _ in work] == [200_000, 200_000, 200_000, 9000, 100]


def test_text_that_is_too_short_for_samples_is_tried():
    llm = share(0.9)
    data = prose(60_000)
    ((frame,),) = Planner(get_level(6), [llm]).encode([group(data)])
    assert llm.batches == [[(60_000, ())]]
    assert (frame.codec_id, frame.choice) == (CmCodec.id, Reason(Why.SMALLEST, llm.id, 7200))


def test_prose_is_not_sampled_however_long():
    llm = share(0.0001)
    dull = prose(20_000) * 30
    Planner(get_level(6), [llm]).encode([group(prose(600_000)), group(dull)])
    samples, work = llm.batches
    assert [size for size, _ in samples] == [32 << 10, 64 << 10]  # of what repeats itself
    assert [size for size, _ in work] == [600_000, 600_000]


def test_bad_samples_save_the_work():
    """They decide about each unit for itself."""
    good, bad = prose(530_000), prose(530_000).upper()
    llm = FakeLlm(lambda data: (0.9 if data.isupper() else 0.1) * len(data))
    groups = [group(good, Category.STRUCTURED), group(bad, Category.STRUCTURED)]
    helped, alone = Planner(get_level(6), [llm]).encode(groups)
    assert llm.batches[1:] == [[(530_000, ())]]
    assert [(frame.codec_id, frame.choice.why) for frame in helped] == [(3, Why.NEED_NOT_COMPARE)]
    assert [(frame.codec_id, frame.choice.why) for frame in alone] == [(CmCodec.id, Why.SAMPLES)]
    assert alone[0].rival == millibits(len(ZstdCodec(9).encode(bad)), len(bad))  # zstd -19 had nothing to win
    assert decode(alone) == bad


@pytest.mark.parametrize(
    ("number", "gain", "asked"),
    [
        (6, 0.045, True), (6, 0.043, False), (7, 0.03, True), (7, 0.028, False),
        (8, 0.0, True), (8, -0.01, False), (9, 0.0, True), (9, -0.01, False),
    ],
)  # fmt: skip
def test_how_much_the_samples_must_promise(number, gain, asked, monkeypatch):
    """Of 256 KiB, two doublings beyond a sample: a saving fades by 1.2% at each."""
    monkeypatch.setattr("zllm.planner.text.gains", lambda pieces, *_: [[gain]] * len(pieces))
    llm = share(0.1)
    Planner(get_level(number), [llm]).encode([group(prose(256 << 10), Category.STRUCTURED)])
    assert bool(llm.batches) == asked


def test_more_is_asked_of_samples_of_more():
    """The predictor catches up with a model: the more, the more it has to learn from."""
    assert expected(0.1, 64 << 10) == expected(0.1, 9) == 0.1
    assert expected(0.1, 128 << 10) > expected(0.1, 1 << 20) > expected(0.1, 4 << 20) > 0


@pytest.mark.parametrize(
    ("number", "gain", "wins"),
    [(6, 0.015, False), (6, 0.03, True), (7, 0.004, False), (7, 0.02, True), (8, 0.02, True)],
)
def test_the_levels_least_gain(number, gain, wins):
    data = prose(60_000)
    rival = len(CmCodec().encode(data))
    llm = FakeLlm(lambda _: rival * (1 - gain))
    ((frame,),) = Planner(get_level(number), [llm]).encode([group(data)])
    assert frame.model == int(wins)
    assert (frame.choice.why, frame.choice.other) == (Why.SMALLEST, CmCodec.id if wins else llm.id)
    assert frame.rival == pytest.approx(8000 * (rival if wins else rival * (1 - gain)) / 60_000, abs=1)


def test_each_piece_of_a_unit_has_the_codec_that_pays():
    data = prose(90_000)
    llm = FakeLlm(lambda part: (0.9 if part == data[30_000:60_000] else 0.05) * len(part))
    (frames,) = Planner(small_frames(30_000), [llm]).encode([group(data)])
    assert [frame.codec_id for frame in frames] == [llm.id, CmCodec.id, llm.id]
    assert [frame.choice.other for frame in frames] == [CmCodec.id, llm.id, CmCodec.id]
    assert [frame.raw_size for frame in frames] == [30_000] * 3
    assert decode(frames, llm) == data


def test_zstd_over_all_of_it_beats_frames_that_cannot_see_each_other():
    """The same text eight times: zstd sees it once, each frame by itself costs all of it."""
    data = prose(20_000) * 8
    whole = len(ZstdCodec(19).encode(data))
    llm = FakeLlm(lambda part: 0.01 * len(part) if len(part) < 10_000 else 0.3 * whole)
    (frames,) = Planner(small_frames(20_000), [llm]).encode([group(data)])
    assert coded(frames) == whole
    assert [(frame.codec_id, frame.choice.why) for frame in frames] == [(ZstdCodec.id, Why.SMALLEST)]
    alone = sum(len(CmCodec().encode(data[:20_000])) for _ in range(8))
    assert frames[0].rival == millibits(alone, len(data))


def test_frames_pay_for_their_headers(monkeypatch):
    data = prose(20_000)
    alone = sum(len(CmCodec().encode(data[at : at + 5000])) for at in range(0, 20_000, 5000))
    for spare, codec in ((1, CmCodec), (0, ZstdCodec)):
        payload = bytes(alone + 3 * FRAME_COST + spare)
        monkeypatch.setattr(ZstdCodec, "encode_batch", lambda _, items, __, out=payload: [out] * len(items))
        (frames,) = Planner(dataclasses.replace(get_level(5), alone_frame=5000)).encode([group(data)])
        assert {frame.codec_id for frame in frames} == {codec.id}


def cheaper(share: float) -> FakeLlm:
    return FakeLlm(lambda data: len(CmCodec().encode(data)) * share)


def test_the_model_is_named_in_an_archive_only_if_that_pays():
    """Naming it costs some 50 bytes, once."""
    small, large = prose(1500), prose(60_000)
    coder = Planner(get_level(6), [cheaper(0.95)])
    ((first,),) = coder.encode([group(small)])
    assert 0 < len(CmCodec().encode(small)) * 0.05 < MODEL_COST
    assert (first.model, first.codec_id, first.choice.other) == (0, CmCodec.id, 3)
    ((second,),) = coder.encode([group(large)])
    ((third,),) = coder.encode([group(small)])
    assert second.model and third.model


def test_what_is_coded_out_of_order_is_chosen_in_order():
    parts = [[group(prose(1500))], [group(prose(60_000)), group(NOISE, Category.BINARY)], [group(prose(1500))]]
    one, other = (Planner(get_level(6), [cheaper(0.95)]) for _ in range(2))
    in_order = [one.encode(part) for part in parts]
    coded = [other.code(part) for part in reversed(parts)][::-1]
    assert [other.choose(part) for part in coded] == in_order
    assert [frames[0].model for (frames, *_) in in_order] == [0, 1, 1]


def test_the_model_does_not_earn_its_name_where_zstd_wins_anyway():
    small, again = prose(1500), prose(20_000) * 8
    ((first,), (second,)) = Planner(small_frames(20_000), [cheaper(0.95)]).encode([group(small), group(again)])
    assert (first.model, second.codec_id) == (0, ZstdCodec.id)


def test_a_model_that_helps_many_small_texts_earns_its_name():
    result = Planner(get_level(6), [cheaper(0.9)]).encode([group(prose(3000, seed)) for seed in range(10)])
    assert all(frames[0].model for frames in result)


def test_an_error_beside_the_model_is_raised(monkeypatch):
    def fail(*_):
        raise MemoryError("zstd")

    monkeypatch.setattr(ZstdCodec, "encode_batch", fail)
    with pytest.raises(MemoryError, match="zstd"):
        Planner(get_level(6), [share(0.1)]).encode([group(prose(9000))])


def test_noise_called_text_is_stored():
    llm = share(1.5)
    (frames,) = Planner(get_level(6), [llm]).encode([group(NOISE)])
    assert [(frame.codec_id, frame.choice) for frame in frames] == [(0, Reason(Why.INCOMPRESSIBLE))]


@pytest.mark.parametrize("number", [5, 6])
def test_tiny_texts_never_grow(number):
    """zstd makes a few bytes longer, and what is shorter than that may still be longer than the text."""
    groups = [group(data[:size]) for data in (b"To be, or not", NOISE) for size in range(1, 13)]
    for one, frames in zip(groups, Planner(get_level(number), [share(1.0)]).encode(groups), strict=True):
        assert decode(frames) == one.data
        assert coded(frames) <= len(one.data)


def test_cuts_reach_the_codecs_relative_to_each_frame(monkeypatch):
    seen = []
    monkeypatch.setattr(
        CmCodec,
        "encode_batch",
        lambda _, items, run: [seen.append(tuple(boundaries)) or bytes(99) for _, boundaries in items],
    )
    llm = share(0.001)
    data = prose(5000)
    Planner(small_frames(3000), [llm]).encode([group(data, Category.TEXT, 1000, 2500, 4100)])
    assert llm.batches == [[(2500, (1000,)), (2500, (1600,))]]
    assert seen == [(1000,), (1600,)]


def test_large_member_is_one_zstd_frame_small_ones_share_frames():
    big = bytes(20 << 20)
    alone, shared = Planner(get_level(2)).encode(
        [group(big, Category.BINARY), group(big, Category.BINARY, 7 << 20, 10 << 20, 16 << 20)]
    )
    assert [frame.raw_size for frame in alone] == [20 << 20]
    # At 7 MiB, a third of all; then 16 MiB is too far, and 10 MiB too near: that member is cut in half.
    assert [frame.raw_size for frame in shared] == [7 << 20, 13 << 19, 13 << 19]


def test_a_member_beyond_the_frame_limit_is_cut():
    data = bytes((64 << 20) + 5)
    (frames,) = Planner(get_level(1)).encode([group(data, Category.BINARY)])
    assert [frame.raw_size for frame in frames] == [(32 << 20) + 3, (32 << 20) + 2]


@pytest.mark.parametrize("llm", [None, share(0.1), share(0.9)], ids=["no model", "good model", "bad model"])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_progress_adds_up(llm, threads):
    """Of every unit once, whether the model was asked, only its samples were, or nobody."""
    done = []
    groups = [group(prose(200_000, 1)), group(prose(9000, 2)), group(NOISE, Category.BINARY), group(b"")]
    Planner(small_frames(64_000), [llm] if llm else [], threads, done.append).encode(groups)
    assert sum(done) == 200_000 + 9000 + len(NOISE)
    assert min(done) >= 0


def test_threads_change_nothing():
    groups = [group(prose(9000 * n, n), category) for n in range(1, 5) for category in (Category.TEXT, Category.BINARY)]
    results = [Planner(small_frames(8000), [share(0.2)], threads).encode(groups) for threads in (1, 2, 7)]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("llm", [None, share(0.1)], ids=["no model", "model"])
def test_cancelled(llm):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(KeyboardInterrupt):
        Planner(get_level(6), [llm] if llm else [], 2, None, cancelled).encode([group(prose(9000)), group(NOISE)])


def test_cancelled_in_the_middle():
    cancelled = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        Planner(get_level(5), [], 2, lambda _: cancelled.set(), cancelled).encode([group(prose(3_000_000))])


def test_ctrl_c_stops_zstd_beside(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(CmCodec, "encode_batch", interrupt)
    coder = Planner(get_level(6), [share(0.1)], 2)
    with pytest.raises(KeyboardInterrupt):
        coder.encode([group(prose(9000))])
    assert coder.run.cancelled.is_set()


@given(
    parts=st.lists(st.binary(max_size=400) | st.integers(0, 5000).map(prose), max_size=6),
    ratio=st.floats(0.01, 1.2) | st.none(),
    number=st.integers(2, 9),
    frame=st.sampled_from([700, 3000, 1 << 20]),
    category=st.sampled_from(Category),
    times=st.integers(1, 3),
)
@settings(max_examples=80, deadline=None)
def test_promise(*, parts, ratio, number, frame, category, times):
    """Never larger than zstd at the level's zstd level, what further frames cost included, whatever the data, the model
    and the boundaries; and no frame larger than its data."""
    parts = parts * times
    data = b"".join(parts)
    ends = [sum(map(len, parts[: n + 1])) for n in range(len(parts))]
    boundaries = sorted(set(ends) - {0, len(data)})
    llm = None if ratio is None else share(ratio)
    level = dataclasses.replace(get_level(number), text_frame=frame, shared_frame=frame, alone_frame=frame)
    (frames,) = Planner(level, [llm] if llm else []).encode([group(data, category, *boundaries)])
    assert decode(frames, llm, boundaries) == data
    assert coded(frames) + FRAME_COST * (len(frames) - bool(data)) <= len(ZstdCodec(level.zstd_level).encode(data))
    assert sum(len(frame.payload) for frame in frames) <= len(data)


@pytest.mark.parametrize("category", [Category.TEXT, Category.BINARY])
def test_what_comes_again_beyond_all_frames_is_left_to_zstd(category):
    """The predictor makes of each 256 KiB less than zstd -9 with its own window would, which is 4 MiB here."""
    level = dataclasses.replace(get_level(5), shared_frame=1 << 18, alone_frame=1 << 18)
    words = prose(1 << 18) if category is Category.TEXT else bytes(RNG.choices(range(0, 60, 3), k=1 << 18))
    data = words + bytes(5 << 20) + RNG.randbytes(1 << 16) + words
    (frames,) = Planner(level).encode([group(data, category)])
    assert coded(frames) <= len(ZstdCodec(19).encode(data))


def test_incompressible_data_costs_one_zstd_run_and_no_model():
    llm = share(0.1)
    (frames,) = Planner(get_level(9), [llm]).encode([group(os.urandom(1 << 20), Category.COMPRESSED)])
    assert llm.batches == []
    assert [frame.codec_id for frame in frames] == [0]
