"""GPT-NeoX (Pythia): partly rotated heads, both branches beside each other (Black et al. 2022)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from zllm.errors import ModelError
from zllm.models.importing import canonical, rope
from zllm.models.importing.canonical import Layer, Linear, Shape
from zllm.models.importing.gpt2 import TANH
from zllm.models.importing.llama import only
from zllm.models.importing.weights import Weights

PREFIXES = ("gpt_neox.", "")


class NeoX:
    """A GPT-NeoX checkpoint as the canonical network."""

    def __init__(self, config: Any, weights: Weights) -> None:
        self.config, self.weights = config, weights
        only(config, "hidden_act", "gelu", *TANH)
        head_dim = config.hidden_size // config.num_attention_heads
        found = rope.parameters(config)
        self.rotated = int(head_dim * float(found["partial_rotary_factor"]))
        if self.rotated % 2:
            raise ModelError(f"gpt_neox models that rotate {self.rotated} elements of a head are not supported")
        speeds = rope.speeds(found, self.rotated)
        self.shape = Shape(
            dim=config.hidden_size, layers=config.num_hidden_layers, heads=config.num_attention_heads,
            kv_heads=config.num_attention_heads, head_dim=head_dim, ffn=config.intermediate_size,
            rope=(*speeds, *[0.0] * (head_dim // 2 - len(speeds))), rope_theta=float(found["rope_theta"]),
            eps=float(config.layer_norm_eps), longest=int(config.max_position_embeddings),
            gelu="tanh" if config.hidden_act in TANH else "none", parallel=bool(config.use_parallel_residual),
        )  # fmt: skip

    def embedding(self) -> Tensor:
        """[rows, dim], centred."""
        rows = self.weights("embed_in.weight", None, self.shape.dim)
        return rows - rows.mean(1, keepdim=True)

    def positions(self) -> Tensor | None:
        """None: they are rotary."""
        return None

    def _linear(self, name: str, rows: int, cols: int) -> Linear:
        bias = self.weights(name + ".bias", rows) if name + ".bias" in self.weights else None
        return Linear(self.weights(name + ".weight", rows, cols), bias)

    def _after(self, norm: str, linear: Linear) -> Linear:
        gain, shift = (self.weights(f"{norm}.{part}", self.shape.dim) for part in ("weight", "bias"))
        return canonical.fold(linear.weight, linear.bias, gain, shift)

    def order(self) -> Tensor:
        """Which element of a head goes where, so that element i turns against head_dim / 2 + i, as everywhere else."""
        half, rest = self.rotated // 2, (self.shape.head_dim - self.rotated) // 2
        first = [*range(half), *range(self.rotated, self.rotated + rest)]
        return torch.tensor([*first, *range(half, self.rotated), *range(self.rotated + rest, self.shape.head_dim)])

    def _qkv(self, at: str) -> Linear:
        """Stored head by head, each with its queries, keys and values."""
        s = self.shape
        fused = self._linear(at + "attention.query_key_value", 3 * s.dim, s.dim)
        apart = torch.arange(3 * s.dim).reshape(s.heads, 3, s.head_dim)
        order = self.order()
        rows = torch.cat((apart[:, 0, order].flatten(), apart[:, 1, order].flatten(), apart[:, 2].flatten()))
        return Linear(fused.weight[rows], None if fused.bias is None else fused.bias[rows])

    def layer(self, index: int) -> Layer:
        """That layer's weights."""
        s, at = self.shape, f"layers.{index}."
        return Layer(
            self._after(at + "input_layernorm", self._qkv(at)),
            canonical.centre(self._linear(at + "attention.dense", s.dim, s.dim)),
            self._after(at + "post_attention_layernorm", self._linear(at + "mlp.dense_h_to_4h", s.ffn, s.dim)),
            canonical.centre(self._linear(at + "mlp.dense_4h_to_h", s.dim, s.ffn)),
            1 / math.sqrt(s.head_dim),
        )

    def head(self) -> Linear:
        """[rows, dim]."""
        own = ("embed_out.weight", "lm_head.weight")
        stored = [name for name in own if name in self.weights]
        tied = self.config.tie_word_embeddings or not stored
        name = "embed_in.weight" if tied else stored[0]
        return self._after("final_layer_norm", Linear(self.weights(name, None, self.shape.dim)))
