"""``python -m bench ratio``: its workloads, its rows and what follows from them, on a little text."""

import csv
import math
import os
import tarfile
from pathlib import Path

import pytest

from bench import ratio, workloads
from bench.__main__ import main
from bench.accounts import PPMD, ZPAQ, ZSTD, Accounts, Entry, Timing, entries_of, load
from bench.configurations import CM, CONFIGURATIONS, DEFAULT, CommandLine, Configuration, available, same_tree
from zllm.benchmark import rivals
from zllm.benchmark.report import Row, Section
from zllm.benchmark.runner import measure
from zllm.errors import UsageError
from zllm.models import store

PYTHON = Path(os.__file__).parent
LIBRARY = {
    "one.py": '"""' + "The first module. " * 20 + '"""\nclass A:\n    """short"""\n    def f(self):\n'
    '        """' + "A method of a class.\n\n        " * 20 + '"""\n',
    "pack/two.py": 'def f():\n    """' + "The first module. " * 20 + '"""\n',  # a text that is there already
    "pack/three.py": "async def g():\n    '''" + "Something else. " * 30 + "'''\n",
    "test/four.py": '"""' + "Not taken. " * 40 + '"""\n',
}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "alice29.txt").write_text("".join(f"some words and {n} more words\n" for n in range(200)))
    (folder / "aaa.json").write_text('{"a": [1, 2, 3], "b": "c"}\n' * 100)
    (folder / "README.md").write_text("not measured")
    return folder


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "val.txt").write_bytes(b"hello\0abc\0yo")
    (folder / "val.tsv").write_text("0\t5\tdocs\ta:x.md\n6\t3\tcode\tb:x.py\n10\t2\tdocs\ta:y.md\n")
    return folder


@pytest.fixture
def library(tmp_path):
    folder = tmp_path / "library"
    for name, text in LIBRARY.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def run(data, tmp_path):
    """Runs the benchmark; its exit code and rows."""

    def run_ratio(*options):
        code = main(["ratio", str(data), "--results", str(tmp_path / "results"), *options])
        path = tmp_path / "results" / "ratio.csv"
        with path.open(newline="") as file:
            return code, list(csv.DictReader(file))

    return run_ratio


def test_offers(data, corpus):
    titles = ["validation: code", "validation: docs", "alice29.txt", "aaa.json", workloads.SMALL]
    assert [offer.title for offer in workloads.offers(data, corpus)] == titles
    assert [offer.title for offer in workloads.offers(data, None)] == titles[2:]


def test_categories_are_one_file_each(data, corpus, tmp_path):
    offers = {offer.title: offer for offer in workloads.offers(data, corpus)}
    case = offers["validation: docs"].make(tmp_path)
    assert case.path.read_bytes() == b"helloyo"
    assert (case.work.files, case.work.raw, case.work.source) == (1, 7, case.path)


def test_copies_look_alike_wherever_they_are_made(data, corpus, tmp_path):
    (data / "alice29.txt").chmod(0o600)
    (alice,) = (offer for offer in workloads.offers(data, corpus) if offer.title == "alice29.txt")
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = alice.make(tmp_path / name).path
        assert path.read_bytes() == (data / "alice29.txt").read_bytes()
        found.append((path.name, path.stat().st_mode, path.stat().st_mtime_ns))
    assert found[0] == found[1]


def test_docstrings(library):
    found = workloads.docstrings(library)
    assert set(found) == {"one/index.txt", "one/A.f.txt", "pack/three.g.txt"}
    assert found["one/A.f.txt"] == ("A method of a class.\n\n" * 20).strip().encode() + b"\n"


def test_small_files(library, tmp_path, monkeypatch):
    monkeypatch.setattr(workloads, "_SMALL_FILES", 2)
    cases = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        cases.append(workloads._small_files(library, folder))
    work = cases[0].work
    assert work.title.startswith("2 small documentation files")
    assert work.source.read_bytes() == cases[1].work.source.read_bytes()
    with tarfile.open(work.source) as tar:
        members = tar.getmembers()
    assert [info.name for info in members if info.isdir()] == ["docs", "docs/one"]
    assert {(info.uid, info.uname, info.mtime) for info in members} == {(0, "", workloads._TIME)}
    assert work.files == 2
    assert work.raw == sum(info.size for info in members if info.isreg())


