"""The data of one member as a file: what ``extractfile`` returns."""

from __future__ import annotations

import io
import tarfile
from bisect import bisect_right
from typing import TYPE_CHECKING, Protocol, cast

from zllm.archive.readinto import ReadInto
from zllm.errors import DamagedError

if TYPE_CHECKING:
    from zllm.archive.view import TarView


class Facts(Protocol):
    """What has to be known of a member, a :class:`tarfile.TarInfo` or a :class:`zllm.archive.member.Member`."""

    name: str
    size: int
    offset_data: int


class Reading(Protocol):
    """The archive. ``latest``: the member of a pipe whose data can be read."""

    @property
    def view(self) -> TarView | None:
        """The tar stream."""

    @property
    def latest(self) -> Facts | None:
        """The member that was found last."""


class _Data(ReadInto):
    """The bytes of a member, unbuffered. As in tarfile it is no RawIOBase, so that there is no ``fileno`` to fail.

    Several threads may read members of one archive at the same time, each its own file.
    """

    mode = "rb"

    def __init__(self, archive: Reading, member: Facts) -> None:
        self._archive: Reading | None = archive  # not handed out: once it is closed, this file could not be read
        self._view = cast("TarView", archive.view)
        self._start = member.offset_data
        self.name = member.name
        self.size = member.size
        self.closed = False
        self._position = 0
        self._reached = 0
        sparse = cast("list[tuple[int, int]] | None", getattr(member, "sparse", None))
        self._pieces = [(0, self.size)] if sparse is None else [piece for piece in sparse if piece[1]]
        self._offsets = [offset for offset, _ in self._pieces]
        self._stored = [0]
        for _, size in self._pieces:
            self._stored.append(self._stored[-1] + size)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return self._view.seekable()

    def flush(self) -> None:
        return

    def close(self) -> None:
        self.closed = True
        self._archive = None

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}.get(whence)
        if base is None:
            raise ValueError(f"invalid whence: {whence}")
        self._position = min(max(base + offset, 0), self.size)  # as in tarfile: never outside
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        if self._view.closed:
            raise ValueError("I/O operation on closed archive")
        left = self.size - self._position
        whole = size is None or size < 0 or size >= left
        end = self.size if whole else self._position + cast(int, size)
        with self._view.lock:
            if whole and not self._position:
                self._view.expected = self._start
            position, parts = self._position, []
            while position < end:
                parts.append(self._piece(position, end - position))
                position += len(parts[-1])
        self._position = position
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _piece(self, position: int, size: int) -> bytes:
        """Up to ``size`` bytes at ``position``, at least one: of a piece that is stored, or of a hole."""
        number = bisect_right(self._offsets, position) - 1
        inside = position - self._offsets[number] if number >= 0 else 0
        if number < 0 or inside >= self._pieces[number][1]:
            end = self._offsets[number + 1] if number + 1 < len(self._offsets) else self.size
            return bytes(min(size, end - position))
        size = min(size, self._pieces[number][1] - inside)
        self._go_to(self._start + self._stored[number] + inside)
        data = self._view.read(size)
        if len(data) < size:
            raise DamagedError(f"{self.name}: unexpected end of data: the archive ends before it", member=self.name)
        self._reached = self._view.tell()
        return data

    def _go_to(self, place: int) -> None:
        if not self._view.seekable():
            latest = self._archive.latest if self._archive is not None else None
            if place < self._reached or latest is None or latest.offset_data != self._start:
                raise tarfile.StreamError(f"{self.name}: seeking backwards is not allowed in an archive read as a pipe")
        if place != self._view.tell():
            self._view.seek(place)


class MemberFile(io.BufferedReader):
    """A member's data as a binary file. It keeps its archive open; once that is closed, reading is a ValueError."""

    def __init__(self, archive: Reading, member: Facts) -> None:
        super().__init__(_Data(archive, member))  # type: ignore[arg-type]
