"""Writes a model of zllm's own shape as a folder in Hugging Face layout (Qwen3), which imports to the same file again.

Qwen3 (Yang et al. 2025) has what the network has: queries and keys that are normalised. Its gains hold the temperature.
Weights are float32, each an integer times a scale; what the integers need beside them is in ``config.json`` under
``zllm``, and import divides the weights by the scales and finds the integers again. Needs torch and safetensors.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from zllm.errors import UsageError
from zllm.models.config import plain
from zllm.models.quantise import LOG2E
from zllm.models.store import Model
from zllm.models.tokenizer import BytesTokenizer

EPS = 1e-9  # the integers have none
_DTYPES = {"I8": "<i1", "I16": "<i2", "U32": "<u4", "I32": "<i4"}


def export(model: Model, folder: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` and the tokenizer into ``folder``.

    Raises:
        UsageError: the model is not of the shape that ``zllm model train`` makes.
    """
    tokenizer = model.tokenizer
    if not isinstance(tokenizer, BytesTokenizer) or not plain(model.description, model.tensors):
        raise UsageError(f"{model.name} has a network that other programs do not know: export it to a .zlm file")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights(model, tokenizer), folder / "model.safetensors", metadata={"format": "pt"})
    text = model.tensors["tokenizer.json"][2].tobytes().decode()
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    _write_json(folder / "config.json", config(model, tokenizer))


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def array(model: Model, name: str) -> np.ndarray:
    """A tensor of the file."""
    dtype, shape, data = model.tensors[name]
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)


def _matrix(model: Model, name: str, gain: float = 1.0) -> Tensor:
    exponent = model.description["exponents"][name]
    scale = array(model, name + ".scale").astype(np.float64) * 2.0**-exponent * gain
    return torch.from_numpy((array(model, name + ".q") * scale[:, None]).astype(np.float32))


def weights(model: Model, tokenizer: BytesTokenizer) -> dict[str, Tensor]:
    """Qwen3's tensors. Rows of tokens are in the order of the tokenizer's own numbers."""
    c = model.config
    rows = torch.tensor(tokenizer.ranks)
    scale = array(model, "embed.scale").astype(np.float64) * 2.0 ** -model.description["exponents"].get("embed", 16)
    embedding = torch.from_numpy((array(model, "head.q") * scale[:, None]).astype(np.float32))
    out = {
        "model.embed_tokens.weight": embedding[rows],
        "lm_head.weight": _matrix(model, "head", 1 / LOG2E)[rows],
        "model.norm.weight": torch.ones(c.dim),
    }
    for i, numbers in enumerate(model.description["layers"]):
        at, to = f"layers.{i}.", f"model.layers.{i}."
        qkv = torch.split(_matrix(model, at + "qkv"), [c.heads * c.head_dim, *[c.kv_heads * c.head_dim] * 2])
        out |= {f"{to}self_attn.{part}_proj.weight": t.contiguous() for part, t in zip("qkv", qkv, strict=True)}
        out[to + "self_attn.o_proj.weight"] = _matrix(model, at + "o")
        gate, up = torch.split(_matrix(model, at + "gate_up"), c.ffn)
        out[to + "mlp.gate_proj.weight"], out[to + "mlp.up_proj.weight"] = gate.contiguous(), up.contiguous()
        out[to + "mlp.down_proj.weight"] = _matrix(model, at + "down")
        factor = numbers["temperature"] * 2.0 ** -numbers["temperature_exponent"]
        out[to + "self_attn.q_norm.weight"] = torch.full((c.head_dim,), factor * math.sqrt(c.head_dim) / LOG2E)
        out[to + "self_attn.k_norm.weight"] = torch.ones(c.head_dim)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            out[f"{to}{norm}.weight"] = torch.ones(c.dim)
    return out


def config(model: Model, tokenizer: BytesTokenizer) -> dict[str, Any]:
    """``config.json``: Qwen3's, and what the integers need."""
    c = model.config
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "torch_dtype": "float32",
        "vocab_size": len(tokenizer.ranks), "hidden_size": c.dim, "intermediate_size": c.ffn,
        "num_hidden_layers": c.layers, "num_attention_heads": c.heads, "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_dim, "hidden_act": "silu", "rms_norm_eps": EPS, "rope_theta": c.rope_theta,
        "max_position_embeddings": 32768, "use_sliding_window": True, "sliding_window": c.window,
        "max_window_layers": 0, "attention_bias": False, "tie_word_embeddings": False,
        "bos_token_id": tokenizer.ranks.index(model.start), "eos_token_id": None, "zllm": facts(model),
    }  # fmt: skip


def facts(model: Model) -> dict[str, Any]:
    """The description, the hash that the file has, and all tensors but weights and tokens."""
    kept = [n for n in model.tensors if not n.endswith(".q") and not n.startswith("token")]
    return {
        "sha256": model.sha256.hex(),
        "description": model.description,
        "tensors": {
            name: [dtype, list(shape), base64.b64encode(data).decode()]
            for name, (dtype, shape, data) in sorted((name, model.tensors[name]) for name in kept)
        },
    }
