"""Which executor is taken, what cannot be had, and archives made with either."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import zllm as api
from zllm import executors
from zllm.errors import MissingDependencyError, UsageError
from zllm.executors import Choice
from zllm.models.store import resolve

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "cpu:0", "CUDA", "cuda:1234"])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(UsageError, match="choose cpu, cuda, cuda:N or auto"):
        Choice(device)


def test_unknown_executors() -> None:
    with pytest.raises(UsageError, match="unknown executor 'tensorflow': choose native, torch or auto"):
        Choice("cpu", "tensorflow")


def test_the_c_core_is_on_no_cuda_device() -> None:
    with pytest.raises(UsageError, match="--device cuda needs --executor torch"):
        Choice("cuda", "native")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_no_cuda_device(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(executors, "_need_torch", lambda purpose: None)
    monkeypatch.setattr(executors, "_cuda_devices", lambda: 0)
    with pytest.raises(UsageError, match=f"--device {device}: torch finds no CUDA device here"):
        Choice(device)


def test_one_device_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_need_torch", lambda purpose: None)
    monkeypatch.setattr(executors, "_cuda_devices", lambda: 1)
    Choice("cuda:0")
    with pytest.raises(UsageError, match="--device cuda:1: this machine has 1"):
        Choice("cuda:1")


@pytest.mark.parametrize(("choice", "purpose"), [(("cuda",), "--device cuda"), (("cpu", "torch"), "--executor torch")])
def test_torch_that_is_missing(monkeypatch: pytest.MonkeyPatch, choice: tuple[str, ...], purpose: str) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=f"{purpose} needs the package 'torch': pip install torch"):
        Choice(*choice)


def model(memory: int) -> Any:
    return SimpleNamespace(native=SimpleNamespace(memory=memory), file=None)


@pytest.mark.parametrize(
    ("choice", "memory", "gpus", "taken"),
    [
        (Choice(), executors.LARGE, 0, None),
        (Choice(), executors.LARGE - 1, 1, None),
        (Choice(), executors.LARGE, 1, "cuda"),
        (Choice("cpu"), executors.LARGE, 1, None),
        (Choice("auto", "native"), executors.LARGE, 1, None),
    ],
)
def test_what_is_taken(
    monkeypatch: pytest.MonkeyPatch, choice: Choice, memory: int, gpus: int, taken: str | None
) -> None:
    monkeypatch.setattr(executors, "_gpu_at_hand", lambda: bool(gpus))
    monkeypatch.setattr(executors, "_made", lambda model, device: device)
    assert choice.executor_for(model(memory)) == taken  # type: ignore[comparison-overlap]


def test_what_is_demanded_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a small model."""
    monkeypatch.setattr(executors, "_need_torch", lambda purpose: None)
    monkeypatch.setattr(executors, "_made", lambda model, device: device)
    for gpus, choice, taken in (
        (0, ("auto", "torch"), "cpu"), (2, ("auto", "torch"), "cuda"), (2, ("cpu", "torch"), "cpu"),
        (2, ("cuda:1", "auto"), "cuda:1"), (1, ("cuda", "torch"), "cuda"),
    ):  # fmt: skip
        monkeypatch.setattr(executors, "_cuda_devices", lambda gpus=gpus: gpus)
        assert Choice(*choice).executor_for(model(1)) == taken  # type: ignore[comparison-overlap]


def archive(prose: bytes, **how: Any) -> bytes:
    out, info = io.BytesIO(), tarfile.TarInfo("prose.txt")
    info.size = len(prose)
    with api.open(fileobj=out, mode="w", level=8, model="fast", threads=1, **how) as made:
        made.addfile(info, io.BytesIO(prose))
    return out.getvalue()


def test_archives_are_the_same_and_either_reads_the_others(prose: bytes) -> None:
    pytest.importorskip("torch")
    prose = prose[:1500]
    assert resolve("fast").native.memory < executors.LARGE
    by_torch = archive(prose, device="cpu", executor="torch")
    assert by_torch == archive(prose, device="cpu")
    with api.open(fileobj=io.BytesIO(by_torch), device="cpu", executor="torch") as read:
        (member,) = read.getmembers()
        assert member.codecs == ("llm",)
        stream = read.extractfile(member)
        assert stream is not None
        assert stream.read() == prose


def test_the_program_says_what_cannot_be_had(zllm: Run, tree: Path) -> None:
    zllm("create", "a.zllm", "tree", "--no-llm")
    commands = ("create", "b.zllm", "tree"), ("extract", "a.zllm"), ("test", "a.zllm"), ("cat", "a.zllm", "x"), ("-d",)
    for command in commands:
        result = zllm(*command, "--device", "gpu", code=2)
        assert result.stderr == b"zllm: unknown device 'gpu': choose cpu, cuda, cuda:N or auto\n"
    assert not (tree.parent / "b.zllm").exists()
    zllm("test", "a.zllm", "--device", "cpu", "--executor", "native")
    assert zllm("list", "a.zllm", "--device", "cpu", code=2).stderr.startswith(b"zllm: unknown option --device")
