"""The pipeline that makes models, small: text -> tokenizer, network, checkpoint, resume, integers, card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from zllm.codecs.llm import LlmCodec  # noqa: E402
from zllm.errors import MissingModelError, UsageError  # noqa: E402
from zllm.models import store, zlm  # noqa: E402
from zllm.models.quantise import load_checkpoint, quantise_network  # noqa: E402
from zllm.models.training import command, measure, start  # noqa: E402
from zllm.models.training.corpus import Corpus  # noqa: E402
from zllm.models.training.loop import HeldOut, Job, Recipe, Trainer, schedule  # noqa: E402
from zllm.models.training.optimizer import orthogonalise  # noqa: E402
from zllm.models.training.options import TrainOptions  # noqa: E402

WORDS = "the cat sat on a mat and then it saw that dog near old barn while rain fell down hard".split()  # noqa: SIM905


def sentences(count: int, seed: int) -> bytes:
    import random

    rng = random.Random(seed)
    return b"".join(
        (" ".join(rng.choice(WORDS) for _ in range(8)).capitalize() + (".\n" if i % 9 else ".\0")).encode()
        for i in range(count)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("train")
    for name, seed, count in (("data", 1, 4000), ("val", 2, 300)):
        (base / name).mkdir()
        (base / name / "a.txt").write_bytes(sentences(count, seed))
    return base


@pytest.fixture(scope="module")
def options(folder: Path) -> TrainOptions:
    return TrainOptions(
        data=folder / "data", out=folder / "mine.zlm", work=folder / "work", preset="tiny", tokens=60_000, threads=1,
        validation=folder / "val", name="cats",
    )  # fmt: skip


def test_train_resume_quantise(options: TrainOptions, folder: Path) -> None:
    lines: list[str] = []
    command.train(replace(options, tokens=20_000), lines.append)
    model = command.train(options, lines.append)
    assert any(line.startswith("resumed at step") for line in lines)
    assert json.loads((options.work / "run.json").read_text())["progress"]["tokens"] >= 60_000
    text = sentences(40, 7).replace(b"\0", b"\n")
    codec = LlmCodec(model)
    coded = codec.encode(text)
    assert codec.decode(coded, len(text)) == text
    assert 8 * len(coded) / len(text) < 2.5  # it learned: an untrained one needs 9 bits a byte
    loss = next(line for line in lines if line.startswith("quantisation"))
    assert abs(float(loss.rsplit("(", 1)[1].rstrip("%)"))) < 0.3
    card = options.out.with_suffix(".md").read_text()
    assert model.sha256.hex() in card
    assert "Quantisation to integers" in card


@pytest.fixture(scope="module")
def made(options: TrainOptions, folder: Path) -> TrainOptions:
    """A model that has learned something."""
    mine = replace(options, out=folder / "made.zlm", work=folder / "made", validation=None)
    command.train(mine, lambda _: None)
    return mine


def test_a_model_becomes_the_network_it_was_made_of(made: TrainOptions) -> None:
    network, tokenizer = load_checkpoint(made.work, best=True)
    back = start.load(str(made.out))
    assert back.tokenizer.tokens == tokenizer.tokens and back.network.config == network.config
    text = HeldOut(tokenizer, sentences(200, 5), Recipe(length=256, rows=4))
    exact, rounded = text.bits_per_byte(network), text.bits_per_byte(back.network)
    assert abs(rounded / exact - 1) < 0.02
    # Made integers again, it is the same network but for the rounding of a rounding.
    sample = torch.arange(512).remainder(len(tokenizer.tokens)).view(2, 256)
    description, tensors = quantise_network(back.network, tokenizer, sample, "again", "here")
    before = zlm.read(made.out)
    assert description["config"] == before.description["config"]
    assert description["layers"][0]["temperature"] == before.description["layers"][0]["temperature"]
    again, first = (torch.frombuffer(bytearray(t["layers.0.qkv.q"][2]), dtype=torch.int8).int()
                    for t in (tensors, before.tensors))  # fmt: skip
    assert float((again - first).abs().float().mean()) < 2


@pytest.mark.parametrize("source", ["made.zlm", "made"])
def test_training_goes_on_from_a_model(made: TrainOptions, folder: Path, source: str) -> None:
    log: list[str] = []
    options = replace(
        made, start=str(folder / source), out=folder / f"{source}-on.zlm", work=folder / f"{source}-on", tokens=20_000,
        name="further",
    )  # fmt: skip
    model = command.train(options, log.append)
    assert model.config == store.load(made.out).config and model.tokens == store.load(made.out).tokens
    bits = [float(line.split()[2]) for line in log if line.startswith("held-out text: ")]
    fresh = 4.5  # what an untrained network needs, at least
    assert bits[0] < fresh and min(bits) <= bits[0]
    run = json.loads((options.work / "run.json").read_text())
    assert run["progress"]["best"] == pytest.approx(min(bits), abs=1e-4)
    last = next(line for line in log if "as archives have it" in line)
    assert "with 'further'" in last
    card = options.out.with_suffix(".md").read_text()
    assert f"--from {folder / source}" in card and "Held-out text" in card


def test_other_families_are_refused(made: TrainOptions, tmp_path: Path) -> None:
    file = zlm.read(made.out)
    config = file.description["config"]
    changes: list[tuple[dict[str, object], dict[str, zlm.Tensor]]] = [
        ({"config": {**config, "qk": 1}}, {}),
        ({"tokenizer": {"kind": "bytelevel"}}, {}),
        ({"config": {**config, "ffn": config["ffn"] // 2}}, {}),
        ({"layers": [{**layer, "window": 32} for layer in file.description["layers"]]}, {}),
        ({}, {"layers.0.o.bias": ("I32", (1,), memoryview(bytes(4)))}),
    ]
    for description, tensors in changes:
        zlm.write(tmp_path / "other.zlm", {**file.description, **description}, {**file.tensors, **tensors})
        with pytest.raises(UsageError, match="zllm model train makes"):
            start.dequantise(zlm.read(tmp_path / "other.zlm"))
    with pytest.raises(UsageError, match=r"checkpoint\.pt"):
        start.load(str(tmp_path))
    with pytest.raises(MissingModelError):
        start.load("nobody")


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, bits: list[float], patience: int) -> Trainer:
    """A run whose held-out text measures as ``bits`` say, the last for ever."""
    config, recipe = command.PRESETS["tiny"]
    recipe = replace(recipe, tokens=40_960, patience=patience, evaluations=10)
    measured = iter(bits)
    monkeypatch.setattr(HeldOut, "bits_per_byte", lambda *_: next(measured, bits[-1]))
    (folder / "held.txt").write_bytes(sentences(20, 9))
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "a.txt").write_bytes(sentences(2000, 3))
    trainer = Trainer(Job(folder / "run", folder / "data", folder / "held.txt"), config, recipe, lambda _: None)
    trainer.run()
    return trainer


def test_training_stops_when_the_held_out_text_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trained(tmp_path, monkeypatch, [3.0, 2.0, 2.5, 2.6], patience=3)
    assert (trainer.progress.best, trainer.progress.since_best) == (2.0, 3)
    assert trainer.progress.tokens == 5 * 4096
    best, _ = load_checkpoint(tmp_path / "run", best=True)
    last, _ = load_checkpoint(tmp_path / "run")
    assert not torch.equal(best.embed.weight, last.embed.weight)
    # It has stopped for good, unless it is told to go on.
    assert trained(tmp_path, monkeypatch, [9.0], patience=3).progress.tokens == 5 * 4096
    assert trained(tmp_path, monkeypatch, [9.0], patience=0).progress.tokens == 40_960


def test_patience_ends_with_each_new_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    falling = [3.0 - number / 100 for number in range(11)]
    assert trained(tmp_path, monkeypatch, falling, patience=1).progress.tokens == 40_960


def test_held_out_bits_do_not_depend_on_batches(made: TrainOptions) -> None:
    network, tokenizer = load_checkpoint(made.work)
    text = sentences(60, 8)
    bits = [HeldOut(tokenizer, text, Recipe(length=256, rows=rows)).bits_per_byte(network) for rows in (1, 2, 7)]
    assert bits == pytest.approx([bits[0]] * 3, rel=1e-3)


def test_long_held_out_text_is_measured_in_part(made: TrainOptions) -> None:
    network, tokenizer = load_checkpoint(made.work)
    text = sentences(4000, 8)
    whole = HeldOut(tokenizer, text, Recipe(length=256, rows=8))
    part = HeldOut(tokenizer, text, Recipe(length=256, rows=8, held_out_tokens=4096))
    assert whole.size == len(text) and len(part.ids) <= 16 and part.size < len(text) / 2
    assert part.bits_per_byte(network) == pytest.approx(whole.bits_per_byte(network), rel=0.05)


def test_budgets_of_small_texts(options: TrainOptions) -> None:
    plain = replace(options, preset="default", tokens=None)
    config, large = command.recipe_of(plain, 1 << 30)
    preset = command.PRESETS["default"]
    assert large == replace(preset[1], held_out_tokens=preset[1].tokens // 40) and config == preset[0]
    _, small = command.recipe_of(plain, 100_000)
    assert small.tokens == command.EPOCHS * (100_000 // 3) and not small.compile and small.rows == 5
    shape = replace(config, window=96)
    kept, on = command.recipe_of(plain, 100_000, shape)
    assert kept is shape and on.length % 96 == 0 and on.matrix_lr < small.matrix_lr and on.tokens < small.tokens
    _, asked = command.recipe_of(replace(plain, tokens=5000, patience=0), 100_000)
    assert (asked.tokens, asked.patience, asked.rows) == (5000, 0, 2)
    _, timed = command.recipe_of(replace(plain, minutes=2.0), 1 << 30)
    assert timed.minutes == 2.0 and not timed.compile and timed.held_out_tokens == 3000


def test_batches_depend_on_seed_and_number_alone(options: TrainOptions, folder: Path) -> None:
    from zllm.models.tokenizer import BytesTokenizer, train_bpe

    one, two = Corpus(folder / "data", 5), Corpus(folder / "data", 5)
    tokenizer = BytesTokenizer(train_bpe(one.sample(50_000), 300))
    for first in (0, 40, 1000):
        assert (one.batch(tokenizer, first, 3, 65) == two.batch(tokenizer, first, 3, 65)).all()
    assert (one.batch(tokenizer, 0, 3, 65) != Corpus(folder / "data", 6).batch(tokenizer, 0, 3, 65)).any()


def test_no_text_no_training(tmp_path: Path, options: TrainOptions) -> None:
    with pytest.raises(UsageError, match="no training text"):
        command.train(replace(options, data=tmp_path, work=tmp_path / "w"), lambda _: None)
    few = tmp_path / "few"
    few.mkdir()
    (few / "one.txt").write_text("so few words\n" * 100)
    for _ in range(2):  # what was too little is counted anew
        with pytest.raises(UsageError, match=r"too little text under .*few: 1,300 bytes are left to train on"):
            command.train(replace(options, data=few, work=tmp_path / "w"), lambda _: None)
        assert not (tmp_path / "w" / "text.json").exists()
    with pytest.raises(UsageError, match="is not a folder"):
        command.train(replace(options, data=tmp_path / "none"), lambda _: None)
    with pytest.raises(UsageError, match="unknown preset"):
        command.train(replace(options, preset="huge"), lambda _: None)


def test_schedule() -> None:
    recipe = Recipe()
    assert schedule(0.0, recipe) < 0.05
    assert schedule(0.2, recipe) == 1.0
    assert schedule(1.0, recipe) == 0.0
    assert 0 < schedule(0.9, recipe) < schedule(0.5, recipe)


def test_orthogonalise() -> None:
    torch.manual_seed(0)
    for shape in ((2, 8, 32), (1, 32, 8)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.4


def test_validation_by_category(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(b"one\0two\0three")
    (tmp_path / "v.tsv").write_text("0\t3\tbooks\tx\n4\t3\tcode\ty\n8\t5\tbooks\tz\n")
    found = {c.name: c.documents for c in measure.read_validation(tmp_path)}
    assert found == {"books": (b"one", b"three"), "code": (b"two",)}
