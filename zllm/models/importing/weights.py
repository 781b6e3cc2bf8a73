"""A checkpoint's tensors, one at a time: safetensors files only, which hold nothing but numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zllm.errors import ModelError

INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.h5")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def shards(folder: Path) -> list[Path]:
    """The safetensors files that hold the weights.

    Raises:
        ModelError: there are none, or the index names one that is not there.
    """
    index = folder / INDEX
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as exc:
            raise ModelError(f"{index}: not an index of weights ({exc!r})") from exc
        for name in names:
            if Path(name).name != name or not (folder / name).is_file():
                raise ModelError(f"{folder}: the weights {name}, which {INDEX} names, are missing: download them again")
        return [folder / name for name in names]
    whole = folder / "model.safetensors"
    found = [whole] if whole.exists() else sorted(folder.glob("*.safetensors"))
    if found:
        return found
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder}: the weights are pickles ({pickles[0]}), which can run programs and are never read: if you "
            "trust them, convert them with transformers: AutoModelForCausalLM.from_pretrained(OLD).save_pretrained(NEW)"
        )
    raise ModelError(f"{folder}: no weights: there is no *.safetensors")


class Weights:
    """Tensors by name, as float32. ``prefixes`` are tried before each name."""

    def __init__(self, folder: Path, prefixes: Sequence[str] = ("",)) -> None:
        self.folder = folder
        self.prefixes = prefixes
        self._files: dict[str, tuple[Path, Any]] = {}
        for path in shards(folder):
            file = _open(path)
            self._files.update((name, (path, file)) for name in file.keys())  # noqa: SIM118  (a file is no dict)

    def _find(self, name: str) -> str | None:
        return next((p + name for p in self.prefixes if p + name in self._files), None)

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __call__(self, name: str, *shape: int | None) -> Tensor:
        """The tensor; None is any length.

        Raises:
            ModelError: it is missing, has another shape or type, or numbers that are none.
        """
        full = self._find(name)
        if full is None:
            raise ModelError(f"{self.folder}: the tensor {self.prefixes[0]}{name} is missing")
        path, file = self._files[full]
        try:
            tensor: Tensor = file.get_tensor(full)
        except SafetensorError as exc:
            raise ModelError(f"{path}: damaged ({exc}): download it again") from exc
        if tensor.dtype not in _FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ModelError(f"{path}: the tensor {full} is {kind}: import the weights before they were quantised")
        if len(shape) != tensor.ndim or any(n not in (None, m) for n, m in zip(shape, tensor.shape, strict=True)):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise ModelError(f"{path}: the tensor {full} has the shape {list(tensor.shape)}, not [{wanted}]")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: the tensor {full} has values that are no numbers (NaN or infinity)")
        return tensor.float()


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as exc:
        raise ModelError(f"{path}: damaged or cut short ({exc}): download it again") from exc
