"""zllm model list, import, export, remove, verify."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from models import tiny

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
SMALL = {"layers": 1, "dim": 32}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))
    return tiny.write(tmp_path / "m.zlm", **SMALL)


def listed(zllm: Run) -> dict[str, dict[str, object]]:
    return {m["name"]: m for m in json.loads(zllm("model", "list", "--json").stdout)["models"]}


@pytest.mark.parametrize("action", ["import", "add"])
def test_from_file_to_store_to_file(model: Path, zllm: Run, tmp_path: Path, action: str) -> None:
    assert zllm("model", action, "m.zlm", "--name", "mine").stderr == b""
    row = listed(zllm)["mine"]
    assert row["size"] == model.stat().st_size and row["built_in"] is False and row["problem"] is None
    text = zllm("model", "list").stdout.decode()
    assert "mine" in text and str(row["sha256"])[:16] in text and "made by the tests" in text
    assert json.loads(zllm("model", "show", "mine", "--json").stdout)["sha256"] == row["sha256"]
    zllm("model", "export", "mine", "back.zlm")
    assert (tmp_path / "back.zlm").read_bytes() == model.read_bytes()
    assert zllm("model", "export", "mine", "-").stdout == model.read_bytes()
    assert b"--force" in zllm("model", "export", "mine", "back.zlm", code=2).stderr
    zllm("model", "export", "default", "back.zlm", "--force")
    zllm("model", "verify", "back.zlm")
    zllm("model", "remove", "mine")
    assert set(listed(zllm)) == {"default", "fast"}


def test_from_a_pipe(model: Path, zllm: Run) -> None:
    zllm("model", "import", "-", data=model.read_bytes())
    assert "tiny" in listed(zllm)


def test_out_of_an_archive(model: Path, zllm: Run, tmp_path: Path, prose: bytes) -> None:
    from zllm.models import store, zlm

    fast = zlm.read(store.DATA_FOLDER / "fast.zlm")
    zlm.write(tmp_path / "other.zlm", {**fast.description, "name": "mine"}, fast.tensors)
    (tmp_path / "prose").write_bytes(prose[:9000])
    zllm("create", "a.zllm", "prose", "-8", "--model", "./other.zlm", "--embed-model")
    zllm("model", "import", "a.zllm")
    assert listed(zllm)["mine"]["size"] == (tmp_path / "other.zlm").stat().st_size
    zllm("create", "b.zllm", "prose", "-8", "--model", "mine")
    assert b"--embed-model" in zllm("model", "import", "b.zllm", code=2).stderr
    data = bytearray((tmp_path / "a.zllm").read_bytes())
    for at in (5000, 5009):  # one wrong byte would be corrected
        data[at] ^= 1
    (tmp_path / "bad.zllm").write_bytes(data)
    assert b"damaged" in zllm("model", "import", "bad.zllm", "--name", "x", code=3).stderr
    assert b"none.zllm" in zllm("model", "import", "none.zllm", code=2).stderr


def test_names_are_taken_once(model: Path, zllm: Run, tmp_path: Path) -> None:
    tiny.write(tmp_path / "other.zlm", seed=9, **SMALL)
    zllm("model", "import", "m.zlm", "--name", "mine")
    assert b"--force" in zllm("model", "import", "other.zlm", "--name", "mine", code=2).stderr
    zllm("model", "import", "other.zlm", "--name", "mine", "--force")
    assert b"built-in" in zllm("model", "import", "other.zlm", "--name", "default", code=2).stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["import", "none.zlm"], 2, b"none.zlm"),
        (["import", "folder"], 2, b""),
        (["import", "junk.zlm"], 2, b"not a model file"),
        (["import", "junk.bin"], 2, b"junk.bin is neither a folder nor a file that ends in .gguf, .zlm or .zllm"),
        (["remove", "nobody"], 4, b"nobody"),
        (["remove", "fast"], 2, b"built in"),
        (["remove", "../names"], 4, b"no such model"),
        (["export", "default", "junk.zlm"], 2, b"--force"),
        (["export", "nobody", "x.zlm"], 4, b"nobody"),
        (["verify", "nobody"], 4, b"nobody"),
        (["verify", "junk.zlm"], 3, b"not a model file"),
        (["verify", "none.zlm"], 2, b"none.zlm"),
        (["frobnicate"], 2, b"frobnicate"),
    ],
)
def test_what_cannot_be_done(words: list[str], code: int, text: bytes, model: Path, zllm: Run) -> None:
    (model.parent / "folder").mkdir()
    for name in ("junk.zlm", "junk.bin"):
        (model.parent / name).write_bytes(b"junk" * 100)
    result = zllm("model", *words, code=code)
    assert text in result.stderr and result.stderr.count(b"\n") == 1


def test_remove_by_hash_takes_all_names(model: Path, zllm: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        zllm("model", "import", "m.zlm", "--name", name)
    sha256 = str(listed(zllm)["a"]["sha256"])
    zllm("model", "remove", sha256[:12])
    assert set(listed(zllm)) == {"default", "fast"}
    assert not list((tmp_path / "home" / "models" / "names").iterdir())


def test_verify_says_what_is_wrong_with_each(model: Path, zllm: Run, tmp_path: Path) -> None:
    zllm("model", "import", "m.zlm", "--name", "mine")
    rows = json.loads(zllm("model", "verify", "--json").stdout)["models"]
    assert {row["name"]: row["state"] for row in rows} == {"default": "whole", "fast": "whole", "mine": "whole"}
    path = Path(str(listed(zllm)["mine"]["file"]))
    data = bytearray(path.read_bytes())
    data[-50] ^= 4
    path.write_bytes(data)
    (path.parent / "copied.zlm").write_bytes(b"half a file")
    result = zllm("model", "verify", code=3)
    assert result.stderr.count(b"\n") == 2 and b"mine: " in result.stderr and b"copied.zlm" in result.stderr
    assert b"copied" in zllm("model", "list").stdout
    zllm("model", "verify", "default")
    path.unlink()
    assert b"mine" in zllm("model", "verify", code=3).stderr
    zllm("model", "remove", "mine", "copied")
    zllm("model", "verify")
    result = zllm("model", "verify", "none.zlm", code=2)  # nothing that is not there is damaged
    assert result.stderr == b"zllm: none.zlm: No such file or directory\n"
    assert result.stdout.split() == [b"none.zlm", b"unreadable"]


def test_an_installed_model_codes_and_decodes_by_hash(model: Path, zllm: Run, tree: Path, tmp_path: Path) -> None:
    zllm("model", "import", "m.zlm", "--name", "mine")
    zllm("create", "a.zllm", "tree", "-8", "--model", "mine")
    zllm("test", "a.zllm")
