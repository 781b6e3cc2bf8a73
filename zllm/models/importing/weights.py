"""A checkpoint's tensors, one at a time: safetensors files only, which hold nothing but numbers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zllm.errors import ModelError
from zllm.models.importing.config import read_json
from zllm.models.library import line

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.h5")
_SHARD = re.compile(r"(?!\.)[^/\\\0]{1,240}\.safetensors")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def shards(folder: Path) -> list[Path]:
    """The safetensors files that hold the weights. As for transformers, model.safetensors goes before an index with
    shards, which may be left from an older state.

    Raises:
        ModelError: there are none, the index is not one, or it names files that are not there.
    """
    whole = folder / WHOLE
    if whole.is_file():
        return [whole]
    if (folder / INDEX).is_file():
        return [folder / name for name in sorted(set(placed(folder).values()))]
    found = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    if len(found) > 1:
        raise ModelError(
            f"{folder}: {len(found)} *.safetensors files, neither {WHOLE} nor {INDEX}, which says what is where: "
            "download it as well"
        )
    if found:
        return found
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder}: the weights are pickles ({pickles[0]}), which can run programs and are never read: if you "
            "trust them, convert them with transformers: AutoModelForCausalLM.from_pretrained(OLD).save_pretrained(NEW)"
        )
    raise ModelError(f"{folder}: no weights: there is no *.safetensors")


def placed(folder: Path) -> dict[str, str]:
    """Which file of the folder has which tensor, by its index.

    Raises:
        ModelError: it is not an index, or a file is missing.
    """
    index = folder / INDEX
    places = read_json(index, "an index of weights").get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ModelError(f"{index}: not an index of weights: it has no weight_map")
    for tensor, name in places.items():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise ModelError(f"{index}: the tensor {tensor[:100]} is in {str(name)[:100]!r}, not a file beside it")
    for name in sorted(set(places.values())):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: the weights {name}, which {INDEX} names, are missing: download them again")
    return places


class Tensors(ABC):
    """Tensors by name, as float32. ``where``: the folder or file; ``prefixes`` are tried before each name."""

    def __init__(self, where: Path, prefixes: Sequence[str] = ("",)) -> None:
        self.where, self.prefixes = where, prefixes

    @abstractmethod
    def _find(self, name: str) -> str | None:
        """What the source calls it; None if it has no such tensor."""

    @abstractmethod
    def _read(self, name: str, full: str) -> tuple[Tensor, Path]:
        """What is there, and in which file."""

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def __call__(self, name: str, *shape: int | None) -> Tensor:
        """The tensor; None is any length.

        Raises:
            ModelError: it is missing, has another shape or type, or numbers that are none.
        """
        full = self._find(name)
        if full is None:
            raise ModelError(f"{self.where}: the tensor {self.prefixes[0]}{name} is missing")
        tensor, path = self._read(name, full)
        if tensor.dtype not in _FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ModelError(f"{path}: the tensor {full} is {kind}: import the weights before they were quantised")
        if len(shape) != tensor.ndim or any(n not in (None, m) for n, m in zip(shape, tensor.shape, strict=True)):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise ModelError(f"{path}: the tensor {full} has the shape {list(tensor.shape)}, not [{wanted}]")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: the tensor {full} has values that are not finite (NaN or infinity)")
        return tensor.float()


class Weights(Tensors):
    """Those of a folder's safetensors files."""

    def __init__(self, folder: Path, prefixes: Sequence[str] = ("",)) -> None:
        super().__init__(folder, prefixes)
        self._files: dict[str, tuple[Path, Any]] = {}
        files = shards(folder)
        for path in files:
            file = _open(path)
            for name in file.keys():  # noqa: SIM118  (a file is not a dict)
                if name in self._files:
                    both = f"{self._files[name][0].name} and in {path.name}"
                    raise ModelError(f"{folder}: the tensor {name[:100]} is in {both}")
                self._files[name] = path, file
        if files[0].name != WHOLE and (folder / INDEX).is_file():
            for name, where in placed(folder).items():
                if name not in self._files or self._files[name][0].name != where:
                    raise ModelError(f"{folder}: {where} lacks the tensor {name[:100]}, which {INDEX} says is in it")

    def _find(self, name: str) -> str | None:
        return next((p + name for p in self.prefixes if p + name in self._files), None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def _read(self, name: str, full: str) -> tuple[Tensor, Path]:
        path, file = self._files[full]
        try:
            tensor: Tensor = file.get_tensor(full)
        except (SafetensorError, RuntimeError, ValueError, TypeError, AttributeError) as exc:
            raise ModelError(f"{path}: the tensor {full} cannot be read ({line(exc)})") from exc
        return tensor, path


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, RuntimeError, ValueError, OverflowError) as exc:
        raise ModelError(f"{path}: damaged or cut short ({line(exc)}): download it again") from exc
