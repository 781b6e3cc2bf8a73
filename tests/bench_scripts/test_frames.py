"""``python -m bench frames`` on a little text: its rows fit each other, and a primer is what it says."""

import csv

import pytest

from bench import frames
from bench.__main__ import main
from zllm.codecs.cm import CmCodec

LINES = "".join(f"{n} lines of text, and {n * n % 97} more words in them\n" for n in range(400))


@pytest.fixture
def run(tmp_path):
    """Runs the benchmark; its rows."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "geonames.tsv").write_text(LINES)
    (tmp_path / "data" / "metrics.jsonl").write_text("")  # nothing to measure

    def run_frames(*options):
        paths = ["--data", str(tmp_path / "data"), "--corpus", str(tmp_path / "none"), "--results", str(tmp_path)]
        assert main(["frames", *paths, *options]) == 0
        with (tmp_path / "frames.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return run_frames


def test_rows(run):
    size = 9000
    rows = run("--bytes", str(size), "--frames", "2000", "16000", "32000", "-j", "2", "--codecs", "cm", "llm")
    assert [(row["text"], row["codec"], row["frame"], row["frames"]) for row in rows] == [
        ("geonames.tsv", codec, step, count)
        for codec in ("cm", "llm")
        for step, count in (("2000", "5"), ("16000", "1"))
    ]
    for small, whole in (rows[:2], rows[2:]):
        assert (whole["over_1_mib"], whole["primed_frames"], whole["primer_saves"]) == ("1.0000", "0", "")
        assert float(small["over_1_mib"]) == pytest.approx(int(small["size"]) / int(whole["size"]), abs=1e-4)
        assert small["primed_frames"] == "4"
        assert 0 < float(small["primer_saves"]) < 1
        assert 1 < float(small["primed_over_1_mib"]) < float(small["over_1_mib"])
    data = LINES.encode()[:size]
    alone = [len(CmCodec().encode(data[at : at + 2000])) for at in range(0, size, 2000)]
    assert int(rows[0]["size"]) == sum(alone) + 4 * 24


def test_a_primer_is_the_frame_before(run):
    """Two frames with the first as primer are one frame with a document's start between them."""
    size = 3000
    (row, _) = run("--bytes", str(size), "--frames", "2000", "4000", "--codecs", "cm")
    data = LINES.encode()[:size]
    together = len(CmCodec().encode(data, (2000,)))
    whole = len(CmCodec().encode(data))
    # 24 bytes of the second frame are saved in the same proportion.
    assert float(row["primed_over_1_mib"]) * whole == pytest.approx(together, abs=25)


def test_a_sample_is_taken_evenly():
    names = [bytes([n]) for n in range(10)]
    assert frames._evenly(names, 3) == [names[1], names[5], names[8]]
    assert frames._evenly(names, 20) == names
    assert frames._evenly(names, None) == names
    assert frames._evenly(names, 0) == frames._evenly([], 3) == []


def test_quick_keeps_what_was_measured(run, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.common.RESULTS", tmp_path / "kept")
    run("--bytes", "900", "--codecs", "cm", "--results", str(tmp_path))
    paths = ["--data", str(tmp_path / "data"), "--corpus", str(tmp_path / "none")]
    assert main(["frames", "--quick", "--codecs", "cm", *paths, "--results", str(tmp_path / "kept")]) == 0
    assert not (tmp_path / "kept").exists()


def test_given_files_and_nothing_at_all(run, tmp_path, capsys):
    (tmp_path / "x.txt").write_text(LINES)
    rows = run("--files", str(tmp_path / "x.txt"), "--codecs", "cm", "--bytes", "5000", "--frames", "5000")
    assert [(row["text"], row["frames"]) for row in rows] == [("x.txt", "1")]
    (tmp_path / "data" / "geonames.tsv").unlink()
    assert main(["frames", "--data", str(tmp_path / "data"), "--corpus", str(tmp_path / "none")]) == 2
    assert "nothing to measure" in capsys.readouterr().err
