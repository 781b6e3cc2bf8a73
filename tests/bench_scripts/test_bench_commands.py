import csv

import pytest

from bench.__main__ import main


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "alice29.txt").write_text("some words and some more words\n" * 300)
    (folder / "x.json").write_text('{"a": [1, 2, 3], "b": "c"}\n' * 100)
    (folder / "README.md").write_text("not measured")
    return folder


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_ratio(data, tmp_path, capsys):
    options = ["--data", str(data), "--results", str(tmp_path), "--no-llm", "--level", "2", "--rivals", "zstd -19"]
    assert main(["ratio", *options, "--only", "s"]) == 0
    found = rows(tmp_path / "ratio.csv")
    assert {row["workload"] for row in found} == {"x.json", "prose in notes of 4 KB", "Python's Lib/*.py"}
    assert {row["name"] for row in found} == {"zllm -2 --no-llm", "zstd -19"}
    assert all(int(row["size"]) > 0 for row in found)
    assert "x.json: 1 files, 2,700 bytes" in capsys.readouterr().out


def test_nothing_to_measure(data, capsys):
    assert main(["ratio", "--data", str(data), "--only", "nonesuch"]) == 2
    assert "nothing to measure" in capsys.readouterr().err


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
    # Names compress, so less than a SHA-256 beside names is possible; plain tar's 400 and more are not.
    assert all(0 < float(row["per_member"]) <= 48 for row in found)


@pytest.mark.parametrize("arguments", [[], ["nonesuch"], ["--help"]])
def test_usage(arguments, capsys):
    assert main(arguments) == 2
    assert (
        "usage: python -m bench {balance,coder,efficiency,exact,memory,overhead,peers,ratio,scaling,speed}"
        in capsys.readouterr().err
    )
