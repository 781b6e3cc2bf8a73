"""A folder that ``zllm model export`` wrote, as the model it was: its weights, divided by the same scales."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zllm.errors import ModelError
from zllm.models import zlm
from zllm.models.config import ModelConfig
from zllm.models.importing.llama import PREFIXES
from zllm.models.importing.source import Source
from zllm.models.importing.weights import Weights
from zllm.models.quantise import LOG2E, file_tensor, token_tensors
from zllm.models.tokenizer import BytesTokenizer

_CLOSE = 1e-3  # of a whole number: float32 is within 1e-5 of it
_MISFIT = (
    "has zllm's integers in its config.json, but its weights are others ({}): remove 'zllm' from config.json to have "
    "them quantised, or go on training with zllm model train --from"
)


def is_exported(source: Source) -> bool:
    """Whether it says that it is one."""
    return isinstance(source.raw.get("zllm"), dict)


def rebuild(source: Source) -> tuple[dict[str, Any], dict[str, zlm.Tensor], str]:
    """(description, tensors, the hash that they had) of the file.

    Raises:
        ModelError: the folder's weights are not the ones that were exported.
    """
    facts = source.raw["zllm"]
    try:
        description, sha256 = facts["description"], str(facts["sha256"])
        tensors: dict[str, zlm.Tensor] = {
            str(name): (str(dtype), tuple(shape), memoryview(base64.b64decode(data, validate=True)))
            for name, (dtype, shape, data) in facts["tensors"].items()
        }
        config = ModelConfig.from_dict(description["config"])
        exponents = {str(name): int(value) for name, value in description["exponents"].items()}
        tokenizer = BytesTokenizer((source.folder / "tokenizer.json").read_text(encoding="utf-8"))
        tensors |= token_tensors(tokenizer)
        _matrices(source, config, exponents, tensors, tokenizer)
    except (KeyError, TypeError, ValueError, binascii.Error, OSError) as exc:
        raise ModelError(f"{source.folder}: 'zllm' in config.json is damaged: {exc!r}") from exc
    return description, tensors, sha256


def _matrices(
    source: Source, c: ModelConfig, exponents: dict[str, int], tensors: dict[str, zlm.Tensor], tokenizer: BytesTokenizer
) -> None:
    weights = Weights(source.folder, PREFIXES)

    def put(name: str, weight: Tensor, gain: float = 1.0) -> None:
        scale = torch.from_numpy(np.frombuffer(tensors[name + ".scale"][2], "<i2").astype(np.float64))
        q = weight.double() * gain / (scale * 2.0 ** -exponents[name])[:, None]
        whole = q.round()
        if float((q - whole).abs().max()) > _CLOSE or float(whole.abs().max()) > 127:
            raise ModelError(f"{source.folder} " + _MISFIT.format(name))
        tensors[name + ".q"] = file_tensor("I8", whole.numpy())

    order = torch.argsort(torch.tensor(tokenizer.ranks))
    put("head", weights("lm_head.weight", c.vocab, c.dim)[order], LOG2E)
    heads, keys = c.heads * c.head_dim, c.kv_heads * c.head_dim
    for i in range(c.layers):
        at = f"layers.{i}."
        parts = [
            weights(f"{at}self_attn.{part}_proj.weight", rows, c.dim)
            for part, rows in (("q", heads), ("k", keys), ("v", keys))
        ]
        put(at + "qkv", torch.cat(parts))
        put(at + "o", weights(at + "self_attn.o_proj.weight", c.dim, heads))
        put(
            at + "gate_up", torch.cat([weights(f"{at}mlp.{part}_proj.weight", c.ffn, c.dim) for part in ("gate", "up")])
        )
        put(at + "down", weights(at + "mlp.down_proj.weight", c.dim, c.ffn))
