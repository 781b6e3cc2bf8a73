"""Long runs: packs, tokens, mixture, classes, tables, the crew; stopping at any moment and going on."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from zllm.errors import UsageError  # noqa: E402
from zllm.models.config import ModelConfig  # noqa: E402
from zllm.models.tokenizer import SPLIT_FINE, BytesTokenizer, train_bpe  # noqa: E402
from zllm.models.training import classes, packs, pretrain, tokens, weights  # noqa: E402
from zllm.models.training.crew import Crew, Maker  # noqa: E402
from zllm.models.training.heads import TwoLevelHead  # noqa: E402
from zllm.models.training.longrun import Journal, LongRun, Plan, Progress, Shape  # noqa: E402
from zllm.models.training.network import PARTS, Extras, Network, pair_rows  # noqa: E402
from zllm.models.training.optimizer import NorMuon  # noqa: E402

SMALL = ModelConfig(vocab=300, dim=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn=64, window=64)
WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "saw",
    "2024",
    "near\n    an",
    "old",
    "für",
    "größte",
    "Wörter",
    "雨が降る",
]


def text(words: int, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    return " ".join(WORDS[i] for i in rng.integers(len(WORDS), size=words)).encode()


def write_pack(folder: Path, name: str, documents: list[tuple[str, str, bytes]]) -> None:
    """Documents of (category, source, bytes) as a shard with its table."""
    table, at = [], 0
    for category, source, data in documents:
        table.append(f"{at}\t{len(data)}\t{category}\t{source}")
        at += len(data) + 1
    (folder / f"{name}.txt").write_bytes(b"\0".join(data for *_, data in documents))
    (folder / f"{name}.tsv").write_text("\n".join(table) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tokens of two small packs."""
    base = tmp_path_factory.mktemp("long")
    many = [("prose", f"a/b:{i}", text(400, i)) for i in range(40)]
    few = [("rare", f"c/d:{i}", text(300, 100 + i)) for i in range(6)]
    write_pack(base, "train-0", many + few)
    write_pack(base, "train-1", [("closed", "no/licence:x", b"never " * 2000)])
    write_pack(base, "val", [("prose", "v/w:1", text(600, 200)), ("rare", "v/w:2", text(200, 201))])
    write_pack(base, "val-C", [("rare", "v/x:1", text(300, 202))])
    arguments = ["--packs", str(base), "--vocab", "320", "--classes", "12", "--without", "no/licence"]
    pretrain.main(["prepare", "--text", str(base / "text"), *arguments])
    return base / "text"


SHAPE = Shape(
    dim=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn=64, window=64,
    value_layers=(1,), pair_bits=8, scales=True, classes=12, windows=(32, 64),
)  # fmt: skip
PLAN = Plan(
    tokens=3000, rows=2, length=128, warmup=200, evaluate=1000, compile=False, log_steps=2, checkpoint_seconds=0.0
)


def test_sources_are_left_out(prepared: Path) -> None:
    file = tokens.TokenFile.load(prepared / "train.tokens")
    assert file.categories == ["prose", "rare"]
    assert len(file.sizes) == 46
    words = BytesTokenizer((prepared / "tokenizer.json").read_text(encoding="utf-8"))
    assert words.decode(file.ids[: file.starts[1]].tolist()) == text(400, 0)
    with pytest.raises(UsageError, match="no shards"):
        packs.read_tables(prepared, "train-*")


def test_fine_pieces() -> None:
    words = BytesTokenizer(train_bpe([b"x = 123456\n        y = 123456\n" * 400], 300, SPLIT_FINE))
    parts = [words.tokens[i] for i in words.encode(b"\n        y = 123456")]
    assert b"".join(parts) == b"\n        y = 123456"
    assert parts[0] == b"\n"
    assert parts[-5:] == [b"2", b"3", b"4", b"5", b"6"]


def test_shares() -> None:
    even, as_is = (packs.shares({"a": 100, "b": 900}, power) for power in (0, 1))
    assert even == {"a": 0.5, "b": 0.5}
    assert as_is == {"a": 0.1, "b": 0.9}
    assert packs.shares({"a": 100, "b": 900}, 0.5) == {"a": 0.25, "b": 0.75}


@pytest.fixture
def numbered() -> tokens.TokenFile:
    """Seven documents of two categories; no id twice, no id 0."""
    lengths = [50, 3, 700, 1, 120, 80, 33]
    starts = np.concatenate(([0], np.cumsum(lengths)))
    kinds = np.array([0, 1, 0, 0, 1, 0, 1], np.int16)
    ids = np.arange(1, starts[-1] + 1).astype(np.uint16)
    return tokens.TokenFile(ids, starts, np.array(lengths), kinds, ["x", "y"])


