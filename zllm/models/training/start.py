"""Where a run starts from: an existing model's weights instead of random ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zllm.errors import UsageError
from zllm.models import store, zlm
from zllm.models.config import ModelConfig, plain
from zllm.models.quantise import LOG2E, load_checkpoint
from zllm.models.tokenizer import BytesTokenizer
from zllm.models.training.network import Network

_BASE = frozenset({"vocab", "dim", "layers", "heads", "kv_heads", "head_dim", "ffn", "window", "rope_theta"})
_ONLY = "only the shape that zllm model train makes can be trained further"


@dataclass
class Start:
    """A float network with its tokenizer; ``label`` says for people which it is."""

    network: Network
    tokenizer: BytesTokenizer
    label: str


def load(source: str) -> Start:
    """From a run's folder, a model's name, the start of its hash, or a .zlm file.

    Raises:
        UsageError: the folder is not that of a run, or the model is of another family.
        MissingModelError: there is no such model.
        ModelError: the file is not a valid model.
    """
    folder = Path(source)
    if folder.is_dir():
        if not (folder / "checkpoint.pt").exists():
            raise UsageError(f"{source}: no checkpoint.pt in this folder: name a run's folder, or a model")
        network, tokenizer = load_checkpoint(folder)
        return Start(network, tokenizer, str(folder))
    model = store.resolve(source)
    words = model.tokenizer
    if not isinstance(words, BytesTokenizer):
        raise UsageError(f"{model.name} was imported, and is not of the family that is trained here")
    return Start(dequantise(zlm.parse(model.data)), words, f"{model.name} ({model.sha256.hex()[:16]})")


def dequantise(file: zlm.ModelFile) -> Network:
    """The float network that a model file's integers stand for.

    Raises:
        UsageError: it is a network of another shape than this package trains.
    """
    config = file.config
    base = {name: value for name, value in config.as_dict().items() if name in _BASE}
    odd = any(value for key, value in file.description["config"].items() if key not in _BASE)
    odd |= file.description.get("tokenizer", {}).get("kind", "latin1") != "latin1"
    if odd or not plain(file.description, file.tensors):
        raise UsageError(f"{file.description['name']!r} is of another family than the models made here: {_ONLY}")
    network = Network(ModelConfig(**base))
    state = {"embed.weight": _matrix(file, "head") / LOG2E}
    for number, numbers in enumerate(file.description["layers"]):
        front = f"layers.{number}."
        heads, rest = config.heads * config.head_dim, config.kv_heads * config.head_dim
        for name, part in zip("qkv", torch.split(_matrix(file, front + "qkv"), [heads, rest, rest]), strict=True):
            state[f"{front}{name}.weight"] = part
        for name, part in zip(("gate", "up"), _matrix(file, front + "gate_up").chunk(2), strict=True):
            state[f"{front}{name}.weight"] = part
        for name in ("o", "down"):
            state[f"{front}{name}.weight"] = _matrix(file, front + name)
        factor = numbers["temperature"] * 2.0 ** -numbers["temperature_exponent"]
        state[f"{front}temperature"] = torch.tensor(factor / LOG2E * math.sqrt(config.head_dim))
    try:
        network.load_state_dict({name: value.float() for name, value in state.items()})
    except RuntimeError as exc:
        raise UsageError(f"{file.description['name']!r} has other matrices than the models made here: {_ONLY}") from exc
    return network


def _matrix(file: zlm.ModelFile, name: str) -> Tensor:
    """Weight j of row i stands for q[i][j] * scale[i] * 2^-exponent."""
    _, shape, q = file.tensors[name + ".q"]
    weights = np.frombuffer(q, np.int8).reshape(shape).astype(np.float64)
    scale = np.frombuffer(file.tensors[name + ".scale"][2], "<i2").astype(np.float64)
    return torch.from_numpy(weights * scale[:, None] * 2.0 ** -file.description["exponents"][name])
