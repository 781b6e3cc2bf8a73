"""``zllm model train``: text in, ``.zlm`` and model card out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from zllm.errors import UsageError
from zllm.models import store, zlm
from zllm.models.config import ModelConfig
from zllm.models.quantise import load_checkpoint, quantise_network
from zllm.models.training import measure, start, text
from zllm.models.training.card import Facts, card
from zllm.models.training.corpus import MIN_BYTES, Corpus
from zllm.models.training.loop import Job, Recipe, Trainer
from zllm.models.training.options import TrainOptions

CALIBRATION_ROWS = 8
LOSS_RUNS = 48
# Shapes by name. `default` and `fast` ship in the package; `tiny` is for tests and for trying the pipeline out.
PRESETS = {
    "default": (ModelConfig(), Recipe(tokens=60_500_000, matrix_lr=0.015, embed_lr=0.006)),
    "fast": (
        ModelConfig(dim=128, layers=2, heads=2, kv_heads=1, head_dim=64, ffn=384),
        Recipe(tokens=24_000_000, matrix_lr=0.02, embed_lr=0.008),
    ),
    "tiny": (
        ModelConfig(vocab=512, dim=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn=128, window=64),
        Recipe(tokens=200_000, rows=4, length=256, compile=False),
    ),
}
BYTES_A_TOKEN = 3  # roughly, of any text, for budgets
EPOCHS, EPOCHS_FROM = 16, 8  # passes over a small text at most; early stopping ends them sooner
GENTLE = 0.3  # of the preset's rates, for weights that are good already
SPEED = 1_000  # tokens a second that are trained on, at least, for what is planned by the clock
SMALL = 4_000_000  # tokens in all below which compiling does not pay, which takes a minute
# That a small budget is cut into, if MIN_ROWS allows: the optimiser itself takes the time of 800 tokens a step.
STEPS = 100
MIN_ROWS = 2


def recipe_of(options: TrainOptions, size: int, shape: ModelConfig | None = None) -> tuple[ModelConfig, Recipe]:
    """The preset with what the options change, for ``size`` bytes of text; ``shape``: of the model to start from.

    A small text is read a few times, not until the preset's budget is used up.

    Raises:
        UsageError: there is no such preset.
    """
    if options.preset not in PRESETS:
        raise UsageError(f"unknown preset {options.preset!r}: choose one of {', '.join(PRESETS)}")
    config, recipe = PRESETS[options.preset]
    recipe = replace(recipe, seed=options.seed)
    passes = EPOCHS if shape is None else EPOCHS_FROM
    budget = min(recipe.tokens, passes * max(size // BYTES_A_TOKEN, recipe.length))
    if shape is not None:
        recipe = replace(recipe, matrix_lr=recipe.matrix_lr * GENTLE, embed_lr=recipe.embed_lr * GENTLE, decay=0.9)
        recipe = replace(recipe, scalar_lr=recipe.scalar_lr * GENTLE, length=_length(shape, recipe.length))
    if options.minutes is not None:
        recipe = replace(recipe, minutes=options.minutes, tokens=options.tokens or 10**15)
    else:
        recipe = replace(recipe, tokens=options.tokens or budget)
    tokens = recipe.tokens if options.minutes is None else min(recipe.tokens, int(60 * options.minutes * SPEED))
    if tokens < SMALL:
        rows = max(MIN_ROWS, min(recipe.rows, tokens // (STEPS * recipe.length)))
        recipe = replace(recipe, rows=rows, compile=False)
    # Measuring takes a third of training's time for a token, so this is a sixth of the time at most.
    recipe = replace(recipe, held_out_tokens=tokens // recipe.evaluations // 2)
    if options.patience is not None:
        recipe = replace(recipe, patience=options.patience)
    return shape or config, recipe


def _length(shape: ModelConfig, length: int) -> int:
    """Rows are a number of whole windows."""
    return shape.window * max(1, length // shape.window)


def train(options: TrainOptions, log: Callable[[str], None]) -> store.Model:
    """Train (or go on training), quantise, write ``out`` and a card beside it.

    Raises:
        UsageError: no text, an unknown preset, or nothing to start from.
    """
    if not options.data.is_dir():
        raise UsageError(f"{options.data} is not a folder: give the folder of your text with --data")
    if options.preset not in PRESETS:
        raise UsageError(f"unknown preset {options.preset!r}: choose one of {', '.join(PRESETS)}")
    if options.threads:
        torch.set_num_threads(options.threads)
    begin = start.load(options.start) if options.start is not None else None
    options.work.mkdir(parents=True, exist_ok=True)
    split = text.prepare(options.data, options.work, options.held_out, log)
    if split.train_bytes <= MIN_BYTES:
        text.forget(options.work)
        raise UsageError(
            f"too little text under {options.data}: {split.train_bytes:,} bytes are left to train on, at least"
            f" {MIN_BYTES:,} are needed, and 100,000 to be of use"
        )
    config, recipe = recipe_of(options, split.train_bytes, begin.network.config if begin else None)
    trainer = Trainer(_job(options.work), config, recipe, log, begin)
    trainer.run()
    return finish(options, recipe, log)


def _job(work: Path) -> Job:
    held_out = work / "held-out" / "held-out.txt"
    return Job(work, work / "text", held_out if held_out.stat().st_size else None)


def finish(options: TrainOptions, recipe: Recipe, log: Callable[[str], None]) -> store.Model:
    """Quantise the run in ``options.work``, measure it, write the model and its card."""
    network, tokenizer = load_checkpoint(options.work, best=recipe.patience > 0)
    network.eval()
    sample = Corpus(options.work / "text", options.seed + 1).batch(tokenizer, 0, CALIBRATION_ROWS, recipe.length)
    description, tensors = quantise_network(network, tokenizer, torch.from_numpy(sample), options.name, options.origin)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    zlm.write(options.out, description, tensors)
    model = store.load(options.out)
    log(f"wrote {options.out}: {model.size} bytes, sha256 {model.sha256.hex()}")
    facts = Facts(model, options, json.loads((options.work / "run.json").read_text(encoding="utf-8")))
    if options.validation is not None:
        _measure(facts, network, recipe, log)
    _compare(facts, log)
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


def _compare(facts: Facts, log: Callable[[str], None]) -> None:
    """The held-out text by the whole codec: with this model, and with the one that it has to beat."""
    path = facts.options.work / "held-out" / "held-out.txt"
    if not path.stat().st_size:
        return
    (documents,) = measure.read_validation(path.parent)
    other = facts.options.start
    rival = store.resolve(None if other is None or Path(other).is_dir() else other)
    for model in (rival, facts.model):
        facts.held_out.append((model.name, documents.size, measure.coded_size(model, documents)))
    parts = ", ".join(f"{8 * coded / size:.4f} with {name!r}" for name, size, coded in facts.held_out)
    log(f"held-out text, {documents.size:,} bytes: bits per byte as archives have it: {parts}")
    (_, _, before), (_, _, after) = facts.held_out
    if after >= before:
        log(f"this model is no better than {rival.name!r} for such text: use that, or give more text")
