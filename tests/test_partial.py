"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zllm import partial


def test_it_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with partial.whole_file(str(target)) as file:
        file.write(b"data")
        assert not target.exists()
    assert target.read_bytes() == b"data"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_vanishes_when_it_is_not(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), partial.whole_file(str(tmp_path / "x")) as file:
        file.write(b"data")
        raise error
    assert not list(tmp_path.iterdir())


def test_what_appeared_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with pytest.raises(FileExistsError), partial.whole_file(str(target), replace=False) as file:
        file.write(b"new")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*names: str) -> None:
        raise PermissionError("this file system has none")

    monkeypatch.setattr(os, "link", no_links)
    with partial.whole_file(str(tmp_path / "x"), replace=False) as file:
        file.write(b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    with pytest.raises(FileExistsError), partial.whole_file(str(tmp_path / "x"), replace=False):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_remove_all(tmp_path: Path) -> None:
    descriptor, name = partial.create(str(tmp_path / "x"))
    os.close(descriptor)
    assert Path(name).exists()
    partial.remove_all()
    assert not list(tmp_path.iterdir())
    partial.remove_all()


def test_the_longest_name_has_room(tmp_path: Path) -> None:
    with partial.whole_file(str(tmp_path / ("ü" * 127))) as file:
        file.write(b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["ü" * 127]
