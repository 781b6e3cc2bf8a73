"""list, test, extract, pipes, filters and Python tell the same story about the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from archive.stories import Sample, Told, sample, stories

# Of damage, a reader of a pipe may lose more: it cannot know what comes, and not go back.
DAMAGED = 3


def judge(case: Sample, told: dict[str, Told]) -> None:
    """Raises AssertionError where two readers contradict each other, or one the truth."""
    listed, piped = told["list file"], told["list pipe"]
    for what in ("list", "test", "extract", "cat", "python"):
        file, pipe = told[f"{what} file"], told[f"{what} pipe"]
        assert bool(file.code) == bool(pipe.code), what
        if DAMAGED not in (file.code, pipe.code) and 2 not in (pipe.code if not pipe.names else 0,):
            assert file.code == pipe.code, what
    raw = listed.names == ["-"] and told["extract file"].code == 2
    for where in ("file", "pipe"):
        one = {what: told[f"{what} {where}"] for what in ("list", "test", "extract", "python")}
        assert one["python"].names == one["list"].names
        assert bool(one["list"].code) <= bool(one["test"].code)
        assert bool(one["extract"].code) <= bool(one["test"].code) or raw
        assert bool(one["list"].code) <= bool(one["extract"].code)
        assert bool(told["-d"].code) <= bool(one["test"].code)
        assert told["-d"].data == told[f"cat {where}"].data
        if not raw:
            assert one["extract"].files.keys() <= set(one["list"].names)
            assert one["extract"].files == one["python"].files
    if listed.code != DAMAGED:
        assert piped.names == listed.names
    assert in_order(piped.names, listed.names)
    truth(case, told)


def truth(case: Sample, told: dict[str, Told]) -> None:
    for reader in told.values():
        for name, data in reader.files.items():
            known = case.contents.get(name, set()) if case.contents is not None else {data}
            assert data in known or (name == "-" and data == case.original), name
            assert data in case.original, name
    if case.whole:
        assert told["-d"].data == case.original
        assert told["-d"].code in (0, 1)
        assert told["test file"].code in (0, 1, 2)
    else:
        assert told["test file"].code
        assert case.original.startswith(told["-d"].data) or b"unknown bytes between" in told["-d"].text.encode()


def in_order(some: list[str], all_: list[str]) -> bool:
    left = iter(all_)
    return all(name in left for name in some)


@pytest.mark.parametrize("block", range(8))
def test_readers_agree(block: int, tmp_path: Path) -> None:
    for seed in range(block * 25, block * 25 + 25):
        case = sample(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        told = stories(case, folder)
        try:
            judge(case, told)
        except AssertionError as exc:
            lines = [f"{name}: {one.code} {one.names} {one.text}" for name, one in told.items()]
            raise AssertionError(f"seed {seed}: {case.what}: {exc}\n" + "\n".join(lines)) from exc
