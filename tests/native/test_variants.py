"""Networks of other origin (docs/arithmetic.md, section 4): the C core against the reference, with ==."""

from __future__ import annotations

import itertools
import math
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
from zllm._native import VARIANT_FIELDS as VARIANTS
from zllm.errors import ModelError, UsageError
from zllm.models import zlm
from zllm.models.config import ModelConfig
from zllm.models.store import Model, load

KERNELS = native.usable_kernels()
Make = Callable[..., Model]
Tensors = dict[str, zlm.Tensor]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A model of the arguments of :func:`variants.tensors_of`, changed by ``change(description, tensors)``."""
    number = itertools.count()

    def made(change: Callable[[dict[str, Any], Tensors], None] | None = None, **kind: Any) -> Model:
        description, tensors = variants.tensors_of(**kind)
        if change:
            change(description, tensors)
        path = tmp_path / f"{next(number)}.zlm"
        zlm.write(path, description, tensors)
        return load(path)

    return made


def packed(model: Model, kernel: str) -> native.Model:
    return native.Model(model.description, model._file.tensors, kernel)


def ids_of(model: Model, count: int, seed: int = 5) -> list[int]:
    """The start token, then any; the row of token 0 is zeros in an embedding of its own."""
    rng = random.Random(seed)
    return [model.start, 0, *(rng.randrange(model.config.vocab) for _ in range(count - 2))]


def assert_equal(model: Model, ids: list[int]) -> list[list[int]]:
    """Every kernel's logits and prefix sums are the reference's, which are returned."""
    oracle = reference.Reference(model._file)
    rows = [oracle.feed(token) for token in ids]
    sums: list[int] = []
    for row in rows:
        sums += itertools.accumulate(oracle.weights(row).all, initial=0)
    for kernel in KERNELS:
        logits, found = packed(model, kernel).evaluate(ids)
        assert list(logits) == [v for row in rows for v in row], kernel
        assert list(found) == sums, kernel
    return rows


@pytest.mark.parametrize("family", variants.FAMILIES)
def test_families_equal_reference(make: Make, family: str) -> None:
    model = make(seed=3, **variants.FAMILIES[family])
    rows = assert_equal(model, ids_of(model, 75))  # more than a window, and than there are positions
    assert len(set(rows[-1])) > 200


@pytest.mark.parametrize("family", variants.FAMILIES)
def test_families_of_the_largest_numbers_equal_reference(make: Make, family: str) -> None:
    assert_equal(model := make(seed=4, extreme=True, **variants.FAMILIES[family]), ids_of(model, 36))


@pytest.mark.parametrize("seed", range(40))
def test_any_combination_equals_reference(make: Make, seed: int) -> None:
    assert_equal(model := make(**variants.anything(seed)), ids_of(model, 36))


@pytest.mark.parametrize("wide_head", [0, 1])
def test_wide_inputs_equal_reference(make: Make, wide_head: int) -> None:
    """Each of them changes something."""
    seen = set()
    for wide in range(16):
        model = make(layers=1, layer={"wide": wide}, wide_head=wide_head)
        seen.add(tuple(map(tuple, assert_equal(model, ids_of(model, 8)))))
    assert len(seen) == 16


def test_wide_inputs_of_many_columns_equal_reference(make: Make) -> None:
    """The largest sums that there are: 16384 products of the largest numbers, of one sign."""

    def same_signs(_: dict[str, Any], tensors: Tensors) -> None:
        for name in ("layers.0.down", "layers.0.gate_up"):
            dtype, shape, data = tensors[f"{name}.q"]
            tensors[f"{name}.q"] = dtype, shape, memoryview(b"\x7f" * len(data))
        dtype, shape, data = tensors["layers.0.gate_up.bias"]
        tensors["layers.0.gate_up.bias"] = dtype, shape, memoryview(struct.pack("<i", 2**29) * (len(data) // 4))

    kind = {"dim": 32, "layers": 1, "mlp": 1, "ffn": 16384, "biases": ("gate_up",), "layer": {"wide": 15}}
    assert_equal(model := make(same_signs, **kind), ids_of(model, 2))


def _set_exponents(value: int) -> Callable[[dict[str, Any], Tensors], None]:
    def change(description: dict[str, Any], _: Tensors) -> None:
        exponents = description["exponents"]
        for name in exponents:
            exponents[name] = max(0, min(15, value)) if name.endswith("gain") else value
        exponents["embed"] = max(13, min(40, value))

    return change


@pytest.mark.parametrize("value", [-64, 64])
@pytest.mark.parametrize("qk", [0, 1, 2])
def test_extreme_exponents_equal_reference(make: Make, qk: int, value: int) -> None:
    """All is saturated, or all is zero but for biases and positions."""
    for wide, temperature, k_frac, v_shift in ((0, -32, 30, 0), (15, 64, 0, 40)):
        layer = {"wide": wide, "temperature_exponent": temperature, "k_frac": k_frac, "v_shift": v_shift}
        kind = {"qk": qk, "mlp": qk % 2, "wide_head": wide % 2, "layer": layer, "layers": 1, "positions": 32 * (qk % 2)}
        biases = ("qkv", "down", "head") if wide else ()
        model = make(_set_exponents(value), extreme=True, biases=biases, **kind)
        assert_equal(model, ids_of(model, 35))


@pytest.mark.parametrize("qk", [0, 1, 2])
def test_zeros_equal_reference(make: Make, qk: int) -> None:
    """Rows, heads, gates and products of nothing but zeros."""

    def zeros(_: dict[str, Any], tensors: Tensors) -> None:
        for name in ("embed.q", "layers.0.qkv.q", "layers.1.gate_up.q", "layers.1.q_gain"):
            if name in tensors:
                dtype, shape, data = tensors[name]
                tensors[name] = dtype, shape, memoryview(bytes(len(data)))

    for wide in (0, 15):
        kind = {"qk": qk, "mlp": wide % 2, "embed_rows": 301, "layer": {"wide": wide}, "wide_head": wide % 2}
        assert_equal(model := make(zeros, **kind), ids_of(model, 5))
        assert_equal(model := make(zeros, biases=("o",), **kind), ids_of(model, 5))


def test_every_variant_changes_the_logits(make: Make) -> None:
    kinds: list[dict[str, Any]] = [
        {}, {"qk": 1}, {"qk": 2}, {"mlp": 1}, {"parallel": 1}, {"positions": 32}, {"embed_rows": 300}, {"wide_head": 1},
        {"rotary": 3}, {"embed_exponent": 13}, {"layer": {"k_frac": 12}}, {"qk": 1, "layer": {"k_frac": 23}},
        *({"biases": (name,)} for name in variants.BIAS_SIZES),
    ]  # fmt: skip
    rows = [assert_equal(make(layers=1, **kind), [5, 1, 2, 3, 4])[-1] for kind in kinds]
    assert len(set(map(tuple, rows))) == len(kinds)


def test_what_is_missing_is_the_network_as_before(make: Make) -> None:
    def all_said(description: dict[str, Any], _: Tensors) -> None:
        description["config"] |= dict.fromkeys(VARIANTS, 0)
        description["exponents"]["embed"] = 16
        for layer in description["layers"]:
            layer |= {"wide": 0, "k_frac": 18}

    plain, said = make(), make(all_said)
    assert plain.sha256 != said.sha256
    assert plain.config == said.config
    assert plain.native.evaluate(ids_of(plain, 40)) == said.native.evaluate(ids_of(plain, 40))


# Positions that start again


def text_of(model: Model, ids: list[int]) -> bytes:
    return b"".join(model.tokens[i] for i in ids)


Encoded = list[tuple[list[int], int]]
Decoded = list[tuple[int, list[int]]]


def streams_of(model: Model, lengths: list[int]) -> tuple[Encoded, Decoded, bytes]:
    """Streams to encode and to decode, every other one of two documents, and their text."""
    encoded, decoded, text = [], [], b""
    for seed, length in enumerate(lengths):
        rng = random.Random(seed)
        ids = [rng.randrange(model.config.vocab) for _ in range(length)]
        cut = length // 3 if seed % 2 else 0
        part, first = text_of(model, ids), len(text_of(model, ids[:cut]))
        encoded.append((ids[:cut] + [model.start | native.GIVEN] * (cut > 0) + ids[cut:], len(part)))
        decoded.append((len(part), [first] if cut else []))
        text += part
    return encoded, decoded, text


@pytest.mark.parametrize("kind", [
    {"positions": 32, "mlp": 1, "qk": 1, "rotary": 0}, {"positions": 96, "window": 64, "parallel": 1},
    {"positions": 64, "qk": 2, "embed_rows": 301, "layer": {"wide": 15}, "wide_head": 1},
    {"positions": 64, "classes": 20, "pair_bits": 4, "values": (0,), "layer": {"embed_scale": 300, "pair_scale": 999}},
], ids=str)  # fmt: skip
def test_restarts_do_not_depend_on_the_shape_of_steps(make: Make, kind: dict[str, Any]) -> None:
    """Runs that cross the last position once, twice, and right at their start or end."""
    model = make(layers=1, **kind)
    encoded, decoded, text = streams_of(model, [1, 31, 33, 64, 130])
    expected = reference.encode(
        model._file, model.tokens, [ids for ids, _ in encoded], model.start, reference_predictor.with_model
    )
    for kernel in KERNELS:
        core = packed(model, kernel)
        for threads, lanes in ((1, 1), (1, 31), (1, 256), (3, 7), (4, 64)):
            assert together(core.encoder(encoded, model.start, threads), lanes) == expected
            assert together(core.decoder(expected, decoded, model.start, threads), lanes) == text
        for threads, lanes in ((2, 1), (3, 256)):
            assert in_team([core.decoder(expected, decoded, model.start, 1)], threads, lanes) == [text]


@pytest.mark.parametrize("family", variants.FAMILIES)
def test_frames_of_families_equal_reference(make: Make, family: str) -> None:
    model = make(seed=6, **variants.FAMILIES[family])
    encoded, decoded, text = streams_of(model, [70, 5, 40])
    expected = reference.encode(
        model._file, model.tokens, [ids for ids, _ in encoded], model.start, reference_predictor.with_model
    )
    for kernel in KERNELS:
        core = packed(model, kernel)
        for threads, lanes in ((1, 1), (1, 48), (2, 5)):
            assert together(core.encoder(encoded, model.start, threads), lanes) == expected
            assert together(core.decoder(expected, decoded, model.start, threads), lanes) == text
        for threads, lanes in ((2, 48), (5, 2)):
            assert in_team([core.decoder(expected, decoded, model.start, 1)], threads, lanes) == [text]


# The start token


def test_a_start_token_of_its_own(make: Make) -> None:
    model, shared, plain = make(embed_rows=301), make(embed_rows=300), make()
    assert model.start == model.config.vocab == model.config.inputs - 1
    assert shared.start == plain.start == model.token_id(b"\0") and shared.config.inputs == 300
    assert len(model.known_answer) == 32
    core, start = model.native, model.start
    assert len(core.evaluate([start, 1, start])[0]) == 3 * model.config.vocab
    assert core.encode([[5, 6]], start) != core.encode([[5, 6]], model.token_id(b"\0"))
    for job in (lambda: core.encoder([([start], 1)], start), lambda: core.evaluate([start + 1])):
        with pytest.raises(UsageError):
            job()
    for number in (start + 1, 2**31, 2**32 - 1):
        with pytest.raises(UsageError):
            core.encode([[5]], number)
        with pytest.raises(UsageError):
            core.decode([(b"", 5, [])], number)
    for ids in ([5, start + 1 | native.GIVEN, 6], [5, model.token_id(b"\0") | native.GIVEN, 6], [5, start, 6]):
        with pytest.raises(UsageError):
            core.encode([ids], start)
    for other in (shared, plain):
        with pytest.raises(UsageError):
            other.native.evaluate([300])
        with pytest.raises(UsageError):
            other.native.encode([[5]], 300)


# What is refused


def _change(tensor: str, code: str, place: int, value: int) -> Callable[[dict[str, Any], Tensors], None]:
    def change(_: dict[str, Any], tensors: Tensors) -> None:
        dtype, shape, data = tensors[tensor]
        changed = bytearray(data)
        struct.pack_into(f"<{code}", changed, place * struct.calcsize(code), value)
        tensors[tensor] = dtype, shape, memoryview(bytes(changed))

    return change


def _with(tensor: str, dtype: str, *shape: int) -> Callable[[dict[str, Any], Tensors], None]:
    size = {"I8": 1, "I16": 2, "I32": 4, "U32": 4}[dtype] * math.prod(shape)
    return lambda _, tensors: tensors.update({tensor: (dtype, shape, memoryview(b"\1" * size))})


def _without(tensor: str) -> Callable[[dict[str, Any], Tensors], None]:
    return lambda _, tensors: tensors.pop(tensor)


def _say(part: str, name: str, value: Any) -> Callable[[dict[str, Any], Tensors], None]:
    def change(description: dict[str, Any], _: Tensors) -> None:
        (description[part][0] if part == "layers" else description[part])[name] = value

    return change


FULL: dict[str, Any] = {
    "qk": 2, "mlp": 1, "positions": 64, "embed_rows": 301, "biases": (*variants.BIASES, "head"), "wide_head": 1,
    "layer": {"wide": 15, "k_frac": 20},
}  # fmt: skip
REFUSED = {
    "qk": _say("config", "qk", 3),
    "qk as text": _say("config", "qk", "1"),
    "qk below zero": _say("config", "qk", -1),
    "mlp": _say("config", "mlp", 2),
    "parallel": _say("config", "parallel", 2),
    "wide_head": _say("config", "wide_head", 2),
    "positions not by 32": _say("config", "positions", 65),
    "positions below window": _say("config", "positions", 0),
    "too many positions": _say("config", "positions", 2**16 + 32),
    "other embed_rows": _say("config", "embed_rows", 302),
    "fewer embed_rows": _say("config", "embed_rows", 299),
    "wide": _say("layers", "wide", 16),
    "k_frac": _say("layers", "k_frac", 31),
    "negative k_frac": _say("layers", "k_frac", -1),
    "embed exponent": _say("exponents", "embed", 12),
    "large embed exponent": _say("exponents", "embed", 41),
    "gain exponent": _say("exponents", "layers.1.k_gain", 16),
    "negative gain exponent": _say("exponents", "layers.0.q_gain", -1),
    "no gain exponent": lambda description, _: description["exponents"].pop("layers.0.q_gain"),
    "gain": _change("layers.0.q_gain", "h", 31, -32768),
    "bias": _change("layers.1.down.bias", "i", 3, 2**30),
    "negative bias": _change("head.bias", "i", 299, -(2**30)),
    "least bias": _change("layers.0.qkv.bias", "i", 0, -(2**31)),
    "position": _change("positions", "i", 64 * 32 - 1, 2**28 + 1),
    "negative position": _change("positions", "i", 0, -(2**28) - 1),
    "embedding -128": _change("embed.q", "b", 301 * 32 - 1, -128),
    "embedding scale": _change("embed.scale", "h", 300, 0),
    "no gain": _without("layers.1.q_gain"),
    "no positions": _without("positions"),
    "no embedding": _without("embed.q"),
    "short bias": _with("head.bias", "I32", 299),
    "bias of 16 bits": _with("head.bias", "I16", 300),
    "shape of positions": _with("positions", "I32", 32, 64),
    "shape of embedding": _with("embed.q", "I8", 32, 301),
    "short embedding scales": _with("embed.scale", "I16", 300),
    "short gain": _with("layers.0.q_gain", "I16", 16),
    "gates and ups": _with("layers.0.gate_up.q", "I8", 128, 32),
}


@pytest.mark.parametrize("change", REFUSED)
def test_numbers_out_of_range_are_refused(make: Make, change: str) -> None:
    with pytest.raises(ModelError, match="bad model"):
        _ = make(REFUSED[change], **FULL).native


@pytest.mark.parametrize(
    ("tensor", "dtype", "shape"),
    [("embed.q", "I8", (300, 32)), ("positions", "I32", (64, 32)), ("layers.0.q_gain", "I16", (32,)),
     ("layers.1.k_gain", "I16", (32,))],
)  # fmt: skip
def test_tensors_of_variants_not_asked_for_are_refused(
    make: Make, tensor: str, dtype: str, shape: tuple[int, ...]
) -> None:
    def change(description: dict[str, Any], tensors: Tensors) -> None:
        _with(tensor, dtype, *shape)(description, tensors)
        description["exponents"][tensor] = 10

    with pytest.raises(ModelError, match="bad model"):
        _ = make(change, qk=1).native


def test_the_largest_numbers_are_not_refused(make: Make) -> None:
    def change(description: dict[str, Any], tensors: Tensors) -> None:
        for one in (
            _say("exponents", "embed", 40), _say("exponents", "layers.0.q_gain", 15), _say("layers", "k_frac", 30),
            _change("layers.0.q_gain", "h", 0, -32767), _change("head.bias", "i", 0, 2**30 - 1),
            _change("head.bias", "i", 1, 1 - 2**30), _change("positions", "i", 0, -(2**28)),
            _change("positions", "i", 1, 2**28),
        ):  # fmt: skip
            one(description, tensors)

    assert_equal(model := make(change, **FULL), ids_of(model, 3))


# Parts


def test_gelu_equals_reference() -> None:
    for x in range(-32768, 32769):
        assert native.gelu(x) == reference.gelu(reference.clamp(x, 32767))


def test_gelu_is_gelu() -> None:
    """Within what the sigmoid is good for."""
    for x in range(-8191, 8192):
        real = x / 1024
        exact = real / (1 + math.exp(-2 * math.sqrt(2 / math.pi) * (real + 0.044715 * real**3)))
        assert abs(native.gelu(x) * 2**-25 - exact) < 0.004


def test_wide_rows_have_two_parts_of_eight_bits() -> None:
    rng = random.Random(1)
    for size in (1, 2, 100, 2**14, 2**29, 2**30):
        q, _ = reference.quantise([size, -size, *(rng.randint(-size, size) for _ in range(500))], None, wide=1)
        assert (max(q), min(q)) == (16256, -16256)
        for v in q:
            high = (v + 64) >> 7
            assert -127 <= high <= 127 and -64 <= v - 128 * high <= 63


def test_config() -> None:
    assert set(native.CONFIG_FIELDS) | set(VARIANTS) | {"rope_theta"} == set(ModelConfig().as_dict())
    assert native.VARIANT_FIELDS == VARIANTS
    plain = {"vocab": 300, **{k: v for k, v in tiny.SHAPE.items() if k != "vocab"}}
    assert ModelConfig.from_dict(plain) == ModelConfig.from_dict({**plain, **dict.fromkeys(VARIANTS, 0)})
    assert ModelConfig.from_dict({**plain, "qk": 2}).as_dict()["qk"] == 2
    assert ModelConfig.from_dict({**plain, "something": 1}) == ModelConfig.from_dict(plain)
    with pytest.raises(ModelError):
        ModelConfig.from_dict({**plain, "embed_rows": "all"})
