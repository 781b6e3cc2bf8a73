"""Puts a quantised network together as the description and tensors of a ``.zlm`` file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zllm._native import ARITHMETIC_VERSION
from zllm.errors import ModelError
from zllm.models.importing.calibrate import Integral
from zllm.models.importing.canonical import Linear, Shape
from zllm.models.importing.simulate import Matrix
from zllm.models.importing.spool import Spool
from zllm.models.importing.vocabulary import Vocabulary
from zllm.models.portable import power_below
from zllm.models.quantise import LOG2E, file_tensor, token_tensors
from zllm.models.texttokenizer import TextTokenizer
from zllm.models.zlm import FORMAT
from zllm.models.zlm import Tensor as FileTensor

MAX_WINDOW, USUAL_WINDOW = 4096, 2048
RESIDUAL_BITS = 27  # of the largest element that the sample shows, of 30
RESIDUAL_FRAC = 12
_LEAST_EMBED_EXPONENT, _MOST_EMBED_EXPONENT = 13, 40
_BIAS_FRAC = {"qkv": 12, "o": 12, "down": 12, "gate_up": 10, "head": 16}
_MOST_BIAS = 2**30 - 1
_MOST_POSITION = 2**28


class Builder:
    """Takes what is quantised, piece by piece. What the residual's size decides is filled in at the end."""

    def __init__(self, shape: Shape, vocabulary: Vocabulary, window: int, spool: Spool) -> None:
        self.shape, self.spool = shape, spool
        self.vocabulary = vocabulary
        self.exponents: dict[str, int] = {}
        self.layers: list[dict[str, int]] = []
        self._biases: dict[str, Tensor] = {}
        self._positions: Tensor | None = None
        vocab = len(vocabulary.tokens)
        self.config: dict[str, Any] = {
            "vocab": vocab, "dim": shape.dim, "layers": shape.layers, "heads": shape.heads, "kv_heads": shape.kv_heads,
            "head_dim": shape.head_dim, "ffn": shape.ffn, "window": window, "rope_theta": shape.rope_theta,
            "qk": shape.qk, "mlp": int(bool(shape.gelu)), "parallel": int(shape.parallel),
            "positions": shape.positions, "embed_rows": vocab + (vocabulary.start is not None), "wide_head": 0,
        }  # fmt: skip
        for name, tensor in token_tensors(TextTokenizer(vocabulary.json, vocabulary.kind)).items():
            spool.put(name, tensor)
        spool.put("rope.step", file_tensor("U32", np.array(shape.rope)))

    def _put(self, name: str, matrix: Matrix) -> None:
        self.spool.put(name + ".q", file_tensor("I8", matrix.q))
        self.spool.put(name + ".scale", file_tensor("I16", matrix.scale))
        self.exponents[name] = matrix.exponent
        if matrix.bias is not None:
            self._biases[name] = matrix.bias

    def embedding(self, rows: Tensor, positions: Tensor | None) -> None:
        """Rows in the order of the tokens, the start token's last."""
        self._put("embed", Matrix.of(Linear(rows)))
        self._positions = positions

    def layer(self, layer: Integral) -> None:
        """The next layer."""
        at = f"layers.{len(self.layers)}."
        for name, matrix in layer.matrices.items():
            self._put(at + name, matrix)
        for name, (values, exponent) in layer.gains.items():
            self.spool.put(at + name, file_tensor("I16", values))
            self.exponents[at + name] = exponent
        self.layers.append({**layer.numbers, "wide": 0})

    def head(self, head: Linear) -> None:
        """Rows in the order of the tokens."""
        self._put("head", Matrix.of(head, LOG2E))

    def finish(self, largest: float) -> dict[str, FileTensor]:
        """All tensors. ``largest``: of the residual's elements on the sample.

        Raises:
            ModelError: a number does not fit the arithmetic.
        """
        gain = RESIDUAL_BITS - RESIDUAL_FRAC - 1 - power_below(largest)
        gain = min(gain, self.exponents["embed"] - _LEAST_EMBED_EXPONENT)
        gain = max(gain, self.exponents["embed"] - _MOST_EMBED_EXPONENT)
        for name in self.exponents:
            if name == "embed" or name.endswith((".o", ".down")):
                self.exponents[name] -= gain
        for name, bias in self._biases.items():
            self.spool.put(name + ".bias", file_tensor("I32", self._bias(name, bias, gain)))
        if self._positions is not None:
            numbers = (self._positions.double() * 2.0 ** (RESIDUAL_FRAC + gain)).round()
            self.spool.put("positions", file_tensor("I32", numbers.clamp(-_MOST_POSITION, _MOST_POSITION).numpy()))
        wrong = [name for name, exponent in self.exponents.items() if abs(exponent) > 64]
        if wrong:
            raise ModelError(f"the numbers of {wrong[0]} are too large or too small for the arithmetic")
        return self.spool.tensors()

    def _bias(self, name: str, bias: Tensor, gain: int) -> np.ndarray:
        kind = name.rpartition(".")[2]
        frac = torch.full_like(bias, _BIAS_FRAC[kind])
        if kind in ("o", "down"):
            frac += gain
        elif kind == "gate_up":
            frac[self.shape.ffn :] = self.layers[int(name.split(".")[1])]["up_frac"]
        numbers = (bias * 2.0**frac).round()
        if float(numbers.abs().max()) > _MOST_BIAS:
            raise ModelError(f"a bias of {name} is too large for the arithmetic: {float(bias.abs().max()):.0f}")
        return numbers.numpy()

    def description(self, name: str, origin: str, source: Mapping[str, Any]) -> dict[str, Any]:
        """As it stands now: flags may still change."""
        return {
            "format": FORMAT, "name": name, "origin": origin, "arithmetic": ARITHMETIC_VERSION, "config": self.config,
            "exponents": self.exponents, "layers": self.layers, "tokenizer": {"kind": self.vocabulary.kind},
            "source": dict(source),
        }  # fmt: skip
