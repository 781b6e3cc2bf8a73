"""Packing as :class:`tarfile.TarFile` has it: members, whose headers go straight into columns where that can be."""

from __future__ import annotations

import copy
import os
import tarfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from zllm.archive.inputs import Padded
from zllm.errors import UsageError
from zllm.format.names import plain
from zllm.tarface.info import ZllmInfo

if TYPE_CHECKING:
    from zllm.archive.growing import Growing
    from zllm.archive.target import Target
    from zllm.archive.writer import Writer


class Packing(tarfile.TarFile):
    """What of :class:`zllm.ZllmFile` takes members in."""

    members: list[tarfile.TarInfo]  # tarfile's own, which its types leave out
    _sink: Writer | None = None
    _target: Target | Growing | None = None
    _adding: bool
    _messages: list[str]

    def add(self, name: Any, *args: Any, **kwargs: Any) -> None:
        """As in tarfile. A file that shrinks while it is read is padded with zeros, with a warning, as by GNU tar."""
        if self._target is not None and self._target.is_this(os.fspath(name), follow=bool(self.dereference)):
            return
        before, self._adding = self._adding, True
        try:
            super().add(name, *args, **kwargs)
        finally:
            self._adding = before

    def gettarinfo(self, name: Any = None, arcname: Any = None, fileobj: Any = None) -> ZllmInfo:
        """As in tarfile; the member will be stored with its time to the nanosecond, unless ``mtime`` is changed."""
        info = cast(ZllmInfo, super().gettarinfo(name, arcname, fileobj))
        if info is not None:  # as it is for a socket
            where = name if fileobj is None else fileobj.fileno()
            state = os.stat(where, follow_symlinks=fileobj is not None or bool(self.dereference))
            if state.st_mtime == info.mtime:
                info.keep_exact(state.st_mtime_ns)
        return info

    def delete(self, names: Iterable[str]) -> None:
        """Delete the members of these names that an archive had when it was opened with mode ``a``: when this one is
        closed, they are not members any more. Names that no member has do no harm.

        Raises:
            UsageError: another mode.
        """
        if self.mode != "a" or self._sink is None:
            raise UsageError("members are deleted from an archive that is opened with mode a")
        self._sink.deleted.update(plain(name) for name in names)

    def addfile(self, tarinfo: tarfile.TarInfo, fileobj: Any = None) -> None:
        """As in tarfile; the archive stays valid even if ``fileobj`` has less than ``tarinfo.size`` bytes.

        Raises:
            UsageError: there is no ``fileobj``, and the member is a file with data.
            OSError: it had less; zeros are in the archive.
        """
        if fileobj is None and tarinfo.isreg() and tarinfo.size:
            raise UsageError(f"{tarinfo.name}: a file object is needed for its {tarinfo.size} bytes")
        if fileobj is None or isinstance(fileobj, Padded):
            self._add_member(tarinfo, fileobj)
            return
        padded = Padded(fileobj, tarinfo.size)
        self._add_member(tarinfo, padded)
        problem = padded.problem()
        if not problem:
            return
        if not self._adding:
            raise padded.error or OSError(f"unexpected end of data: {tarinfo.name}: {problem}")
        self._messages.append(f"{tarinfo.name}: {problem}")

    def _add_member(self, tarinfo: tarfile.TarInfo, source: Padded | None) -> None:
        """As tarfile's ``addfile``, but what headers say becomes no bytes on its way where that makes no difference."""
        self._check("awx")  # type: ignore[attr-defined]
        kind = type(tarinfo)
        usual = isinstance(tarinfo, ZllmInfo) and kind.tobuf is tarfile.TarInfo.tobuf
        if not usual or kind.create_pax_header is not ZllmInfo.create_pax_header or self.format != tarfile.PAX_FORMAT:
            super().addfile(tarinfo, cast(Any, source))
            return
        info = copy.copy(cast(ZllmInfo, tarinfo))
        facts = info.get_info()
        for name, value in facts.items():
            if value is None:
                raise ValueError(f"{name} may not be None")
        headers = info.headers(facts, self.encoding)
        if headers.data_size != (0 if source is None else info.size):
            super().addfile(tarinfo, cast(Any, source))
            return
        self.offset += cast("Writer", self._sink).add(headers, source)
        self.members.append(info)
