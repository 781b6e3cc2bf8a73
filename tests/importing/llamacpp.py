"""GGUF files of folders in Hugging Face layout, as llama.cpp's converter makes them, by the library's own writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

from zllm.models.importing import rope

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA, "llama3": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3, "gpt2": gguf.MODEL_ARCH.GPT2, "neox": gguf.MODEL_ARCH.GPTNEOX,
}  # fmt: skip


def neighbours(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys in llama.cpp's order: pairs that turn together are neighbours."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _changed(name: str, array: np.ndarray, family: str, config: dict[str, Any]) -> np.ndarray:
    heads = config.get("num_attention_heads") or config["n_head"]
    if family in ("llama", "llama3") and "q_proj" in name:
        return neighbours(array, heads)
    if family in ("llama", "llama3") and "k_proj" in name:
        return neighbours(array, config["num_key_value_heads"])
    if family == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return array.T
    if family == "neox" and "query_key_value" in name:
        return array.reshape(heads, 3, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)
    return array


def _tokenizer(writer: gguf.GGUFWriter, folder: Path, rows: int) -> None:
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = data["model"]["vocab"]
    special = {token["content"] for token in data["added_tokens"]}
    tokens = sorted(vocab, key=vocab.__getitem__)
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    kinds = [
        gguf.TokenType.BYTE if token.startswith("<0x") else kind for token, kind in zip(tokens, kinds, strict=True)
    ]
    unused = [f"[PAD{i}]" for i in range(len(tokens), rows)]
    if data["model"].get("byte_fallback"):
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([-float(i) for i in range(rows)])
        writer.add_unk_token_id(0)
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges(
            [merge if isinstance(merge, str) else " ".join(merge) for merge in data["model"]["merges"]]
        )
    writer.add_token_list(tokens + unused)
    writer.add_token_types([*kinds, *[gguf.TokenType.UNUSED] * len(unused)])


def _shape(writer: gguf.GGUFWriter, family: str, config: dict[str, Any]) -> None:
    heads = config.get("num_attention_heads") or config["n_head"]
    width = config.get("hidden_size") or config["n_embd"]
    writer.add_block_count(config.get("num_hidden_layers") or config["n_layer"])
    writer.add_context_length(config.get("max_position_embeddings") or config["n_positions"])
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(config.get("intermediate_size") or config.get("n_inner") or 4 * width)
    writer.add_head_count(heads)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    if family in ("gpt2", "neox"):
        writer.add_layer_norm_eps(config.get("layer_norm_epsilon") or config["layer_norm_eps"])
    else:
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_key_length(config["head_dim"] if config.get("head_dim") else width // heads)
    rotary = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if family != "gpt2":
        writer.add_rope_freq_base(config.get("rope_theta") or rotary.get("rope_theta") or 10000.0)
    if family == "neox":
        share = rotary.get("partial_rotary_factor", config.get("rotary_pct"))
        writer.add_rope_dimension_count(int(share * (width // heads)))
        writer.add_parallel_residual(config["use_parallel_residual"])


def convert(folder: Path, output: Path, family: str, kind: str = "F32", **also: Any) -> Path:
    """Write the file; matrices become ``kind``. ``also``: further metadata, a string or a number each."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    arch = ARCHITECTURES[family]
    writer = gguf.GGUFWriter(output, gguf.MODEL_ARCH_NAMES[arch])
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    _shape(writer, family, config)
    _tokenizer(writer, folder, config["vocab_size"])
    for name, value in also.items():
        (writer.add_string if isinstance(value, str) else writer.add_uint32)(name, value)
    names = gguf.get_tensor_name_map(arch, 3)
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(_changed(name, tensor.float().numpy(), family, config))
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored is not None, name
        wanted = gguf.GGMLQuantizationType[kind if array.ndim == 2 and "pos" not in stored else "F32"]
        writer.add_tensor(stored, gguf.quants.quantize(array, wanted), raw_dtype=wanted)
    if family == "llama3":
        head = config["head_dim"]
        plain, slowed = (np.array(rope.steps(found, head), np.float64) for found in _ropes(config))
        writer.add_tensor("rope_freqs.weight", (plain / slowed).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return output


def _ropes(config: dict[str, Any]) -> tuple[rope.Rope, rope.Rope]:
    scaling = config.get("rope_parameters") or config["rope_scaling"]
    theta = config.get("rope_theta") or scaling["rope_theta"]
    original = scaling["original_max_position_embeddings"]
    return rope.Rope(theta), rope.Rope(theta, kind="llama3", factor=scaling["factor"], original=original)
