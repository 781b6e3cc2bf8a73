"""bench and model, as far as the command line is concerned."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def test_bench_as_table_and_json(zllm: Run, tree: Path) -> None:
    table = zllm("bench", "tree", "--no-llm", "--rival", "zstd -19", "--no-categories").stdout.decode()
    assert "zstd -19" in table and "zllm" in table and "bits/byte" in table
    report = json.loads(zllm("bench", "tree", "--no-llm", "--json", "--rival", "zstd -19").stdout)
    assert report["exact"] is True
    rows = report["sections"][0]["rows"]
    assert {row["name"] for row in rows} == {"zllm -6 --no-llm", "zstd -19"}
    assert all(row["size"] > 0 for row in rows)


def test_bench_of_nothing(zllm: Run) -> None:
    assert b"nowhere: No such file or directory" in zllm("bench", "nowhere", code=2).stderr


def test_models_are_listed_and_shown(zllm: Run) -> None:
    models = json.loads(zllm("model", "list", "--json").stdout)["models"]
    assert models and all(len(model["sha256"]) == 64 for model in models)
    name = models[0]["name"]
    assert name in zllm("model", "list").stdout.decode()
    shown = json.loads(zllm("model", "show", name, "--json").stdout)
    assert shown["sha256"] == models[0]["sha256"] and shown["shape"]["layers"] > 0
    assert models[0]["sha256"].encode() in zllm("model", "show").stdout


def test_unknown_models_are_code_4(zllm: Run) -> None:
    assert b"'nobody'" in zllm("model", "show", "nobody", code=4).stderr


def test_a_bad_model_file_is_refused(zllm: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.zlm").write_bytes(b"\xff" * 100)
    assert zllm("model", "show", "./bad.zlm", code=2).stderr.count(b"\n") == 1
    assert b"none.zlm" in zllm("model", "show", "none.zlm", code=2).stderr


def test_training_without_data(zllm: Run) -> None:
    assert b"--data" in zllm("model", "train", code=2).stderr
    result = zllm("model", "train", "--data", "nowhere", "--output", "x.zlm", code=2)
    assert b"nowhere is not a folder" in result.stderr


@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_training_without_torch_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from zllm.cli.main import main\n"
        "sys.exit(main(['model', 'train', '--data', '.', '--output', 'x.zlm']))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert result.returncode == 2
    assert b"pip install 'zllm[train]'" in result.stderr