@pytest.mark.parametrize("kind", [0, 1])
def test_an_epoch_has_each_token_once(numbered: tokens.TokenFile, kind: int) -> None:
    rows = tokens.Epochs(numbered, kind, 10, 5)
    own = {int(i) for d in np.flatnonzero(numbered.kinds == kind) for i in range(*numbered.starts[d : d + 2] + 1)}
    assert rows.rows == (len(own) + np.count_nonzero(numbered.kinds == kind) - 1) // 10
    for epoch in (0, 1):
        got = [rows.row(epoch * rows.rows + i)[:-1] for i in range(rows.rows)]
        seen = np.concatenate(got)
        seen = seen[seen != tokens.START]
        assert len(set(seen.tolist())) == len(seen)
        assert set(seen.tolist()) <= own
        assert len(own) - len(seen) < 10
    again = tokens.Epochs(numbered, kind, 10, 5)
    assert (again.row(3) == rows.row(3)).all()
    assert (rows.row(0) != rows.row(rows.rows)).any()


def test_documents_begin_with_the_start_token(numbered: tokens.TokenFile) -> None:
    rows = tokens.Epochs(numbered, 0, 100, 1)
    firsts = {int(numbered.starts[d]) + 1 for d in range(7)}
    for i in range(rows.rows):
        row = rows.row(i)
        for before, after in pairwise(row):
            assert (after in firsts) == (before == tokens.START)
            assert after in (before + 1, tokens.START) or before == tokens.START


def test_mixture_keeps_shares_and_goes_on(numbered: tokens.TokenFile) -> None:
    one, two = (tokens.Mixture(numbered, [0.8, 0.2], 10, 3) for _ in range(2))
    first = one.batch(35)
    assert one.taken.tolist() == [28, 7]
    two.restore(one.state)
    assert (one.batch(20) == two.batch(20)).all()
    assert first.shape == (35, 11)


def test_classes_are_nodes_of_the_walk() -> None:
    words = BytesTokenizer(train_bpe([text(20_000, 3)], 400)).tokens
    counts = np.random.default_rng(1).integers(1000, size=len(words))
    starts = classes.choose(words, counts, 24)
    assert len(starts) == 24
    ranges = list(zip(starts, [*starts[1:], len(words)], strict=True))

    def check(node: classes.Range) -> None:
        inside = [r for r in ranges if r[0] <= node.low and node.high <= r[1]]
        whole = [r for r in ranges if node.low <= r[0] and r[1] <= node.high]
        # A range of tokens is within one class, or made of whole ones.
        assert inside or sum(b - a for a, b in whole) == node.high - node.low
        sides = classes.split(words, node)
        assert (sides is None) == (node.high - node.low == 1)
        for side in sides or ():
            check(side)

    check(classes.Range(0, len(words)))
    largest_first = classes.rows_a_token(starts, counts)
    assert largest_first < classes.rows_a_token([0], counts) / 4


def test_split_asks_about_ends_then_bits() -> None:
    words = [b"a", b"aa", b"ab", b"b", b"ba"]
    low, high = classes.split(words, classes.Range(0, 5)) or (None, None)
    assert low is not None and high is not None
    assert [(r.low, r.high, r.depth) for r in (low, high)] == [(0, 3, 0), (3, 5, 0)]
    ends, on = classes.split(words, low) or (None, None)
    assert ends is not None and on is not None
    assert [(r.low, r.high) for r in (ends, on)] == [(0, 1), (1, 3)]


