"""What computes the model: the C core, or torch. See ``docs/executors.md``.

torch is imported when it is demanded, or when a large model meets a CUDA device; reading an archive never needs it.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from zllm.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from zllm._native import Model as NativeModel
    from zllm.executors.base import Executor
    from zllm.executors.weights import ModelFile

EXECUTORS = ("auto", "native", "torch")
LARGE = 64 << 20
"""Bytes of a packed model from which on a CUDA device gains: below, importing torch takes longer than most texts."""
_DRIVER = "/dev/nvidiactl", "/dev/dxg"
_INSTALL = "pip install torch"


class Model(Protocol):
    """What executors need of a model (:class:`zllm.models.store.Model`)."""

    def __hash__(self) -> int:
        """Executors are kept by model."""

    @property
    def native(self) -> NativeModel:
        """The packed model."""

    @property
    def file(self) -> ModelFile:
        """Its file."""


@dataclass(frozen=True)
class Choice:
    """What is asked for.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: a CUDA device if there is one and the model is large.
        executor: ``native`` (the C core), ``torch``, or ``auto``: native on processors, torch on CUDA devices.

    Raises:
        UsageError: the device or the executor does not exist, or they do not fit together.
        MissingDependencyError: torch is needed and not installed.
    """

    device: str = "auto"
    executor: str = "auto"

    def __post_init__(self) -> None:
        if not re.fullmatch("auto|cpu|cuda(:[0-9]{1,3})?", self.device):
            raise UsageError(f"unknown device {self.device!r}: choose cpu, cuda, cuda:N or auto")
        if self.executor not in EXECUTORS:
            raise UsageError(f"unknown executor {self.executor!r}: choose native, torch or auto")
        if self.on_cuda and self.executor == "native":
            raise UsageError("the executor native computes on the processor: --device cuda needs --executor torch")
        if self.on_cuda or self.executor == "torch":
            _need_torch(f"--device {self.device}" if self.on_cuda else "--executor torch")
        if self.on_cuda:
            self._check_device()

    @property
    def on_cuda(self) -> bool:
        """Whether a CUDA device is demanded."""
        return self.device.startswith("cuda")

    def _check_device(self) -> None:
        count = _cuda_devices()
        if int(self.device.partition(":")[2] or 0) >= count:
            there = f"this machine has {count}" if count else "torch finds no CUDA device here"
            raise UsageError(f"--device {self.device}: {there}. --device auto takes what there is")

    def executor_for(self, model: Model) -> Executor | None:
        """Who computes the model; None: the C core.

        Raises:
            KernelError: the device's products are not exact.
        """
        if self.executor == "native" or (self.executor == "auto" and self.device == "cpu"):
            return None
        if self.executor == "auto" and self.device == "auto":
            return _made(model, "cuda") if model.native.memory >= LARGE and _gpu_at_hand() else None
        if self.device == "auto":
            return _made(model, "cuda" if _cuda_devices() else "cpu")
        return _made(model, self.device)


@functools.lru_cache(maxsize=2)
def _made(model: Model, device: str) -> Executor:
    import torch

    from zllm.executors.torch_executor import TorchExecutor

    return TorchExecutor(model.native, model.file, torch.device(device))


def _gpu_at_hand() -> bool:
    """Whether torch can compute on a CUDA device. torch takes seconds to import: first look for the driver."""
    return any(map(os.path.exists, _DRIVER)) and importlib.util.find_spec("torch") is not None and bool(_cuda_devices())


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _need_torch(purpose: str) -> None:
    try:
        import torch  # noqa: F401
    except ImportError as exc:
        raise MissingDependencyError("torch", _INSTALL, purpose) from exc
