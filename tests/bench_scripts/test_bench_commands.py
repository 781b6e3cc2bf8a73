import csv
import subprocess
import sys
from pathlib import Path

import pytest
from models import tiny

import bench
from bench.__main__ import main
from bench.texts import PROSE


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_memory(tmp_path, capfd):
    options = ["--size", "3e6", "--no-llm", "--level", "2", "--results", str(tmp_path)]
    assert main(["memory", *options]) == 0
    assert [row["what"] for row in rows(tmp_path / "memory.csv")] == ["create", "extract"]
    out, err = capfd.readouterr()
    assert out.startswith("create: peak ")
    assert "every byte came back" in err
    assert main(["memory", *options, "--limit-mb", "1"]) == 1


def test_gpu(tmp_path, capsys):
    """On a processor, with a tiny model; where there is a GPU, on it as well."""
    torch = pytest.importorskip("torch")
    model = tiny.write(tmp_path / "m.zlm", layers=1, dim=32)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / PROSE[0]).write_text("It was the best of times, it was the worst of times. " * 30)
    options = [str(tmp_path / "data"), "--model", str(model), "--bytes", "900", "--frame-size", "300"]
    options += ["--native-bytes", "300", "-j", "2", "--results", str(tmp_path)]
    for device in ["cpu", "cuda"][: 1 + torch.cuda.is_available()]:
        assert main(["gpu", "--device", device, *options]) == 0
        found = rows(tmp_path / "gpu.csv")
        assert [(row["way"], row["bytes"]) for row in found] == [
            ("encode", "900"), ("decode", "900"), ("encode", "300"), ("decode", "300"),
        ]  # fmt: skip
        assert all(float(row["kb_s"]) > 0 for row in found)
    capsys.readouterr()
    if not torch.cuda.is_available():
        assert main(["gpu", *options]) == 2
        assert capsys.readouterr().err.startswith("bench: --device cuda: torch finds no CUDA device here")


@pytest.mark.parametrize("arguments", [[], ["nonesuch"], ["--help"], ["-h"]])
def test_usage(arguments, capsys):
    asked = arguments in (["--help"], ["-h"])
    assert main(arguments) == (0 if asked else 2)
    said, other = capsys.readouterr()[:: 1 if asked else -1]
    assert said.startswith("usage: python -m bench NAME") and not other
    names = ["ratio", "speed", "exact", "memory", "faults", "media", "gpu"]
    assert [line.split()[0] for line in said.splitlines()[2:]] == names


def test_benchmarks_of_parts(tmp_path):
    """Each runs once and codes what it decodes; how fast is not asked here."""
    pytest.importorskip("numpy")
    folder = Path(bench.__file__).parent / "benchmarks"
    command = [sys.executable, "-m", "pytest", "--benchmark-disable", "-p", "no:cacheprovider", str(folder)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout
