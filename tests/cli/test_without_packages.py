"""What an installation without ``tokenizers`` and ``tqdm`` does: all but coding text with a model."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from cli.test_progress import stderr_on_a_terminal

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
BLOCKED = ("tokenizers", "tqdm")


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that are started find neither package."""
    folder = tmp_path_factory.mktemp("blocked")
    for name in BLOCKED:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name={name!r})\n")
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{path}" if path else str(folder))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("options", [(), ("-9",), ("--model", "fast")])
def test_coding_text_with_a_model_says_what_to_install(
    zllm: Run, tree: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    result = zllm("create", "a.zllm", "tree", *options, code=2)
    assert result.stderr.startswith(b"zllm: coding text with a model needs the package 'tokenizers': ")
    assert b"pip install 'zllm[pack]'" in result.stderr and b"--no-llm" in result.stderr
    assert result.stderr.count(b"\n") == 1
    piped = zllm(*options, data=b"text" * 1000, code=2)
    assert (piped.stdout, piped.stderr) == (b"", result.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("options", [("-1",), ("-5",), ("-6", "--no-llm"), ("-9", "--no-llm")])
def test_packing_without_the_model_needs_neither(
    zllm: Run, tree: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert zllm("create", "a.zllm", "tree", *options).stderr == b""
    zllm("extract", "a.zllm", "-C", "out")
    assert contents(tmp_path / "out" / "tree") == contents(tree)


def test_reading_what_a_model_coded_needs_neither(
    zllm: Run, tree: Path, tmp_path: Path, checkout: Path, request: pytest.FixtureRequest
) -> None:
    (tree / "licence.txt").write_bytes((checkout / "LICENSE").read_bytes())
    zllm("create", "a.zllm", "tree")
    members = json.loads(zllm("list", "--json", "a.zllm").stdout)["members"]
    assert {m["name"]: m["codecs"] for m in members}["tree/licence.txt"] == ["llm"]
    request.getfixturevalue("bare")
    zllm("test", "a.zllm")
    zllm("info", "a.zllm", "--requires")
    zllm("extract", "a.zllm", "-C", "out")
    assert contents(tmp_path / "out" / "tree") == contents(tree)


@pytest.mark.usefixtures("bare")
def test_a_terminal_gets_the_summary_and_no_bar(tree: Path, tmp_path: Path) -> None:
    shown = stderr_on_a_terminal(["create", "-5", "a.zllm", "tree"], tmp_path)
    assert "packing" not in shown and "members" in shown.splitlines()[-1]


def test_a_cluster_is_told_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from zllm.integrations.dask_worker import difference, software

    here = software()

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    bare = software()
    assert bare == {**here, "tokenizers": "none"} and difference(bare, dict(bare)) == ""
    assert difference(bare, here).startswith("it has tokenizers none, this machine has ")
