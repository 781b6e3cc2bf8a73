"""Archives in other modules' own functions: ``tarfile.open(name, "r:zllm")``, ``shutil.make_archive``. On demand, since
what it changes belongs to everybody in the process.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from typing import TYPE_CHECKING, Any, cast

from zllm.errors import NotTarError, NotZllmError
from zllm.tarface.file import ZllmFile

if TYPE_CHECKING:
    import logging

NAME, SUFFIX = "zllm", ".zllm"


def register_tarfile() -> None:
    """Have :func:`tarfile.open` know archives: modes ``r:zllm``, ``w:zllm``, ``x:zllm`` and ``a:zllm``, and ``r``,
    which tells formats by their bytes. What it returns is a :class:`zllm.ZllmFile`, and keywords are those of
    :func:`zllm.open`. Pipes (``r|zllm``) are read by :func:`zllm.open` alone: tarfile's list of those is fixed.

    Calling it again changes nothing.
    """
    tarfile.TarFile.zllmopen = classmethod(_opened)  # type: ignore[attr-defined]
    cast("dict[str, str]", tarfile.TarFile.OPEN_METH)[NAME] = "zllmopen"


def _opened(cls: type[tarfile.TarFile], /, name: Any, mode: str = "r", fileobj: Any = None, **kwargs: Any) -> ZllmFile:
    kind = cls if issubclass(cls, ZllmFile) else ZllmFile
    return kind.open(name, mode, fileobj, **kwargs)


def register_shutil(**options: Any) -> None:
    """Have :func:`shutil.make_archive` and :func:`shutil.unpack_archive` know the format ``zllm`` and the ending
    ``.zllm``. The last call counts.

    Args:
        options: for :func:`zllm.open` of archives that are made: ``level``, ``model``, ``threads`` and so on.

    Raises:
        TypeError, UsageError: an option that there is not.
    """
    from zllm.archive.options import WriteOptions
    from zllm.planner.levels import get_level

    get_level(WriteOptions(**options).level)
    shutil.register_archive_format(NAME, _make, list(options.items()), "zllm archive")
    if NAME not in {name for name, _, _ in shutil.get_unpack_formats()}:
        shutil.register_unpack_format(NAME, [SUFFIX], _unpack, (), "zllm archive")


def _make(
    base_name: str,
    base_dir: str,
    *,
    root_dir: str | None = None,
    owner: str | None = None,
    group: str | None = None,
    dry_run: bool = False,
    logger: logging.Logger | None = None,
    **options: Any,
) -> str:
    """What ``shutil.make_archive`` calls; the archive's name."""
    name = os.fspath(base_name) + SUFFIX
    if logger is not None:
        logger.info("creating %s", name)
    if dry_run:
        return name
    uid, gid = _number("pwd", owner), _number("grp", group)

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        if owner is not None:
            member.uid, member.uname = uid, owner
        if group is not None:
            member.gid, member.gname = gid, group
        return member

    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    place = base_dir if root_dir is None else os.path.join(root_dir, base_dir)
    with ZllmFile.open(name, "w", **options) as archive:
        archive.add(place, base_dir, filter=owned)
    return name


_make.supports_root_dir = True  # type: ignore[attr-defined]


def _number(module: str, name: str | None) -> int:
    """A user's or a group's number."""
    if name is None:
        return 0
    import importlib

    found = importlib.import_module(module)  # there is none on some systems
    entry = found.getpwnam(name) if module == "pwd" else found.getgrnam(name)
    return int(entry[2])


def _unpack(name: str, folder: str, filter: Any = None) -> None:
    """What ``shutil.unpack_archive`` calls."""
    try:
        archive = ZllmFile.open(name)
    except (NotZllmError, NotTarError) as error:
        raise shutil.ReadError(f"{name}: {error}") from error
    with archive:
        archive.extractall(folder, filter=filter)
