"""``python -m bench speed`` and ``exact`` on a little text: their rows are there, and their figures fit each other."""

import argparse
import csv
import math

import pytest

from bench import exact, texts
from bench.__main__ import main
from bench.common import Outcome, Target, merge_csv, table
from bench.process import run_zllm
from zllm import _native as native
from zllm.errors import UsageError, ZllmError
from zllm.models import store

KERNEL = native.usable_kernels()[0]
SENTENCES = [
    f"On the {day} day they walked {n} miles along the river and slept in the open.\n"
    for n, day in enumerate(["first", "second", "third", "fourth", "last"], 7)
]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "alice29.txt").write_text("".join(f"{n} {line}" for n, line in enumerate(SENTENCES * 10)))
    (folder / "fields.c").write_text("int main(void) { return 0; }\n" * 40)
    return folder


@pytest.fixture
def measured(data, tmp_path):
    """Runs a benchmark; its rows."""

    def run(name, *options):
        assert main([name, str(data), "--quick", "--results", str(tmp_path / "results"), *options]) == 0
        with (tmp_path / "results" / f"{name}.csv").open() as file:
            return list(csv.DictReader(file))

    return run


def test_speed(measured, capsys):
    rows = measured("speed", "--bytes", "3000", "--kernels", KERNEL, "--threads", "1", "2")
    assert [(row["name"], row["threads"]) for row in rows[:2]] == [(f"zllm, {KERNEL}", "1"), (f"zllm, {KERNEL}", "2")]
    names = [row["name"] for row in rows[2:]]
    assert set(names) <= {"zstd -19", "zpaq -m5"}
    zstd = rows[2 + names.index("zstd -19")]
    for row in rows:
        for way in ("encode", "decode"):
            ratio = float(row[f"{way}_kb_s"]) / float(zstd[f"{way}_kb_s"])
            assert float(row[f"{way}_vs_zstd -19"]) == pytest.approx(ratio, abs=0.001, rel=0.05)
    assert rows[0]["size"] == rows[1]["size"]
    assert "of_fastest_kernel" in capsys.readouterr().out


def test_rows_about_something_else_stay(tmp_path):
    path = tmp_path / "results" / "some.csv"
    about = ("model", "way")
    merge_csv(path, [{"model": m, "way": w, "kb_s": 1.5} for m in ("2M", "6M") for w in ("encode", "decode")], about)
    merge_csv(path, [{"model": m, "way": "encode", "kb_s": 2.5} for m in ("16M", "2M")], about)
    assert path.read_text().splitlines() == [
        "model,way,kb_s", "2M,encode,2.5", "2M,decode,1.5", "6M,encode,1.5", "6M,decode,1.5", "16M,encode,2.5"
    ]  # fmt: skip
    merge_csv(path, [{"model": "2M", "way": "decode", "mb_s": 3}], about)  # rows of other columns are of another time
    assert path.read_text() == "model,way,mb_s\n2M,decode,3\n"


def test_exact(measured):
    rows = measured("exact", "--bytes", "6000", "--kernels", KERNEL)
    for model in ("fast", "default"):
        mine = [row for row in rows if row["model"] == model]
        assert [row["threads"] for row in mine] == ["1", "2", "7"]
        assert {row["batch"] for row in mine} == {"1", "3", "64"}
        assert len({row["sha256"] for row in mine}) == 1
    assert len(rows) == 6
    assert all(row["differing_bits"] == "0" and row["decoded"] == "exact" for row in rows)
    assert [(row["frames"], row["streams"]) for row in rows[::3]] == [("2", "7"), ("1", "1")]


def test_exact_codes_frames_of_all_sizes_alone_and_together():
    frames = list(exact._frames("".join(SENTENCES * 200).encode(), store.resolve()))
    assert [len(frame.streams) for frame in frames[:5]] == [1, 16, 2, 7, 4]
    assert {frame.shared for frame in frames} == {False, True}
    assert any(stream.boundaries for frame in frames for stream in frame.streams)
    assert b"".join(frame.text for frame in frames) == "".join(SENTENCES * 200).encode()


def test_exact_sees_what_differs(data, tmp_path, monkeypatch, capsys):
    encode = exact._Run.encode

    def wrong(self, core, start):
        encode(self, core, start)
        if self.lanes == 64:
            self.coded = [bytes([code[0] ^ 3]) + code[1:] for code in self.coded]

    monkeypatch.setattr(exact._Run, "encode", wrong)
    options = ["--quick", "--results", str(tmp_path), "--bytes", "3000", "--kernels", KERNEL]
    assert main(["exact", str(data), *options]) == 1
    assert f"WRONG: fast, {KERNEL}, threads: 7, batch: 64" in capsys.readouterr().out


