"""GGUF files give what the folder gives that they were made of; what is damaged or odd in one is said in a line."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
gguf = pytest.importorskip("gguf")

import numpy as np  # noqa: E402
from importing import hub, llamacpp  # noqa: E402
from importing.test_import import DATA, no_bar  # noqa: E402

from zllm.cli.main import main  # noqa: E402
from zllm.codecs.llm import LlmCodec  # noqa: E402
from zllm.errors import ModelError  # noqa: E402
from zllm.models import store, zlm  # noqa: E402
from zllm.models.importing import command, ggufsource, source  # noqa: E402
from zllm.models.importing.ggufile import GgufFile  # noqa: E402

KINDS = ("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    base = tmp_path_factory.mktemp("folders")
    torch.set_num_threads(1)
    known: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in known:
            known[family] = hub.save(hub.season(hub.fresh(family)), base / family, family)
        return known[family]

    return make


def imported(path: Path, output: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    command.import_model(command.ImportOptions(str(path), output, "mine"), no_bar)
    file = zlm.read(output)
    return file.description, {name: bytes(tensor[2]) for name, tensor in file.tensors.items()}


@pytest.mark.parametrize("family", hub.FAMILIES)
def test_the_same_integers_as_of_the_folder(family: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = folders(family)
    file = llamacpp.convert(folder, tmp_path / "model.gguf", family)
    description, tensors = imported(file, tmp_path / "a.zlm")
    expected, wanted = imported(folder, tmp_path / "b.zlm")
    for named in (description, expected):
        for name in ("origin", "source"):
            del named[name]
    assert description == expected
    if family == "llama":  # of SentencePiece's tokenizer the file has scores, by which merges are made anew
        tensors.pop("tokenizer.json"), wanted.pop("tokenizer.json")
    assert tensors == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_quantised_weights(kind: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = folders("qwen3")
    file = llamacpp.convert(folder, tmp_path / "model.gguf", "qwen3", kind)
    near = ggufsource.open_file(file).family().layer(1).o.weight
    exact = source.open_source(str(folder)).family().layer(1).o.weight
    step = {"F16": 1e-3, "BF16": 4e-3, "Q8_0": 5e-3, "Q4_0": 0.07, "Q4_1": 0.07, "Q5_0": 0.035, "Q5_1": 0.035}[kind]
    error = (near - exact).abs().max() / exact.abs().max()
    assert 0 < error < step


def test_blocks_of_256(tmp_path: Path) -> None:
    def half(value: float) -> bytes:
        return np.float16(value).tobytes()

    blocks = {
        "Q6_K": (bytes(192) + bytes([2]) * 16 + half(0.5), -32.0),
        "Q4_K": (half(0.5) + half(0) + bytes([1]) * 12 + b"\x33" * 128, 1.5),
        "Q5_K": (half(0.5) + half(0) + bytes([1]) * 12 + bytes(32) + b"\x33" * 128, 1.5),
    }
    for kind, (block, value) in blocks.items():
        writer = gguf.GGUFWriter(tmp_path / kind, "llama")
        raw = np.frombuffer(block * 6, np.uint8).reshape(3, -1)
        writer.add_tensor("t", raw, raw_dtype=gguf.GGMLQuantizationType[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        found = GgufFile(tmp_path / kind).tensor("t")
        assert found.shape == (3, 512) and (found == value).all(), kind


def test_text_comes_back(folders: Callable[[str], Path], tmp_path: Path) -> None:
    for family in ("llama", "qwen2"):
        file = llamacpp.convert(folders(family), tmp_path / f"{family}.gguf", family, "Q8_0")
        imported(file, tmp_path / "a.zlm")
        codec = LlmCodec(store.load(tmp_path / "a.zlm"))
        assert codec.decode(codec.encode(DATA, [1000]), len(DATA), [1000]) == DATA


def test_the_command(folders: Callable[[str], Path], tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))
    file = llamacpp.convert(folders("gpt2"), tmp_path / "Tiny-GPT2.Q8_0.gguf", "gpt2", "Q8_0")
    assert main(["model", "import", str(file), "--threads", "1"]) == 0
    assert "Tiny-GPT2.Q8_0:" in capsys.readouterr().err
    assert store.resolve("Tiny-GPT2.Q8_0").description["source"]["files"].keys() == {file.name}
    assert main(["model", "import", str(file), "--revision", "main", "--force"]) == 2
    assert "--revision is for repositories of the hub" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"llama.rope.scaling.type": "yarn"}, "rotary positions of kind 'yarn' are not supported"),
        ({"llama.expert_count": 8}, "mixtures of experts are not supported"),
        ({"llama.rope.dimension_count": 16}, "rotate only a part of a head are not supported"),
        ({"llama.rope.dimension_count": 999}, "rope.dimension_count is 999"),
    ],
)
def test_what_a_network_cannot_have(
    said: dict[str, Any], message: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    file = llamacpp.convert(folders("llama"), tmp_path / "model.gguf", "llama", **said)
    with pytest.raises(ModelError, match=message):
        ggufsource.open_file(file).family()


def test_other_architectures_and_tokenizers(folders: Callable[[str], Path], tmp_path: Path) -> None:
    file = llamacpp.convert(folders("qwen2"), tmp_path / "model.gguf", "qwen2")
    data = file.read_bytes()
    file.write_bytes(data.replace(b"qwen2", b"qwem2"))
    with pytest.raises(ModelError, match="the architecture 'qwem2' is not supported: only llama"):
        ggufsource.open_file(file)
    for text, message in ((b"gpt-2", "texts cut as by 'gpt-9'"), (b"gpt2", "of the kind 'gpt9' are not supported")):
        file.write_bytes(data.replace(text, text[:-1] + b"9"))
        with pytest.raises(ModelError, match=message):
            ggufsource.open_file(file).tokenizer()


def _front(*numbers: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", *numbers)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GGUF", "cut short"),
        (b"GGML" + bytes(60), "not a GGUF file"),
        (_front(1, 0, 0), "its version is 1, not 2 or 3"),
        (_front(0x03000000, 0, 0), "of the other byte order"),
        (_front(3, 1 << 60, 0) + bytes(99), "states 1152921504606846976 entries"),
        (_front(3, 0, 1 << 40) + bytes(99), "states 1099511627776 entries"),
        (_front(3, 0, 1) + struct.pack("<Q", 1 << 50) + bytes(99), "entries, more than it can hold"),
        (_front(3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"a", 9, 8, 1 << 59) + bytes(99), "more than it can hold"),
        (_front(3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"a", 9, 9, 1) + bytes(99), "a list of the unsupported type 9"),
        (_front(3, 0, 1) + struct.pack("<Q1sI", 1, b"a", 77) + bytes(99), "a value of the unknown type 77"),
        (_front(3, 0, 1) + struct.pack("<Q1sI", 1, b"\xff", 0) + bytes(99), "can't decode byte"),
        (_front(3, 1, 0) + struct.pack("<Q1sI", 1, b"t", 1 << 31) + bytes(99), "has 2147483648 dimensions"),
    ],
)
def test_headers_that_lie(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(data)
    with pytest.raises(ModelError, match=message) as error:
        GgufFile(tmp_path / "model.gguf")
    assert "\n" not in str(error.value)


def test_files_that_are_cut_or_changed(folders: Callable[[str], Path], tmp_path: Path) -> None:
    file = llamacpp.convert(folders("qwen3"), tmp_path / "model.gguf", "qwen3")
    data = file.read_bytes()
    file.write_bytes(data[:-4000])
    with pytest.raises(ModelError, match=r"cut short: the tensor .* is not whole: download it again"):
        _all_of(file)
    front = len(data) - sum(4 * int(np.prod(t.shape)) for t in GgufFile(file).tensors.values())
    random = np.random.default_rng(7)
    for _ in range(150):
        changed = bytearray(data)
        for at in random.integers(4, front, 3):
            changed[at] = random.integers(256)
        file.write_bytes(changed)
        try:
            _all_of(file)
        except ModelError as error:
            assert "\n" not in str(error)


def _all_of(file: Path) -> None:
    found = ggufsource.open_file(file)
    family = found.family()
    family.embedding(), family.head(), found.tokenizer()
    for index in range(min(3, family.shape.layers)):
        family.layer(index)


def test_without_the_library(folders: Callable[[str], Path], tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    file = llamacpp.convert(folders("qwen2"), tmp_path / "model.gguf", "qwen2")
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    assert main(["model", "import", str(file), "--output", str(tmp_path / "a.zlm")]) == 2
    assert "importing a GGUF file needs the package 'gguf': pip install 'zllm[gguf]'" in capsys.readouterr().err
