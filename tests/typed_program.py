"""A program as users write them, for ``mypy --strict``: what zllm's functions return, as their code sees it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import zllm

if TYPE_CHECKING:
    from typing_extensions import assert_type


class Mine(zllm.ZllmFile):
    """Somebody's own kind of archive."""


def pack(folder: Path, target: Path) -> None:
    """Writing."""
    with zllm.open(target, "w", level=3, threads=2, format=tarfile.PAX_FORMAT) as archive:
        assert_type(archive, zllm.ZllmFile)
        archive.add(folder, arcname="x", recursive=True, filter=lambda member: member)
        info = zllm.ZllmInfo("name")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))


def read(name: str) -> int:
    """Reading."""
    total = 0
    with zllm.ZllmFile(name) as archive, Mine.open(name) as mine, Mine(Path(name)) as other:
        assert_type(archive, zllm.ZllmFile)
        assert_type(mine, Mine)
        assert_type(other, Mine)
        for member in archive:
            assert_type(member, zllm.ZllmInfo)
            assert_type(member.coded_size, int)
            assert_type(member.codecs, tuple[str, ...])
            assert_type(member.sha256, str | None)
            assert_type(member.replace(name="x"), zllm.ZllmInfo)
            file = archive.extractfile(member)
            if file is not None:
                data: IO[bytes] = file
                total += len(data.read())
        assert_type(archive.getmembers(), list[zllm.ZllmInfo])
        assert_type(archive.getmember("a"), zllm.ZllmInfo)
        assert_type(archive.next(), zllm.ZllmInfo | None)
        assert_type(archive.getnames(), list[str])
        assert_type(archive.warnings, list[str])
        archive.extractall("out", filter="data")
    assert_type(zllm.is_zllmfile(name), bool)
    assert_type(zllm.__version__, str)
    return total


def streams(data: bytes) -> bytes:
    """One compressed stream."""
    compressor, decompressor = zllm.Compressor(level=3, threads=2), zllm.Decompressor()
    packed = compressor.compress(data) + compressor.flush()
    assert_type(decompressor.decompress(packed, max_length=10), bytes)
    assert_type(decompressor.eof, bool)
    assert_type(decompressor.unused_data, bytes)
    with zllm.ZllmStream("a.zllm", "w", level=3) as file:
        assert_type(file, zllm.ZllmStream)
        file.write(zllm.decompress(zllm.compress(data, 3, "fast")))
    assert_type(zllm.open_stream("a.zllm"), zllm.ZllmStream)
    with zllm.open_stream("a.zllm", "rt", encoding="utf-8") as text:
        assert_type(text, io.TextIOWrapper)
    zllm.register_tarfile()
    zllm.register_shutil(level=3)
    return packed


def careful(name: bytes) -> str:
    """Errors."""
    try:
        zllm.open(name).close()
    except zllm.MissingModelError as error:
        return error.sha256
    except zllm.DamagedError as error:
        assert_type(error.member, str | None)
        return str(error.exit_code)
    except (tarfile.ReadError, ValueError):
        return "no archive"
    return ""
