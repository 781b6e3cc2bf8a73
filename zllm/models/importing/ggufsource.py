"""A checkpoint in one GGUF file, as llama.cpp has them, read as the Hugging Face folder that it was made of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zllm.errors import MissingDependencyError, ModelError
from zllm.models.importing import gguftokenizer, rope
from zllm.models.importing.config import Config
from zllm.models.importing.ggufile import INSTALL, GgufFile
from zllm.models.importing.source import Source
from zllm.models.importing.weights import Tensors

# By ``general.architecture``: the config's model_type.
ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gpt2": "gpt2", "gptneox": "gpt_neox"}
_NAMES = "llama (SmolLM2, TinyLlama, Mistral), qwen2, qwen3, gpt2 and gptneox (Pythia)"
_CONV1D = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")  # GPT-2's, kept by columns
_CLOSE = 1e-4
_FIELDS = {
    "embedding_length": "hidden_size", "feed_forward_length": "intermediate_size", "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim", "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "context_length": "max_position_embeddings", "rope.freq_base": "rope_theta",
    "attention.sliding_window": "sliding_window", "use_parallel_residual": "use_parallel_residual",
}  # fmt: skip
_GPT2_FIELDS = {"feed_forward_length": "n_inner", "attention.layer_norm_epsilon": "layer_norm_epsilon"}
_TOKENS = {"tokenizer.ggml.bos_token_id": "bos_token_id", "tokenizer.ggml.eos_token_id": "eos_token_id"}


class GgufWeights(Tensors):
    """The file's tensors by the names that the checkpoint's folder has."""

    def __init__(self, file: GgufFile, config: dict[str, Any], prefixes: Sequence[str]) -> None:
        super().__init__(file.path, prefixes)
        self._file, self._config = file, config
        try:
            import gguf
        except ImportError as exc:
            raise MissingDependencyError("gguf", INSTALL, "importing a GGUF file") from exc
        wanted = file.fields["general.architecture"]
        arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == wanted)
        self._names = gguf.get_tensor_name_map(arch, int(config["num_hidden_layers"]))

    def _find(self, name: str) -> str | None:
        for prefix in self.prefixes:
            found: str | None = self._names.get_name(prefix + name, try_suffixes=(".weight", ".bias"))
            if found in self._file.tensors:
                return found
        return None

    def _read(self, name: str, full: str) -> tuple[Tensor, Path]:
        array = self._file.tensor(full)
        heads, model = self._config["num_attention_heads"], self._config["model_type"]
        if model == "llama" and ".self_attn.q_proj." in name:
            array = _halves(array, heads)
        elif model == "llama" and ".self_attn.k_proj." in name:
            array = _halves(array, self._config.get("num_key_value_heads") or heads)
        elif model == "gpt2" and name.endswith(_CONV1D):
            array = array.T
        elif model == "gpt_neox" and ".query_key_value." in name and array.shape[0] % (3 * heads) == 0:
            array = array.reshape(3, heads, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)
        return torch.from_numpy(np.ascontiguousarray(array)), self.where


def _halves(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys as the checkpoint has them: llama.cpp rotates neighbours, not halves of a head."""
    if array.shape[0] % (2 * heads):
        return array  # of a shape that is refused
    apart = array.reshape(heads, -1, 2, *array.shape[1:])
    halves: np.ndarray = apart.swapaxes(1, 2).reshape(array.shape)
    return halves


@dataclass(frozen=True)
class GgufSource(Source):
    """``folder`` is the file."""

    @cached_property
    def file(self) -> GgufFile:
        """The open file."""
        return GgufFile(self.folder)

    def files(self) -> list[Path]:
        """The one file."""
        return [self.folder]

    def weights(self, prefixes: Sequence[str]) -> Tensors:
        """Its tensors."""
        return GgufWeights(self.file, self.raw, prefixes)

    def tokenizer(self) -> dict[str, Any]:
        """What would be in tokenizer.json."""
        return gguftokenizer.read(self.file)


