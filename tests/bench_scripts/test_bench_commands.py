import csv

import pytest
from models import tiny

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


def test_overhead(tmp_path, capsys):
    assert main(["overhead", "--members", "1000", "--results", str(tmp_path)]) == 0
    found = rows(tmp_path / "overhead.csv")
    assert [row["headers"] for row in found] == ["pax", "gnu", "ustar"]
    # Names compress, and each has 8 bytes of SHA-256; plain tar's 400 and more are not possible.
    assert all(8 < float(row["with_name"]) <= 30 for row in found)
    assert all(float(row["per_member"]) < float(row["with_name"]) for row in found)


def test_gpu(tmp_path, capsys):
    """On a processor, with a tiny model; where there is a GPU, on it as well."""
    torch = pytest.importorskip("torch")
    model = tiny.write(tmp_path / "m.zlm", layers=1, dim=32)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / PROSE[0]).write_text("It was the best of times, it was the worst of times. " * 30)
    options = ["--model", str(model), "--bytes", "900", "--frame-size", "300", "--native-bytes", "300", "-j", "2"]
    options += ["--results", str(tmp_path), "--data", str(tmp_path / "data"), "--corpus", str(tmp_path)]
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


@pytest.mark.parametrize("arguments", [[], ["nonesuch"], ["--help"]])
def test_usage(arguments, capsys):
    assert main(arguments) == 2
    assert (
        "usage: python -m bench {balance,coder,efficiency,exact,extraction,frames,gpu,memory,overhead,peers,plot,ratio,"
        "scaling,speed}" in capsys.readouterr().err
    )
