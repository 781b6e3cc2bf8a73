"""The members of a tar stream, one after the other, from the headers in the section maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from zllm.archive.finding import Finder, Header
from zllm.archive.view import TarView
from zllm.errors import DamagedError, ZllmError
from zllm.format import headerunits
from zllm.format.headerunits import Plain
from zllm.format.tarscan import padded

_M = TypeVar("_M")


class Members:
    """Finds members. ``quiet``: bytes that are not a header are passed over without a word, as ``ignore_zeros`` asks.

    ``position`` is where the next header is due.
    """

    def __init__(self, view: TarView, *, quiet: bool = False) -> None:
        self.position = 0
        self._view = view
        self._quiet = quiet
        self._finder = Finder(view, quiet=quiet)

    def plain(self) -> Iterator[tuple[int, Plain]]:
        """Plain headers that come next, with their places, to make members of them in another way than :meth:`next`."""
        for place, blocks in self._finder.plain(self.position):
            self.position = place + blocks.header_size + padded(blocks.data_size)
            yield place, blocks

    def go_back(self, place: int) -> None:
        """The header at ``place``, which came last, is still to be made a member of: by :meth:`next`."""
        self.position = place

    def next(self, parse: Callable[[Header], _M | None]) -> _M | None:
        """What ``parse`` makes of the next header; None after the last. Headers of which it makes None are noted."""
        scanned: Header | None = None
        while (found := scanned or self._finder.find(self.position)) is not None:
            self.position, scanned = found.end, None
            try:
                member = parse(found)
            except ZllmError as exc:
                self._view.note(type(exc)(f"{found.name}: {exc}") if isinstance(exc, DamagedError) else exc)
                continue
            if member is not None:
                return member
            if not found.proven:  # the map may say that there is a header where there is none
                again = self._finder.again(found)
                if isinstance(again, int):
                    self.position = again
                    continue
                if again is not None and _differ(again, found):
                    scanned = again
                    continue
            if not self._quiet:
                self._view.note_broken("its header makes no sense: passed over", found.name)
        return None


def _differ(one: Header, other: Header) -> bool:
    return one.position != other.position or headerunits.built(one.blocks) != headerunits.built(other.blocks)
