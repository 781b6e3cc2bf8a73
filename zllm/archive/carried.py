"""Notes that archives carry: the source of a decoder, for those who have no zllm; and reading the notes of a file."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import BinaryIO

from zllm.archive.layout import Layout
from zllm.archive.places import Place
from zllm.errors import DamagedError, UsageError
from zllm.format import envelope, notepart
from zllm.format.envelope import Kind
from zllm.format.notepart import Note

DECODER = "unzllm.tar.gz"
"""The name of the note with the decoder, and of its file in the package."""
_DAMAGED = Note("", "", b"")
_README = """\
This is an archive made by zllm (a .zllm file). What follows this text in the file is a note called unzllm.tar.gz: the
source of a program in C that unpacks the archive, and the specifications of the format. With zllm at hand nobody needs
it. Without:

1. Find the first three bytes 1f 8b 08 behind this text: a gzip file begins there. gzip ignores what follows its end.

       tail -c +$(($(LC_ALL=C grep -obUaP -m1 '\\x1f\\x8b\\x08' ARCHIVE | head -n 1 | cut -d: -f1) + 1)) ARCHIVE |
           gzip -dcq 2>/dev/null | tar x

2. Compile it, where the headers of zstd, lz4, zlib and xxhash are:

       cc -O2 unzllm.c -o unzllm -lzstd -llz4 -lz -pthread

3. Unpack: ./unzllm -x FOLDER ARCHIVE. Models that the archive needs and does not contain are named by ./unzllm -t.
"""


def decoder() -> tuple[Note, ...]:
    """The source of a decoder with the specifications, and before it a text that says what to do with them.

    Raises:
        UsageError: this installation does not have it.
    """
    file = resources.files("zllm._native") / DECODER
    if not file.is_file():
        raise UsageError("this installation of zllm does not have the source of the decoder: build it from its sources")
    return Note("README", "text/plain", _README.encode()), Note(DECODER, "application/gzip", file.read_bytes())


def places(layout: Layout) -> list[Place]:
    """Where the notes of an archive are."""
    return [place for place in layout.others if place.envelope.kind == Kind.NOTE]


def notes(file: BinaryIO, layout: Layout) -> Iterator[tuple[Note, int]]:
    """All notes of an archive in a file, without their content, and the bytes of that; damaged ones are left out."""
    for place in places(layout):
        note = _front(file, place)
        if note != _DAMAGED:
            yield note, place.envelope.length - len(notepart.pack(note))


def _front(file: BinaryIO, place: Place) -> Note:
    """A note without its content; :data:`_DAMAGED` if it cannot be told."""
    file.seek(place.offset + place.envelope.size)
    try:
        note = notepart.unpack(file.read(min(notepart.FRONT_SIZE, place.envelope.length)))
    except DamagedError:
        return _DAMAGED
    return Note(note.name, note.media_type, b"")


def read(file: BinaryIO, layout: Layout, name: str) -> Note:
    """The note of that name.

    Raises:
        UsageError: there is none.
        DamagedError: it is damaged.
    """
    for place in places(layout):
        if _front(file, place).name != name:
            continue
        file.seek(place.offset)
        data = file.read(place.envelope.whole)
        if len(data) < place.envelope.whole or not envelope.holds(place.seed, data):
            raise DamagedError(f"the note {name} is damaged: its checksum does not match")
        return notepart.unpack(data[place.envelope.size : -envelope.CHECK_SIZE])
    raise UsageError(f"there is no note {name} in the archive")
