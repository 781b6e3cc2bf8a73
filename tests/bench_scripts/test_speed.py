"""Each part of ``python -m bench speed`` on a little text: its rows are there, and their figures fit each other."""

import csv
import math
import sys

import pytest

from bench import coder, exact, shapes, speed, texts
from bench.__main__ import main
from bench.common import Outcome, Settings, Target, merge_csv, table
from bench.process import run, run_zllm
from zllm import _native as native
from zllm.errors import UsageError, ZllmError
from zllm.models import store
from zllm.models.tokenizer import BytesTokenizer

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
def part(data, tmp_path):
    """Runs a part; its rows."""

    def run_part(name, *options):
        paths = ["--data", str(data), "--corpus", str(tmp_path / "none"), "--results", str(tmp_path / "results")]
        assert main([name, "--quick", *paths, *options]) == 0
        with (tmp_path / "results" / f"speed_{name}.csv").open() as file:
            return list(csv.DictReader(file))

    return run_part


def test_peers(part, capsys):
    rows = part("peers", "--bytes", "3000", "--kernels", KERNEL, "--threads", "1", "2")
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


def test_efficiency(part):
    rows = part("efficiency", "--bytes", "3000", "--kernels", KERNEL, "--models", "2M", "6M")
    assert [(row["model"], row["run"], row["way"]) for row in rows] == [
        (model, what, way)
        for model, what in (("2M", "codec"), ("6M", "codec"), ("6M", "zllm create, cat"))
        for way in ("encode", "decode")
    ]
    for row in rows:
        assert 0 < float(row["efficiency"]) < 1
        assert float(row["gmac_s"]) < float(row["peak_gmac_s"])
        assert 0 < float(row["of_sustained"]) < 1.5
        assert 1 < float(row["bytes_per_token"]) < 12
        assert 10 < float(row["peak_mb"]) < 400


def test_efficiency_of_some_models_leaves_the_others_rows(tmp_path):
    path = tmp_path / "results" / "some.csv"
    about = ("model", "way")
    merge_csv(path, [{"model": m, "way": w, "kb_s": 1.5} for m in ("2M", "6M") for w in ("encode", "decode")], about)
    merge_csv(path, [{"model": m, "way": "encode", "kb_s": 2.5} for m in ("16M", "2M")], about)
    assert path.read_text().splitlines() == [
        "model,way,kb_s", "2M,encode,2.5", "2M,decode,1.5", "6M,encode,1.5", "6M,decode,1.5", "16M,encode,2.5"
    ]  # fmt: skip
    merge_csv(path, [{"model": "2M", "way": "decode", "mb_s": 3}], about)  # rows of other columns are of another time
    assert path.read_text() == "model,way,mb_s\n2M,decode,3\n"


def test_efficiency_knows_its_models(part, data, tmp_path, capsys):
    assert main(["efficiency", "--models", "7M", "--data", str(data), "--corpus", str(tmp_path)]) == 2
    assert "no model 7M; there are 2M, 6M, 16M, 135M" in capsys.readouterr().err


def test_balance(part):
    rows = part("balance", "--bytes", "5000")
    assert [row["what"] for row in rows] == [
        "text, level 6", "text, level 7", "text, level 8", "text, level 9", "one member, level 6",
        "small member, best of 5",
    ]  # fmt: skip
    assert rows[-1]["bytes"] == "4096"
    for row in rows:
        ratio = float(row["encode_s"]) / float(row["decode_s"])
        assert float(row["decode_over_encode"]) == pytest.approx(ratio, rel=0.05)
        assert 0 < float(row["first_byte_s"]) <= float(row["decode_s"]) + 0.001


def test_scaling(part):
    rows = part("scaling", "--bytes", "1000", "--threads", "1")
    assert [int(row["bytes"]) for row in rows] == [1000, 4000, 16000]
    assert rows[0]["encode_s_per_mib_ratio"] == rows[0]["decode_s_per_mib_ratio"] == "1.0"
    # Starting takes the same for all, and is most of it here.
    assert float(rows[2]["encode_s_per_mib_ratio"]) < 1
    assert all(10 < float(row[f"{way}_peak_mb"]) < 400 for row in rows for way in ("encode", "decode"))


