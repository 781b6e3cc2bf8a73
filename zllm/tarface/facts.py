"""What an open archive tells of itself, beside what :mod:`tarfile` has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zllm.errors import UsageError, ZllmError

if TYPE_CHECKING:
    from zllm.archive.archive import Archive
    from zllm.archive.coding import Decoders
    from zllm.archive.layout import Layout
    from zllm.archive.requirements import Requirements
    from zllm.archive.view import TarView
    from zllm.archive.writer import Writer
    from zllm.stats import Stats


class Facts:
    """What of :class:`zllm.ZllmFile` says how things are."""

    archive: Archive | None = None
    """What is read; None for an archive that is being written."""
    _view: TarView | None = None
    _sink: Writer | None = None
    _messages: list[str]

    @property
    def warnings(self) -> list[str]:
        """What went other than asked, without harm to the archive: one line each."""
        seen = self._sink.warnings if self._sink is not None else []
        return [*seen, *(self._view.warnings if self._view is not None else []), *self._messages]

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest (``docs/zllm-format.md``); empty where the index is lost, and from a pipe until its end."""
        return self._view.manifest if self._view is not None else {}

    @property
    def layout(self) -> Layout | None:
        """Where the sections are; None from a pipe."""
        return self.archive.layout if self.archive is not None else None

    @property
    def problem(self) -> ZllmError | None:
        """What is wrong with the archive as a whole, found so far. Everything that can be read is read all the same."""
        return next(iter(self.problems), None)

    @property
    def problems(self) -> list[ZllmError]:
        """All of it: damage (DamagedError), and where the tar stream was broken when it was packed (BrokenTarError)."""
        return self._view.problems if self._view is not None else []

    @property
    def view(self) -> TarView | None:
        """The tar stream, for reading; None for an archive that is being written."""
        return self._view

    @property
    def writer(self) -> Writer:
        """What takes in the tar stream; :class:`UsageError` for an archive that is being read."""
        if self._sink is None:
            raise UsageError("the archive is being read")
        return self._sink

    @property
    def decoders(self) -> Decoders:
        """Codecs and models for reading; :class:`UsageError` for an archive that is being written."""
        return self._reading().decoders

    def requirements(self) -> Requirements:
        """What is needed to read all of it; nothing is decoded, and a pipe is read to its end.

        Raises:
            UsageError: the archive is being written.
        """
        return self._reading().requirements()

    def tally(self, stats: Stats) -> None:
        """Add up what is stored by each codec; nothing is decoded. From a pipe, nothing is known."""
        self._reading().tally(stats)

    def _reading(self) -> Archive:
        if self.archive is None:
            raise UsageError("the archive is being written")
        return self.archive
