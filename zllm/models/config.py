"""The numbers that fix a model's shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from zllm._native import VARIANT_FIELDS
from zllm._native.modelfile import FAMILY, schema
from zllm.errors import ModelError


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a model. Lengths are in elements, ``window`` in tokens. From ``qk`` on, variants that networks of other
    origin need (docs/model-format.md), 0 where a file does not say."""

    vocab: int = 4096
    dim: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 1
    head_dim: int = 64
    ffn: int = 768
    window: int = 256
    rope_theta: float = 10000.0
    qk: int = 0
    mlp: int = 0
    parallel: int = 0
    positions: int = 0
    embed_rows: int = 0
    wide_head: int = 0
    classes: int = 0
    pair_bits: int = 0
    nibbles: int = 0

    @property
    def inputs(self) -> int:
        """Tokens that may be fed: the vocabulary, and the start token if it has a row of the embedding for itself."""
        return self.embed_rows or self.vocab

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """From JSON.

        Raises:
            ModelError: a field is missing or is not a number, or the network is not a transformer.
        """
        if values.get("family", FAMILY) != FAMILY:
            raise ModelError(f"the network is a {values['family']!s:.40}, and not a {FAMILY}")
        try:
            numbers: dict[str, Any] = {f.name: values[f.name] for f in fields(cls) if f.name not in VARIANT_FIELDS}
            numbers |= {name: values.get(name, 0) for name in VARIANT_FIELDS}
        except KeyError as exc:
            raise ModelError(f"bad model config: {exc.args[0]} is missing") from exc
        for name, value in numbers.items():
            kinds = (int, float) if name == "rope_theta" else (int,)
            if not isinstance(value, kinds) or isinstance(value, bool) or not 0 <= value < 2**32:
                raise ModelError(f"bad model config: {name} is {value!r:.40}, not a number that it can be")
        return cls(**{**numbers, "rope_theta": float(numbers["rope_theta"])})


def plain(description: Mapping[str, Any], tensors: Iterable[str]) -> bool:
    """Whether a transformer has no variant at all: the shape that ``zllm model train`` makes.

    Args:
        description: a model file's.
        tensors: names of its tensors.
    """
    said = [("config", description["config"]), *(("layers", layer) for layer in description["layers"])]
    fields_of = {part: [row for row in schema() if row.part == part and row.fallback is not None] for part, _ in said}
    if any(values.get(row.name, row.fallback) != row.fallback for part, values in said for row in fields_of[part]):
        return False
    return not any(name.endswith((".bias", "_gain", ".values.q")) or name == "positions" for name in tensors)