@pytest.mark.parametrize("count", [12, 107, 500])
def test_the_scalar_kernel_gets_frames_of_all_kinds(count):
    sample = exact._sample([exact._Frame(number, []) for number in range(count)])
    assert 2 <= len(sample) <= 11
    assert {frame.shared for frame in sample} == {False, True}


def test_every_kernel_meets_every_batch_and_thread_count():
    found = [(r.kernel, r.threads, r.lanes) for r in exact._configurations("m", ["a", "b"], [])]
    for kernel in "ab":
        assert sorted(threads for k, threads, _ in found if k == kernel) == [1, 2, 7]
        assert sorted(lanes for k, _, lanes in found if k == kernel) == [1, 3, 64]
    assert len(set(found)) == 6


@pytest.mark.parametrize(("one", "other", "bits"), [(b"", b"", 0), (b"\1", b"\2", 2), (b"\xff\0", b"\xff", 1)])
def test_differing_bits(one, other, bits):
    assert exact._differing_bits(one, other) == exact._differing_bits(other, one) == bits


def test_targets_and_tables():
    least, most = Target("speed", 0.5, 0.4), Target("memory", 0.5, 0.4, at_most=True)
    assert (least.met, most.met, Target("none", math.nan, 0.4).met) == (True, False, False)
    text = Outcome([{"name": "x", "n": 1}, {"name": "longer", "n": 22}], [least, most], ["a note"], ["y"]).report(True)
    assert "  name     n\n  x        1\n  longer  22\n" in text
    assert text.endswith("  a note\n  WRONG: y\n")
    assert [line.split()[-1] for line in text.splitlines() if "0.4" in line] == ["yes", "NO"]
    assert table([{"a": ""}, {"a": 5}]) == "  a\n\n  5\n"


def test_targets_are_judged_and_results_kept(tmp_path, monkeypatch, capsys):
    def finish(*options):
        given = argparse.Namespace(results=tmp_path / "kept", quick="--quick" in options)
        return Outcome([{"bytes": 7}], [Target("t", 1, 2)]).finish("one", given)

    assert finish() == 1
    assert "NO" in capsys.readouterr().out
    assert (tmp_path / "kept" / "one.csv").read_text() == "bytes\n7\n"
    (tmp_path / "kept" / "one.csv").unlink()
    monkeypatch.setattr("bench.common.RESULTS", tmp_path / "kept")
    assert finish("--quick") == 0
    assert "NO" not in capsys.readouterr().out
    assert not (tmp_path / "kept" / "one.csv").exists()


def test_texts(data, tmp_path):
    whole = (data / "alice29.txt").read_bytes()
    assert texts.text(data, None, 1000) == whole[:1000]
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "val.txt").write_bytes(b"hello\0abc")
    (corpus / "val.tsv").write_text("0\t5\tcode\tr:a\n6\t3\tbooks\tr:b\n")
    assert texts.text(data, corpus, len(whole) + 10) == whole + b"abc\nhello\n"
    more = texts.text(data, None, 3 * len(whole))
    assert len(more) == 3 * len(whole)
    assert set(more.splitlines()[:-1]) == set(whole.splitlines())
    # Of every file something, however short it is.
    assert {b"int", b"day"} <= set(texts.mixed(data, None, 2000).split())
    assert texts.text(corpus, None, 5) == b"0\t5\tc"  # where there is no prose, all files
    with pytest.raises(UsageError, match="no files in"):
        texts.text(tmp_path / "nonesuch", None, 10)


def test_a_process_that_fails_is_an_error(tmp_path):
    assert run_zllm("--version", out=tmp_path / "out").seconds < 30
    assert (tmp_path / "out").read_text().startswith("zllm ")
    with pytest.raises(ZllmError, match=r"ended with 2: .*No such"):
        run_zllm("cat", tmp_path / "nonesuch", "x")


def test_the_kernel_is_demanded(tmp_path):
    with pytest.raises(ZllmError, match="nonesuch"):
        (tmp_path / "x").write_text("".join(SENTENCES) * 20)
        run_zllm("create", tmp_path / "a.zllm", "-C", tmp_path, "x", kernel="nonesuch")
