"""Headers as :mod:`tarfile` reads them: GNU's long names and sparse files, global headers, numbers in base 256, all
that it knows. What a Python program takes them for is decided there, for every caller."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any, Protocol, cast

from zllm.archive.finding import Header
from zllm.archive.view import TarView
from zllm.errors import ZllmError
from zllm.format import headerunits
from zllm.format.tarscan import EXTENDED

if TYPE_CHECKING:
    from typing_extensions import Self

_MAGIC, _PREFIX = slice(257, 265), 345  # of a header
OLD_GNU = b"ustar  \0"
_DUMPDIR = b"D"


class Reading(Protocol):
    """What :mod:`tarfile` asks of the archive that a header is in, as :class:`tarfile.TarFile` is one."""

    fileobj: Any
    offset: int
    encoding: Any
    errors: Any
    pax_headers: Any


class State:
    """The least that is a :class:`Reading`. ``pax_headers``: of global headers that have come."""

    encoding = "utf-8"
    errors = "surrogateescape"

    def __init__(self) -> None:
        self.fileobj: Any = None
        self.offset = 0
        self.pax_headers: dict[str, str] = {}


class Parsed(tarfile.TarInfo):
    """A member as tarfile has it. But GNU's old format, where incremental archives have times, has no prefix."""

    def isdir(self) -> bool:
        """As in tarfile; the folders of ``tar --listed-incremental``, whose data is a list of names, as well."""
        return super().isdir() or self.type == _DUMPDIR

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As in tarfile, but for that."""
        info = super().frombuf(buf, encoding, errors)
        if buf[_MAGIC] == OLD_GNU and buf[_PREFIX] and info.type not in tarfile.GNU_TYPES:
            name = bytes(buf[:100]).split(b"\0", 1)[0].decode(encoding, errors)
            info.name = name.rstrip("/") if info.isdir() else name
        return info


class _HeaderFile:
    """What tarfile reads a member's headers from: their bytes, and behind them the stream."""

    def __init__(self, view: TarView, header: Header) -> None:
        self._view = view
        self._header = header
        self._unit = headerunits.built(header.blocks)
        self._position = header.position

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def read(self, size: int) -> bytes:
        start = self._position - self._header.position
        data = self._unit[start : start + size]
        limit = self._header.data_start + self._header.size - self._position
        if not data and start >= len(self._unit) and limit > 0:
            self._view.seek(self._position)
            data = self._view.read(min(size, limit))
        self._position += len(data)
        return data


def parse(kind: type[tarfile.TarInfo], state: Reading, view: TarView, found: Header) -> tarfile.TarInfo | None:
    """What tarfile makes of the header, as a member of that ``kind``; None if it makes no sense.

    Raises:
        ZllmError: of a sparse file whose map is in its data, that cannot be read.
    """
    kept, state.fileobj = state.fileobj, _HeaderFile(view, found)
    state.offset = found.position
    try:
        info = kind.fromtarfile(cast(Any, state))
    except (ZllmError, OSError, MemoryError):
        raise
    except Exception:  # tarfile lets out whatever its parsing meets: ValueError, KeyError, RecursionError, ...
        return None
    finally:
        state.fileobj = kept
    if info.type in EXTENDED or info.size < 0:
        return None
    if not _sparse_fits(info, found):
        return None
    if getattr(info, "sparse", None) is None:
        if info.offset_data != found.data_start:
            return None
        if info.isreg() or info.type not in tarfile.SUPPORTED_TYPES:
            info.size = found.size
    return info


def _sparse_fits(info: tarfile.TarInfo, found: Header) -> bool:
    """Whether a sparse map makes sense, and the data has room for what it speaks of."""
    extents = cast("list[tuple[int, int]] | None", getattr(info, "sparse", None))
    if extents is None:
        return True
    end = stored = 0
    for offset, size in extents:
        if not 0 <= offset <= info.size or size < 0 or (size and offset < end):
            return False  # maps may end with extents of no bytes, at the end or at 0
        end, stored = max(end, offset + size), stored + size
    inside = found.data_start <= info.offset_data <= found.data_start + found.size
    return inside and end <= info.size and info.offset_data + stored <= found.data_start + found.size