def open_file(path: Path) -> GgufSource:
    """The checkpoint in a GGUF file.

    Raises:
        ModelError: it is not one, or its architecture is not supported.
    """
    file = GgufFile(path)
    raw = _config(file)
    return GgufSource(path, path.stem, Config(path, raw), raw)


def _config(file: GgufFile) -> dict[str, Any]:
    arch = file.fields.get("general.architecture")
    if not isinstance(arch, str) or arch not in ARCHITECTURES:
        raise ModelError(f"{file.path}: the architecture {arch!r:.60} is not supported: only {_NAMES}")
    fields = {
        name.removeprefix(arch + "."): value for name, value in file.fields.items() if name.startswith(arch + ".")
    }
    if fields.get("expert_count"):
        raise ModelError(f"{file.path}: mixtures of experts are not supported")
    raw: dict[str, Any] = {"model_type": ARCHITECTURES[arch]}
    names = _FIELDS | (_GPT2_FIELDS if arch == "gpt2" else {})
    raw |= {names[name]: value for name, value in fields.items() if name in names}
    if arch == "gptneox":
        raw["layer_norm_eps"] = fields.get("attention.layer_norm_epsilon")
    raw |= {names: file.fields[name] for name, names in _TOKENS.items() if name in file.fields}
    table = file.tensors.get("token_embd.weight")
    raw["vocab_size"] = None if table is None else table.shape[0]
    raw["tie_word_embeddings"] = "output.weight" not in file.tensors
    if not isinstance(raw.get("num_hidden_layers"), int) or not 1 <= raw["num_hidden_layers"] <= 256:
        raise ModelError(f"{file.path}: {arch}.block_count is {raw.get('num_hidden_layers')!r:.60}, not 1 to 256")
    if not isinstance(raw.get("num_attention_heads"), int) or not 1 <= raw["num_attention_heads"] <= 256:
        raise ModelError(
            f"{file.path}: {arch}.attention.head_count is {raw.get('num_attention_heads')!r:.60}, not 1 to 256"
        )
    _rope(file, fields, raw)
    return raw


def _rope(file: GgufFile, fields: dict[str, Any], raw: dict[str, Any]) -> None:
    """Rotary positions, as a config says them."""
    if raw["model_type"] == "gpt2":
        return
    width = raw.get("hidden_size")
    if not isinstance(width, int):
        raise ModelError(f"{file.path}: its embedding_length is missing")
    head = raw.get("head_dim") or width // raw["num_attention_heads"]
    rotated = fields.get("rope.dimension_count", head)
    if not isinstance(rotated, int) or not isinstance(head, int) or not 0 < rotated <= head:
        raise ModelError(f"{file.path}: rope.dimension_count is {rotated!r:.60}, and heads have {head!r:.60} elements")
    raw["partial_rotary_factor"] = rotated / head
    kind = fields.get("rope.scaling.type", "none")
    if kind == "linear":
        raw["rope_scaling"] = {"rope_type": "linear", "factor": fields.get("rope.scaling.factor")}
    elif kind != "none":
        raise ModelError(f"{file.path}: rotary positions of kind {kind!r:.60} are not supported: only none, linear")
    if "rope_freqs.weight" in file.tensors:
        raw["rope_scaling"] = _llama3(file, raw, rotated)


def _llama3(file: GgufFile, raw: dict[str, Any], rotated: int) -> dict[str, Any]:
    """The parameters by which Llama 3.1 and later slow pairs down: the file has only what comes of them."""
    found = file.tensor("rope_freqs.weight").astype(np.float64)
    theta = raw.get("rope_theta", 10000.0)
    plain = np.array(rope.steps(rope.Rope(theta), rotated), np.float64)
    for factor, original in itertools.product((8.0, 32.0, 4.0, 16.0, 2.0), (1 << i for i in range(13, 4, -1))):
        tried = rope.Rope(theta, kind="llama3", factor=factor, original=original)
        slowed = plain / np.array(rope.steps(tried, rotated), np.float64)
        if found.shape == slowed.shape and np.allclose(found, slowed, rtol=_CLOSE):
            return {
                "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": original,
            }  # fmt: skip
    raise ModelError(f"{file.path}: its factors of rotary positions (rope_freqs) are not those of Llama 3")
