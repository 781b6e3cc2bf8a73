"""``python -m bench extraction`` on a small archive: what is decoded for one member is its whole frame."""

import csv
import os
from pathlib import Path

import pytest

from bench import extraction
from bench.__main__ import main
from bench.texts import PROSE
from bench.workloads import docstrings
from zllm.errors import ZllmError

TEXT = b"".join(docstrings(Path(os.__file__).parent / "asyncio").values())


@pytest.fixture
def run(tmp_path):
    """Runs the benchmark; its rows."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / PROSE[0]).write_bytes(TEXT)

    def run_extraction(*options):
        paths = ["--data", str(tmp_path / "data"), "--corpus", str(tmp_path / "none"), "--results", str(tmp_path)]
        assert main(["extraction", *paths, "--threads", "1", *options]) == 0
        with (tmp_path / "extraction.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return run_extraction


def test_rows(run):
    rows = run("--bytes", "10000", "--levels", "1", "5", "8")
    assert [(row["level"], row["codec"]) for row in rows] == [("1", "lz4"), ("5", "cm"), ("8", "llm")]
    for row in rows:
        assert (row["members"], row["bytes"], row["decoded"]) == ("5", "10000", "10000")
        assert 2000 <= int(row["member"]) < 2200
        assert 0 < int(row["read"]) < int(row["archive"])
        assert float(row["seconds"]) > 0 < float(row["processor_s"])
    # Rows of other levels stay.
    again = run("--bytes", "5000", "--levels", "2", "5")
    assert [(row["level"], row["bytes"]) for row in again] == [
        ("1", "10000"), ("2", "5000"), ("5", "5000"), ("8", "10000"),
    ]  # fmt: skip
    assert again[0] == rows[0]


def test_members_are_whole_lines(tmp_path):
    content = TEXT + b"no end of line"
    paths = extraction._write(content, tmp_path)
    pieces = [path.read_bytes() for path in paths]
    assert b"".join(pieces) == content
    assert all(piece.endswith(b"\n") and 2000 <= len(piece) < 2200 for piece in pieces[:-1])
    assert [path.name for path in paths] == sorted(path.name for path in paths)


def test_quick_keeps_what_was_measured(run, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.common.RESULTS", tmp_path / "kept")
    paths = ["--data", str(tmp_path / "data"), "--corpus", str(tmp_path / "none"), "--results", str(tmp_path / "kept")]
    assert main(["extraction", "--quick", "--levels", "1", *paths]) == 0
    assert not (tmp_path / "kept").exists()


def test_another_member_is_an_error(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(extraction, "same", lambda *_: False)
    paths = ["--data", str(tmp_path / "data"), "--corpus", str(tmp_path / "none"), "--results", str(tmp_path)]
    assert main(["extraction", "--bytes", "5000", "--levels", "1", *paths]) == ZllmError.exit_code
    assert "did not come back" in capsys.readouterr().err
