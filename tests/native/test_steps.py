"""Coding with a model that is computed elsewhere: the same bytes, given what the C core's model says."""

from __future__ import annotations

import itertools
import random
from array import array
from typing import Any

import pytest
from models import tiny

from zllm import _native as native
from zllm._native import steps
from zllm.errors import DamagedError, UsageError
from zllm.models.store import Model, load

STREAMS = [5, 1, 9, 3]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(tiny.write(tmp_path_factory.mktemp("m") / "m.zlm", seed=3, layers=1, dim=32, heads=2, kv_heads=1))


@pytest.fixture(scope="module")
def frame(model: Model) -> list[tuple[list[int], int, list[int]]]:
    """Streams: ids, size, boundaries. The third has a cut after its fourth token."""
    rng = random.Random(4)
    out = []
    for k, count in enumerate(STREAMS):
        ids = [rng.randrange(model.config.vocab) for _ in range(count)]
        boundaries = []
        if k == 2:
            boundaries = [size_of(model, ids[:4])]
            ids.insert(4, model.start | native.GIVEN)
        out.append((ids, size_of(model, ids), boundaries))
    return out


def size_of(model: Model, ids: list[int]) -> int:
    return sum(len(model.tokens[i]) for i in ids if i < native.GIVEN)


def memory(code: str, numbers: list[int]) -> steps.Memory:
    held = array(code, numbers or [0])
    return steps.Memory(held.buffer_info()[0], len(numbers), held)


def said(model: Model, fed: list[int]) -> list[int]:
    """Prefix sums after the last token."""
    _, sums = model.native.evaluate(fed)
    return list(sums[-(model.config.vocab + 1) :])


def probabilities(model: Model, paths: steps.Paths, sums: list[int], token: int) -> list[int]:
    out = []
    for d in range(paths.first[token], paths.first[token + 1]):
        low, split, high = (sums[part[d]] for part in (paths.low, paths.split, paths.high))
        k = max(0, (high - low).bit_length() - 40)
        out.append(max(1, min(2**24 - 1, ((high - split >> k) << 24) // (high - low >> k))))
    return out


def turns(model: Model, frame: Any) -> list[list[int]]:
    """Of each token in the frame's order, the probabilities of its decisions; none of tokens that are given."""
    paths, out = steps.trie_paths(model.native), []
    for step in range(max(len(ids) for ids, _, _ in frame)):
        for ids, _, _ in frame:
            if step < len(ids) and ids[step] < native.GIVEN:
                fed = [model.start, *(i & ~native.GIVEN for i in ids[:step])]
                out.append(probabilities(model, paths, said(model, fed), ids[step]))
    return out


def wanted(model: Model, frame: Any) -> bytes:
    job = model.native.encoder([(ids, size) for ids, size, _ in frame], model.start)
    native.work([job], 0)
    return job.result()


def encoder(model: Model, frame: Any, room: int | None = None) -> native.Job:
    return model.native.encoder([(ids, size) for ids, size, _ in frame], model.start, 0, room)


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_encoding(model: Model, frame: Any, at_once: int) -> None:
    job, counter = encoder(model, frame), native.Counter()
    said_ = turns(model, frame)
    for at in range(0, len(said_), at_once):
        steps.encode_turns(job, memory("I", list(itertools.chain(*said_[at : at + at_once]))), counter=counter)
    assert counter.value == sum(size for _, size, _ in frame)
    with pytest.raises(UsageError):  # it is whole
        steps.encode_turns(job, memory("I", []))
    assert job.result() == wanted(model, frame)


@pytest.mark.parametrize("change", [-1, 1])
def test_probabilities_that_do_not_fit_the_tokens(model: Model, frame: Any, change: int) -> None:
    numbers = list(itertools.chain(*turns(model, frame)))
    numbers = numbers[:change] if change < 0 else [*numbers, 5]
    with pytest.raises(UsageError):
        steps.encode_turns(encoder(model, frame), memory("I", numbers))


def test_too_little_room(model: Model, frame: Any) -> None:
    with pytest.raises(native.RoomError):
        steps.encode_turns(encoder(model, frame, 1), memory("I", list(itertools.chain(*turns(model, frame)))))


def decode(model: Model, coded: list[bytes], frames: list[Any], lanes: list[int]) -> list[bytes]:
    jobs = [
        model.native.decoder(code, [(size, boundaries) for _, size, boundaries in frame], model.start, 0)
        for code, frame in zip(coded, frames, strict=True)
    ]
    lane, tokens = array("I", lanes), array("I", bytes(4 * (max(lanes) + 1)))
    fed: list[list[int]] = [[] for _ in tokens]
    distributions = None
    while True:
        steps.decode_turns(model.native, jobs, lane, tokens, distributions)
        if all(one == steps.ENDED for one in lane):
            return [job.result() for job in jobs]
        weights: list[int] = []
        base: list[int] = []
        for own, token in zip(fed, tokens, strict=True):
            own.append(token)
            sums = said(model, own)
            weights += [b - a for a, b in itertools.pairwise(sums)]
            base += sums[::64]
        distributions = steps.Distributions(memory("I", weights), memory("Q", base))


def test_decoding(model: Model, frame: Any) -> None:
    """Two frames, on lanes in any order."""
    other = frame[1:3]
    frames = [frame, other]
    texts = [b"".join(model.tokens[i] for ids, _, _ in one for i in ids if i < native.GIVEN) for one in frames]
    assert decode(model, [wanted(model, one) for one in frames], frames, [3, 0, 5, 1, 4, 2]) == texts


def test_decoding_what_no_encoder_makes(model: Model) -> None:
    """A stream of a byte less than its one token has."""
    long = next(i for i, token in enumerate(model.tokens) if len(token) > 2)
    coded = wanted(model, [([long], len(model.tokens[long]), [])])
    with pytest.raises(DamagedError):
        decode(model, [coded], [[([], len(model.tokens[long]) - 1, [])]], [0])


def test_arguments_that_do_not_fit(model: Model, frame: Any) -> None:
    job = model.native.decoder(b"", [(3, [])], model.start, 0)
    tokens = array("I", [0])
    with pytest.raises(UsageError, match="needs a lane"):
        steps.decode_turns(model.native, [job], array("I", []), tokens)
    with pytest.raises(UsageError, match="needs a distribution"):
        steps.decode_turns(
            model.native, [job], array("I", [0]), tokens, steps.Distributions(memory("I", [1]), memory("Q", [0]))
        )
    with pytest.raises(UsageError):  # beyond the lanes
        steps.decode_turns(model.native, [job], array("I", [1]), tokens)
    for wrong in (encoder(model, frame), model.native.decoder(b"", [(3, [])], model.start, 1)):
        with pytest.raises(UsageError):
            steps.decode_turns(model.native, [wrong], array("I", range(wrong.streams)), array("I", bytes(16)))
    for other in (job, model.native.encoder([([3], size_of(model, [3]))], model.start, 1)):
        with pytest.raises(UsageError):
            steps.encode_turns(other, memory("I", [1]))


def test_cancelling(model: Model, frame: Any) -> None:
    cancel = native.Cancel()
    cancel.set()
    with pytest.raises(KeyboardInterrupt):
        steps.encode_turns(encoder(model, frame), memory("I", [1]), cancel)
    job = model.native.decoder(b"", [(3, [])], model.start, 0)
    with pytest.raises(KeyboardInterrupt):
        steps.decode_turns(model.native, [job], array("I", [0]), array("I", [0]), cancel=cancel)
