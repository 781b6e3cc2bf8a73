"""zllm model train, as far as the command line is concerned."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from models import tiny

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
WORDS = "storm harbour lantern keeper wrote letter morning gull rope tide under the of a and".split()  # noqa: SIM905


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """100 KB of small files of no special name."""
    rng = random.Random(4)
    folder = tmp_path / "my_docs"
    folder.mkdir()
    for number in range(50):
        text = " ".join(rng.choice(WORDS) for _ in range(350)).replace(" the ", ".\nThe ")
        (folder / f"note{number}.md").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], b"--name"),
        (["--name", "default"], b"built-in"),
        (["--name", "a/b"], b"cannot be a model's name"),
        (["--name", "taken"], b"--force"),
        (["--name", "x", "--held-out", "60"], b"0 to 49"),
        (["--name", "x", "--held-out", "few"], b"few"),
        (["--name", "x", "--patience", "long"], b"long"),
        (["--output", "m.zlm"], b"m.zlm already exists"),
        (["--output", "n.zlm"], b"n.md already exists"),
    ],
)
def test_what_is_refused_at_once(words: list[str], text: bytes, data: Path, zllm: Run, home: Path) -> None:
    tiny.write(data.parent / "m.zlm", layers=1, dim=32)
    (data.parent / "n.md").write_text("notes of somebody")
    zllm("model", "import", "m.zlm", "--name", "taken")
    result = zllm("model", "train", "--data", "my_docs", *words, code=2)
    assert text in result.stderr and result.stderr.count(b"\n") == 1
    assert not (home / "training").exists()


def test_a_small_folder_becomes_an_installed_model(data: Path, zllm: Run, home: Path) -> None:
    pytest.importorskip("torch")
    command = ["model", "train", "--data", "my_docs", "--preset", "tiny", "--tokens", "12000", "-j", "1"]
    said = zllm(*command, "--name", "mine").stderr.decode()
    assert "held out" in said and "bits per byte" in said and "--model mine" in said
    shown = zllm("model", "show", "mine").stdout.decode()
    assert "Held-out text" in shown and "origin: trained here" in shown
    zllm("model", "verify", "mine")
    zllm("create", "a.zllm", "my_docs", "-8", "--model", "mine", "--embed-model")
    rows = json.loads(zllm("model", "list", "--json").stdout)["models"]
    assert "mine" in {row["name"] for row in rows}
    on = zllm(*command, "--output", "on.zlm", "--from", "mine", "--patience", "1").stderr.decode()
    assert "as archives have it" in on
    assert "nobody" in zllm(*command, "--output", "x.zlm", "--from", "nobody", code=4).stderr.decode()
    zllm("model", "remove", "mine")
    assert not list((home / "models").glob("*.md"))
    zllm("extract", "a.zllm", "-C", "out")
