"""Limits that whoever opens an archive sets: of files and pipes, before anything is unpacked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from archive.stories import Pipe, packed
from archive.test_joined_archives import contents
from attacks.test_damage import build

import zllm
from zllm import Limits
from zllm.format import limits

MODES = pytest.mark.parametrize("mode", ["r", "r|"])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    files = {f"folder/{number}": b"text " * 900 + b"%d" % number for number in range(40)}
    return build(tmp_path_factory.mktemp("limits") / "a.zllm", files)


def opened(data: bytes, mode: str, **allowed: Any) -> list[str]:
    file = io.BytesIO(data) if mode == "r" else Pipe(data)
    with zllm.open(fileobj=file, mode=mode, limits=Limits(**allowed)) as archive:
        names = []
        for member in archive:
            names.append(member.name)
            archive.extractfile(member).read()
        return names


def size_of(data: bytes) -> int:
    with zllm.open(fileobj=io.BytesIO(data)) as archive:
        return archive.view.end


@MODES
def test_what_is_within_them_is_read(archive: bytes, mode: str) -> None:
    size = size_of(archive)
    assert len(opened(archive, mode)) == 40
    assert len(opened(archive, mode, output_bytes=size, members=40, name_bytes=9, frame_bytes=40 * 4502)) == 40


@MODES
@pytest.mark.parametrize(
    ("allowed", "error", "words"),
    [
        ({"output_bytes": 200_000}, zllm.LimitError, "more than 200000 bytes"),
        ({"members": 39}, zllm.LimitError, "more than 39 members"),
        ({"frame_bytes": 20_000}, zllm.LimitError, "20000 is the limit"),
        ({"map_bytes": 100}, zllm.DamagedError, "claim to unpack to"),
        ({"map_free": 0, "map_ratio": 1}, zllm.DamagedError, "claim to unpack to"),
        ({"records": 39}, zllm.DamagedError, "records in"),
        ({"records_free": 0, "records_ratio": 0}, zllm.DamagedError, "at most"),
        ({"name_bytes": 6}, zllm.DamagedError, "too long"),
    ],
)
def test_what_is_beyond_them_is_refused(
    archive: bytes, mode: str, allowed: dict[str, int], error: type[zllm.ZllmError], words: str
) -> None:
    with pytest.raises(error, match=words):
        opened(archive, mode, **allowed)


@MODES
def test_they_hold_for_joined_archives_together(archive: bytes, mode: str) -> None:
    size = size_of(archive)
    assert len(opened(archive + archive, mode, members=80, output_bytes=2 * size)) == 80
    for allowed in ({"members": 79}, {"output_bytes": 2 * size - 1}):
        with pytest.raises(zllm.LimitError):
            opened(archive + archive, mode, **allowed)


def test_a_directory_has_limits(archive: bytes) -> None:
    """It is read without it, as if it were damaged."""
    for allowed in ({"directory_bytes": 5}, {"directory_free": 3, "directory_ratio": 0}):
        with pytest.raises(zllm.DamagedError, match="the directory is damaged"):
            opened(archive, "r", **allowed)


@MODES
def test_models_have_limits(mode: str, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (checkout / "CHANGELOG.md").read_bytes()[:5000]
    data = build(tmp_path / "a.zllm", {"a": text}, level=8, model="fast", embed_model=True, threads=1)
    assert contents(data, mode) == {"a": text}
    assert opened(data, mode, model_bytes=2 << 20, model_ratio=2) == ["a"]
    for allowed in ({"model_bytes": 1 << 20}, {"model_ratio": 1}):
        with pytest.raises(zllm.DamagedError, match="an embedded model is damaged"):
            opened(data, mode, **allowed)


def test_the_defaults_are_the_formats() -> None:
    assert Limits() == limits.DEFAULT
    assert (Limits().map_bytes, Limits().model_bytes) == (limits.MAX_MAP, limits.MAX_MODEL)
    assert Limits().unpacked_map(1) == limits.FREE_MAP + limits.MAX_MAP_RATIO
    assert Limits().unpacked_map(1 << 40) == limits.MAX_MAP
    assert packed(b"x" * 9000, 4096, level=2)
