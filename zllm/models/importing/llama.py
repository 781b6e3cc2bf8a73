"""Llama (SmolLM2, TinyLlama, Llama 2 and 3, Mistral-shaped checkpoints saved as Llama): Touvron et al. 2023."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from zllm.errors import ModelError
from zllm.models.importing import canonical, rope
from zllm.models.importing.canonical import Layer, Linear, Shape
from zllm.models.importing.weights import Weights

PREFIXES = ("model.", "")


def only(config: Any, name: str, *allowed: Any) -> None:
    """Refuse a config whose field ``name`` is none of ``allowed``; a missing field is as the first of them.

    Raises:
        ModelError: it is not.
    """
    value = getattr(config, name, allowed[0])
    if value not in allowed:
        raise ModelError(
            f"{config.model_type} models with {name}={value!r} are not supported, only {name}={allowed[0]!r}"
        )


def reach(config: Any) -> int:
    """Tokens that all layers can look at.

    Raises:
        ModelError: some layers look further than others.
    """
    longest = int(config.max_position_embeddings)
    kinds = set(getattr(config, "layer_types", None) or ())
    if not kinds and getattr(config, "use_sliding_window", False):  # transformers 4 counts the layers that do not slide
        kinds = {"sliding_attention", *["full_attention"] * min(1, config.max_window_layers)}
    if not kinds <= {"full_attention", "sliding_attention"}:
        raise ModelError(f"layers of the kinds {', '.join(sorted(kinds))} are not supported, only full attention")
    window = getattr(config, "sliding_window", None)
    if "sliding_attention" not in kinds or window is None:
        return longest
    if len(kinds) > 1 and window < min(longest, 512):
        raise ModelError(f"a mixture of full attention and sliding windows of {window} tokens is not supported")
    return min(longest, int(window))


class Llama:
    """A Llama checkpoint as the canonical network."""

    qk = canonical.PLAIN

    def __init__(self, config: Any, weights: Weights) -> None:
        self.config, self.weights = config, weights
        only(config, "hidden_act", "silu")
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        found = rope.parameters(config)
        if found["partial_rotary_factor"] != 1.0:
            raise ModelError(f"{config.model_type} models that rotate only a part of a head are not supported")
        self.shape = Shape(
            dim=config.hidden_size, layers=config.num_hidden_layers, heads=config.num_attention_heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads, head_dim=head_dim,
            ffn=config.intermediate_size, rope=tuple(rope.speeds(found, head_dim)),
            rope_theta=float(found["rope_theta"]), eps=float(config.rms_norm_eps), longest=reach(config), qk=self.qk,
        )  # fmt: skip

    def embedding(self) -> Tensor:
        """[rows, dim]."""
        return self.weights("embed_tokens.weight", None, self.shape.dim)

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
        tied = self.config.tie_word_embeddings or "lm_head.weight" not in self.weights
        name = "embed_tokens.weight" if tied else "lm_head.weight"
        return self._after("norm", Linear(self.weights(name, None, self.shape.dim)))
