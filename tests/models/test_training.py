"""The pipeline that makes models, small: text -> tokenizer, network, checkpoint, resume, integers, card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from zllm.codecs.llm import LlmCodec  # noqa: E402
from zllm.errors import UsageError  # noqa: E402
from zllm.models.training import command, measure  # noqa: E402
from zllm.models.training.corpus import Corpus  # noqa: E402
from zllm.models.training.loop import Recipe, schedule  # noqa: E402
from zllm.models.training.optimizer import orthogonalise  # noqa: E402

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
def options(folder: Path) -> command.TrainOptions:
    return command.TrainOptions(
        data=folder / "data", out=folder / "mine.zlm", work=folder / "work", preset="tiny", tokens=60_000, threads=1,
        validation=folder / "val", name="cats",
    )  # fmt: skip


def test_train_resume_quantise(options: command.TrainOptions, folder: Path) -> None:
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


def test_batches_depend_on_seed_and_number_alone(options: command.TrainOptions, folder: Path) -> None:
    from zllm.models.tokenizer import BytesTokenizer, train_bpe

    one, two = Corpus(folder / "data", 5), Corpus(folder / "data", 5)
    tokenizer = BytesTokenizer(train_bpe(one.sample(50_000), 300))
    for first in (0, 40, 1000):
        assert (one.batch(tokenizer, first, 3, 65) == two.batch(tokenizer, first, 3, 65)).all()
    assert (one.batch(tokenizer, 0, 3, 65) != Corpus(folder / "data", 6).batch(tokenizer, 0, 3, 65)).any()


def test_no_text_no_training(tmp_path: Path, options: command.TrainOptions) -> None:
    with pytest.raises(UsageError, match="no training text"):
        command.train(replace(options, data=tmp_path, work=tmp_path / "w"), lambda _: None)
    with pytest.raises(UsageError, match="no folder"):
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