def test_coder(part):
    pytest.importorskip("numpy")
    rows = part("coder", "--bytes", "120000")
    assert len(rows) == 9
    for row in rows:
        ideal = float(row["ideal_bytes"])
        assert 0 < ideal <= int(row["decisions"]) / 8 * 1.01
        # A byte for the end of the code string is much here.
        assert -0.001 < float(row["zllm_over_%"]) < 0.01 + 200 / ideal
        assert float(row["zllm_encode_mdec_s"]) > 1
        assert float(row["zllm_decode_mdec_s"]) > 1


def test_coder_without_constriction(part, monkeypatch, capsys):
    pytest.importorskip("numpy")
    monkeypatch.setitem(sys.modules, "constriction", None)
    rows = part("coder", "--bytes", "24000")
    assert {row["constriction_over_%"] for row in rows} == {""}
    assert "constriction is not installed" in capsys.readouterr().out


def test_symbols_as_decisions():
    """Every symbol's decisions multiply to its probability."""
    np = pytest.importorskip("numpy")
    weights = np.array([5, 1, 1, 9, 100, 3, 2, 7])
    stream = coder._Stream("x", 3, np.arange(8), weights)
    bits, probabilities = coder._decisions(np, stream)
    assert [int("".join(map(str, bits[3 * s : 3 * s + 3])), 2) for s in range(8)] == list(range(8))
    for symbol in range(8):
        share = 1.0
        for at in range(3 * symbol, 3 * symbol + 3):
            one = probabilities[at] / 2**24
            share *= one if bits[at] else 1 - one
        assert share == pytest.approx(weights[symbol] / weights.sum(), rel=1e-5)


def test_exact(part):
    rows = part("exact", "--bytes", "6000", "--kernels", KERNEL)
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
    assert any(stream.cuts for frame in frames for stream in frame.streams)
    assert b"".join(frame.text for frame in frames) == "".join(SENTENCES * 200).encode()


def test_exact_sees_what_differs(part, data, tmp_path, monkeypatch, capsys):
    encode = exact._Run.encode

    def wrong(self, core, start):
        encode(self, core, start)
        if self.lanes == 64:
            self.coded = [bytes([code[0] ^ 3]) + code[1:] for code in self.coded]

    monkeypatch.setattr(exact._Run, "encode", wrong)
    options = ["--quick", "--data", str(data), "--corpus", str(tmp_path), "--bytes", "3000", "--kernels", KERNEL]
    assert main(["exact", *options]) == 1
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


def test_useful_work_is_counted_by_hand():
    config = shapes.CONFIGS["135M"]
    shape = shapes.Shape("135M", store.DATA_FOLDER, config)
    assert 134e6 < shape.weights < 136e6
    one = shape.multiply_adds([1])
    assert one == shape.weights + 2 * 9 * 64 * 30
    assert shape.multiply_adds([3, 1]) == 4 * shape.weights + (1 + 2 + 3 + 1) * 2 * 9 * 64 * 30
    beyond = shape.multiply_adds([300]) - shape.multiply_adds([299])
    assert beyond == shape.weights + 256 * 2 * 9 * 64 * 30


@pytest.mark.parametrize(("name", "weights"), [("2M", 2e6), ("16M", 16e6)])
def test_random_models_code_text(name, weights, tmp_path):
    pytest.importorskip("numpy")
    shape = shapes.make(name, tmp_path)
    assert shape.weights == pytest.approx(weights, rel=0.05)
    model = store.load(shape.path)
    text = "".join(SENTENCES).encode()
    tokens = model.tokenizer.encode(text)
    (coded,) = model.native.encode([tokens], model.start)
    assert model.native.decode([(coded, len(text), ())], model.start) == [text]
    # Logits of a network that knows nothing: some bits more than the logarithm of the vocabulary, far from the most.
    vocab, (_, sums) = model.native.vocab, model.native.evaluate([model.start, *tokens[:-1]])
    rows = [sums[at : at + vocab + 1] for at in range(0, len(sums), vocab + 1)]
    bits = [math.log2(row[-1] / (row[token + 1] - row[token])) for row, token in zip(rows, tokens, strict=True)]
    assert 11 < sum(bits) / len(bits) < 20


