"""A member, with what the archive knows of how it is stored."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zllm.errors import DamagedError

if TYPE_CHECKING:
    from zllm.archive.sections import Section
    from zllm.archive.view import TarView


@dataclass(frozen=True)
class Storage:
    """How a member's data is stored. ``coded_size``: its share of its frames; 0 for what another member has already."""

    coded_size: int = 0
    codecs: tuple[str, ...] = ()
    category: str = ""
    reason: str = ""
    sha256: str | None = None


class ZllmInfo(tarfile.TarInfo):
    """A :class:`tarfile.TarInfo` that also tells codecs, coded size, category, reason and SHA-256."""

    _view: TarView | None = None
    _storage: Storage | None = None

    @classmethod
    def of_stream(cls, view: TarView, name: str, size: int) -> ZllmInfo:
        """A stream that is no tar, all ``size`` bytes of it, as if it were a member."""
        info = cls(name)
        info.size, info.offset_data, info._view = size, 0, view
        return info

    @property
    def storage(self) -> Storage:
        """All of it at once; empty for a member that is only about to be written."""
        if self._storage is None:
            self._storage = storage_of(self._view, self) if self._view is not None else Storage()
        return self._storage

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


def storage_of(view: TarView, info: tarfile.TarInfo) -> Storage:
    """How a member is stored, from the section maps; nothing is decoded."""
    from zllm.chooser.reasons import describe
    from zllm.codecs import registry

    coded = 0.0
    codecs: dict[str, None] = {}
    category = reason = ""
    sha256: str | None = None
    try:
        for section, number in _parts(view, info.offset_data):
            chart = section.chart
            record = chart.records[number]
            sha256 = record.sha256.hex() or None
            for extent in chart.extents(number, 0, record.data_size):
                row = chart.frames[extent.frame]
                codecs[registry.name_of(row.codec)] = None
                coded += row.coded_size * extent.size / row.raw_size if record.same < 0 else 0
                category = category or _category(chart.categories[extent.frame])
                reason = reason or describe(row.reason, row.rival)
            if record.same >= 0:
                reason = "same content as an earlier member"
    except DamagedError:
        sha256 = None
    return Storage(round(coded), tuple(codecs), category, reason, sha256)


def _category(number: int) -> str:
    from zllm.chooser.signatures import Category

    try:
        return Category(number).name.lower()
    except ValueError:
        return f"category {number}"


def _parts(view: TarView, position: int) -> Iterator[tuple[Section, int]]:
    """The records that have the data of the member with data at ``position``."""
    section = view.section_at(position)
    while section is not None:
        chart = section.chart
        number = chart.place(position - section.header.stream_offset).record
        record = chart.records[number]
        if (
            not chart.data_start(number)
            <= position - section.header.stream_offset
            < (chart.data_start(number) + record.data_size)
        ):
            return
        yield section, number
        if not section.header.continues or number < len(chart.records) - 1 or not view.seekable():
            return
        position = section.header.stream_offset + section.header.stream_size
        section = view.section_at(position)
