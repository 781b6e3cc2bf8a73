"""How members are stored, from the section maps; nothing is decoded."""

from __future__ import annotations

import functools
import tarfile
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from zllm.errors import DamagedError

if TYPE_CHECKING:
    from zllm.archive.sections import Section
    from zllm.archive.view import TarView


class Storage(NamedTuple):
    """How a member's data is stored. ``coded_size``: its share of its frames; 0 for what another member has already."""

    coded_size: int = 0
    codecs: tuple[str, ...] = ()
    category: str = ""
    reason: str = ""
    sha256: str | None = None


class Stored:
    """What has a :class:`Storage`, whose fields it tells one by one."""

    __slots__ = ()

    @property
    @abstractmethod
    def storage(self) -> Storage:
        """All of it at once."""

    @property
    def coded_size(self) -> int:
        """Bytes in the archive: this member's share of its frames."""
        return self.storage.coded_size

    @property
    def codecs(self) -> tuple[str, ...]:
        """Names of the codecs of its frames; empty if it has no data."""
        return self.storage.codecs

    @property
    def category(self) -> str:
        """What the data was taken for: text, structured, tensor, audio, compressed, binary."""
        return self.storage.category

    @property
    def reason(self) -> str:
        """Why it is stored that way."""
        return self.storage.reason

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the data as it is in the tar stream, hexadecimal; None if it is not stored: of small members."""
        return self.storage.sha256


def look_up(view: TarView | None, name: str, position: int) -> Storage:
    """How the member of that name is stored whose data begins at ``position``; empty if it is only to be written.

    Raises:
        ValueError: the archive is closed.
        tarfile.StreamError: the archive is a pipe that has gone on.
    """
    if view is None:
        return Storage()
    if view.closed:
        raise ValueError(f"{name}: the archive is closed, so how it is stored cannot be looked up any more")
    try:
        with view.lock:
            return _of(view, position)
    except OSError as exc:
        if view.seekable():
            raise
        raise tarfile.StreamError(f"{name}: the pipe has gone on: ask before the next member") from exc


def _of(view: TarView, position: int) -> Storage:
    coded = 0.0
    codecs: dict[str, None] = {}
    category = reason = ""
    sha256: str | None = None
    try:
        for section, number in _parts(view, position):
            layout = section.layout
            record = layout.records[number]
            sha256 = record.sha256.hex() or None
            for frame, _, size in layout.extents(number, 0, record.data_size):
                row, ends = layout.frames[frame], layout.frame_offsets
                codec, kind, why = _words(row.codec, layout.categories[frame], row.reason, row.rival)
                codecs[codec] = None
                coded += (ends[frame + 1] - ends[frame]) * size / row.raw_size if record.duplicate_of < 0 else 0
                category, reason = category or kind, reason or why
            if record.duplicate_of >= 0:
                reason = "same content as an earlier member"
    except DamagedError:
        sha256 = None
    return Storage(round(coded), tuple(codecs), category, reason, sha256)


@functools.lru_cache(maxsize=4096)
def _words(codec: int, category: int, reason: int, rival: int) -> tuple[str, str, str]:
    """Names of codec and category, and why it was chosen."""
    from zllm.codecs import registry
    from zllm.format.category import Category
    from zllm.planner.reasons import describe

    try:
        kind = Category(category).name.lower()
    except ValueError:
        kind = f"category {category}"
    return registry.name_of(codec), kind, describe(reason, rival)


def _parts(view: TarView, position: int) -> Iterator[tuple[Section, int]]:
    """The records that have the data of the member with data at ``position``."""
    section = view.section_at(position)
    while section is not None:
        layout, offset = section.layout, position - section.header.stream_offset
        number = layout.place(offset).record
        start = layout.data_start(number)
        if not start <= offset < start + layout.records[number].data_size:
            return
        yield section, number
        if not section.header.continues or number < len(layout.records) - 1 or not view.seekable():
            return
        position = section.header.stream_offset + section.header.stream_size
        section = view.section_at(position)
