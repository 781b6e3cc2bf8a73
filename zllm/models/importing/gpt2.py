"""GPT-2: learned positions, LayerNorm, GELU (Radford et al. 2019)."""

from __future__ import annotations

import math

from torch import Tensor

from zllm.errors import ModelError
from zllm.models import portable
from zllm.models.importing import canonical
from zllm.models.importing.canonical import Layer, Linear, Shape
from zllm.models.importing.config import Config
from zllm.models.importing.llama import MAX_VOCAB, per_head
from zllm.models.importing.weights import Tensors

PREFIXES = ("transformer.", "")
TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")  # three names of one function
_MOST_POSITIONS = 1 << 16


class Gpt2:
    """A GPT-2 checkpoint as the canonical network."""

    def __init__(self, config: Config, weights: Tensors) -> None:
        self.weights = weights
        activation = config.word("activation_function", allowed=(*TANH, "gelu"), default="gelu_new")
        if config.flag("add_cross_attention", default=False):
            raise ModelError(f"{config.path}: add_cross_attention is not supported")
        self.tied = config.flag("tie_word_embeddings", default=True)
        self.scaled = config.flag("scale_attn_weights", default=True)
        self.by_layer = config.flag("scale_attn_by_inverse_layer_idx", default=False)
        self.vocab = config.whole("vocab_size", low=1, high=MAX_VOCAB)
        dim = config.whole("n_embd", "hidden_size", low=32, high=16384)
        heads = config.whole("n_head", "num_attention_heads", low=1, high=256)
        self.rows = config.whole("n_positions", "n_ctx", "max_position_embeddings", low=1, high=1 << 24)
        positions = min(_MOST_POSITIONS, self.rows) // 32 * 32
        head_dim = per_head(config, dim, heads)
        self.shape = Shape(
            dim=dim, layers=config.whole("n_layer", "num_hidden_layers", low=1, high=256), heads=heads, kv_heads=heads,
            head_dim=head_dim, ffn=config.whole("n_inner", low=32, high=16384, default=4 * dim),
            rope=(0,) * (head_dim // 2), rope_theta=10000.0,
            eps=config.number("layer_norm_epsilon", low=0, high=1, default=1e-5), longest=positions,
            positions=positions, gelu="tanh" if activation in TANH else "none",
        )  # fmt: skip

    def embedding(self) -> Tensor:
        """[rows, dim], centred."""
        return portable.less_mean(self.weights("wte.weight", self.vocab, self.shape.dim), 1)

    def positions(self) -> Tensor | None:
        """[positions, dim], centred."""
        rows = self.weights("wpe.weight", self.rows, self.shape.dim)[: self.shape.positions]
        return portable.less_mean(rows, 1)

    def _linear(self, name: str, rows: int, cols: int) -> Linear:
        # Stored as [cols, rows].
        return Linear(self.weights(name + ".weight", cols, rows).T.contiguous(), self.weights(name + ".bias", rows))

    def _after(self, norm: str, linear: Linear) -> Linear:
        gain, shift = (self.weights(f"{norm}.{part}", self.shape.dim) for part in ("weight", "bias"))
        return canonical.fold(linear.weight, linear.bias, gain, shift)

    def layer(self, index: int) -> Layer:
        """That layer's weights."""
        s, at = self.shape, f"h.{index}."
        temperature = 1 / math.sqrt(s.head_dim) if self.scaled else 1.0
        if self.by_layer:
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
        tied = self.tied or "lm_head.weight" not in self.weights
        return self._after(
            "ln_f", Linear(self.weights("wte.weight" if tied else "lm_head.weight", self.vocab, self.shape.dim))
        )
