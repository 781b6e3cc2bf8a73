"""A few kilobytes never cost minutes or gigabytes: each bomb gives its error, in a process with little of both."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks import bombs

import zllm
from zllm.codecs.cm import CmCodec
from zllm.format import columns, limits, sectionmap
from zllm.format.section import KNOWN_ANSWER_SIZE, ModelRef
from zllm.format.sectionmap import Record, SectionMap
from zllm.models import store

SECONDS = 12
"""Of the processor. Each takes a third of a second here; as bombs they took from 8 to hundreds."""
MEGABYTES = 900
"""Of address space, of which Python, its packages and libraries take half."""


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))


def run(words: list[str], folder: Path, pipe: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command, with the file ``pipe`` coming from a pipe."""
    command = [sys.executable, "-m", "zllm", *words]
    if pipe is not None:
        command = ["sh", "-c", 'file=$1; shift; cat "$file" | "$@"', "sh", str(pipe), *command]
    done = subprocess.run(
        command, cwd=folder, preexec_fn=bounded, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode >= 0, f"ended by signal {-done.returncode}: too much time or memory"
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (bombs.million_members, 3, "claim to unpack to"),
        (bombs.thousands_of_members, 3, "records and header blocks"),
        (bombs.million_pax_records, 3, "claim to unpack to"),
        (bombs.mixed_columns, 3, "claim to unpack to"),
        (bombs.few_mixed_columns, 3, "of text"),
        (bombs.zstd_columns, 3, "claim to unpack to"),
        (bombs.zstd_claim, 3, "cannot unpack to"),
        (bombs.many_frames, 3, "parts of it are missing"),
    ],
)  # fmt: skip
def test_maps(make: Callable[[], bytes], code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "bomb.zllm").write_bytes(make())
    done = run(["list", "bomb.zllm"], tmp_path)
    assert done.returncode == code and words in done.stderr, (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (bombs.directory_rows, "the directory is damaged"),
        (bombs.deleted_names, "it deletes more members than there are"),
        (bombs.one_deleted_name, "the directory is damaged"),
        (bombs.json_lists, "the directory is damaged"),
        (bombs.json_in_directory, "a manifest of"),
        (bombs.json_depth, "1001 levels"),
    ],
)
def test_directories(make: Callable[[], bytes], words: str, tmp_path: Path) -> None:
    """The member is found without them."""
    (tmp_path / "bomb.zllm").write_bytes(make())
    done = run(["list", "bomb.zllm"], tmp_path)
    assert done.stdout == "bomb\n" and words in done.stderr, (done.returncode, done.stderr)


def test_sections_named_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "bomb.zllm").write_bytes(bombs.same_rows())
    run(["list", "bomb.zllm"], tmp_path)
    with pytest.raises(zllm.DamagedError, match="not in order"):
        bombs.directory.unpack(bombs.directory_body(bytes(3) + b"\2" + bombs.row(16) * 2 + b"\0\0{}"))


@pytest.fixture(scope="module")
def fast() -> ModelRef:
    model = store.resolve("fast")
    return ModelRef(model.sha256, "fast", model.size, model.arithmetic, model.known_answer[:KNOWN_ANSWER_SIZE])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (bombs.model_claim, "claim to be"),
        (bombs.model_streams, "in 180 streams"),
        (bombs.model_repeats, "too many repeats"),
    ],
)
def test_frames_of_a_model(make: Callable[[ModelRef], bytes], words: str, fast: ModelRef, tmp_path: Path) -> None:
    (tmp_path / "bomb.zllm").write_bytes(make(fast))
    done = run(["test", "bomb.zllm"], tmp_path)
    assert done.returncode == 3 and words in done.stderr, (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (bombs.text_claim, "claim to be"),
        (bombs.lz4_claim, "cannot hold"),
        (bombs.zstd_frame_claim, "cannot unpack to"),
    ],
)
def test_frames(make: Callable[[], bytes], words: str, tmp_path: Path) -> None:
    (tmp_path / "bomb.zllm").write_bytes(make())
    done = run(["test", "bomb.zllm"], tmp_path)
    assert done.returncode == 3 and words in done.stderr, (done.returncode, done.stderr)


# What writers make is never taken for a bomb.


def test_members_that_are_all_alike_are_written_so_that_they_are_read() -> None:
    chart = SectionMap([Record(bombs.header())] * 30_000, [])
    short, size = sectionmap.encode(chart, continued=False, continues=False)
    long, _ = sectionmap.encode(chart, continued=False, continues=False, bounded=True)
    assert len(short) < 300 and len(long) > 30_000

    def read(blob: bytes) -> int:
        header = bombs.SectionHeader(0, chart.size(), size)
        return len(sectionmap.decode(blob, header).records)

    assert read(long) == 30_000
    with pytest.raises(zllm.DamagedError, match="records and header blocks"):
        read(short)


def test_many_empty_files_with_counted_names_stay_packed() -> None:
    records = [Record(bombs.header(f"d/f{number:07}")) for number in range(20_000)]
    blob, _ = sectionmap.encode(SectionMap(records, []), continued=False, continues=False, mixed=True, bounded=True)
    assert len(blob) < 5000
    most = limits.FREE_HEADERS + limits.MAX_HEADERS_RATIO * len(blob)
    assert most > 4 * 4 * 20_000, "close to what readers refuse"


def test_columns_by_context_mixing_stay_readable() -> None:
    cols = [b"abcdefgh" * 30_000] * 40
    assert columns.unpack(columns.pack(cols, mixed=True), 40 * 240_000, "it") == cols


@pytest.mark.parametrize("unit", [b"\0", b"a,b\n", b"0,0,0,0\n"])
def test_the_most_regular_text_is_decoded(unit: bytes) -> None:
    """256 KiB; cut to a byte, the code string claims too much."""
    codec = CmCodec()
    text = unit * ((1 << 18) // len(unit))
    payload = codec.encode(text)
    assert codec.decode(payload, len(text)) == text
    with pytest.raises(zllm.DamagedError, match="claim to be"):
        codec.decode(payload[:2], len(text))