def test_pythons_library_has_enough():
    found = workloads.docstrings(PYTHON / "asyncio")
    assert len(found) > 20
    assert all(200 < len(text) <= 4096 for text in found.values())


@pytest.mark.parametrize("folder", [False, True])
def test_command_line(data, tmp_path, folder):
    """What `zllm create` and `zllm extract` do with a file and with a folder; another tree is another."""
    prose = data / "prose.txt"
    prose.write_bytes(b"".join(workloads.docstrings(PYTHON / "asyncio").values()))
    path = data if folder else prose
    work = workloads.Workload("x", path, 1, 1, path)
    row = measure(work, CommandLine(Configuration("c", ("-8",)), path, 2), tmp_path)
    (model,) = (model for model in store.installed() if model.name == "default")
    assert row.exact
    assert row.model_bytes == model.size
    assert measure(work, CommandLine(Configuration("c", ("--no-llm",)), path, 2), tmp_path).model_bytes == 0


def test_same_tree(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "d").mkdir(parents=True)
        (tmp_path / name / "d" / "x").write_text("text")
    one, two = tmp_path / "one" / "d", tmp_path / "two"
    assert same_tree(two, one)
    (two / "d" / "x").write_text("texT")
    assert not same_tree(two, one)
    (two / "d" / "x").unlink()
    assert not same_tree(two, one)
    (two / "d" / "x").mkdir()
    assert not same_tree(two, one)
    (two / "d" / "x").rmdir()
    (two / "d" / "x").write_text("text")
    (two / "y").write_text("more")
    assert not same_tree(two, one)


def test_configurations_that_are_not_there_are_left_out(capsys):
    there, absent = Configuration("there", ("-2",)), Configuration("absent", ("--model", "nonesuch"))
    assert available([absent, there, Configuration("odd", ("--nonesuch",))]) == [there]
    err = capsys.readouterr().err
    assert "absent: left out: " in err
    assert "odd: left out: " in err
    assert "there: left out" not in err


def test_the_environment_reaches_the_children(data, tmp_path):
    wrong = Configuration("x", ("-8",), {"ZLLM_KERNEL": "nonesuch"})
    assert available([wrong]) == []


def test_names_are_different():
    names = [*(one.name for one in CONFIGURATIONS), *ratio.RIVALS]
    assert len(set(names)) == len(names)
    assert {DEFAULT, CM, ZPAQ, ZSTD, PPMD} <= set(names)
    rivals.installed(ratio.RIVALS)  # raises if it does not know one


SECTION = Section(
    "alice29.txt",
    1,
    1000,
    (
        Row(DEFAULT, 400, 0, 4.0, 2.0, True, 5_000),
        Row(ZSTD, 500, 0, 1.0, 0.1, True),
        Row(ZPAQ, 1466, 1016, 1.0, 1.0, True),
    ),
)


