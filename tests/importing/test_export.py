"""A model of zllm's own shape as a folder in Hugging Face layout, and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

from zllm.models import store  # noqa: E402

TEXT = b"""The model reads this, word by word, and what comes next is what it says. There were 12 of them in
the year 1913, and the harbour company built the first of two cranes. In the morning the wind had turned to the north.
"""


@pytest.fixture
def folder(tmp_path: Path, zllm: Any) -> Path:
    zllm("model", "export", "default", "folder")
    return tmp_path / "folder"


def test_the_default_model_comes_back_with_the_same_hash(folder: Path, tmp_path: Path, zllm: Any) -> None:
    zllm("model", "import", folder, "--output", "again.zlm")
    assert store.load(tmp_path / "again.zlm").sha256 == store.resolve("default").sha256


def test_transformers_loads_it_and_gives_nearly_the_same_logits(folder: Path) -> None:
    model = store.resolve("default")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    ranks = model.tokenizer.ranks
    numbers = {rank: index for index, rank in enumerate(ranks)}
    ids = [model.start, *model.tokenizer.encode(TEXT)]
    with torch.no_grad():
        logits = theirs(torch.tensor([[numbers[i] for i in ids]])).logits[0]
    ours, _ = model.native.evaluate(ids)
    expected = torch.tensor(ours).reshape(len(ids), -1)[:, ranks] / 65536 * torch.log(torch.tensor(2.0))
    theirs_log, ours_log = torch.log_softmax(logits, -1), torch.log_softmax(expected, -1)
    likely = ours_log > -8
    assert (theirs_log - ours_log)[likely].abs().mean() < 0.2  # the rounding of activations; a wrong one has 2 and more
    targets = torch.tensor([numbers[i] for i in ids[1:]])[:, None]
    spent = [-float(log[:-1].gather(1, targets).sum()) for log in (theirs_log, ours_log)]
    assert abs(spent[1] / spent[0] - 1) < 0.01


def test_other_weights_are_no_longer_the_exported_ones(folder: Path, zllm: Any, tmp_path: Path) -> None:
    tensors = safetensors.load_file(folder / "model.safetensors")
    tensors["model.layers.2.mlp.down_proj.weight"] = tensors["model.layers.2.mlp.down_proj.weight"] * 1.01
    safetensors.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    result = zllm("model", "import", folder, "--output", "again.zlm", code=2)
    assert b"layers.2.down" in result.stderr
    assert not (tmp_path / "again.zlm").exists()


def test_damaged_facts_are_refused(folder: Path, zllm: Any, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    good = json.dumps(config)
    for change in (
        lambda c: c["zllm"].pop("description"),
        lambda c: c["zllm"]["tensors"].pop("head.scale"),
        lambda c: c["zllm"]["tensors"]["rope.step"].__setitem__(2, "?"),
        lambda c: c["zllm"]["description"].__setitem__("name", "another"),
        lambda c: c["zllm"]["description"]["config"].__setitem__("dim", 250),
    ):
        config = json.loads(good)
        change(config)
        (folder / "config.json").write_text(json.dumps(config))
        result = zllm("model", "import", folder, "--output", "again.zlm", code=2)
        assert len(result.stderr.splitlines()) == 1
        assert not (tmp_path / "again.zlm").exists()


def test_a_folder_that_has_something_in_it_is_kept(folder: Path, zllm: Any) -> None:
    assert b"already exists" in zllm("model", "export", "default", folder, code=2).stderr
    zllm("model", "export", "default", folder, "--force")
    shutil.rmtree(folder)
