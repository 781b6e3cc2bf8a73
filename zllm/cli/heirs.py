"""Hard links whose data is in a member that goes: the first of them gets the data, the others become links to it.

Or else a link that stays would lead to nothing, or to a newer member that has the name.
"""

from __future__ import annotations

from collections.abc import Iterable

import zllm
from zllm.archive.archive import Archive
from zllm.archive.member import Member
from zllm.errors import LinkTargetError

_OF_THE_TARGET = ("path", "linkpath", "size")  # records that would win over what the member is told to be


def of(members: dict[str, Member], gone: set[str]) -> dict[str, list[Member]]:
    """Of each name in ``gone`` that links lead to which stay, these links, in the archive's order.

    ``members``: the last of each name, by its name.
    """
    found: dict[str, list[Member]] = {}
    for member in members.values():
        if member.islnk() and member.name not in gone and _plain(member.linkname) in gone:
            found.setdefault(_plain(member.linkname), []).append(member)
    return found


def add(archive: Archive, new: zllm.ZllmFile, links: Iterable[list[Member]]) -> list[str]:
    """Write them to ``new``; their names.

    Raises:
        LinkTargetError: the archive does not have the data.
        DamagedError, MissingModelError, MissingCodecError: it cannot be decoded.
    """
    names: list[str] = []
    for group in links:
        for link in group:
            give(archive, new, link, group[0].name)
            names.append(link.name)
    return names


def give(archive: Archive, new: zllm.ZllmFile, link: Member, heir: str) -> None:
    """Write a link as what it is a link to, if it is called ``heir``, or else as a link to that.

    Raises:
        LinkTargetError: the archive does not have the data.
        DamagedError, MissingModelError, MissingCodecError: it cannot be decoded.
    """
    if link.name != heir:
        info = zllm.ZllmInfo.of(link, 0)
        info.linkname = heir
        _put(new, info, None)
        return
    target = archive.original(link)
    if target is None:
        raise LinkTargetError(
            f"{link.name}: it is a link to {link.linkname!r}, which is not in the archive", member=link.name
        )
    info = zllm.ZllmInfo.of(target, 0)
    info.name = link.name
    _put(new, info, archive.open(target) if info.isreg() else None)


def _put(new: zllm.ZllmFile, info: zllm.ZllmInfo, data: object) -> None:
    info.pax_headers = {key: value for key, value in info.pax_headers.items() if key not in _OF_THE_TARGET}
    new.addfile(info, data)
    new.members.clear()


def _plain(name: str) -> str:
    return name.rstrip("/")
