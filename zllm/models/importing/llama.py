"""Llama (SmolLM2, TinyLlama, Llama 2 and 3, Mistral-shaped checkpoints saved as Llama): Touvron et al. 2023."""

from __future__ import annotations

import math

from torch import Tensor

from zllm.errors import ModelError
from zllm.models.importing import canonical, rope
from zllm.models.importing.canonical import Layer, Linear, Shape
from zllm.models.importing.config import Config
from zllm.models.importing.weights import Tensors

PREFIXES = ("model.", "")


MAX_VOCAB = 1 << 22  # rows of an embedding
MAX_CONTEXT = 1 << 40


def reach(config: Config, layers: int) -> int:
    """Tokens that all layers can look at.

    Raises:
        ModelError: some layers look further than others.
    """
    longest = config.whole("max_position_embeddings", low=1, high=MAX_CONTEXT, default=2048)
    kinds = config.words("layer_types")
    if kinds and len(kinds) != layers:
        raise ModelError(f"{config.path}: layer_types has {len(kinds)} entries for {layers} layers")
    # transformers 4 counts the layers before those that slide.
    if not kinds and config.flag("use_sliding_window", default=False):
        whole = min(layers, config.whole("max_window_layers", low=0, high=1 << 20, default=28))
        kinds = ["full_attention"] * whole + ["sliding_attention"] * (layers - whole)
    other = sorted({*kinds} - {"full_attention", "sliding_attention"})
    if other:
        raise ModelError(f"{config.path}: layers of the kind {other[0]} are not supported, only full attention")
    window = config.whole("sliding_window", low=1, high=MAX_CONTEXT, default=None)
    if "sliding_attention" not in kinds or window is None:
        return longest
    if "full_attention" in kinds and window < min(longest, 512):
        raise ModelError(
            f"{config.path}: a mixture of full attention and sliding windows of {window} tokens is not supported"
        )
    return min(longest, window)


def per_head(config: Config, width: int, heads: int) -> int:
    """Elements of a head where the config does not say.

    Raises:
        ModelError: they do not divide the width.
    """
    if width % heads:
        raise ModelError(f"{config.path}: a width of {width} is not a multiple of {heads} heads")
    return width // heads


class Llama:
    """A Llama checkpoint as the canonical network."""

    qk = canonical.PLAIN
    head_dim: int | None = None  # where the config does not say; None: the width of a head is the model's by heads

    def __init__(self, config: Config, weights: Tensors) -> None:
        self.weights = weights
        config.word("hidden_act", allowed=("silu",), default="silu")
        self.tied = config.flag("tie_word_embeddings", default=False)
        self.vocab = config.whole("vocab_size", low=1, high=MAX_VOCAB)
        dim = config.whole("hidden_size", low=32, high=16384)
        layers = config.whole("num_hidden_layers", low=1, high=256)
        heads = config.whole("num_attention_heads", low=1, high=256)
        head_dim = config.whole("head_dim", low=1, high=16384, default=self.head_dim) or per_head(config, dim, heads)
        found = rope.read(config)
        if found.partial != 1.0:
            raise ModelError(f"{config.path}: models that rotate only a part of a head are not supported")
        self.shape = Shape(
            dim=dim, layers=layers, heads=heads,
            kv_heads=config.whole("num_key_value_heads", low=1, high=256, default=heads), head_dim=head_dim,
            ffn=config.whole("intermediate_size", low=32, high=16384), rope=tuple(rope.steps(found, head_dim)),
            rope_theta=found.theta, eps=config.number("rms_norm_eps", low=0, high=1, default=1e-6),
            longest=reach(config, layers), qk=self.qk,
        )  # fmt: skip

    def embedding(self) -> Tensor:
        """[rows, dim]."""
        return self.weights("embed_tokens.weight", self.vocab, self.shape.dim)

    def positions(self) -> Tensor | None:
        """None: they are rotary."""
        return None

    def _linear(self, name: str, rows: int, cols: int) -> Linear:
        bias = self.weights(name + ".bias", rows) if name + ".bias" in self.weights else None
        return Linear(self.weights(name + ".weight", rows, cols), bias)

    def _after(self, norm: str, *parts: Linear) -> Linear:
        linear = canonical.stack(*parts)
        return canonical.fold(linear.weight, linear.bias, self.weights(norm + ".weight", self.shape.dim))

    def layer(self, index: int) -> Layer:
        """That layer's weights."""
        s, at = self.shape, f"layers.{index}."
        queries, keys = s.heads * s.head_dim, s.kv_heads * s.head_dim
        q, k, v = (
            self._linear(f"{at}self_attn.{name}_proj", rows, s.dim)
            for name, rows in (("q", queries), ("k", keys), ("v", keys))
        )
        gate, up = (self._linear(f"{at}mlp.{name}_proj", s.ffn, s.dim) for name in ("gate", "up"))
        q_gain, k_gain = self._gains(f"{at}self_attn.")
        return Layer(
            self._after(at + "input_layernorm", q, k, v),
            self._linear(at + "self_attn.o_proj", s.dim, queries),
            self._after(at + "post_attention_layernorm", gate, up),
            self._linear(at + "mlp.down_proj", s.dim, s.ffn),
            1 / math.sqrt(s.head_dim), q_gain, k_gain,
        )  # fmt: skip

    def _gains(self, at: str) -> tuple[Tensor | None, Tensor | None]:
        return None, None

    def head(self) -> Linear:
        """[rows, dim]."""
        tied = self.tied or "lm_head.weight" not in self.weights
        name = "embed_tokens.weight" if tied else "lm_head.weight"
        return self._after("norm", Linear(self.weights(name, self.vocab, self.shape.dim)))
