"""Zip files and zllm archives, made of each other's members: names, data, times, modes, owners, links and comments."""

from __future__ import annotations

import stat
import struct
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import IO, BinaryIO, cast

from zllm.errors import LockedError, UsageError
from zllm.integrations.tarstreams import Valve, translated
from zllm.tarface.file import ZllmFile
from zllm.tarface.info import ZllmInfo

# Blocks of the extra field, by their numbers in Info-ZIP's list and PKWARE's.
_UNIX_TIME = 0x5455
_UNIX_OWNER = 0x7875
_NTFS = 0x000A
_NTFS_EPOCH = 11_644_473_600  # seconds from 1601 to 1970
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_PIECE = 1 << 20
_UNIX = 3
_FOLDER = 0x10
_COMMENT = 65535
_LONGEST_LINK = 1 << 16

Warn = Callable[[str], None]


def unpack(file: BinaryIO, archive: ZllmFile, warn: Warn, done: Callable[[int], None]) -> int:
    """Add each member of the zip in ``file`` to ``archive``; how many there are. ``done`` counts bytes.

    Raises:
        LockedError: one of them is encrypted.
        DamagedError: it is damaged or cut off.
        UsageError: it is a pipe, or coded by a method that Python's zipfile does not have.
        OSError: it cannot be read, or the archive not written.
    """
    if not file.seekable():
        raise UsageError("a zip archive is read from its end, which a pipe cannot be: name a file")
    count = 0
    with translated("zip"), zipfile.ZipFile(file) as source:
        entries = source.infolist()
        for entry in entries:
            if entry.flag_bits & 1:
                raise LockedError(f"{entry.filename}: it is encrypted, which zllm cannot read in a zip: unzip it")
        if source.comment:
            warn("the comment of the zip itself is left out: tar archives have none")
        for entry in entries:
            info = _info(entry)
            if info is None:
                warn(f"{entry.filename}: neither a file nor a folder nor a link: skipped")
                continue
            with ExitStack() as files:
                data = None
                if info.issym():
                    if entry.file_size > _LONGEST_LINK:
                        warn(f"{entry.filename}: a link of {entry.file_size} bytes: skipped")
                        continue
                    info.linkname = source.read(entry).decode("utf-8", "surrogateescape")
                elif info.isreg():
                    info.size = entry.file_size
                    data = files.enter_context(source.open(entry))
                elif entry.file_size:
                    warn(f"{entry.filename}: a folder with data, which is left out")
                archive.addfile(info, data)
            done(info.size)
            count += 1
    return count


def _info(entry: zipfile.ZipInfo) -> ZllmInfo | None:
    """The member that it becomes, without data; None for what is not to be had."""
    mode = entry.external_attr >> 16 if entry.create_system == _UNIX else 0
    kind = stat.S_IFDIR if entry.filename.endswith("/") else stat.S_IFMT(mode) or stat.S_IFREG
    types = {stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE}
    if kind not in types or not entry.filename.strip("/"):
        return None
    info = ZllmInfo(entry.filename.rstrip("/"))
    info.type = types[kind]
    info.mode = stat.S_IMODE(mode) if mode else 0o755 if kind == stat.S_IFDIR else 0o644
    info.set_mtime_ns(_time(entry))
    info.uid, info.gid = _owner(entry)
    if entry.comment:
        info.pax_headers = {"comment": _text(entry.comment)}
    return info


def _text(comment: bytes) -> str:
    """A comment is in UTF-8, whether a flag says so or not, or else in the encoding of DOS."""
    try:
        return comment.decode()
    except UnicodeDecodeError:
        return comment.decode("cp437")


def _extra(entry: zipfile.ZipInfo) -> Iterator[tuple[int, bytes]]:
    """The blocks of its extra field."""
    extra, place = entry.extra, 0
    while place + 4 <= len(extra):
        number, size = struct.unpack_from("<HH", extra, place)
        yield number, extra[place + 4 : place + 4 + size]
        place += 4 + size


def _time(entry: zipfile.ZipInfo) -> int:
    """In nanoseconds since 1970: the finest there is. That of DOS is in the time zone here."""
    blocks = dict(_extra(entry))
    ntfs, unix = blocks.get(_NTFS, b""), blocks.get(_UNIX_TIME, b"")
    if len(ntfs) >= 16 and struct.unpack_from("<HH", ntfs, 4) == (1, 24):
        return (int(struct.unpack_from("<Q", ntfs, 8)[0]) - _NTFS_EPOCH * 10**7) * 100
    if len(unix) >= 5 and unix[0] & 1:
        return int(struct.unpack_from("<i", unix, 1)[0]) * 10**9
    try:
        return int(time.mktime((*entry.date_time, 0, 0, -1))) * 10**9
    except (OverflowError, ValueError):  # the month 0, say
        return 0


