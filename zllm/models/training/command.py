"""``zllm model train``: text in, ``.zlm`` and model card out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from zllm.errors import UsageError
from zllm.models import store, zlm
from zllm.models.config import ModelConfig
from zllm.models.quantise import load_checkpoint, quantise_network
from zllm.models.training import measure
from zllm.models.training.card import Facts, card
from zllm.models.training.corpus import Corpus
from zllm.models.training.loop import Recipe, Trainer

CALIBRATION_ROWS = 8
LOSS_RUNS = 48
# Shapes by name. `default` and `fast` ship in the package; `tiny` is for tests and for trying the pipeline out.
PRESETS = {
    "default": (ModelConfig(), Recipe(matrix_lr=0.015, embed_lr=0.006)),
    "fast": (
        ModelConfig(dim=192, layers=2, heads=3, kv_heads=1, head_dim=64, ffn=512),
        Recipe(tokens=20_000_000, matrix_lr=0.02, embed_lr=0.008),
    ),
    "tiny": (
        ModelConfig(vocab=512, dim=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn=128, window=64),
        Recipe(tokens=200_000, rows=4, length=256, compile=False),
    ),
}


@dataclass(frozen=True)
class TrainOptions:
    """What the command line asks for. ``work`` keeps checkpoints; a run with the same ``work`` goes on."""

    data: Path
    out: Path
    work: Path
    preset: str = "default"
    name: str = "mine"
    origin: str = "trained here"
    tokens: int | None = None
    minutes: float | None = None
    seed: int = 1
    threads: int | None = None
    validation: Path | None = None
    description: str = ""


def recipe_of(options: TrainOptions) -> tuple[ModelConfig, Recipe]:
    """The preset with what the options change."""
    if options.preset not in PRESETS:
        raise UsageError(f"unknown preset {options.preset!r}: choose one of {', '.join(PRESETS)}")
    config, recipe = PRESETS[options.preset]
    recipe = replace(recipe, seed=options.seed)
    if options.minutes is not None:
        recipe = replace(recipe, minutes=options.minutes, tokens=options.tokens or 10**15)
    elif options.tokens is not None:
        recipe = replace(recipe, tokens=options.tokens)
    return config, recipe


def train(options: TrainOptions, log: Callable[[str], None]) -> store.Model:
    """Train (or go on training), quantise, write ``out`` and a card beside it.

    Raises:
        UsageError: no text, or an unknown preset.
    """
    if not options.data.is_dir():
        raise UsageError(f"{options.data} is no folder: give the folder of your text with --data")
    if options.threads:
        torch.set_num_threads(options.threads)
    config, recipe = recipe_of(options)
    Trainer(options.work, options.data, config, recipe, log).run()
    return finish(options, log)


def finish(options: TrainOptions, log: Callable[[str], None]) -> store.Model:
    """Quantise the run in ``options.work``, measure it, write the model and its card."""
    network, tokenizer = load_checkpoint(options.work)
    network.eval()
    _, recipe = recipe_of(options)
    sample = Corpus(options.data, options.seed + 1).batch(tokenizer, 0, CALIBRATION_ROWS, recipe.length)
    description, tensors = quantise_network(network, tokenizer, torch.from_numpy(sample), options.name, options.origin)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    zlm.write(options.out, description, tensors)
    model = store.load(options.out)
    log(f"wrote {options.out}: {model.size} bytes, sha256 {model.sha256.hex()}")
    facts = Facts(model, options, json.loads((options.work / "run.json").read_text(encoding="utf-8")))
    if options.validation is not None:
        _measure(facts, network, recipe, log)
    options.out.with_suffix(".md").write_text(card(facts), encoding="utf-8")
    return model


def _measure(facts: Facts, network: torch.nn.Module, recipe: Recipe, log: Callable[[str], None]) -> None:
    options, model = facts.options, facts.model
    assert options.validation is not None
    categories = measure.read_validation(options.validation)
    for category in categories:
        start = time.monotonic()
        size = measure.coded_size(model, category)
        facts.sizes.append((category.name, category.size, size))
        speed = category.size / (time.monotonic() - start) / 1e3
        log(f"{category.name}: {8 * size / category.size:.3f} bits per byte, {speed:.0f} kB/s")
    runs = measure.chunks(model, categories, LOSS_RUNS, recipe.length)
    facts.loss = measure.quantisation_loss(network, model, runs)  # type: ignore[arg-type]
    log(f"quantisation: {facts.loss[0]:.4f} -> {facts.loss[1]:.4f} bits per token ({facts.loss_share:+.2%})")
