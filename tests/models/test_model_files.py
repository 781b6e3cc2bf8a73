"""Model files and the store: what is refused, and what is found."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny

from zllm.errors import MissingModelError, ModelError
from zllm.models import store, zlm


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "m.zlm")


def rewrite(path: Path, change: dict[str, object], **header_change: object) -> Path:
    """Change the description, or an entry of the header."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    description = json.loads(header["__metadata__"]["zllm"]) | change
    header["__metadata__"]["zllm"] = json.dumps(description)
    for name, values in header_change.items():
        header[name.replace("__", ".")] |= values
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return path


def test_round_trip(path: Path) -> None:
    file = zlm.read(path)
    description, tensors = tiny.tensors_of()
    assert file.description == description
    assert {n: (d, s, bytes(v)) for n, (d, s, v) in file.tensors.items()} == {
        n: (d, s, bytes(v)) for n, (d, s, v) in tensors.items()
    }
    assert file.size == path.stat().st_size


def test_same_numbers_same_file(path: Path, tmp_path: Path) -> None:
    assert tiny.write(tmp_path / "again.zlm").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "format 99"),
        ({"arithmetic": "one"}, "arithmetic"),
        ({"layers": 3}, "layers"),
        ({"config": None}, "config"),
        ({"name": 7}, "name"),
    ],
)
def test_bad_descriptions(path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        zlm.read(rewrite(path, change))


@pytest.mark.parametrize(
    "values",
    [
        {"shape": [1 << 40, 1 << 40]},
        {"shape": [-1, 64]},
        {"dtype": "F32"},
        {"data_offsets": [0, 1 << 62]},
        {"data_offsets": [10, 5]},
        {"shape": [True, 64]},
        {"data_offsets": [0]},
    ],
)
def test_tensors_with_bad_sizes(path: Path, values: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=r"tensor head\.q does not fit"):
        zlm.read(rewrite(path, {}, head__q=values))


@pytest.mark.parametrize("keep", [0, 7, 8, 100, 20000, -1])
def test_truncated(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError):
        zlm.read(path)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_junk(data: bytes) -> None:
    with pytest.raises(ModelError):
        zlm.parse(data)


def test_other_arithmetic_is_refused_by_name(path: Path) -> None:
    model = store.load(rewrite(path, {"arithmetic": 999}))
    with pytest.raises(ModelError, match="arithmetic version 999"):
        _ = model.native


def test_flipped_weights_are_another_model(path: Path) -> None:
    before = zlm.read(path).sha256
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    assert zlm.read(path).sha256 != before


def test_find_by_hash(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "home" / "models"
    folder.mkdir(parents=True)
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))
    digest = zlm.read(path).sha256
    with pytest.raises(MissingModelError) as caught:
        store.find(digest, "tiny", 123)
    assert caught.value.sha256 == digest.hex()
    assert digest.hex() in str(caught.value)
    assert caught.value.exit_code == 4
    assert store.find(digest, extra=path).sha256 == digest
    path.rename(folder / "any-name.zlm")
    assert store.find(digest).name == "tiny"
    assert store.resolve("tiny").sha256 == digest
    (folder / "junk.zlm").write_bytes(b"junk")
    assert store.resolve("tiny").sha256 == digest


def test_other_model_than_the_one_needed(path: Path) -> None:
    with pytest.raises(MissingModelError, match="not the one given"):
        store.find(b"\1" * 32, "wanted", extra=path)


def test_resolve_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError):
        store.resolve("no-such-model")
    with pytest.raises(ModelError, match="cannot read"):
        store.resolve(tmp_path / "none.zlm")


def test_known_answer_depends_on_the_numbers(tmp_path: Path) -> None:
    one = store.load(tiny.write(tmp_path / "1.zlm", seed=1))
    two = store.load(tiny.write(tmp_path / "2.zlm", seed=2))
    assert len(one.known_answer) == 32
    assert one.known_answer != two.known_answer
    assert one.tokenizer_sha256 == two.tokenizer_sha256


def test_default_model_ships() -> None:
    model = store.resolve()
    assert model.name == "default"
    assert model.path.parent == store.DATA_FOLDER
    assert model.size <= 16 << 20
    card = model.path.with_suffix(".md").read_text(encoding="utf-8")
    for fact in (model.sha256.hex(), model.tokenizer_sha256.hex(), model.known_answer.hex()):
        assert fact in card