def test_two_level_head_is_a_distribution_with_its_gradients() -> None:
    torch.manual_seed(1)
    head = TwoLevelHead([0, 1, 9, 10, 25], 40, 16)
    matrix = torch.randn(40, 16, requires_grad=True)
    hidden = torch.randn(7, 16, requires_grad=True)
    every = head.losses(hidden[:1].expand(40, 16), matrix, torch.arange(40))
    assert float(torch.exp(-every).sum()) == pytest.approx(1, abs=1e-5)
    wanted = torch.tensor([0, 3, 8, 9, 30, 39, 30])

    def plain() -> torch.Tensor:
        total = torch.zeros(())
        for h, t in zip(hidden, wanted.tolist(), strict=True):
            c = max(i for i, s in enumerate(head.starts[:-1]) if s <= t)
            low, high = head.starts[c], head.starts[c + 1]
            total = total - torch.log_softmax(head.weight @ h, 0)[c]
            total = total - torch.log_softmax(matrix[low:high] @ h, 0)[t - low]
        return total

    leaves = (hidden, matrix, head.weight)
    loss = head.loss(hidden, matrix, wanted)
    assert loss.item() == pytest.approx(plain().item(), rel=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(3 * loss, leaves), torch.autograd.grad(3 * plain(), leaves), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_pair_rows() -> None:
    ids = torch.tensor([[5, 7, 5, 7, 0], [0, 5, 7, 9, 9]])
    rows = pair_rows(ids, 9)
    assert rows.shape == (2, 5, PARTS)
    assert ((rows >> 9) == torch.arange(PARTS)).all()
    assert (rows[0, 1] == rows[0, 3]).all()
    assert (rows[0, 1] == rows[1, 2]).all()
    assert (rows[0, 0] == rows[1, 1]).all()  # the token before the first is that of the byte 0x00
    assert (rows[0, 2] != rows[0, 1]).any()
    # As docs/experiments/second-model.md has it.
    assert int(rows[0, 1, 0]) == ((7 * 0x9E3779B1 + 5 * 0x85EBCA77) % 2**32) >> 23


def test_tables_start_at_nothing_and_windows_end() -> None:
    torch.manual_seed(2)
    plain = Network(SMALL)
    for p in plain.parameters():
        if p.ndim == 2:
            torch.nn.init.normal_(p, std=0.1)
    rich = Network(SMALL, Extras(value_layers=(0, 1), pair_bits=6, scales=True))
    rich.load_state_dict(plain.state_dict(), strict=False)
    ids = torch.randint(0, 300, (2, 128))
    assert torch.allclose(rich(ids), plain(ids), atol=1e-5)
    torch.nn.init.normal_(rich.pairs.weight)
    assert not torch.allclose(rich(ids), plain(ids), atol=1e-2)

    short = Network(SMALL, Extras(windows=(32, 32)))
    short.load_state_dict(plain.state_dict())
    other = ids.clone()
    other[:, 0] = (other[:, 0] + 1) % 300
    changed = (short.hidden(ids) - short.hidden(other)).abs().amax((0, 2)) > 1e-6
    assert changed[:32].all()
    assert not changed[63:].any()  # two layers of 32 tokens, each token's own among them
    assert ((plain.hidden(ids) - plain.hidden(other)).abs().amax((0, 2)) > 1e-6)[63:].any()


def test_rows_of_updates_are_even() -> None:
    torch.manual_seed(3)
    weight = torch.nn.Parameter(torch.zeros(16, 64))
    optimizer = NorMuon([weight], lr=1.0, decay=0.0, row_beta=0.5)
    weight.grad = torch.randn(16, 64) * torch.logspace(-4, 1, 16)[:, None]
    optimizer.step()
    even = weight.detach().norm(dim=1)
    assert float(even.max() / even.min()) < 1.01
    other = torch.nn.Parameter(torch.zeros(16, 64))
    plain = NorMuon([other], lr=1.0, decay=0.0)
    other.grad = weight.grad
    plain.step()
    assert float(other.detach().norm()) == pytest.approx(float(weight.detach().norm()), rel=1e-4)


def test_rate() -> None:
    plan, p = Plan(warmup=1000), Progress()
    rates = []
    for p.tokens in (0, 499, 5000, 10**9):
        rates.append(p.rate(plan))
    assert rates == pytest.approx([0.001, 0.5, 1, 1])
    p.finish_from, p.finish_tokens = 10**9, 10**8
    p.tokens += 25_000_000
    assert p.rate(plan) == pytest.approx(0.75)
    assert not p.done
    p.tokens = 11 * 10**8
    assert p.rate(plan) == 0
    assert p.done


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_run_learns_and_measures(prepared: Path, tmp_path: Path) -> None:
    run = LongRun(prepared, tmp_path, SHAPE, PLAN, log=print)
    run.run()
    rows = read(tmp_path / "log.csv")
    assert int(rows[-1]["tokens"]) == 3072
    measured = [float(row["val"]) for row in rows if row["val"]]
    assert measured[-1] < measured[0] < 4
    assert len(measured) == 3
    by_category = [line.split(",") for line in (tmp_path / "categories.csv").read_text().splitlines()]
    last = [line for line in by_category if line[0] == "3072"]
    assert [line[1:3] for line in last] == [["val", "prose"], ["val", "rare"], ["val-C", "rare"]]
    val = [(int(size), float(bits)) for _, name, _, size, bits in last if name == "val"]
    assert float(rows[-1]["val"]) == pytest.approx(sum(s * b for s, b in val) / sum(s for s, _ in val), abs=1e-3)


def test_uniform_predictions_cost_what_they_must(prepared: Path, tmp_path: Path) -> None:
    """Bits per byte are bits over bytes: with all weights zero every class, and every token in it, is as likely."""
    run = LongRun(prepared, tmp_path, SHAPE, PLAN, log=print)
    run.crew = Crew(run.network, torch.cat([rows for h in run.held_out.values() for rows in h.rows]), 4)
    for value in run.average.values():
        value.zero_()
    measured = run.evaluate()
    starts = run.network.head.starts
    sizes = np.diff(starts)[np.searchsorted(starts, np.arange(len(run.lengths)), side="right") - 1]
    for name, held_out in run.held_out.items():
        ids = np.concatenate([rows[:, 1:].flatten().numpy() for rows in held_out.rows])
        ids = ids[ids >= 0]
        expected = (math.log2(12) * len(ids) + np.log2(sizes[ids]).sum()) / run.lengths[ids].sum()
        assert measured[name] == pytest.approx(expected, rel=1e-5)


def test_a_crew_computes_what_its_leader_would(prepared: Path) -> None:
    torch.manual_seed(4)
    make = Maker(SHAPE, 320, prepared)
    network = make()
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    rows = torch.randint(0, 320, (5, 129))
    batch = torch.randint(0, 320, (4, 129))
    crew = Crew(network, rows, 4)
    alone, bits = crew.train(batch), crew.bits()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    crew.start(make, 2)
    try:
        for _ in range(2):  # nothing is left over from the batch before
            assert crew.train(batch) == pytest.approx(alone, rel=1e-4)
            for name, p in network.named_parameters():
                assert p.grad is not None
                assert float((p.grad - gradients[name]).norm() / (gradients[name].norm() + 1e-9)) < 0.02, name
        assert torch.allclose(crew.bits(), bits, rtol=1e-3)
        with torch.no_grad():
            for p in network.parameters():
                p.zero_()
        assert not torch.allclose(crew.bits(), bits, rtol=1e-2)
    finally:
        crew.close()


COMMAND = [
    sys.executable, "-m", "zllm.models.training.pretrain", "train", "--dim", "64", "--layers", "2", "--heads", "2",
    "--head-dim", "32", "--ffn", "64", "--window", "64", "--classes", "12", "--value-layers", "1", "--pair-bits", "8",
    "--scales", "--rows", "4", "--length", "128", "--warmup", "500", "--evaluate", "3000", "--no-compile",
    "--log-steps", "1", "--checkpoint-seconds", "0.05", "--tokens", "6144", "--workers", "1",
]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_at_any_moment_it_goes_on(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [*COMMAND, "--text", str(prepared), "--out", str(out)]
    for steps in (2, 6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 300
            while time.monotonic() < deadline and not (
                (out / "checkpoint.pt").exists() and len(read(out / "log.csv")) >= steps
            ):
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=600, check=True)
    assert "resumed at step" in done.stdout
    rows = read(out / "log.csv")
    assert [int(row["tokens"]) for row in rows] == list(range(512, 6145, 512))
    assert float(rows[-1]["train"]) < float(rows[0]["train"])
    assert float(rows[-1]["rate"]) == 0


def test_a_broken_checkpoint_is_passed_over(prepared: Path, tmp_path: Path) -> None:
    run = LongRun(prepared, tmp_path, SHAPE, PLAN, log=print)
    run.run()
    done, run.progress.step = run.progress.step, 3
    run.save()
    last, old = run.checkpoints
    last.write_bytes(old.read_bytes()[:1000])
    lines: list[str] = []
    again = LongRun(prepared, tmp_path, SHAPE, PLAN, log=lines.append)
    assert again.progress.step == done
    assert "cannot be read" in lines[0]
    old.write_bytes(b"")
    with pytest.raises(UsageError, match="no checkpoint"):
        LongRun(prepared, tmp_path, SHAPE, PLAN, log=lines.append)


def test_two_runs_in_one_folder_are_refused(prepared: Path, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process"):
            LongRun(prepared, tmp_path, SHAPE, PLAN, log=print).run()


def test_finish_and_export(prepared: Path, tmp_path: Path) -> None:
    load_file = pytest.importorskip("safetensors.torch").load_file
    common = ["--text", str(prepared), "--out", str(tmp_path)]
    first = [*COMMAND[4:], "--workers", "0"]
    pretrain.main(["train", *common, *first, "--tokens", "2048", "--decay", "0.25"])
    facts = (tmp_path / "run.json").read_text()
    assert '"pair_bits": 8' in facts
    pretrain.main(["finish", *common, "--tokens", "1024"])
    assert int(read(tmp_path / "log.csv")[-1]["tokens"]) == 2048  # its rate had come down already
    pretrain.main(["export", *common, str(tmp_path / "w.safetensors")])
    weights = load_file(tmp_path / "w.safetensors")
    shapes = {name: tuple(w.shape) for name, w in weights.items()}
    vocab = len(BytesTokenizer((prepared / "tokenizer.json").read_text(encoding="utf-8")).tokens)
    assert shapes["embed.weight"] == (vocab, 64)
    assert shapes["value_tables.0.weight"] == (vocab, 32)
    assert shapes["pairs.weight"] == (PARTS << 8, 16)
    assert shapes["head.weight"] == (12, 64)
    assert all(w.dtype == torch.bfloat16 for w in weights.values())


def test_a_run_begins_from_exported_weights(prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    first, second, kept = tmp_path / "first", tmp_path / "second", tmp_path / "w.safetensors"
    train = ["train", "--text", str(prepared), *COMMAND[4:], "--workers", "0", "--tokens", "2048"]
    train += ["--decay", "0.25", "--windows", "32", "64"]
    pretrain.main([*train, "--out", str(first)])
    pretrain.main(["export", "--text", str(prepared), "--out", str(first), str(kept)])
    run = LongRun(prepared, second, SHAPE, replace(PLAN, tokens=0), log=print)
    weights.begin(run, kept)
    assert (run.progress.tokens, run.progress.begun, run.progress.step) == (2048, 2048, 2048 // (4 * 128))
    assert run.progress.rate(run.plan) < 0.01  # it warms up again
    before = LongRun(prepared, first, SHAPE, PLAN, log=print)
    assert run.mixture.state == before.mixture.state
    for name, value in run.network.named_parameters():
        assert torch.equal(value, before.average[name].bfloat16().float()), name
    folder = tmp_path / "text"
    folder.mkdir()
    weights.unpack(kept, folder)
    assert (folder / "tokenizer.json").read_bytes() == (prepared / "tokenizer.json").read_bytes()
    assert [path.name for path in folder.glob("classes-*")] == [f"classes-{SHAPE.classes}.json"]


def test_weights_of_another_run_are_refused(prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    kept = tmp_path / "w.safetensors"
    run = LongRun(prepared, tmp_path / "a", SHAPE, PLAN, log=print)
    weights.write(kept, run)
    with pytest.raises(UsageError, match="another shape"):
        weights.begin(LongRun(prepared, tmp_path / "b", replace(SHAPE, ffn=32), PLAN, log=print), kept)
    kept.write_bytes(b"x" * 100)
    with pytest.raises(UsageError, match="cannot be read"):
        weights.begin(run, kept)


def test_the_rate_falls_when_told_to(prepared: Path, tmp_path: Path) -> None:
    run = LongRun(prepared, tmp_path, SHAPE, replace(PLAN, tokens=0), log=print)
    run.crew = Crew(run.network, torch.zeros(1, 129, dtype=torch.int64), 4)
    for _ in range(4):
        run.step()
    run.save()
    facts = {"shape": asdict(SHAPE), "plan": asdict(replace(PLAN, tokens=0))}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    pretrain.main(["finish", "--text", str(prepared), "--out", str(tmp_path), "--tokens", "2048"])
    rates = [float(row["rate"]) for row in read(tmp_path / "log.csv")]
    assert int(read(tmp_path / "log.csv")[-1]["tokens"]) == 4 * 256 + 2048
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0
    assert (tmp_path / "constant.pt").exists()


def test_journal_drops_what_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    journal = Journal(path, 0)
    for step in range(1, 6):
        journal.write(Progress(step, step * 100), 1.0, 3.0, 50.0, {"val": 2.0} if step == 3 else {})
    Journal(path, 300)
    rows = read(path)
    assert [row["tokens"] for row in rows] == ["100", "200", "300"]
    assert rows[2]["val"] == "2.0000"
    assert rows[0]["val"] == ""