def test_a_large_vocabulary():
    pytest.importorskip("numpy")
    tensors = shapes._tokens(20_000)
    tokenizer = BytesTokenizer(bytes(tensors["tokenizer.json"][2]).decode())
    assert bytes(tensors["tokens.bytes"][2]) == b"".join(tokenizer.tokens)
    assert len(tokenizer.tokens) == 20_000
    text = "".join(SENTENCES).encode() + bytes(range(256))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text[:300])) < 120


def test_targets_and_tables():
    least, most = Target("speed", 0.5, 0.4), Target("memory", 0.5, 0.4, at_most=True)
    assert (least.met, most.met, Target("none", math.nan, 0.4).met) == (True, False, False)
    text = Outcome([{"name": "x", "n": 1}, {"name": "longer", "n": 22}], [least, most], ["a note"], ["y"]).report(True)
    assert "  name     n\n  x        1\n  longer  22\n" in text
    assert text.endswith("  a note\n  WRONG: y\n")
    assert [line.split()[-1] for line in text.splitlines() if "0.4" in line] == ["yes", "NO"]
    assert table([{"a": ""}, {"a": 5}]) == "  a\n\n  5\n"


def test_all_parts_and_the_targets_in_one_file(data, tmp_path, monkeypatch, capsys):
    def fake(settings: Settings) -> Outcome:
        return Outcome([{"bytes": settings.bytes(7, 5)}], [Target("t", 1, 2)])

    monkeypatch.setattr(speed, "PARTS", {"one": fake, "two": fake})
    assert main(["speed", "--results", str(tmp_path)]) == 1  # what was missed counts
    with (tmp_path / "speed.csv").open() as file:
        assert [row["part"] for row in csv.DictReader(file)] == ["one", "two"]
    assert "0 of 2 targets met" in capsys.readouterr().out
    assert (tmp_path / "speed_two.csv").read_text() == "bytes\n7\n"
    monkeypatch.setattr("bench.common.RESULTS", tmp_path / "kept")
    assert main(["speed", "--quick", "--part", "two", "--results", str(tmp_path / "kept")]) == 0
    assert not (tmp_path / "kept").exists()


def test_texts(data, tmp_path):
    whole = (data / "alice29.txt").read_bytes()
    assert texts.text(data, tmp_path, 1000) == whole[:1000]
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "val.txt").write_bytes(b"hello\0abc")
    (corpus / "val.tsv").write_text("0\t5\tcode\tr:a\n6\t3\tbooks\tr:b\n")
    assert texts.text(data, corpus, len(whole) + 10) == whole + b"abc\nhello\n"
    more = texts.text(data, tmp_path, 3 * len(whole))
    assert len(more) == 3 * len(whole)
    assert set(more.splitlines()[:-1]) == set(whole.splitlines())
    # Of every file something, however short it is.
    assert {b"int", b"day"} <= set(texts.mixed(data, tmp_path, 2000).split())
    with pytest.raises(UsageError, match="no prose"):
        texts.text(tmp_path / "corpus", tmp_path, 10)


def test_processes_are_measured(tmp_path):
    python = [sys.executable, "-c"]
    code = "import sys, time; b = bytes(80_000_000); sys.stdout.write('x'); sys.stdout.flush(); time.sleep(0.3)"
    done = run([*python, code + "; sys.stdout.write('y')"], out=tmp_path / "out")
    assert (tmp_path / "out").read_text() == "xy"
    assert done.first_byte + 0.25 < done.seconds < 30
    assert math.isnan(run([*python, "pass"]).first_byte)
    full = "import time; b = bytearray(b'x') * 80_000_000; time.sleep(0.2)"
    assert 80 < run([*python, full]).peak_mb < 140
    with pytest.raises(ZllmError, match=r"ended with 2: .*No such"):
        run_zllm("cat", tmp_path / "nonesuch", "x")


def test_the_kernel_is_demanded(tmp_path):
    with pytest.raises(ZllmError, match="nonesuch"):
        (tmp_path / "x").write_text("".join(SENTENCES) * 20)
        run_zllm("create", tmp_path / "a.zllm", "-C", tmp_path, "x", kernel="nonesuch")
