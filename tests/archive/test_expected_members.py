"""Frames of a member that is read from front to end are decoded together; others one by one."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

import zllm
from zllm.archive.sections import Section

FRAME = 64 << 10
DATA = " ".join(random.Random(1).choices(["some", "words", "that", "nobody", "ever", "said"], k=60_000)).encode()[
    : 5 * FRAME
]
SMALL = b"small\n"


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The frames that were decoded together, batch by batch."""
    found: list[list[int]] = []
    decode = Section._decode

    def noted(section: Section, codec: int, wanted: list[int]) -> None:
        found.append(list(wanted))
        decode(section, codec, wanted)

    monkeypatch.setattr(Section, "_decode", noted)
    return found


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "a.zllm"
    with zllm.open(path, "w", level=5, frame_size=FRAME) as out:
        for name, data in (("large", DATA), ("small", SMALL)):
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_first_frames_are_decoded_together_and_then_the_others(
    archive: Path, batches: list[list[int]], threads: int
) -> None:
    with zllm.open(archive, threads=threads) as opened:
        member = opened.getmember("large")
        batches.clear()
        opened.expect(member)
        stream = opened.extractfile(member)
        assert stream is not None
        assert stream.read(10) == DATA[:10]
        assert [len(batch) for batch in batches] == [threads]
        assert stream.read() == DATA[10:]
        assert len(batches) == 2 and len(set(batches[0] + batches[1])) == len(batches[0] + batches[1]) > 3


def test_what_is_not_expected_is_decoded_when_it_is_read(archive: Path, batches: list[list[int]]) -> None:
    with zllm.open(archive, threads=2) as opened:
        member = opened.getmember("large")
        batches.clear()
        stream = opened.extractfile(member)
        assert stream is not None
        assert stream.read(10) == DATA[:10]
        assert [len(batch) for batch in batches] == [1]


def test_a_member_of_one_frame_is_decoded_alone(archive: Path, batches: list[list[int]]) -> None:
    with zllm.open(archive, threads=3) as opened:
        member = opened.getmember("small")
        batches.clear()
        opened.expect(member)
        stream = opened.extractfile(member)
        assert stream is not None and stream.read() == SMALL
        assert [len(batch) for batch in batches] == [1]


def test_extracting_expects(archive: Path, batches: list[list[int]], tmp_path: Path) -> None:
    with zllm.open(archive, threads=2) as opened:
        batches.clear()
        opened.extract("large", tmp_path)
    assert (tmp_path / "large").read_bytes() == DATA
    assert len(batches[0]) == 2 and len(batches) == 2
