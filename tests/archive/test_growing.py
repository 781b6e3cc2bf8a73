"""Archives that are changed in their place: mode ``a``, and what is left when that goes wrong."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zllm
from zllm.archive import growing, layout
from zllm.archive.growing import Growing

TEXT = b"What was packed yesterday stays where it is; what is new goes behind it.\n" * 40


def add(archive: zllm.ZllmFile, name: str, data: bytes) -> None:
    info = zllm.ZllmInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with zllm.open(tmp_path / "a.zllm", "a", level=2) as archive:
        add(archive, "a", TEXT)
        add(archive, "b", b"1")
    return tmp_path / "a.zllm"


def contents(path: Path, **options: Any) -> dict[str, bytes]:
    with zllm.open(path, **options) as archive:
        found = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
        assert not archive.problems
        return found


def test_mode_a_makes_an_archive_and_adds_to_it(path: Path) -> None:
    before = path.read_bytes()
    with zllm.open(path, "a", level=2) as archive:
        assert archive.mode == "a" and archive.getnames() == ["a", "b"]
        add(archive, "c", TEXT[::-1])
        assert archive.getnames() == ["a", "b", "c"]
    assert path.read_bytes().startswith(before)
    assert contents(path) == {"a": TEXT, "b": b"1", "c": TEXT[::-1]}
    assert contents(path, generation=0) == {"a": TEXT, "b": b"1"}


def test_an_empty_file_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zllm").touch()
    with pytest.raises(tarfile.ReadError, match="empty"):
        zllm.open(tmp_path / "a.zllm", "a")


def test_what_adds_nothing_leaves_the_archive_as_it_is(path: Path) -> None:
    before = path.read_bytes()
    with zllm.open(path, "a"):
        pass
    assert path.read_bytes() == before


def test_mode_a_of_a_file_object() -> None:
    file = io.BytesIO()
    for name in "abc":
        file.seek(0)
        with zllm.open(fileobj=file, mode="w" if name == "a" else "a", level=1) as archive:
            add(archive, name, name.encode())
    file.seek(0)
    assert zllm.open(fileobj=file).getnames() == ["a", "b", "c"]


def test_members_are_deleted(path: Path) -> None:
    with zllm.open(path, "a") as archive:
        archive.delete(["a", "never there"])
    assert contents(path) == {"b": b"1"}
    assert list(contents(path, generation=0)) == ["a", "b"]
    with zllm.open(path) as archive:
        assert [(one.members, one.deleted) for one in archive.archive.generations] == [(2, 0), (0, 2)]  # type: ignore[union-attr]
        with pytest.raises(KeyError):
            archive.getmember("a")
        with pytest.raises(zllm.UsageError):
            archive.delete(["b"])


def test_a_deleted_name_may_come_back(path: Path) -> None:
    for number in range(3):
        with zllm.open(path, "a") as archive:
            archive.delete(["a"])
            add(archive, "a", b"%d" % number)
    assert contents(path) == {"b": b"1", "a": b"2"}
    assert [contents(path, generation=number)["a"] for number in range(4)] == [TEXT, b"0", b"1", b"2"]


def test_the_time_of_a_generation(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567890")
    with zllm.open(path, "a") as archive:
        archive.delete(["a"])
    with zllm.open(path) as archive:
        assert [one.time for one in archive.archive.generations] == [0, 1234567890]  # type: ignore[union-attr]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(zllm.UsageError, match="SOURCE_DATE_EPOCH=yesterday"):
        zllm.open(path, "a")


@pytest.mark.parametrize("number", [2, 99])
def test_a_generation_that_is_not_there(path: Path, number: int) -> None:
    with zllm.open(path, "a") as archive:
        add(archive, "c", b"3")
    for mode in ("r", "r|"):
        with path.open("rb") as file, pytest.raises(zllm.UsageError, match="has 2, from 0 to 1"):
            zllm.open(fileobj=file, mode=mode, generation=number).getnames()
    with pytest.raises(zllm.UsageError):
        zllm.open(path, generation=-1)


@pytest.mark.parametrize("mode", ["a|", "a:"])
def test_other_spellings(path: Path, mode: str) -> None:
    if mode == "a|":
        with pytest.raises(zllm.UsageError, match="pipe"):
            zllm.open(path, mode)
        return
    with zllm.open(path, mode) as archive:
        add(archive, "c", b"3")
    assert list(contents(path)) == ["a", "b", "c"]


# One at a time


def test_a_second_writer_is_refused(path: Path) -> None:
    with zllm.open(path, "a") as archive:
        add(archive, "c", b"3")
        with pytest.raises(zllm.BusyError, match="is being changed by another process"):
            zllm.open(path, "a")
        assert contents(path) == {"a": TEXT, "b": b"1"}
    with zllm.open(path, "a") as archive:
        add(archive, "d", b"4")
    assert list(contents(path)) == ["a", "b", "c", "d"]


def test_a_file_that_was_replaced_while_it_waited_is_not_written(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = (tmp_path / "new.zllm", path.read_bytes())
    calls: list[str] = []
    real = growing.lock

    def replaced(descriptor: int, name: str) -> None:
        if not calls:
            new[0].write_bytes(new[1])
            os.replace(new[0], path)
        calls.append(name)
        real(descriptor, name)

    monkeypatch.setattr(growing, "lock", replaced)
    with zllm.open(path, "a") as archive:
        add(archive, "c", b"3")
    assert len(calls) == 2 and list(contents(path)) == ["a", "b", "c"]


def test_an_archive_that_is_replaced_while_it_is_changed(path: Path, tmp_path: Path) -> None:
    archive = zllm.open(path, "a")
    add(archive, "c", b"3")
    (tmp_path / "new").write_bytes(b"another file")
    os.replace(tmp_path / "new", path)
    with pytest.raises(FileNotFoundError, match="replaced"):
        archive.close()
    assert path.read_bytes() == b"another file"


# What goes wrong


class Failing:
    """The ``number``-th call fails, and all after it."""

    def __init__(self, number: int, code: int) -> None:
        self.left, self.code = number, code

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(self.code, os.strerror(self.code))


def change(path: Path) -> None:
    with zllm.open(path, "a", level=2) as archive:
        archive.delete(["b"])
        add(archive, "c", TEXT[::-1])
        add(archive, "d", os.urandom(3000))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_leaves_the_archive_as_it_was(
    path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = path.read_bytes(), Growing.write
    for number in range(1000):
        fails = Failing(number, code)

        def write(self: Growing, data: bytes, fails: Failing = fails) -> int:
            if fails.left == 0:
                real(self, data[: len(data) // 2])
            fails()
            return real(self, data)

        monkeypatch.setattr(Growing, "write", write)
        try:
            change(path)
        except OSError as error:
            assert error.errno == code
            assert path.read_bytes() == before
        else:
            break
    assert number > 10 and list(contents(path)) == ["a", "c", "d"]


@pytest.mark.parametrize("number", [0, 1])
def test_a_sync_that_fails(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real, fails = path.read_bytes(), os.fsync, Failing(number, errno.EIO)

    def fsync(descriptor: int) -> None:
        fails()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        change(path)
    assert path.read_bytes() == before


def test_an_error_of_the_caller_leaves_the_archive_as_it_was(path: Path) -> None:
    before = path.read_bytes() + bytes(700)
    path.write_bytes(before)
    with pytest.raises(ZeroDivisionError), zllm.open(path, "a") as archive:
        add(archive, "c", TEXT)
        archive.writer._next_section()
        archive.writer._queue.wait()
        assert path.read_bytes() != before
        raise ZeroDivisionError
    assert path.read_bytes() == before


def test_one_that_is_never_closed(path: Path) -> None:
    before = path.read_bytes()
    archive = zllm.open(path, "a")
    add(archive, "c", TEXT)
    with pytest.warns(ResourceWarning):
        del archive
    assert path.read_bytes() == before


# What a killed writer leaves


def cuts(path: Path) -> Iterator[tuple[bytes, dict[str, bytes]]]:
    """The archive after each byte of two changes, with what has to be in it then."""
    states = [contents(path)]
    for name in ("c", "d"):
        with zllm.open(path, "a", level=2) as archive:
            archive.delete(["b"])
            add(archive, name, TEXT[::-1])
        states.append(contents(path))
    data = path.read_bytes()
    ends = [one.end for one in layout.find(io.BytesIO(data)).generations]
    for cut in range(ends[0], ends[2] + 1):
        yield data[:cut], states[0] if cut < ends[1] else states[1] if cut < ends[2] else states[2]


def test_a_generation_that_was_never_finished_is_passed_over(path: Path, tmp_path: Path) -> None:
    seen = 0
    for data, state in cuts(path):
        found = layout.find(io.BytesIO(data))
        assert found.problem is None and (found.unfinished > 0) == (len(found.warnings) == 1)
        with zllm.open(fileobj=io.BytesIO(data)) as archive:
            assert archive.getnames() == list(state), len(data)
        seen += found.unfinished > 0
        if len(data) % 7 == 0:
            cut = tmp_path / "cut.zllm"
            cut.write_bytes(data)
            with zllm.open(cut, "a", level=2) as archive:
                add(archive, "new", b"new")
            assert contents(cut) == {**state, "new": b"new"}
            assert not layout.find(io.BytesIO(cut.read_bytes())).warnings
    assert seen > 200


def test_zeros_of_a_power_cut_are_passed_over(path: Path) -> None:
    data = path.read_bytes()
    assert zllm.open(fileobj=io.BytesIO(data + bytes(100_000))).getnames() == ["a", "b"]


def test_damage_is_no_generation_that_was_never_finished(path: Path) -> None:
    change(path)
    data = path.read_bytes()
    first = layout.find(io.BytesIO(data)).generations[0].end
    footer = data.rindex(b"\xb5Z\x05")
    for place in range(first, len(data)):
        bad = bytearray(data)
        bad[place] ^= 0x10
        if place >= footer - 40:  # the last directory, too
            bad[place - 1] ^= 0x10
        found = layout.find(io.BytesIO(bytes(bad)))
        assert not found.unfinished and len(found.rows) >= 1
        try:
            names = zllm.open(fileobj=io.BytesIO(bytes(bad))).getnames()
        except tarfile.ReadError:
            continue
        assert {"a", "c", "d"} <= set(names), place


def test_bytes_of_others_are_not_written_over(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"a signature of somebody else")
    before = path.read_bytes()
    with pytest.raises(zllm.UsageError, match="28 bytes behind the archive, which are others'"):
        zllm.open(path, "a")
    assert path.read_bytes() == before
