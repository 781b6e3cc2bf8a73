import argparse
import dataclasses
import inspect
import random
import tarfile
import typing

import pytest
from planner.fake_llm import FakeLlm
from planner.test_planner import coded, decode, group, prose

from zllm.codecs.base import Run
from zllm.codecs.cm import CmCodec
from zllm.codecs.zstd import ZstdCodec
from zllm.planner import text
from zllm.planner.estimate import estimates, model_is_ahead
from zllm.planner.levels import get_level
from zllm.planner.planner import Planner
from zllm.planner.reasons import Why
from zllm.planner.tuning import TUNING
from zllm.planner.units import Piece
from zllm.stats import Stats

# Real text: of words in random order, or repeated ones, estimates are further off.
LARGE = "".join(inspect.getsource(module) for module in (argparse, tarfile, typing)).encode()[:200_000]
ALONE = len(CmCodec().encode(LARGE))


class CountingCm(CmCodec):
    """Notes how many bytes it was asked to code."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def encode_batch(self, items, run):
        self.sizes += [len(data) for data, _ in items]
        return super().encode_batch(items, run)


def piece(data: bytes) -> Piece:
    return Piece(memoryview(data))


def code(monkeypatch, data: bytes, with_model: float, level: int = 6):
    """The frames of one text, of which a model makes ``with_model`` bytes, and what the predictor was asked for."""
    cm, llm = CountingCm(), FakeLlm(lambda part: with_model * len(part) / len(data))
    monkeypatch.setattr("zllm.planner.planner.CmCodec", lambda: cm)
    frames = Planner(get_level(level), [llm]).encode([group(data)])[0]
    assert decode(frames, llm) == data
    return frames, cm.sizes


def test_an_estimate_is_near_the_truth_and_takes_a_fifth_of_the_work():
    cm = CountingCm()
    [estimate] = estimates([piece(LARGE)], cm, Run())
    assert estimate is not None and 0.9 < estimate / ALONE < 1.1
    assert sum(cm.sizes) < len(LARGE) / 5


def test_estimates_are_the_same_with_any_number_of_threads():
    pieces = [piece(prose(TUNING.estimated + 1000 * seed, seed)) for seed in range(3)]
    assert estimates(pieces, CmCodec(), Run(3)) == estimates(pieces, CmCodec(), Run(1))


@pytest.mark.parametrize("data", [b"", b"x", prose(TUNING.estimated - 1)])
def test_small_texts_are_not_estimated(data):
    cm = CountingCm()
    assert estimates([piece(data)], cm, Run()) == [None] and cm.sizes == []


def test_what_repeats_itself_is_not_estimated():
    line = b"Nov 22 10:00:%02d host sshd[%d]: Accepted publickey for root\n"
    rng = random.Random(1)
    log = b"".join(line % (i % 60, rng.randrange(100)) for i in range(5000))
    assert estimates([piece(log), piece(LARGE)], CmCodec(), Run())[0] is None


def test_a_model_far_ahead_saves_the_predictor_its_work(monkeypatch):
    frames, sizes = code(monkeypatch, LARGE, 0.8 * ALONE)
    assert [(frame.codec_id, frame.choice.why) for frame in frames] == [(3, Why.NEED_NOT_COMPARE)]
    assert sum(sizes) < len(LARGE) / 4
    assert 0.9 < frames[0].rival / 8000 * len(LARGE) / ALONE < 1.1


@pytest.mark.parametrize(
    ("share", "codec", "other"), [(0.97, 3, CmCodec.id), (0.99, CmCodec.id, 3), (1.5, CmCodec.id, 3)]
)
def test_what_is_near_is_compared(monkeypatch, share, codec, other):
    monkeypatch.setattr(text, "estimates", lambda pieces, cm, run: [round(ALONE * 1.01)] * len(pieces))
    frames, sizes = code(monkeypatch, LARGE, share * ALONE)
    assert [(frame.codec_id, frame.choice.why, frame.choice.other) for frame in frames] == [
        (codec, Why.SMALLEST, other)
    ]
    assert sizes.count(len(LARGE)) == 1
    assert coded(frames) <= ALONE


def test_a_model_that_is_ahead_is_named_in_every_choice(monkeypatch):
    monkeypatch.setattr(text, "MODEL_COST", 10**9)
    frames, _ = code(monkeypatch, LARGE, 0.8 * ALONE)
    assert [frame.model for frame in frames] == [1]


def test_frames_of_one_unit_are_judged_one_by_one(monkeypatch):
    llm = FakeLlm(lambda part: 0.1 * len(part) if part == first else len(part))
    first, second = LARGE[:150_000], prose(150_000, 2)
    level = dataclasses.replace(get_level(9), text_frame=150_000)
    frames = Planner(level, [llm]).encode([group(first + second)])[0]
    assert [frame.choice.why for frame in frames] == [Why.NEED_NOT_COMPARE, Why.SMALLEST]
    assert [frame.codec_id for frame in frames] == [llm.id, CmCodec.id]
    assert decode(frames, llm) == first + second


def test_zstd_still_has_to_be_beaten(monkeypatch):
    monkeypatch.setattr(text, "model_is_ahead", lambda size, estimate: True)
    frames, _ = code(monkeypatch, LARGE, 2 * ALONE)
    assert [frame.codec_id for frame in frames] == [ZstdCodec.id]


def test_model_is_ahead():
    assert model_is_ahead(949, 1000) and not model_is_ahead(950, 1000)
    assert not model_is_ahead(0, None)


def test_estimating_is_a_part_of_the_probe_stage():
    stats = Stats()
    estimates([piece(LARGE)], CmCodec(), Run(stats=stats))
    assert set(stats.stages) == {"probe"}
