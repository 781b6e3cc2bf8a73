"""Heads of two levels, tables of values and of pairs, windows and scales of a layer (docs/arithmetic.md, section 4): C
against the reference, and what is refused."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reference
import reference_predictor
from models import tiny, variants
from native.jobs import in_team, together

from zllm import _native as native
from zllm._native.steps import trie_paths
from zllm.errors import ModelError
from zllm.models import zlm
from zllm.models.store import Model, load
from zllm.models.training.classes import Range, split

KERNELS = native.usable_kernels()
Tensors = dict[str, zlm.Tensor]
Change = Callable[[dict[str, Any], Tensors], None]
ALL: dict[str, Any] = {
    "classes": 24, "pair_bits": 6, "nibbles": 3, "values": (0, 1), "windows": (32, 64), "window": 64,
    "biases": ("head",),
    "layer": {"residual_scale": 9000, "embed_scale": -700, "pair_scale": 5000},
}  # fmt: skip


def made(folder: Path, change: Change | None = None, **kind: Any) -> Model:
    description, tensors = variants.tensors_of(**kind)
    if change:
        change(description, tensors)
    zlm.write(folder / "m.zlm", description, tensors)
    return load(folder / "m.zlm")


def assert_equal(model: Model, ids: list[int]) -> list[list[int]]:
    """Every kernel's logits and prefix sums are the reference's, which are returned."""
    oracle = reference.Reference(model._file)
    rows = [oracle.feed(token) for token in ids]
    for kernel in KERNELS:
        logits, sums = native.Model(model.description, model.tensors, kernel).evaluate(ids)
        width = len(rows[0])
        for i, row in enumerate(rows):
            assert list(logits[i * width : (i + 1) * width]) == row, kernel
            own = sums[i * (width + 1) : (i + 1) * (width + 1)]
            assert [b - a for a, b in itertools.pairwise(own)] == oracle.weights(row).all, kernel
    return rows


def any_ids(model: Model, count: int) -> list[int]:
    rng = random.Random(7)
    return [model.start, *(rng.randrange(model.config.vocab) for _ in range(count - 1))]


@pytest.mark.parametrize("kind", [
    {"classes": 2}, {"classes": 300}, {"classes": 3, "vocab": 900}, {"classes": 7, "extreme": True},
    {"classes": 40, "wide_head": 1, "biases": ("head",)}, {"classes": 11, "embed_rows": 301},
], ids=str)  # fmt: skip
def test_classes_of_any_size(tmp_path: Path, kind: dict[str, Any]) -> None:
    """All tokens in two classes, each token in its own, more than 400 in one."""
    model = made(tmp_path, layers=1, **kind)
    rows = assert_equal(model, any_ids(model, 5))
    assert len(rows[0]) == model.native.outputs == model.config.classes + model.config.vocab
    first = [*struct.unpack(f"<{model.config.classes}I", model.tensors["classes"][2]), model.config.vocab]
    sizes = [b - a for a, b in itertools.pairwise(first)]
    assert min(sizes) == 1 or kind["classes"] < 300
    assert max(sizes) > 400 or "vocab" not in kind
    ids = any_ids(model, 40)[1:]
    expected = reference.encode(model._file, model.tokens, [ids], model.start, reference_predictor.with_model)
    text = b"".join(model.tokens[i] for i in ids)
    for kernel in KERNELS:
        core = native.Model(model.description, model.tensors, kernel)
        assert core.encode([ids], model.start) == [expected]
        assert core.decode([(expected, len(text), ())], model.start) == [text]


def test_everything_at_once_does_not_depend_on_the_shape_of_steps(tmp_path: Path) -> None:
    """Streams of several documents that end at different steps; more lanes than rows of a step."""
    model = made(tmp_path, **ALL)
    rng = random.Random(3)
    streams, sizes, text = [], [], b""
    for length in (70, 3, 130, 33, 1):
        ids = [rng.randrange(model.config.vocab) for _ in range(length)]
        part = [b"".join(model.tokens[i] for i in piece) for piece in (ids[: length // 2], ids)]
        cuts = [len(part[0])] if length > 2 else []
        given = [model.start | native.GIVEN] * len(cuts)
        streams.append((ids[: length // 2] + given + ids[length // 2 :], len(part[1])))
        sizes.append((len(part[1]), cuts))
        text += part[1]
    tokens = [ids for ids, _ in streams]
    expected = reference.encode(model._file, model.tokens, tokens, model.start, reference_predictor.with_model)
    assert reference.decode(
        model._file, model.tokens, expected, sizes, model.start, reference_predictor.with_model
    ) == [text[a:b] for a, b in _places(sizes)]
    for kernel in KERNELS:
        core = native.Model(model.description, model.tensors, kernel)
        for threads, lanes in ((1, 1), (1, 2), (1, 64), (3, 7), (2, 64)):
            assert together(core.encoder(streams, model.start, threads), lanes) == expected
            assert together(core.decoder(expected, sizes, model.start, threads), lanes) == text
        for threads, lanes in ((2, 1), (3, 64)):
            assert in_team([core.decoder(expected, sizes, model.start, 1)], threads, lanes) == [text]


def _places(sizes: list[tuple[int, list[int]]]) -> list[tuple[int, int]]:
    ends = [sum(size for size, _ in sizes[: i + 1]) for i in range(len(sizes))]
    return [(end - size, end) for end, (size, _) in zip(ends, sizes, strict=True)]


def test_every_feature_changes_the_logits(tmp_path: Path) -> None:
    """Each window at the token that it leaves out; each pair by the token before the last."""
    kinds: list[dict[str, Any]] = [
        {}, {"windows": (32,)}, {"values": (0,)}, {"values": (0,), "nibbles": 1}, {"pair_bits": 5},
        {"pair_bits": 5, "nibbles": 2}, {"pair_bits": 4}, {"layer": {"residual_scale": 5000}},
        {"layer": {"embed_scale": 500}}, {"layer": {"embed_scale": -500}},
    ]  # fmt: skip
    seen = set()
    for kind in kinds:
        said = {"pair_scale": 3000} if kind.get("pair_bits") else {}
        model = made(tmp_path, layers=1, window=64, **{**kind, "layer": {**kind.get("layer", {}), **said}})
        ids = any_ids(model, 34)
        seen.add(tuple(assert_equal(model, ids)[-1]))
    assert len(seen) == len(kinds)


def test_paths_are_those_of_classes_and_then_of_tokens(tmp_path: Path) -> None:
    model = made(tmp_path, layers=1, classes=24)
    classes, vocab = model.config.classes, model.config.vocab
    first = [*struct.unpack(f"<{classes}I", model.tensors["classes"][2]), vocab]
    found = trie_paths(model.native)
    for token in range(vocab):
        own = next(k for k in range(classes) if token < first[k + 1])
        low, high, inside = 0, classes, False
        for d in range(found.first[token], found.first[token + 1]):
            if not inside and high - low == 1:
                low, high, inside = classes + first[own], classes + first[own + 1], True
            assert (found.low[d], found.high[d]) == (low, high)
            above = classes + token >= found.split[d] if inside else own >= found.split[d]
            low, high = (found.split[d], high) if above else (low, found.split[d])
        assert high - low == 1


# What is refused


def say(part: str, name: str, value: Any) -> Change:
    def change(description: dict[str, Any], _: Tensors) -> None:
        (description[part][1] if part == "layers" else description[part])[name] = value

    return change


def put(tensor: str, code: str, place: int, value: int) -> Change:
    def change(_: dict[str, Any], tensors: Tensors) -> None:
        dtype, shape, data = tensors[tensor]
        changed = bytearray(data)
        struct.pack_into(f"<{code}", changed, place * struct.calcsize(code), value)
        tensors[tensor] = dtype, shape, memoryview(bytes(changed))

    return change


def without(tensor: str) -> Change:
    return lambda _, tensors: tensors.pop(tensor)


def shaped(tensor: str, *shape: int) -> Change:
    """Of ones; a vector or a matrix of bytes."""

    def change(_: dict[str, Any], tensors: Tensors) -> None:
        dtype = tensors[tensor][0]
        size = {"I8": 1, "I16": 2, "I32": 4, "U32": 4}[dtype]
        for n in shape:
            size *= n
        tensors[tensor] = dtype, shape, memoryview(b"\1" * size)

    return change


def no_pairs(description: dict[str, Any], tensors: Tensors) -> None:
    """Scales of what is not there."""
    description["config"]["pair_bits"] = 0
    del description["exponents"]["pairs"], tensors["pairs.q"], tensors["pairs.scale"]


REFUSED: dict[str, tuple[Change, str]] = {
    "one class": (say("config", "classes", 1), "classes must be 0, or 2"),
    "more classes than tokens": (say("config", "classes", 301), "no more than vocab"),
    "endless classes": (say("config", "classes", 2**32 - 1), "no more than vocab"),
    "classes as a list": (say("config", "classes", [0, 5]), "not a number that it can be"),
    "fewer classes than rows": (say("config", "classes", 23), "the type and shape"),
    "no table of classes": (without("classes"), "classes is missing"),
    "no class rows": (without("class.q"), "class.q is missing"),
    "class row -128": (put("class.q", "b", 5, -128), "class.q has a number"),
    "class scale 0": (put("class.scale", "h", 2, 0), "class.scale has a number"),
    "class bias": (put("class.bias", "i", 2, 2**30), "class.bias has a number"),
    "first class from 1": (put("classes", "I", 0, 1), "ascend from 0"),
    "classes that stand": (put("classes", "I", 2, 0), "ascend from 0"),
    "a class behind all tokens": (put("classes", "I", 23, 300), "below vocab"),
    "a class far away": (put("classes", "I", 23, 2**32 - 1), "below vocab"),
    "pairs without end": (say("config", "pair_bits", 21), "pair_bits must be up to 20"),
    "pairs by 2^32": (say("config", "pair_bits", 2**32 - 1), "pair_bits must be up to 20"),
    "more pairs than rows": (say("config", "pair_bits", 7), "the type and shape"),
    "scales of no pairs": (no_pairs, "adds pairs, of which there are none"),
    "no scales of pairs": (without("pairs.scale"), "pairs.scale is missing"),
    "pair -8, low": (put("pairs.q", "B", 9, 0x18), "from -7 to 7"),
    "pair -8, high": (put("pairs.q", "B", 9, 0x81), "from -7 to 7"),
    "pair scale": (put("pairs.scale", "h", 9, -1), "pairs.scale has a number"),
    "pair exponent": (say("exponents", "pairs", 12), "the exponent of pairs"),
    "large pair exponent": (say("exponents", "pairs", 41), "the exponent of pairs"),
    "nibbles": (say("config", "nibbles", 4), "nibbles must be 0 to 3"),
    "other nibbles": (say("config", "nibbles", 1), "the type and shape"),
    "value -8": (put("layers.1.values.q", "B", 0, 0x80), "from -7 to 7"),
    "values without scales": (without("layers.0.values.scale"), "layer 0 has rows or scales of values"),
    "scales without values": (
        lambda d, t: (t.pop("layers.1.values.q"), d["exponents"].pop("layers.1.values")), "layer 1 has rows or scales"
    ),
    "values of too few tokens": (shaped("layers.0.values.q", 299, 16), "the type and shape"),
    "value exponent": (say("exponents", "layers.0.values", 50), "the exponent of layers.0.values"),
    "window not by 32": (say("layers", "window", 33), "window must be 0, or 32"),
    "small window": (say("layers", "window", 16), "window must be 0, or 32"),
    "window over the config's": (say("layers", "window", 96), "window must be 0, or 32"),
    "absurd window": (say("layers", "window", 2**31), "window is missing or out of range"),
    "residual scale": (say("layers", "residual_scale", 32768), "residual_scale is missing or out of range"),
    "embed scale": (say("layers", "embed_scale", -32768), "embed_scale is missing or out of range"),
    "pair scale of a layer": (say("layers", "pair_scale", 0.5), "pair_scale is missing or out of range"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(tmp_path: Path, what: str) -> None:
    change, words = REFUSED[what]
    with pytest.raises(ModelError, match=words) as caught:
        _ = made(tmp_path, change, **ALL).native
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["classes", "class.q", "pairs.q", "pairs.scale"])
def test_tensors_that_are_not_asked_for_are_refused(tmp_path: Path, name: str) -> None:
    _, tensors = variants.tensors_of(**ALL)
    with pytest.raises(ModelError, match="bad model"):
        _ = made(tmp_path, lambda _, own: own.update({name: tensors[name]})).native


def test_classes_that_no_question_splits_off_are_refused(tmp_path: Path) -> None:
    """Of every place where all tokens might be cut in two, one is a question's."""
    _, tokens = tiny.tokenizer_json(300)
    sides = split(tokens, Range(0, 300))
    assert sides is not None
    good = sides[1].low
    for place in (1, 3, good - 1, good + 1, 299):
        with pytest.raises(ModelError, match="a class is not all tokens that begin with the same bits"):
            _ = made(tmp_path, put("classes", "I", 1, place), layers=1, classes=2).native
    assert made(tmp_path, put("classes", "I", 1, good), layers=1, classes=2).native.outputs == 302
