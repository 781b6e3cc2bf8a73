import csv

import pytest

from bench.__main__ import main


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


@pytest.mark.parametrize("arguments", [[], ["nonesuch"], ["--help"]])
def test_usage(arguments, capsys):
    assert main(arguments) == 2
    assert (
        "usage: python -m bench {balance,coder,efficiency,exact,memory,overhead,peers,plot,ratio,scaling,speed}"
        in capsys.readouterr().err
    )
