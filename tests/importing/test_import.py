"""From a checkpoint to an archive and back, for every family."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from importing import hub  # noqa: E402

from zllm.cli.main import main  # noqa: E402
from zllm.codecs.llm import LlmCodec  # noqa: E402
from zllm.errors import UsageError  # noqa: E402
from zllm.models import store  # noqa: E402
from zllm.models.importing import command  # noqa: E402
from zllm.models.importing.choose import Candidate, choose, set_wide  # noqa: E402

KINDS = ("seasoned", "trained")
DATA = hub.text().encode()[:6000] + bytes(range(256)) + "Ein Käse, 漢字 <|endoftext|> \u2581 <s>".encode() + b"\xff\xfe"


@contextlib.contextmanager
def no_bar(_label: str, _total: int) -> Iterator[Callable[[int], None]]:
    yield lambda _count: None


def imported(folder: Path, output: Path, **how: Any) -> command.Report:
    return command.import_model(command.ImportOptions(str(folder), output, "mine", **how), no_bar)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Path, Path, command.Report]]:
    """The folder, file and report of a family's model, made once."""
    known: dict[tuple[str, str], tuple[Path, Path, command.Report]] = {}
    base = tmp_path_factory.mktemp("hub")
    torch.set_num_threads(1)
    sample = base / "sample.txt"
    sample.write_text(hub.text()[:60_000], encoding="utf-8")

    def make(family: str, kind: str) -> tuple[Path, Path, command.Report]:
        if (family, kind) not in known:
            model = hub.fresh(family)
            model = hub.season(model) if kind == "seasoned" else hub.train(model, family)
            folder = hub.save(model, base / f"{family}-{kind}", family, max_shard_size="300KB")
            output = base / f"{family}-{kind}.zlm"
            report = imported(folder, output, calibration=sample if kind == "trained" else None)
            known[family, kind] = folder, output, report
        return known[family, kind]

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", hub.FAMILIES)
def test_integers_cost_less_than_half_a_percent(family: str, kind: str, made: Any) -> None:
    _, _, report = made(family, kind)
    assert report.tokens > 1000
    assert -0.005 < report.loss < 0.005
    assert report.float_bits < (4 if kind == "trained" else 8)
    assert report.speed > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", hub.FAMILIES)
def test_text_comes_back(family: str, kind: str, made: Any) -> None:
    model = store.load(made(family, kind)[1])
    codec = LlmCodec(model)
    boundaries = [1000, 5000]
    coded = codec.encode(DATA, boundaries)
    assert codec.decode(coded, len(DATA), boundaries) == DATA
    assert model.start == model.config.vocab


@pytest.mark.parametrize("family", hub.FAMILIES)
def test_an_archive_with_the_model(family: str, made: Any, tmp_path: Path, capsys: Any) -> None:
    path = made(family, "trained")[1]
    data = hub.text().encode()[:5000]
    (tmp_path / "text.md").write_bytes(data)
    assert main(["create", "-q", "--level", "7", "--model", str(path), "a.zllm", "text.md"]) == 0
    capsys.readouterr()
    assert main(["info", "--json", "a.zllm"]) == 0
    assert store.load(path).sha256.hex() in capsys.readouterr().out
    assert main(["extract", "-q", "--model", str(path), "-C", "out", "a.zllm"]) == 0
    assert (tmp_path / "out" / "text.md").read_bytes() == data


def test_the_source_is_recorded(made: Any) -> None:
    folder, path, _ = made("qwen2", "seasoned")
    source = store.load(path).description["source"]
    assert source["name"] == folder.name and source["revision"] == ""
    assert set(source["files"]) == {p.name for p in folder.glob("*.safetensors")} | {"config.json", "tokenizer.json"}
    for name, digest in source["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_the_same_checkpoint_gives_the_same_file(made: Any, tmp_path: Path) -> None:
    folder, path, _ = made("neox", "seasoned")
    imported(folder, tmp_path / "again.zlm")
    assert (tmp_path / "again.zlm").read_bytes() == path.read_bytes()


def test_windows_and_calibration_text(made: Any, tmp_path: Path) -> None:
    folder = made("gpt2", "seasoned")[0]
    (tmp_path / "sample.txt").write_bytes(hub.text().encode()[:9000])
    imported(folder, tmp_path / "a.zlm", window=64, calibration=tmp_path / "sample.txt")
    config = store.load(tmp_path / "a.zlm").config
    assert (config.window, config.positions) == (64, 128)
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(UsageError, match="too short"):
        imported(folder, tmp_path / "b.zlm", calibration=tmp_path / "short.txt")
    for window in (33, 160, 16):
        with pytest.raises(UsageError, match="from 32 to 128"):
            imported(folder, tmp_path / "b.zlm", window=window)


def test_the_command_installs(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))
    folder, path, _ = made("qwen3", "seasoned")
    assert main(["model", "import", str(folder), "--threads", "1"]) == 0
    out = capsys.readouterr().err
    assert "bits per byte" in out and "15 bits" in out
    model = store.resolve(folder.name)
    assert model.config == store.load(path).config
    assert main(["model", "import", str(folder)]) == 2
    assert "--force" in capsys.readouterr().err
    assert not list((tmp_path / "home" / "models").glob(".import-*"))


