"""Fallbacks: no model when packing, none or another one when unpacking."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def test_a_model_that_was_asked_for_and_is_missing_is_an_error(zllm: Run, tree: Path, tmp_path: Path) -> None:
    """Never a larger archive instead, whatever the level, and nothing is left."""
    zllm("create", "old.zllm", "tree")
    before = (tmp_path / "old.zllm").read_bytes()
    for command in (["create", "a.zllm", "tree"], ["create", "old.zllm", "tree", "--force"], ["-o", "b.zllm"]):
        result = zllm(*command, "--model", "nobody", data=b"text" * 1000, code=4)
        assert b"'nobody' is not installed" in result.stderr and result.stderr.count(b"\n") == 1
    assert not zllm("--model", "nobody", data=b"text" * 1000, code=4).stdout
    for useless in ("-3", "--no-llm"):
        assert zllm("create", "a.zllm", "tree", "--model", "nobody", useless, code=None).returncode in (2, 4)
    (tmp_path / "junk.zlm").write_text("no model")
    assert b"junk.zlm" in zllm("create", "a.zllm", "tree", "--model", "./junk.zlm", code=2).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junk.zlm", "old.zllm", "tree"]
    assert (tmp_path / "old.zllm").read_bytes() == before


def test_packing_without_the_built_in_model_is_a_warning(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zllm.cli import create
    from zllm.cli.output import Console
    from zllm.models import store

    monkeypatch.setattr(store, "DATA_FOLDER", tmp_path / "nowhere")
    console, said = Console(), []  # type: tuple[Console, list[str]]
    console.print = said.append
    create.run(["a.zllm", "tree", "-q"], console)
    assert console.status == 1 and len(said) == 1
    assert said[0].startswith("zllm: warning: no language model, text is coded without one: ")
    create.run(["b.zllm", "tree", "-q", "--no-llm"], Console())
    assert (tmp_path / "a.zllm").stat().st_size == (tmp_path / "b.zllm").stat().st_size


@pytest.mark.parametrize("kernel", ["neon" if platform.machine() in ("x86_64", "AMD64") else "avx2", "abacus"])
def test_a_kernel_that_cannot_be_had_is_no_reason_to_pack_without_the_model(
    zllm: Run, tree: Path, tmp_path: Path, kernel: str
) -> None:
    zllm("create", "old.zllm", "tree/docs")
    before = (tmp_path / "old.zllm").read_bytes()
    demanded = {**os.environ, "ZLLM_KERNEL": kernel}
    packing = (
        ("create", "a.zllm", "tree"),
        ("create", "old.zllm", "tree", "--force"),
        ("create", "a.zllm", "tree", "--no-llm"),
    )
    for arguments in (*packing, ()):
        result = zllm(*arguments, data=b"text" * 1000, env=demanded, code=2)
        why = "unknown kernel 'abacus'" if kernel == "abacus" else f"the kernel '{kernel}' is not built for this"
        assert result.stderr.startswith(f"zllm: {why}".encode()) and b"; usable here: " in result.stderr
        assert result.stderr.count(b"\n") == 1 and not result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.zllm", "tree"]
    assert (tmp_path / "old.zllm").read_bytes() == before
    reading = zllm("test", "old.zllm", env=demanded, code=2)
    assert all(why.encode() in line for line in reading.stderr.splitlines())


@pytest.fixture
def foreign(zllm: Run, prose: bytes, tmp_path: Path) -> Path:
    """An archive whose prose needs a model that is not installed: the default one under another name."""
    from zllm.models import store, zlm

    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "prose.txt").write_bytes(prose)
    (tmp_path / "src" / "noise.bin").write_bytes(os.urandom(3000))
    other = tmp_path / "other.zlm"
    default = zlm.read(store.resolve().path)
    zlm.write(other, {**default.description, "name": "foreign"}, default.tensors)
    zllm("create", "a.zllm", "src", "-8", "--model", "./other.zlm")
    used = {m["name"]: m["codecs"] for m in json.loads(zllm("list", "--json", "a.zllm").stdout)["members"]}
    assert used["src/prose.txt"] == ["llm"]
    return other


def test_what_needs_no_model_is_unpacked_without_it(foreign: Path, zllm: Run, tmp_path: Path) -> None:
    from zllm.models import store

    sha256 = store.load(foreign).sha256.hex().encode()
    result = zllm("extract", "a.zllm", "-C", "out", code=4)
    assert (tmp_path / "out/src/noise.bin").read_bytes() == (tmp_path / "src/noise.bin").read_bytes()
    assert [path.name for path in (tmp_path / "out/src").iterdir()] == ["noise.bin"]
    for word in (b"src/prose.txt", b"'foreign'", sha256, str(foreign.stat().st_size).encode(), b"--model"):
        assert word in result.stderr
    assert zllm("test", "a.zllm", code=4).stdout == b""
    assert zllm("cat", "a.zllm", "src/prose.txt", code=4).stdout == b""
    assert zllm("-d", data=(tmp_path / "a.zllm").read_bytes(), code=4).stderr.count(b"\n") == 1


def test_listing_needs_no_model(foreign: Path, zllm: Run) -> None:
    assert b"src/prose.txt" in zllm("list", "-v", "a.zllm").stdout
    facts = json.loads(zllm("info", "--json", "a.zllm").stdout)
    assert [(model["name"], model["installed"]) for model in facts["models"]] == [("foreign", False)]


def test_the_model_given_or_installed_is_used(foreign: Path, zllm: Run, tmp_path: Path) -> None:
    zllm("extract", "a.zllm", "-C", "out", "--model", "./other.zlm")
    assert (tmp_path / "out/src/prose.txt").read_bytes() == (tmp_path / "src/prose.txt").read_bytes()
    (tmp_path / "home" / "models").mkdir(parents=True)
    foreign.rename(tmp_path / "home" / "models" / "x.zlm")
    environment = {**os.environ, "ZLLM_HOME": str(tmp_path / "home")}
    zllm("test", "a.zllm", env=environment)
    zllm("test", "a.zllm", code=4, env={**environment, "ZLLM_HOME": str(tmp_path / "empty")})


def test_another_model_is_refused(foreign: Path, zllm: Run) -> None:
    assert b"not the one given" in zllm("test", "a.zllm", "--model", "default", code=4).stderr


def test_a_model_file_whose_tokenizer_is_broken_is_an_error(zllm: Run, tree: Path, tmp_path: Path) -> None:
    from zllm.models import store, zlm

    default = zlm.read(store.resolve().path)
    text = memoryview(b"{}")
    zlm.write(tmp_path / "bad.zlm", default.description, {**default.tensors, "tokenizer.json": ("U8", (2,), text)})
    result = zllm("create", "a.zllm", "tree", "--model", "./bad.zlm", code=2)
    assert b"bad.zlm" in result.stderr and not (tmp_path / "a.zllm").exists()
