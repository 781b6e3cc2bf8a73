"""GPT-2: learned positions, LayerNorm, GELU (Radford et al. 2019)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from zllm.models.importing import canonical
from zllm.models.importing.canonical import Layer, Linear, Shape
from zllm.models.importing.llama import only
from zllm.models.importing.weights import Weights

PREFIXES = ("transformer.", "")
TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")  # three names of one function
_MOST_POSITIONS = 1 << 16


class Gpt2:
    """A GPT-2 checkpoint as the canonical network."""

    def __init__(self, config: Any, weights: Weights) -> None:
        self.config, self.weights = config, weights
        only(config, "activation_function", *TANH, "gelu")
        only(config, "add_cross_attention", False)
        positions = min(_MOST_POSITIONS, config.n_positions) // 32 * 32
        self.shape = Shape(
            dim=config.n_embd, layers=config.n_layer, heads=config.n_head, kv_heads=config.n_head,
            head_dim=config.n_embd // config.n_head, ffn=config.n_inner or 4 * config.n_embd,
            rope=(0.0,) * (config.n_embd // config.n_head // 2), rope_theta=10000.0,
            eps=float(config.layer_norm_epsilon), longest=positions, positions=positions,
            gelu="tanh" if config.activation_function in TANH else "none",
        )  # fmt: skip

    def embedding(self) -> Tensor:
        """[rows, dim], centred."""
        rows = self.weights("wte.weight", None, self.shape.dim)
        return rows - rows.mean(1, keepdim=True)

    def positions(self) -> Tensor | None:
        """[positions, dim], centred."""
        rows = self.weights("wpe.weight", self.config.n_positions, self.shape.dim)[: self.shape.positions]
        return rows - rows.mean(1, keepdim=True)

    def _linear(self, name: str, rows: int, cols: int) -> Linear:
        # Stored as [cols, rows].
        return Linear(self.weights(name + ".weight", cols, rows).T.contiguous(), self.weights(name + ".bias", rows))

    def _after(self, norm: str, linear: Linear) -> Linear:
        gain, shift = (self.weights(f"{norm}.{part}", self.shape.dim) for part in ("weight", "bias"))
        return canonical.fold(linear.weight, linear.bias, gain, shift)

    def layer(self, index: int) -> Layer:
        """That layer's weights."""
        s, at = self.shape, f"h.{index}."
        temperature = 1 / math.sqrt(s.head_dim) if self.config.scale_attn_weights else 1.0
        if self.config.scale_attn_by_inverse_layer_idx:
            temperature /= index + 1
        return Layer(
            self._after(at + "ln_1", self._linear(at + "attn.c_attn", 3 * s.dim, s.dim)),
            canonical.centre(self._linear(at + "attn.c_proj", s.dim, s.dim)),
            self._after(at + "ln_2", self._linear(at + "mlp.c_fc", s.ffn, s.dim)),
            canonical.centre(self._linear(at + "mlp.c_proj", s.dim, s.ffn)),
            temperature,
        )

    def head(self) -> Linear:
        """[rows, dim]."""
        tied = self.config.tie_word_embeddings or "lm_head.weight" not in self.weights
        return self._after(
            "ln_f", Linear(self.weights("wte.weight" if tied else "lm_head.weight", None, self.shape.dim))
        )
