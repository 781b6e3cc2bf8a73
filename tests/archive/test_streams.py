"""How many streams a frame of text has can be asked for; readers find it in the frame."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

import zllm
from zllm.archive.options import WriteOptions
from zllm.errors import UsageError
from zllm.format import payloads


@pytest.mark.parametrize(("streams", "found"), [(None, 2), (1, 1), (256, 2)])
def test_as_many_as_were_asked_for(
    prose: bytes, streams: int | None, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = payloads.read_text, []

    def spy(payload: memoryview, size: int) -> Any:
        text = read(payload, size)
        seen.append(len(text.ends))
        return text

    monkeypatch.setattr(payloads, "read_text", spy)
    made, text = io.BytesIO(), prose[:36_000]
    with zllm.open(fileobj=made, mode="w", level=9, model="fast", streams=streams, threads=1) as archive:
        info = tarfile.TarInfo("a.txt")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    made.seek(0)
    with zllm.open(fileobj=made, threads=1) as archive:
        member = archive.extractfile("a.txt")
        assert member is not None and member.read() == text
    assert set(seen) == {found}


@pytest.mark.parametrize("wrong", [0, 257, -1])
def test_others_are_refused(wrong: int) -> None:
    with pytest.raises(UsageError, match=f"frames have 1 to 256 streams, not {wrong}"):
        WriteOptions(streams=wrong)


@pytest.mark.parametrize("wrong", ["1", 1.0])
def test_other_types_are_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="streams must be a whole number"):
        WriteOptions(streams=wrong)
