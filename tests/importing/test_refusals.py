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
from zllm.codecs.llm import LlmCodec  # noqa: E402
from zllm.models import store  # noqa: E402

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


def write_index(folder: Path, places: Any) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def sharded(change: Callable[[dict[str, str]], Any] = lambda places: None, both: tuple[str, ...] = ()) -> Change:
    """Two shards with an index, which is changed then; tensors named in ``both`` are in both shards."""

    def change_folder(folder: Path) -> None:
        found = safetensors.load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        names = sorted(found)
        files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
        for i in (0, 1):
            safetensors.save_file({n: found[n] for n in {*names[i::2], *both}}, folder / files[i])
        places = {name: files[i % 2] for i, name in enumerate(names)}
        write_index(folder, change(places) or places)

    return change_folder


def no_index(folder: Path) -> None:
    sharded()(folder)
    (folder / "model.safetensors.index.json").unlink()


def elsewhere(name: str) -> Change:
    return sharded(lambda places: places.update({Q: name}))


def tokenizer(change: Callable[[dict[str, Any]], Any]) -> Change:
    def change_file(folder: Path) -> None:
        path = folder / "tokenizer.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return change_file


def text(name: str, content: str) -> Change:
    return lambda folder: (folder / name).write_text(content) and None


def header(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Lies in the header of a safetensors file."""

    def change_file(folder: Path) -> None:
        path = folder / "model.safetensors"
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        entries = json.loads(data[8 : 8 + length])
        change(entries)
        front = json.dumps(entries).encode()
        path.write_bytes(len(front).to_bytes(8, "little") + front + data[8 + length :])

    return change_file


def rope(**values: Any) -> Change:
    return config(rope_parameters={"rope_theta": 10000.0, **values}, rope_scaling=None)


Q = "model.layers.0.self_attn.q_proj.weight"
CASES: dict[str, tuple[Change, str]] = {
    "architecture": (
        config(architectures=["MixtralForCausalLM"], model_type="mixtral"),
        "MixtralForCausalLM of model_type",
    ),
    "classifier": (config(architectures=["LlamaForSequenceClassification"]), "is not supported: only Llama"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "broken config": (lambda f: (f / "config.json").write_text("{") and None, "not a config"),
    "quantised": (config(quantization_config={"quant_method": "gptq"}), "weights are quantised"),
    "wrong type": (config(hidden_size="wide"), "hidden_size is 'wide', not a whole number"),
    "activation": (config(hidden_act="gelu"), "hidden_act is 'gelu', which is not supported"),
    "yarn": (rope(rope_type="yarn", factor=2.0), "rotary positions of kind 'yarn'"),
    "partly rotated": (rope(rope_type="default", partial_rotary_factor=0.5), "only a part of a head"),
    "head size": (config(head_dim=40), "heads of 40 elements"),
    "width": (config(hidden_size=100), "width of 100"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "the tokenizer is missing"),
    "pickles": (pickles, "pytorch_model.bin"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "truncated": (truncated, "damaged or cut short"),
    "shard missing": (elsewhere("model-00003-of-00002.safetensors"), "model-00003-of-00002.safetensors"),
    "shard elsewhere": (elsewhere("../other/model.safetensors"), "not a file beside it"),
    "shard at the root": (elsewhere("/etc/passwd"), "not a file beside it"),
    "shard that is no text": (sharded(lambda places: places.update({Q: 7})), "not a file beside it"),  # type: ignore[dict-item]
    "shard without the tensor": (
        sharded(lambda places: places.update(dict.fromkeys(places, places[Q]))),
        "which model.safetensors.index.json says",
    ),
    "tensor in two shards": (sharded(both=(Q,)), f"the tensor {Q} is in model-00001"),
    "shards without index": (no_index, "2 *.safetensors files"),
    "index that is a list": (sharded(lambda places: ["a"]), "it has no weight_map"),
    "index that is empty": (sharded(lambda places: places.clear()), "it has no weight_map"),
    "tensor missing": (tensors(lambda found: found.pop(Q)), f"the tensor {Q} is missing"),
    "shape": (tensors(lambda found: found.update({Q: torch.zeros(3, 96)})), "has the shape [3, 96]"),
    "type": (tensors(lambda found: found.update({Q: torch.zeros(128, 96, dtype=torch.int8)})), "is int8"),
    "nan": (fill(Q, float("nan")), "NaN"),
    "infinity": (fill("model.embed_tokens.weight", float("inf")), "infinity"),
    "8-bit floats": (
        tensors(lambda found: found.update({Q: torch.zeros(128, 96).to(torch.float8_e4m3fn)})),
        "is float8_e4m3fn",
    ),
    "no elements": (tensors(lambda found: found.update({Q: torch.zeros(0, 96)})), "has the shape [0, 96]"),
    "a scalar": (tensors(lambda found: found.update({Q: torch.zeros(())})), "has the shape []"),
    "a shape that lies": (header(lambda h: h[Q].update(shape=[10**12, 96])), "model.safetensors: damaged"),
    "offsets that lie": (header(lambda h: h[Q].update(data_offsets=[5, 1])), "model.safetensors: damaged"),
    "an unknown type": (header(lambda h: h[Q].update(dtype="F99")), "model.safetensors: damaged"),
    "no weights in it": (text("model.safetensors", ""), "model.safetensors: damaged"),
    "huge weights": (tensors(lambda found: found[Q].fill_(3e38)), "too large"),
    **{
        f"config: {name} {value!r:.30}": (config(**{name: value}), says)
        for name, value, says in [
            ("num_attention_heads", 0, "num_attention_heads is 0, not 1 to 256"),
            ("num_attention_heads", "4", "num_attention_heads is '4', not a whole number"),
            ("num_attention_heads", True, "is True, not a whole number"),
            ("num_attention_heads", None, "num_attention_heads is missing"),
            ("num_attention_heads", 4.0, "is 4.0, not a whole number"),
            ("num_key_value_heads", 3, "3 of keys, are not supported"),
            ("num_hidden_layers", -3, "num_hidden_layers is -3, not 1 to 256"),
            ("num_hidden_layers", 10**400, "not 1 to 256"),
            ("hidden_size", [96], "hidden_size is [96], not a whole number"),
            ("head_dim", "32", "head_dim is '32'"),
            ("intermediate_size", 0, "intermediate_size is 0"),
            ("vocab_size", 600, "has the shape [704, 96], not [600, 96]"),
            ("vocab_size", None, "vocab_size is missing"),
            ("max_position_embeddings", 0, "max_position_embeddings is 0"),
            ("max_position_embeddings", 16, "a context of 16 tokens"),
            ("rms_norm_eps", "1e-5", "rms_norm_eps is '1e-5', not a number"),
            ("rms_norm_eps", -1.0, "rms_norm_eps is -1.0"),
            ("rms_norm_eps", float("nan"), "rms_norm_eps is nan"),
            ("tie_word_embeddings", "yes", "tie_word_embeddings is 'yes', not true or false"),
            ("hidden_act", ["silu"], "hidden_act is ['silu']"),
            ("model_type", ["llama"], "model_type"),
            ("model_type", {}, "not supported"),
            ("architectures", "LlamaForCausalLM", "not supported"),
            ("bos_token_id", "0", "bos_token_id is '0', not the number of a token"),
            ("layer_types", ["full_attention"], "layer_types has 1 entries for 3 layers"),
            ("layer_types", [1, 2, 3], "not a list of words"),
            ("layer_types", ["chunked_attention"] * 3, "layers of the kind chunked_attention"),
            ("rope_parameters", [1], "rope_parameters is [1], not an object"),
            ("rope_parameters", {"full_attention": {"rope_theta": 1e4}}, "rotary positions by layer"),
        ]
    },
    **{
        f"rope {values}": (rope(**values), says)
        for values, says in [
            ({"rope_theta": 0}, "rope_theta is 0, not 1 to"),
            ({"rope_theta": float("nan")}, "rope_theta is nan"),
            ({"rope_theta": -5.0}, "rope_theta is -5.0"),
            ({"rope_theta": "10000"}, "rope_theta is '10000', not a number"),
            ({"rope_theta": 10**400}, "rope_theta is 1000"),
            ({"rope_type": "linear", "factor": 0}, "factor is 0, not 0.001"),
            ({"rope_type": "linear"}, "rope_parameters.factor is missing"),
            ({"rope_type": ["linear"]}, "of kind"),
            ({"rope_type": "dynamic", "factor": 2.0}, "of kind 'dynamic'"),
            ({"rope_type": "default", "attention_factor": 2.0}, "attention_factor is 2.0"),
            (
                {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0},
                "not above the low one",
            ),
        ]
    },
    "config nested": (text("config.json", "[" * 100_000), "nested too deeply"),
    "config not UTF-8": (lambda f: (f / "config.json").write_bytes(b"{\xff}") and None, "not a config"),
    "tokenizer nested": (text("tokenizer.json", "[" * 100_000), "nested too deeply"),
    "tokenizer not UTF-8": (lambda f: (f / "tokenizer.json").write_bytes(b"\xff") and None, "not a tokenizer"),
    "tokenizer without merges": (tokenizer(lambda d: d["model"].pop("merges")), "has no merges"),
    "tokenizer with odd merges": (
        tokenizer(lambda d: d["model"].update(merges=[1, 2])),
        "its tokenizer cannot be read",
    ),
    "tokenizer with odd numbers": (tokenizer(lambda d: d["model"]["vocab"].update(a="1")), "cannot be read"),
    "tokenizer without tokens": (tokenizer(lambda d: d["model"].update(vocab={})), "no tokens"),
    "tokenizer with negative numbers": (tokenizer(lambda d: d["model"]["vocab"].update(a=-1)), "do not fit"),
    "tokenizer with a list of words": (tokenizer(lambda d: d["model"].update(type="WordLevel")), "WordLevel are not"),
    "added tokens of another type": (
        tokenizer(lambda d: d.update(added_tokens={"a": 1})),
        "added_tokens are of another",
    ),
    "added tokens without text": (tokenizer(lambda d: d.update(added_tokens=[{"id": 3}])), "'content'"),
    "a bad regex": (
        tokenizer(
            lambda d: d.update(
                pre_tokenizer={
                    "type": "Sequence",
                    "pretokenizers": [
                        {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False},
                        d["pre_tokenizer"],
                    ],
                }
            )
        ),
        "its tokenizer cannot be read",
    ),
    "a panic": (
        tokenizer(
            lambda d: d.update(
                pre_tokenizer={
                    "type": "Sequence",
                    "pretokenizers": [d["pre_tokenizer"], {"type": "FixedLength", "length": 0}],
                }
            )
        ),
        "failed inside",
    ),
    "letters that are dropped": (
        tokenizer(
            lambda d: d.update(
                pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, d["pre_tokenizer"]]}
            )
        ),
        "changes text",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case: str, folder: Path, tmp_path: Path, capfd: Any) -> None:
    change, says = CASES[case]
    change(folder)
    assert main(["model", "import", str(folder), "--output", "a.zlm", "--threads", "1"]) == 2
    errors = [line for line in capfd.readouterr().err.strip().splitlines() if "model shards" not in line]
    assert len(errors) == 1 and says in errors[0], errors
    assert not (tmp_path / "a.zlm").exists()


def wider_heads(folder: Path) -> None:
    """Five heads of 32 for a width of 96, as kanana-1.5-2.1b has 24 of 128 for 1,792."""
    found = safetensors.load_file(folder / "model.safetensors")
    for i in range(3):
        at = f"model.layers.{i}.self_attn."
        found[at + "q_proj.weight"] = torch.randn(192, 96) * 0.1
        found[at + "o_proj.weight"] = torch.randn(96, 192) * 0.1
    safetensors.save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    config(num_attention_heads=6)(folder)


def stale_shards(folder: Path) -> None:
    write_index(folder, {Q: "model-00001-of-00001.safetensors"})
    safetensors.save_file({Q: torch.zeros(3, 3)}, folder / "model-00001-of-00001.safetensors")


def marked(folder: Path) -> None:
    path = folder / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


ODD: dict[str, Change] = {
    "type as torch prints it": config(torch_dtype="torch.bfloat16", dtype="torch.bfloat16"),
    "type auto": config(torch_dtype="auto", dtype="auto"),
    "unknown fields": config(something=[1, {"a": None}], auto_map={"AutoModel": "evil.Model"}, transformers_version=5),
    "numbers as transformers 4 writes them": config(rope_parameters=None, rope_theta=10000, rope_scaling=None),
    "heads apart from the width": wider_heads,
    "stale shards": stale_shards,
    "shards": sharded(),
    "added tokens without special": tokenizer(lambda d: [t.pop("special") for t in d["added_tokens"]]),
    "a byte-order mark": marked,
    "bytes that are missing": tokenizer(lambda d: d["model"]["vocab"].pop("\u0100")),
    "truncation and padding": tokenizer(lambda d: d.update(
        truncation={"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 1},
        normalizer={"type": "Lowercase"}, post_processor={"type": "ByteLevel", "trim_offsets": True,
                                                           "add_prefix_space": True, "use_regex": True})),
    "a start beyond the rows": config(bos_token_id=10**6, eos_token_id=[10**6, 1]),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_imported_all_the_same(case: str, folder: Path, tmp_path: Path, capsys: Any) -> None:
    ODD[case](folder)
    assert main(["model", "import", str(folder), "--output", "a.zlm", "--threads", "1"]) in (0, 1)
    model = store.load(tmp_path / "a.zlm")
    data = b"Some Text, and  more of it: \0\xff 123\r\n"
    assert model.tokenizer.decode(model.tokenizer.encode(data)) == data
    assert LlmCodec(model).decode(LlmCodec(model).encode(data), len(data)) == data


def test_sliding_windows(tmp_path: Path, capsys: Any) -> None:
    """The same one everywhere is a shorter window; a mixture of a short one and none is refused."""
    from zllm.models.importing import llama, source

    folder = hub.save(hub.fresh("qwen3"), tmp_path / "model", "qwen3")
    sliding = {"use_sliding_window": True, "sliding_window": 100}
    config(**sliding, layer_types=["sliding_attention"] * 3)(folder)
    assert llama.reach(source.open_source(str(folder)).config, 3) == 100
    config(**sliding, layer_types=None, max_window_layers=28)(folder)
    assert llama.reach(source.open_source(str(folder)).config, 3) == 512
    config(**sliding, layer_types=None, max_window_layers=0)(folder)
    assert llama.reach(source.open_source(str(folder)).config, 3) == 100
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