def test_entries_and_their_file(tmp_path):
    accounts = Accounts(entries_of(SECTION))
    accounts.save(tmp_path / "ratio.csv")
    text = (tmp_path / "ratio.csv").read_text()
    assert text.splitlines()[:2] == [
        "workload,files,bytes,name,size,fixed,net_size,bits_per_byte,model_bytes,size_ratio_zpaq,size_ratio_zstd,"
        "encode_seconds,decode_seconds,encode_speed_ratio,decode_speed_ratio",
        f"alice29.txt,1,1000,{DEFAULT},400,0,400,3.2000,5000,0.8889,0.8000,4.0000,2.0000,0.2500,0.5000",
    ]
    assert load(tmp_path / "ratio.csv").entries == accounts.entries
    load(tmp_path / "ratio.csv").save(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == text


def test_without_zpaq_there_are_no_speed_ratios():
    (entry,) = entries_of(Section("x", 1, 1000, SECTION.rows[:1]))
    assert entry.timing == Timing(4.0, 2.0)
    assert math.isnan(Accounts([entry]).ratio("x", DEFAULT, ZPAQ))


def test_other_files_are_refused(tmp_path):
    assert load(tmp_path / "none.csv").entries == []
    (tmp_path / "x.csv").write_text("workload,name\na,b\n")
    with pytest.raises(UsageError, match="is not what"):
        load(tmp_path / "x.csv")


def entry(workload, name, size, seconds=1.0, ratio=1.0, *, raw=1000, fixed=0):
    return Entry(workload, 1, raw, name, size + fixed, fixed, 0, Timing(seconds, seconds, ratio, ratio))


def test_updated_keeps_workloads_together():
    old = Accounts([entry("a", "x", 1), entry("a", "y", 2), entry("b", "x", 3)])
    new = old.updated([entry("a", "z", 4), entry("a", "x", 5)])
    assert [(one.workload, one.name, one.size) for one in new.entries] == [
        ("a", "x", 5), ("a", "y", 2), ("a", "z", 4), ("b", "x", 3),
    ]  # fmt: skip


def test_times_of_an_older_run():
    old = Accounts([entry("a", "x", 1, seconds=7.0)])
    new = Accounts([entry("a", "x", 2, seconds=8.0), entry("a", "y", 3)]).with_times_of(old)
    assert [(one.size, one.timing.encode_seconds) for one in new.entries] == [(2, 7.0), (3, None)]


def test_means():
    accounts = Accounts(
        [
            entry("a", "x", 400, 4.0, 0.5), entry("b", "x", 100, 2.0, 0.25),
            entry("a", ZPAQ, 800, 2.0, fixed=1016), entry("b", ZPAQ, 800, 0.5, fixed=1016), entry("a", "y", 1),
        ]
    )  # fmt: skip
    assert accounts.mean_ratio(["a", "b"], "x", ZPAQ) == pytest.approx(0.25)
    assert accounts.bits_per_byte(["a", "b"], "x") == pytest.approx(1.6)
    assert accounts.speed(["a", "b"], "x", "encode") == pytest.approx(2 / 6)
    assert accounts.speed_ratio(["a", "b"], "x", "decode") == pytest.approx(2.5 / 6)
    for figure in (
        accounts.mean_ratio(["a", "b"], "y", ZPAQ), accounts.bits_per_byte(["a", "b"], "y"),
        accounts.speed(["a", "b"], "y", "encode"), accounts.speed_ratio(["a", "b"], "y", "encode"),
        accounts.mean_ratio([], "x", ZPAQ), accounts.speed([], "x", "encode"),
    ):  # fmt: skip
        assert math.isnan(figure)


def test_targets():
    def both(workload, size, raw=1000):
        zllm, zpaq = entry(workload, DEFAULT, size, 2.0, 0.5, raw=raw), entry(workload, ZPAQ, 1000, raw=raw, fixed=1016)
        others = ((ZSTD, 1250), (CM, size), (PPMD, 1000))
        return [zllm, zpaq, *(entry(workload, name, other, raw=raw) for name, other in others)]

    small = "9 small documentation files"
    everything = [
        *both("validation: docs", 800), *both("validation: wiki", 1010), *both("fields.c", 800),
        *both("a.log", 850, 500_000), *both("small.json", 9_000, 499_999), *both(small, 810, 10**6),
    ]  # fmt: skip
    found = {target.what: target for target in ratio.targets(Accounts(everything))}
    mean = (0.8 * 1.01 * 0.8) ** (1 / 3)
    values = {
        f"{DEFAULT} / {ZPAQ}, geometric mean over 3 texts": (mean, False),
        f"{DEFAULT} / {ZSTD}, geometric mean over 3 texts": (mean * 0.8, False),
        f"{DEFAULT} / {ZPAQ}, worst category (validation: wiki)": (1.01, False),
        f"{DEFAULT} / {ZPAQ}, a.log": (0.85, True),
        f"{DEFAULT} / tar | {ZPAQ}, {small}": (0.81, False),
        f"{DEFAULT}, encode speed / {ZPAQ}, same texts": (0.5, True),
        f"{DEFAULT}, decode speed / {ZPAQ}, same texts": (0.5, True),
        f"{CM} / {PPMD}, worst category (validation: wiki)": (1.01, False),
    }
    measured = {what: target for what, target in found.items() if target.measured}
    assert {what: (pytest.approx(target.value), target.met) for what, target in measured.items()} == values
    unmeasured = [target.row()["met"] for target in found.values() if not target.measured]
    assert unmeasured == ["not measured"] * 2  # the fast model's speeds


def test_nothing_measured_is_nothing_met():
    found = ratio.targets(Accounts())
    assert len(found) == 10
    assert not any(target.measured or target.met for target in found)


def test_run(run, capsys):
    names = ["zllm -5", CM, ZSTD]
    code, rows = run("--only", "alice", "--names", *names)
    assert code == 0
    assert [(row["workload"], row["name"]) for row in rows] == [("alice29.txt", name) for name in names]
    for row in rows:
        assert float(row["size_ratio_zstd"]) == pytest.approx(int(row["size"]) / int(rows[2]["size"]), abs=1e-4)
        assert (row["size_ratio_zpaq"], row["encode_speed_ratio"]) == ("", "")
        assert float(row["encode_seconds"]) > 0
    out = capsys.readouterr().out
    assert "size / zstd -19" in out
    # Another part: the first stays.
    code, more = run("--only", "json", "--names", "zstd -19")
    assert code == 0
    assert more[:3] == rows
    assert [(row["workload"], row["name"]) for row in more[3:]] == [("aaa.json", ZSTD)]


def test_sizes_only_keeps_times(run, tmp_path):
    names = ["--names", "zllm -5", ZSTD]
    _, rows = run("--only", "alice", *names)
    path = tmp_path / "results" / "ratio.csv"
    kept = Accounts([entry("alice29.txt", "zllm -5", 1, seconds=77.0)])
    kept.save(path)
    _, again = run("--only", "alice", *names, "--sizes-only")
    assert [row["size"] for row in again] == [row["size"] for row in rows]
    assert [row["encode_seconds"] for row in again] == ["77.0000", ""]


@pytest.mark.skipif(not rivals.installed([ZPAQ])[0], reason="zpaq is not installed")
def test_speeds_are_over_zpaqs(run):
    _, rows = run("--only", "alice", "--names", "zllm -5", ZPAQ)
    ours, zpaq = rows
    assert (zpaq["fixed"], zpaq["size_ratio_zpaq"], zpaq["encode_speed_ratio"]) == ("1016", "1.0000", "1.0000")
    assert float(ours["encode_speed_ratio"]) == pytest.approx(
        float(zpaq["encode_seconds"]) / float(ours["encode_seconds"]), rel=0.01
    )
    assert float(ours["size_ratio_zpaq"]) == pytest.approx(int(ours["size"]) / int(zpaq["net_size"]), abs=1e-4)


def test_a_whole_run_is_judged(run, data, monkeypatch, capsys):
    monkeypatch.setattr(ratio, "CONFIGURATIONS", (Configuration("zllm -5", ("-5",)),))
    monkeypatch.setattr(ratio, "RIVALS", (ZSTD,))
    monkeypatch.setattr(workloads, "_SMALL_FILES", 20)
    code, rows = run()
    assert code == 0  # what is not measured is not missed
    assert len(rows) == 6
    assert capsys.readouterr().out.count("not measured") == 10
    monkeypatch.setattr(ratio, "DEFAULT", "zllm -5")
    monkeypatch.setattr(ratio, "OF_ZSTD", 0.01)
    assert run()[0] == 1


def test_what_does_not_come_back_is_said(run, monkeypatch, capsys):
    monkeypatch.setattr(CommandLine, "decode", lambda *_: False)
    assert run("--only", "alice", "--names", "zllm -5")[0] == 1
    assert "WRONG: alice29.txt: zllm -5" in capsys.readouterr().out


def test_usage(run, data, capsys, tmp_path):
    paths = [str(data), "--results", str(tmp_path)]
    assert main(["ratio", *paths, "--only", "nonesuch", "--names", ZSTD]) == 2
    assert "nothing to measure" in capsys.readouterr().err
    assert main(["ratio", *paths, "--names", "zllm -77"]) == 2
    assert "unknown name: zllm -77 (known: zllm -5," in capsys.readouterr().err
    assert main(["ratio", str(tmp_path / "nonesuch"), "--results", str(tmp_path)]) == 2
    assert "nothing to measure: no files in" in capsys.readouterr().err
