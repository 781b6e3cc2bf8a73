"""The weights of a long run as one file, apart from the run's folder, from which another run can begin.

The file is safetensors: the averaged weights in bfloat16, and as metadata the shape, the tokenizer, the classes, how
far the run had come and where it stood in its text. What the optimisers remember is not in it: a run that begins from
it warms up again.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from zllm import partial
from zllm.errors import UsageError

if TYPE_CHECKING:
    from zllm.models.tokenizer import BytesTokenizer
    from zllm.models.training.longrun import LongRun
    from zllm.models.training.network import Network

_FACTS = ("shape", "tokenizer", "classes", "mixture", "step", "tokens")


def write(path: Path, run: LongRun) -> int:
    """Store the averaged weights of ``run`` in ``path``; returns how many numbers they are."""
    from safetensors.torch import save

    weights = {name: value.to(torch.bfloat16).contiguous() for name, value in run.averaged().items()}
    starts = _classes(run.text, run.shape.classes)
    facts = {
        "shape": json.dumps(asdict(run.shape)),
        "tokenizer": (run.text / "tokenizer.json").read_text(encoding="utf-8"),
        "classes": starts.read_text(encoding="utf-8") if starts else "[]",
        "mixture": json.dumps(run.mixture.state),
        "step": str(run.progress.step),
        "tokens": str(run.progress.tokens),
    }
    with partial.whole_file(str(path)) as file:
        file.write(save(weights, metadata=facts))
    return sum(value.numel() for value in weights.values())


def facts_of(path: Path) -> dict[str, str]:
    """What the file says of its weights: shape, tokenizer, classes, mixture (JSON), step, tokens (numbers).

    Raises:
        UsageError: it is not such a file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            facts = dict(file.metadata() or {})
    except (SafetensorError, OSError) as exc:
        raise UsageError(f"{path} cannot be read as weights of a run: {exc}") from exc
    if missing := [name for name in _FACTS if name not in facts]:
        raise UsageError(f"{path} does not contain the weights of a run: it does not say its {missing[0]}")
    return facts


def unpack(path: Path, text: Path) -> None:
    """Put the tokenizer and the classes of the file ``path`` into the folder ``text``, for ``prepare`` to work with."""
    facts = facts_of(path)
    shape = json.loads(facts["shape"])
    files = {text / "tokenizer.json": facts["tokenizer"]}
    if starts := _classes(text, shape["classes"]):
        files[starts] = facts["classes"]
    for place, content in files.items():
        with partial.whole_file(str(place)) as file:
            file.write(content.encode())


def load(path: Path) -> tuple[Network, BytesTokenizer]:
    """The network of the weights in ``path``, and its tokenizer.

    Raises:
        UsageError: it is not such a file.
    """
    from safetensors.torch import load_file

    from zllm.models.tokenizer import BytesTokenizer
    from zllm.models.training.longrun import Shape

    facts = facts_of(path)
    tokenizer = BytesTokenizer(facts["tokenizer"])
    shape = Shape(**json.loads(facts["shape"]))
    network = shape.network_of(len(tokenizer.tokens), json.loads(facts["classes"]))
    weights = {name: value.float() for name, value in load_file(str(path)).items()}
    wanted = {name: value.shape for name, value in network.named_parameters()}
    if wanted != {name: value.shape for name, value in weights.items()}:
        raise UsageError(f"{path} does not contain the weights that its shape says")
    network.load_state_dict(weights, strict=False)
    return network.eval(), tokenizer


def begin(run: LongRun, path: Path) -> None:
    """Let ``run``, which has not begun, go on from the weights in ``path``.

    Raises:
        UsageError: they are of another shape, or their tokens are others.
    """
    from safetensors.torch import load_file

    facts = facts_of(path)
    if json.loads(facts["shape"]) != json.loads(json.dumps(asdict(run.shape))):
        raise UsageError(f"{path} has weights of another shape: {facts['shape']}")
    if facts["tokenizer"] != (run.text / "tokenizer.json").read_text(encoding="utf-8"):
        raise UsageError(f"{run.text} was prepared with another tokenizer: prepare a folder with --like {path}")
    starts = _classes(run.text, run.shape.classes)
    if starts and json.loads(facts["classes"]) != json.loads(starts.read_text(encoding="utf-8")):
        raise UsageError(f"{run.text} has other classes: prepare a folder with --like {path}")
    weights = {name: value.float() for name, value in load_file(str(path)).items()}
    with torch.no_grad():
        for name, parameter in run.network.named_parameters():
            parameter.copy_(weights[name])
            run.average[name].copy_(weights[name])
    run.mixture.restore(json.loads(facts["mixture"]))
    progress = run.progress
    progress.step, progress.tokens = int(facts["step"]), int(facts["tokens"])
    progress.begun = progress.measured = progress.tokens


def _classes(text: Path, count: int) -> Path | None:
    return text / f"classes-{count}.json" if count else None
