"""What the tests of the container share: header blocks, damage, and which errors may come out."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import strategies as st

from zllm.errors import DamagedError, NotZllmError, UnsupportedVersionError


def given(*arguments: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As hypothesis has it, without a time limit: machines are busy."""
    return lambda test: hypothesis.settings(max_examples=60, deadline=None)(hypothesis.given(*arguments)(test))


ALLOWED = (DamagedError, NotZllmError, UnsupportedVersionError)


def survives(function: Callable[[], object]) -> None:
    """Whatever the bytes: a result, or one of the errors that say what is wrong with them."""
    try:
        function()
    except ALLOWED:
        return


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """``good`` with a flipped bit, cut, with bytes changed, inserted or removed."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["flip", "set", "cut", "insert", "remove"]))
        if how == "insert" or not data:
            data[place:place] = draw(st.binary(min_size=1, max_size=9))
        elif how == "flip":
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "set":
            data[place] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        elif how == "cut":
            del data[place:]
        else:
            del data[place : place + draw(st.integers(1, 9))]
    return bytes(data)


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=130)


@st.composite
def infos(draw: st.DrawFn) -> tarfile.TarInfo:
    """Any member that tarfile can write."""
    info = tarfile.TarInfo(draw(names))
    info.type = draw(st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]))
    info.linkname = draw(names) if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    info.size = draw(st.integers(0, 10_000)) if info.type == tarfile.REGTYPE else 0
    info.mtime = draw(st.one_of(st.integers(0, 1 << 33), st.floats(0, 1e10), st.integers(-9, 0)))
    info.mode = draw(st.sampled_from([0o644, 0o755, 0o4755, 0]))
    info.uid = draw(st.sampled_from([0, 1000, 2097152]))
    info.uname = draw(st.sampled_from(["", "root", "üser"]))
    if draw(st.booleans()):
        info.pax_headers = {"atime": "123.5", "comment": draw(names), "ctime": draw(st.sampled_from(["x", "9.", "09"]))}
    return info


formats = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])


def unit_of(info: tarfile.TarInfo, tar_format: int) -> bytes:
    """Its header blocks."""
    return info.tobuf(tar_format, errors="surrogateescape")


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def checked(block: bytes) -> bytes:
    """The block with a checksum that holds."""
    total = sum(block[:148]) + 8 * 32 + sum(block[156:512])
    return block[:148] + b"%06o\0 " % total + block[156:]
