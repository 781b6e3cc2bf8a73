"""What cannot be imported is refused in one line that says what can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

from importing import hub  # noqa: E402

from zllm.cli.main import main  # noqa: E402

Change = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return hub.save(hub.fresh("llama3"), tmp_path / "model", "llama3")


def config(**values: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def tensors(change_tensors: Callable[[dict[str, Any]], None]) -> Change:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        found = safetensors.load_file(path)
        change_tensors(found)
        safetensors.save_file(found, path, metadata={"format": "pt"})

    return change


def fill(name: str, value: float) -> Change:
    return tensors(lambda found: found[name].__setitem__((3, 4), value))


def pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def shard_missing(folder: Path) -> None:
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def rope(**values: Any) -> Change:
    return config(rope_parameters={"rope_theta": 10000.0, **values}, rope_scaling=None)


def no_bytes(folder: Path) -> None:
    data = json.loads((folder / "tokenizer.json").read_text())
    del data["model"]["vocab"]["\u0100"]
    (folder / "tokenizer.json").write_text(json.dumps(data))


Q = "model.layers.0.self_attn.q_proj.weight"
CASES: dict[str, tuple[Change, str]] = {
    "architecture": (config(architectures=["MixtralForCausalLM"], model_type="mixtral"), "MixtralForCausalLM is not"),
    "classifier": (config(architectures=["LlamaForSequenceClassification"]), "import knows Llama"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "broken config": (lambda f: (f / "config.json").write_text("{") and None, "not a config"),
    "quantised": (config(quantization_config={"quant_method": "gptq"}), "weights are quantised"),
    "wrong type": (config(hidden_size="wide"), "a config that transformers does not read"),
    "activation": (config(hidden_act="gelu"), "hidden_act='gelu'"),
    "yarn": (rope(rope_type="yarn", factor=2.0), "rotary positions of kind 'yarn'"),
    "partly rotated": (rope(rope_type="default", partial_rotary_factor=0.5), "only a part of a head"),
    "head size": (config(head_dim=40), "heads of 40 elements"),
    "width": (config(hidden_size=100), "width of 100"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "the tokenizer is missing"),
    "no bytes": (no_bytes, "lacks 1 of the 256 single bytes"),
    "pickles": (pickles, "pytorch_model.bin"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "truncated": (truncated, "damaged or cut short"),
    "shard missing": (shard_missing, "model-00001-of-00002.safetensors"),
    "tensor missing": (tensors(lambda found: found.pop(Q)), f"the tensor {Q} is missing"),
    "shape": (tensors(lambda found: found.update({Q: torch.zeros(3, 96)})), "has the shape [3, 96]"),
    "type": (tensors(lambda found: found.update({Q: torch.zeros(128, 96, dtype=torch.int8)})), "is int8"),
    "nan": (fill(Q, float("nan")), "NaN"),
    "infinity": (fill("model.embed_tokens.weight", float("inf")), "infinity"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case: str, folder: Path, tmp_path: Path, capsys: Any) -> None:
    change, says = CASES[case]
    change(folder)
    assert main(["model", "import", str(folder), "--output", "a.zlm", "--threads", "1"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and says in errors[0], errors
    assert not (tmp_path / "a.zlm").exists()


def test_sliding_windows(tmp_path: Path, capsys: Any) -> None:
    """The same one everywhere is a shorter window; a mixture of a short one and none is refused."""
    from zllm.models.importing import llama, source

    folder = hub.save(hub.fresh("qwen3"), tmp_path / "model", "qwen3")
    sliding = {"use_sliding_window": True, "sliding_window": 100}
    config(**sliding, layer_types=["sliding_attention"] * 3)(folder)
    assert llama.reach(source.open_source(str(folder)).config) == 100
    config(**sliding, layer_types=["full_attention", "sliding_attention", "full_attention"])(folder)
    assert main(["model", "import", str(folder), "--output", "a.zlm"]) == 2
    assert "a mixture of full attention and sliding windows of 100 tokens" in capsys.readouterr().err


def test_what_is_neither_folder_nor_repository(capsys: Any) -> None:
    for name in ("./nowhere", "a/b/c"):
        assert main(["model", "import", name, "--output", "a.zlm"]) == 2
        assert "no such folder" in capsys.readouterr().err


def test_the_hub_is_asked_for_safetensors_only(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    import huggingface_hub

    from zllm.models.importing import source

    asked: dict[str, Any] = {}

    def snapshot_download(name: str, **how: Any) -> str:
        asked.update(how, name=name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found = source.open_source("org/name", "v1")
    assert (asked["name"], asked["revision"]) == ("org/name", "v1")
    assert not any("bin" in pattern or "*.py" in pattern for pattern in asked["allow_patterns"])
    assert found.origin == f"org/name@{folder.name}"


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    import huggingface_hub

    def snapshot_download(name: str, **how: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach it\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert main(["model", "import", "org/name", "--output", "a.zlm"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and "cannot reach it" in errors[0]
