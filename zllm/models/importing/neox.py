"""GPT-NeoX (Pythia): partly rotated heads, both branches beside each other (Black et al. 2022)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zllm.errors import ModelError
from zllm.models import portable
from zllm.models.importing import canonical, rope
from zllm.models.importing.canonical import Layer, Linear, Shape
from zllm.models.importing.config import Config
from zllm.models.importing.gpt2 import TANH
from zllm.models.importing.llama import MAX_CONTEXT, MAX_VOCAB, per_head
from zllm.models.importing.weights import Tensors

PREFIXES = ("gpt_neox.", "")


class NeoX:
    """A GPT-NeoX checkpoint as the canonical network."""

    def __init__(self, config: Config, weights: Tensors) -> None:
        self.weights = weights
        activation = config.word("hidden_act", allowed=("gelu", *TANH), default="gelu")
        self.tied = config.flag("tie_word_embeddings", default=False)
        self.vocab = config.whole("vocab_size", low=1, high=MAX_VOCAB)
        dim = config.whole("hidden_size", low=32, high=16384)
        heads = config.whole("num_attention_heads", low=1, high=256)
        head_dim = per_head(config, dim, heads)
        found = rope.read(config, partial=0.25)
        self.rotated = int(head_dim * found.partial)
        if self.rotated % 2:
            raise ModelError(f"{config.path}: an odd number of rotated elements of a head is not supported")
        steps = rope.steps(found, self.rotated)
        self.shape = Shape(
            dim=dim, layers=config.whole("num_hidden_layers", low=1, high=256), heads=heads, kv_heads=heads,
            head_dim=head_dim, ffn=config.whole("intermediate_size", low=32, high=16384),
            rope=(*steps, *[0] * (head_dim // 2 - len(steps))), rope_theta=found.theta,
            eps=config.number("layer_norm_eps", low=0, high=1, default=1e-5),
            longest=config.whole("max_position_embeddings", low=1, high=MAX_CONTEXT, default=2048),
            gelu="tanh" if activation in TANH else "none",
            parallel=config.flag("use_parallel_residual", default=True),
        )  # fmt: skip

    def embedding(self) -> Tensor:
        """[rows, dim], centred."""
        return portable.less_mean(self.weights("embed_in.weight", self.vocab, self.shape.dim), 1)

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
        tied = self.tied or not stored
        name = "embed_in.weight" if tied else stored[0]
        return self._after("final_layer_norm", Linear(self.weights(name, self.vocab, self.shape.dim)))
