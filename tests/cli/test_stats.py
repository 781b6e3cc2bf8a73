"""``--stats``: every stage is there, and the bytes are those of the archive."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from zllm._native import Stages
from zllm.cli import statistics
from zllm.stats import Stats, measure

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

SIZE = 66_000
"""Of the text."""


@pytest.fixture
def packed(zllm: Run, tmp_path: Path, checkout: Path) -> tuple[Path, str]:
    """An archive with text for the model and something that nothing makes smaller; its table."""
    paths = [*sorted((checkout / "docs").glob("*.md")), checkout / "LICENSE", checkout / "README.md"]
    words = b"".join(path.read_bytes() for path in paths)
    assert len(words) >= SIZE
    (tmp_path / "text").write_bytes(words[:SIZE])
    (tmp_path / "noise").write_bytes(os.urandom(300_000))
    result = zllm("create", "--stats", "a.zllm", "text", "noise")
    assert result.stdout == b""
    return tmp_path / "a.zllm", result.stderr.decode()


def rows(table: str, heading: str) -> dict[str, list[str]]:
    """Cells by the first one, below a heading."""
    lines = table.split(f"\n{heading}")[1] if not table.startswith(heading) else table
    return {
        line[:16].strip(): line[16:].split() for line in lines.split("\n\n")[0].splitlines()[1:] if line[:16].strip()
    }


def number(cell: str) -> int:
    return 0 if cell == "-" else int(cell.replace(",", ""))


def test_every_stage_of_packing_appears(packed: tuple[Path, str]) -> None:
    stages = rows(packed[1], "stage")
    expected = {"reading", "sorting", "headers", "probe", "zstd", "cm", "tokenizing", "model", *Stages.NAMES}
    # Noise may look like audio for a while.
    assert set(stages) - {"pcm"} == {*expected, "verifying", "hashing", "writing", "all"}
    total = sum(float(cells[0]) for name, cells in stages.items() if name not in ("all", *Stages.NAMES))
    assert total == pytest.approx(float(stages["all"][0]), abs=0.05)  # ten figures, each rounded
    assert number(stages["reading"][2]) == number(stages["hashing"][2]) == SIZE + 300_000
    assert number(stages["writing"][2]) > 300_000


def test_bytes_are_those_of_the_archive(packed: tuple[Path, str], zllm: Run) -> None:
    archive, table = packed
    codecs = rows(table, "codec")
    assert set(codecs) == {"llm", "store", "headers, index", "all"} | ({"zstd", "cm"} & set(codecs))
    assert number(codecs["all"][1]) == SIZE + 300_000
    assert number(codecs["all"][2]) == archive.stat().st_size
    for column in (1, 2):
        assert sum(number(cells[column]) for name, cells in codecs.items() if name != "all") == number(
            codecs["all"][column]
        )
    listed = zllm("list", "--stats", archive)
    assert listed.stdout == b"text\nnoise\n"
    assert rows(listed.stderr.decode(), "codec") == codecs


@pytest.mark.parametrize("words", [["extract", "-C", "out"], ["test"], ["cat", "--tar"], ["-d"]])
def test_unpacking(words: list[str], packed: tuple[Path, str], zllm: Run) -> None:
    archive, table = packed
    result = zllm(*words, "--stats", archive)
    stages, codecs = rows(result.stderr.decode(), "stage"), rows(result.stderr.decode(), "codec")
    # What is decoded is walked by the mixer.
    assert {"reading", "store", "model", *Stages.NAMES, "hashing", "all"} - set(stages) == {"walk"}
    assert ("writing" in stages) == (words[0] == "extract")
    before = rows(table, "codec")
    assert {name: codecs[name] for name in ("llm", "store")} == {name: before[name] for name in ("llm", "store")}
    assert number(stages["hashing"][2]) == SIZE + 300_000


def test_it_fits_a_terminal(packed: tuple[Path, str]) -> None:
    table = packed[1]
    assert table.isascii() and max(map(len, table.splitlines())) <= 80
    assert re.search(r"\d s by the clock, [\d.]+ s of processor time, peak memory \d+ MB\n$", table)
    stats = Stats()
    stats.add("model", 12345.0, 10**12, 10**11)
    stats.stored("someone-elses-long-name", 10**12, 10**11)
    assert max(map(len, statistics.lines(stats))) <= 80


def test_without_the_option_nothing_is_said(zllm: Run, packed: tuple[Path, str]) -> None:
    assert zllm("test", packed[0]).stderr == b""


def test_threads_add_up() -> None:
    stats = Stats()

    def work() -> None:
        for _ in range(2000):
            with measure(stats, "zstd", 3) as stage:
                stage.bytes_out = 2
            stats.stored("zstd", 3, 2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = stats.stages["zstd"]
    assert (row.count, row.bytes_in, row.bytes_out) == (8000, 24_000, 16_000)
    assert stats.codecs["zstd"].bytes_in == 24_000
    assert stats.seconds == row.seconds > 0


def test_parts_are_not_added_twice() -> None:
    stats = Stats()
    stats.add("model", 2.0)
    stats.add("model/head", 1.5)
    assert stats.seconds == 2.0


def test_nobody_measures_nothing() -> None:
    with measure(None, "zstd", 3) as one, measure(None, "llm", 4) as other:
        assert one is other


def test_peak_memory_is_that_of_this_process() -> None:
    peak = statistics.peak_memory()
    assert peak is not None and peak > 5 << 20
    block = b"x" * (peak + (8 << 20))
    after = statistics.peak_memory()
    assert after is not None and after >= len(block)