def test_a_model_file_is_installed_as_it_is(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))
    path = made("qwen3", "seasoned")[1]
    assert main(["model", "import", str(path), "--name", "other"]) == 0
    assert store.resolve("other").sha256 == store.load(path).sha256
    assert main(["model", "import", str(path), "--window", "64"]) == 2
    assert "as they are" in capsys.readouterr().err


def test_the_most_sensitive_inputs_become_wide() -> None:
    needed = {Candidate(0, "down", 5.0), Candidate(1, "qkv", 3.0)}
    others = [Candidate(i, "o", 1.0 / (i + 2)) for i in range(6)]

    def measure(chosen: Any) -> float:
        return 0.001 + 0.01 * len(needed - set(chosen))

    chosen, loss = choose([*others, *needed], measure, lambda _: None)
    assert set(chosen) == needed and loss == pytest.approx(0.001)
    assert choose(others, lambda _: 0.003, lambda _: None) == ([], 0.003)
    config: dict[str, Any] = {}
    layers: list[dict[str, int]] = [{}, {}]
    set_wide(config, layers, [*chosen, Candidate(-1, "head", 1.0)])
    assert (config["wide_head"], layers[0]["wide"], layers[1]["wide"]) == (1, 8, 1)


def test_where_weights_alone_cost_more_what_helps_is_wide() -> None:
    every = [Candidate(i, "down", 1.0 / (i + 1)) for i in range(8)]
    chosen, loss = choose(every, lambda c: 0.02 - 0.001 * min(3, len(c)), lambda _: None)
    assert 0 < len(chosen) <= 3 and loss < 0.0194


def test_outliers_that_can_be_moved_cost_nothing(made: Any, tmp_path: Path) -> None:
    """A feed-forward with two large numbers inside, beside which 8 bits would leave nothing of the others."""
    model = transformers.AutoModelForCausalLM.from_pretrained(made("llama3", "trained")[0])
    with torch.no_grad():
        for layer in model.model.layers:
            largest = layer.mlp.up_proj.weight.norm(dim=1).topk(2).indices  # of others too little may come
            layer.mlp.up_proj.weight[largest] *= 70
            layer.mlp.down_proj.weight[:, largest] /= 70
    folder = hub.save(model, tmp_path / "outliers", "llama3")
    (tmp_path / "sample.txt").write_text(hub.text()[:60_000], encoding="utf-8")
    report = imported(folder, tmp_path / "a.zlm", calibration=tmp_path / "sample.txt")
    assert report.wide == 0 and report.loss < 0.002


def test_inputs_whose_outliers_stay_are_wide(made: Any, tmp_path: Path) -> None:
    """What a GELU gives cannot be divided by anything before it."""
    model = transformers.AutoModelForCausalLM.from_pretrained(made("gpt2", "trained")[0])
    with torch.no_grad():
        for layer in model.transformer.h:
            by = torch.full((layer.mlp.c_fc.weight.shape[1],), 1 / 16)
            by[layer.mlp.c_fc.weight.norm(dim=0).topk(2).indices] = 8  # gates end at 32
            layer.mlp.c_fc.weight *= by
            layer.mlp.c_fc.bias *= by
            layer.mlp.c_proj.weight /= by[:, None]
    folder = hub.save(model, tmp_path / "outliers", "gpt2")
    (tmp_path / "sample.txt").write_text(hub.text()[:60_000], encoding="utf-8")
    report = imported(folder, tmp_path / "a.zlm", calibration=tmp_path / "sample.txt")
    layers = store.load(tmp_path / "a.zlm").description["layers"]
    assert report.wide > 0 and any(layer["wide"] & 8 for layer in layers)
    assert report.loss < 0.005


def test_heads_of_different_sizes_cost_nothing(made: Any, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(made("llama3", "trained")[0])
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.v_proj.weight[:32] *= 300  # of two heads of keys and values
            layer.self_attn.o_proj.weight[:, :64] /= 300  # each for two of queries
    folder = hub.save(model, tmp_path / "heads", "llama3")
    (tmp_path / "sample.txt").write_text(hub.text()[:60_000], encoding="utf-8")
    report = imported(folder, tmp_path / "a.zlm", calibration=tmp_path / "sample.txt")
    assert report.wide == 0 and report.loss < 0.002


def test_description_is_json(made: Any) -> None:
    description = store.load(made("llama", "seasoned")[1]).description
    assert json.loads(json.dumps(description))["tokenizer"] == {"kind": "sentencepiece"}
