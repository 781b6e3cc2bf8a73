"""What a decoder of header columns knows of one member before its blocks are made."""

from __future__ import annotations

from typing import NamedTuple

from zllm.format.headercolumns import BASE, COLUMN_OF, ENDS, LITERAL, SPACE, TIME_KEYS, Col
from zllm.format.headerunits import Block, Extended, Pax, Unit, beside

NUL_END, SPACE_END = ENDS
TIME_COLUMN = -1
"""In place of the column of a record whose value is a time."""


class Pattern(NamedTuple):
    """Keywords of an extended header, where the values of each are, and which of them the main block repeats."""

    keys: tuple[bytes, ...]
    records: tuple[tuple[bytes, int], ...]  # keywords, and TIME_COLUMN or the column of texts
    path: int  # -1: there is none
    link: int
    size: int
    only_time: bool  # it has nothing but mtime
    distinct: bool

    @classmethod
    def of(cls, text: bytes) -> Pattern:
        """From the column KEYS."""
        keys = tuple(text.split(b"=")[:-1])
        columns = tuple(TIME_COLUMN if key in TIME_KEYS else int(COLUMN_OF.get(key, Col.VALUES)) for key in keys)
        last = {key: number for number, key in enumerate(keys)}
        records = tuple(zip(keys, columns, strict=True))
        path, link, size = (last.get(key, -1) for key in (b"path", b"linkpath", b"size"))
        return cls(keys, records, path, link, size, keys == (b"mtime",), len(last) == len(keys))


class Odd(NamedTuple):
    """Size, time and checksum of a block as they stand, where they are not what writers write."""

    size: bytes | None = None
    mtime: bytes | None = None
    check: bytes | None = None


NO_LITERALS = Odd()


class ExtendedHeader(NamedTuple):
    """An extended header, and what is unusual about it. ``long``: it is not a pax header, and has one text."""

    pax: Pax
    odd: Odd | None
    long: bool = False


class Form(NamedTuple):
    """A form byte: how size, time and checksum are stored."""

    size: int
    mtime: int
    check: int
    ends: tuple[bytes, bytes]
    usual: bool

    @classmethod
    def of(cls, form: int) -> Form:
        """From the byte."""
        size, mtime, check = form % BASE, form // BASE % BASE, form // (BASE * BASE)
        ends = SPACE_END if size == SPACE else NUL_END, SPACE_END if mtime == SPACE else NUL_END
        return cls(size, mtime, check, ends, LITERAL not in (size, mtime) and not check)


FORMS = [Form.of(form) for form in range(2 * BASE * BASE)]


class Heard(NamedTuple):
    """What extended headers say that the main block repeats: names, the time, in seconds, cut and rounded, the size."""

    name: bytes | None = None
    link: bytes | None = None
    floor: int | None = None
    rounded: int | None = None
    size: bytes | None = None


NOTHING = Heard()


def full_block(  # noqa: PLR0917
    profile: bytes, name: bytes, link: bytes, rest: bytes, size: int, mtime: int, ends: tuple[bytes, bytes],
    odd: Odd | None,
) -> Block:  # fmt: skip
    """A block with all its fields."""
    odd = odd or NO_LITERALS
    fields = (
        b"%011o" % size + ends[0] if odd.size is None else odd.size,
        b"%011o" % mtime + ends[1] if odd.mtime is None else odd.mtime,
    )
    block = Block(profile, name, link, rest, *fields, b"")
    block.check = block.checksum() if odd.check is None else odd.check
    return block


def built(extended: list[ExtendedHeader], main: Block, long: bytes | None, tail: bytes = b"") -> bytes:
    """The blocks of a member that has anything unusual."""
    parts = []
    for pax, odd, is_long in extended:
        name = pax.name[1:]
        if pax.name[:1] == b"/":
            name = beside(main.name if long is None else long, name)
        block = full_block(pax.profile, name, pax.link, pax.rest, pax.length, pax.mtime, (NUL_END, pax.end), odd)
        if is_long:
            parts.append(Extended(block, None, pax.values[0]))
        else:
            parts.append(Extended(block, list(zip(pax.keys, pax.values, strict=True))))
    return Unit(parts, main, tail).build()