def _owner(entry: zipfile.ZipInfo) -> tuple[int, int]:
    """User and group, by number; 0 if the zip does not say."""
    data = dict(_extra(entry)).get(_UNIX_OWNER, b"")
    if len(data) < 3 or data[0] != 1:
        return 0, 0
    users = data[1]
    groups = data[2 + users] if 2 + users < len(data) else 0
    return int.from_bytes(data[2 : 2 + users], "little"), int.from_bytes(data[3 + users : 3 + users + groups], "little")


def pack(archive: ZllmFile, out: Valve, level: int, warn: Warn, done: Callable[[int], None]) -> int:
    """Write each member of ``archive`` to a zip on ``out``; how many there are. Hard links become files of their own.

    Raises:
        ZllmError: something of the archive cannot be read.
        tarfile.StreamError: a hard link, and the archive is a pipe.
        OSError: the zip cannot be written.
    """
    last = {member.name: member.offset for member in archive} if archive.archive is not None and _seeks(archive) else {}
    count = 0
    with (
        warnings.catch_warnings(),
        zipfile.ZipFile(cast("IO[bytes]", out), "w", zipfile.ZIP_DEFLATED, compresslevel=level) as target,
    ):
        warnings.simplefilter("ignore")  # two members of one name, which only a pipe has here
        try:
            for member in archive:
                if last.get(member.name, member.offset) == member.offset and _put(archive, member, target, warn, done):
                    count += 1
        except BaseException:
            out.shut()
            raise
    return count


def _seeks(archive: ZllmFile) -> bool:
    return archive.archive is not None and archive.archive.view.seekable()


def _put(archive: ZllmFile, member: ZllmInfo, target: zipfile.ZipFile, warn: Warn, done: Callable[[int], None]) -> bool:
    """Write one member; whether it was written."""
    found: tarfile.TarInfo | None = member
    if member.islnk():
        if not _seeks(archive):
            raise UsageError(f"{member.name}: a hard link, whose data is before it in the pipe: name a file")
        found = archive.original(member)
    if found is None or not (found.isreg() or found.isdir() or found.issym()):
        warn(f"{member.name}: a zip has files, folders and symbolic links only: skipped")
        return False
    try:
        member.name.encode()
        link = found.linkname.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        warn(f"{member.name}: its name is not UTF-8, which a zip cannot say: skipped")
        return False
    entry = _entry(member, found)
    if found.isdir():
        target.writestr(entry, b"")
    elif found.issym():
        target.writestr(entry, link)
    else:
        _copy(archive, found, target, entry, done)
    return True


def _copy(
    archive: ZllmFile, found: tarfile.TarInfo, target: zipfile.ZipFile, entry: zipfile.ZipInfo,
    done: Callable[[int], None],
) -> None:  # fmt: skip
    entry.file_size = found.size
    archive.expect(found)
    with target.open(entry, "w") as into, cast("IO[bytes]", archive.extractfile(found)) as data:
        while piece := data.read(_PIECE):
            into.write(piece)
            done(len(piece))


def _entry(member: ZllmInfo, found: tarfile.TarInfo) -> zipfile.ZipInfo:
    """The zip's member, with the time of DOS in the time zone here and in UTC beside it."""
    seconds = int(member.mtime // 1)
    try:
        dos = time.localtime(seconds)[:6]
    except (OverflowError, ValueError, OSError):
        dos = _NO_TIME
    entry = zipfile.ZipInfo(member.name + "/" * found.isdir(), max(_NO_TIME, min(dos, (2107, 12, 31, 23, 59, 58))))
    kind = stat.S_IFDIR if found.isdir() else stat.S_IFLNK if found.issym() else stat.S_IFREG
    entry.create_system = _UNIX
    entry.external_attr = (kind | stat.S_IMODE(member.mode)) << 16 | _FOLDER * found.isdir()
    entry.compress_type = zipfile.ZIP_DEFLATED if found.isreg() and found.size else zipfile.ZIP_STORED
    if -(1 << 31) <= seconds < 1 << 31:
        entry.extra += struct.pack("<HHBi", _UNIX_TIME, 5, 1, seconds)
    if 0 <= member.uid < 1 << 32 and 0 <= member.gid < 1 << 32:
        entry.extra += struct.pack("<HHBBIBI", _UNIX_OWNER, 11, 1, 4, member.uid, 4, member.gid)
    entry.comment = member.pax_headers.get("comment", "").encode("utf-8", "surrogateescape")[:_COMMENT]
    return entry
