"""A model file's tensors on a device."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from zllm.executors.numerics import ONE, RESIDUAL_FRAC, Scale
from zllm.executors.products import Matrix

_DTYPES = {"I8": torch.int8, "U8": torch.uint8, "I16": torch.int16, "I32": torch.int32, "U32": torch.int32}
_CODES = {2: "H", 4: "I"}
_WIDE = {"qkv": 1, "o": 2, "gate_up": 4, "down": 8}


class ModelFile(Protocol):
    """What executors read of a model file (:class:`zllm.models.zlm.ModelFile`). The C core has checked all of it."""

    @property
    def description(self) -> dict[str, Any]:
        """Config, layers and exponents."""

    @property
    def tensors(self) -> dict[str, tuple[str, tuple[int, ...], memoryview]]:
        """By name: type, shape, little-endian data."""


@dataclass
class Map:
    """A linear map: rows of int8, or wide ones, to fixed point."""

    matrix: Matrix
    scale: Tensor  # int64 [rows]
    exponent: int
    bias: Tensor | None  # int32 [rows]
    wide: bool


@dataclass
class Table:
    """Rows that are looked up."""

    q: Tensor  # int8 [rows][cols]
    scale: Tensor  # int32 [rows]
    exponent: int

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows of that shape and [cols], int32, with 12 fractional bits: of 22 bits before they are shifted."""
        shift = self.exponent - RESIDUAL_FRAC
        return (self.q[rows].to(torch.int32) * self.scale[rows][..., None] + (1 << (shift - 1))) >> shift


@dataclass
class Layer:
    """What one layer has."""

    qkv: Map
    o: Map
    gate_up: Map
    down: Map
    temperature: Scale
    v_shift: int
    up_frac: int
    k_frac: int
    window: int
    by: tuple[int, int, int]  # scales of the residual, of the embedding and of the pair's row before it
    values: Table | None
    gain: tuple[Tensor, Tensor] | None  # of query heads, then key heads: [n][head_dim], exponents [n][1]; int32


class Weights:
    """All of a model."""

    def __init__(self, file: ModelFile, device: torch.device) -> None:
        self._file = file
        self._exponents: Mapping[str, int] = file.description["exponents"]
        self.device = device
        config: Mapping[str, int] = file.description["config"]
        self.vocab, self.dim, self.window = config["vocab"], config["dim"], config["window"]
        self.heads, self.kv_heads, self.head_dim = config["heads"], config["kv_heads"], config["head_dim"]
        self.ffn = config["ffn"]
        self.qk, self.mlp = config.get("qk", 0), config.get("mlp", 0)
        self.parallel = bool(config.get("parallel", 0))
        self.head = self._map("head", bool(config.get("wide_head", 0)))
        rows = self._tensor("embed.q" if config.get("embed_rows", 0) else "head.q")
        self.embedding = Table(rows, self._tensor("embed.scale", torch.int32), self._exponents.get("embed", 16))
        self._nibbles: int = config.get("nibbles", 0)
        self.pair_bits: int = config.get("pair_bits", 0)
        self.pairs = self._table("pairs", 2) if self.pair_bits else None
        self.classes: int = config.get("classes", 0)
        if self.classes:
            self.class_head = self._map("class", bool(config.get("wide_head", 0)))
            self.class_of = self._class_of()
        self.positions = self._tensor("positions") if config.get("positions", 0) else None
        self.rope_step = self._tensor("rope.step", torch.int64) & 0xFFFFFFFF
        self.layers = [self._layer(i, values) for i, values in enumerate(file.description["layers"])]

    @property
    def outputs(self) -> int:
        """Weights that say what follows: of classes, if there are any, and of tokens."""
        return self.classes + self.vocab

    def _class_of(self) -> Tensor:
        """Of each token, int64 [vocab]."""
        first = self._tensor("classes", torch.int64)
        starts = torch.zeros(self.vocab, dtype=torch.int64, device=self.device)
        starts[first] = 1
        return starts.cumsum(0) - 1

    def _table(self, name: str, bit: int) -> Table:
        q = self._tensor(name + ".q")
        if self._nibbles & bit:  # two a byte, the first one in the lower half
            q = torch.stack(((q << 4) >> 4, q >> 4), -1).flatten(-2)
        return Table(q, self._tensor(name + ".scale", torch.int32), self._exponents[name])

    @property
    def period(self) -> int:
        """Positions there are before a stream starts anew; 0: no end of them."""
        return 0 if self.positions is None else self.positions.shape[0]

    def _layer(self, i: int, values: Mapping[str, int]) -> Layer:
        wide = values.get("wide", 0)
        maps = {name: self._map(f"layers.{i}.{name}", bool(wide & bit)) for name, bit in _WIDE.items()}
        mantissa = torch.tensor(values["temperature"], dtype=torch.int64, device=self.device)
        exponent = torch.tensor(values["temperature_exponent"], dtype=torch.int64, device=self.device)
        return Layer(
            **maps,
            temperature=Scale(mantissa, exponent),
            v_shift=values["v_shift"],
            up_frac=values["up_frac"],
            k_frac=values.get("k_frac", 18),
            window=values.get("window", 0) or self.window,
            by=(values.get("residual_scale", ONE), values.get("embed_scale", 0), values.get("pair_scale", 0)),
            values=self._table(f"layers.{i}.values", 1) if f"layers.{i}.values.q" in self._file.tensors else None,
            gain=self._gains(f"layers.{i}") if self.qk == 2 else None,
        )

    def _gains(self, layer: str) -> tuple[Tensor, Tensor]:
        heads = {f"{layer}.q_gain": self.heads, f"{layer}.k_gain": self.kv_heads}
        gains = [self._tensor(name, torch.int32).expand(count, -1) for name, count in heads.items()]
        exponents = [[self._exponents[name]] for name, count in heads.items() for _ in range(count)]
        return torch.cat(gains), torch.tensor(exponents, dtype=torch.int32, device=self.device)

    def _map(self, name: str, wide: bool) -> Map:
        bias = self._tensor(name + ".bias") if name + ".bias" in self._file.tensors else None
        matrix = Matrix(self._tensor(name + ".q", host=True), self.device)
        return Map(matrix, self._tensor(name + ".scale", torch.int64), self._exponents[name], bias, wide)

    def _tensor(self, name: str, dtype: torch.dtype | None = None, *, host: bool = False) -> Tensor:
        kind, shape, data = self._file.tensors[name]
        raw = bytearray(data)
        size = len(raw) // max(1, torch.tensor(shape).prod().item())
        if sys.byteorder == "big" and size > 1:
            numbers = array(_CODES[int(size)], raw)
            numbers.byteswap()
            raw = bytearray(numbers.tobytes())
        tensor = torch.frombuffer(raw, dtype=_DTYPES[kind]).reshape(shape)
        return tensor if host else tensor.to(self.device, dtype or tensor.dtype)
