"""A pytest plugin, ``-p newest_tarfile``: extraction calls what ZllmFile overrides as the newest tarfile does.

Since its fixes of 2025 tarfile calls ``makelink_with_filter`` for every link, with two arguments by keyword. Older
Pythons call ``makelink``, or nothing of this; here they call as the newest.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

_old = tarfile.TarFile._extract_member  # type: ignore[attr-defined]
calls: list[str] = []
"""Names of the links that were extracted this way."""


def extract_member(
    self: Any,
    tarinfo: tarfile.TarInfo,
    targetpath: str,
    set_attrs: bool = True,
    numeric_owner: bool = False,
    *,
    filter_function: Any = None,
    extraction_root: Any = None,
) -> None:
    """As ``tarfile.TarFile._extract_member`` of the newest Python, as far as links are concerned."""
    if not (tarinfo.issym() or tarinfo.islnk()):
        _old(self, tarinfo, targetpath, set_attrs=set_attrs, numeric_owner=numeric_owner)
        return
    os.makedirs(os.path.dirname(targetpath), exist_ok=True)
    root = extraction_root if extraction_root is not None else targetpath.removesuffix(tarinfo.name)
    tarinfo._link_target = os.path.join(root, tarinfo.linkname)  # type: ignore[attr-defined]
    calls.append(tarinfo.name)
    self.makelink_with_filter(tarinfo, targetpath, filter_function=filter_function, extraction_root=root)
    if set_attrs:
        self.chown(tarinfo, targetpath, numeric_owner)


@pytest.fixture(autouse=True)
def newest_tarfile(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tarfile.TarFile, "_extract_member", extract_member)
    if not hasattr(tarfile.TarFile, "makelink_with_filter"):
        monkeypatch.setattr(tarfile.TarFile, "makelink_with_filter", makelink_with_filter, raising=False)
    yield


def makelink_with_filter(
    self: Any, tarinfo: tarfile.TarInfo, targetpath: Any, filter_function: Any, extraction_root: Any
) -> None:
    """For Pythons whose TarFile has no such method."""
    tarfile.TarFile.makelink(self, tarinfo, targetpath)
