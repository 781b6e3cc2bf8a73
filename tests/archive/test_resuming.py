"""Writers that add to an archive, and the parts of what they have written."""

from __future__ import annotations

import inspect
import io
import tarfile
from collections.abc import Iterator, Sequence

import pytest
import takeapart

from zllm.archive import layout
from zllm.archive.archive import Archive
from zllm.archive.options import ReadOptions, WriteOptions
from zllm.archive.writer import Writer
from zllm.errors import UsageError
from zllm.format.envelope import Kind

TEXT = b"What was packed yesterday stays where it is; what is new goes behind it.\n" * 40


def tar(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def write(out: io.BytesIO, stream: bytes, options: WriteOptions, found: layout.Layout | None = None) -> None:
    writer = Writer(out, options, after=found)
    if found is not None:
        out.seek(found.start + writer.offset)
    writer.write(stream)
    writer.close()
    assert found is None or found.start + writer.offset == out.tell()


def grown(streams: Sequence[bytes], options: WriteOptions, before: bytes = b"") -> bytes:
    out = io.BytesIO(before)
    out.seek(len(before))
    write(out, streams[0], options)
    for stream in streams[1:]:
        out.seek(len(before))
        write(out, stream, options, layout.find(out))
    return out.getvalue()[len(before) :]


def members(data: bytes, *, pipe: bool) -> Iterator[tuple[str, bytes]]:
    archive = Archive(io.BytesIO(data), ReadOptions(threads=1), seekable=not pipe)
    for member in archive:
        file = archive.open(member)
        assert file is not None
        yield member.name, file.read()
    assert archive.problems == []


STREAMS = [tar(("a", TEXT), ("b", b"1")), tar(("c", TEXT[::-1])), tar(), tar(("a", b"new"), ("d", TEXT))]
ALL = [("a", TEXT), ("b", b"1"), ("c", TEXT[::-1]), ("a", b"new"), ("d", TEXT)]


@pytest.mark.parametrize("level", [1, 4, 5, 8])
@pytest.mark.parametrize("pipe", [False, True])
def test_what_was_added_is_read(level: int, pipe: bool) -> None:
    data = grown(STREAMS, WriteOptions(level=level, model="fast", threads=1))
    assert list(members(data, pipe=pipe)) == ALL


def test_the_tar_stream_is_that_of_all() -> None:
    data = grown(STREAMS, WriteOptions(level=2))
    view = Archive(io.BytesIO(data)).view
    assert view.read(-1) == b"".join(STREAMS)


def test_each_addition_is_a_generation_behind_the_one_before() -> None:
    data = grown(STREAMS, WriteOptions(level=2))
    parts = takeapart.parts(data)
    assert [part.envelope.sequence for part in parts] == list(range(len(parts)))
    assert sum(part.envelope.kind == Kind.DIRECTORY for part in parts) == len(STREAMS)
    first = grown(STREAMS[:1], WriteOptions(level=2))
    assert data.startswith(first)


def test_an_archive_behind_other_bytes_grows_alike() -> None:
    assert grown(STREAMS, WriteOptions(level=2), before=b"#!/bin/sh\n") == grown(STREAMS, WriteOptions(level=2))


def test_the_newest_member_of_a_name_is_found() -> None:
    archive = Archive(io.BytesIO(grown(STREAMS, WriteOptions(level=2))))
    found = archive.find("a")
    assert found is not None
    file = archive.open(found)
    assert file is not None and file.read() == b"new"


PROGRAM = inspect.getsource(tarfile)[:20000].encode()  # what a model predicts well


def test_a_model_that_is_inside_is_not_embedded_again() -> None:
    streams = [tar(("a", PROGRAM)), tar(("b", PROGRAM[::-1])), tar(("c", PROGRAM))]
    data = grown(streams, WriteOptions(level=8, model="fast", embed_model=True, threads=1))
    assert len(takeapart.of_kind(data, Kind.MODEL)) == 1
    assert [name for name, _ in members(data, pipe=True)] == ["a", "b", "c"]


def test_zeros_behind_the_end_are_written_over() -> None:
    out = io.BytesIO(grown(STREAMS[:1], WriteOptions(level=2)) + bytes(700))
    found = layout.find(out)
    write(out, STREAMS[1], WriteOptions(level=2), found)
    assert [name for name, _ in members(out.getvalue(), pipe=False)] == ["a", "b", "c"]


@pytest.mark.parametrize("what", ["damaged", "cut", "raw", "joined"])
def test_nothing_is_added_to(what: str) -> None:
    data = grown(STREAMS[:1], WriteOptions(level=2))
    if what == "damaged":
        part = takeapart.of_kind(data, Kind.DIRECTORY)[0]
        data = data[: part.body_at] + b"\xff" * 4 + data[part.body_at + 4 :]
    elif what == "cut":
        data = takeapart.without_end(data)
    elif what == "raw":
        data = grown([TEXT], WriteOptions(level=2))
    else:
        data += grown(STREAMS[1:2], WriteOptions(level=2))
    with pytest.raises(UsageError, match="nothing can be added"):
        Writer(io.BytesIO(), after=layout.find(io.BytesIO(data)))


@pytest.mark.parametrize("level", [2, 8])
def test_parts_are_those_of_the_file(level: int) -> None:
    streams = [*STREAMS, tar(("program", PROGRAM))]
    data = grown(streams, WriteOptions(level=level, model="fast", embed_model=level == 8, threads=1))
    found = [(place.offset, place.envelope) for place in Archive(io.BytesIO(data)).parts()]
    assert found == [(part.offset, part.envelope) for part in takeapart.parts(data)]
    with pytest.raises(UsageError, match="pipe"):
        Archive(io.BytesIO(data), seekable=False).parts()
