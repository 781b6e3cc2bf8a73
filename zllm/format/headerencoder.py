"""Columns from header blocks: like beside like, and nothing that follows from something else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from zllm.format import headerunits
from zllm.format.headercolumns import (
    ASCII,
    BASE,
    COLUMN_OF,
    COLUMNS,
    CUT,
    ENDS,
    FOLLOWS,
    LITERAL,
    LONG,
    MAIN,
    MAIN_WITH_TAIL,
    NUL,
    PAX,
    PLAIN,
    RAW,
    ROUNDED,
    TIME,
    TIME_KEYS,
    U32,
    Col,
    Said,
    Times,
    hidden,
    shortened,
)
from zllm.format.headerunits import Block, Extended, Headers, Plain, Unit
from zllm.format.wire import put_varint

_OCTAL = re.compile(rb"[0-7]{11}[\0 ]")


class Encoder:
    """Sorts the headers of a section, one member's after the other; a member that does not come back exactly is kept
    as it is."""

    def __init__(self) -> None:
        self.cols = [bytearray() for _ in range(COLUMNS)]
        self.times = Times()
        self.profiles: dict[bytes, int] = {}
        self.keys: dict[bytes, int] = {}
        self.follows = FOLLOWS

    def run(self, units: Iterable[Headers]) -> list[bytes]:
        """The columns."""
        for data in units:
            if isinstance(data, Plain) and data.storable:
                self._plain(data)
                continue
            blocks = headerunits.built(data)
            unit = headerunits.split(blocks)
            if unit is None:
                self.cols[Col.PARTS].append(RAW)
                put_varint(self.cols[Col.RAW_SIZES], len(blocks))
                self.cols[Col.RAW] += blocks
            else:
                self._unit(unit)
        return [bytes(column) for column in self.cols]

    def _plain(self, unit: Plain) -> None:
        """As :meth:`_unit`, to the same columns, without the bytes that it looks at."""
        cols = self.cols
        said = Said()
        if pax := unit.pax:
            cols[Col.PARTS].append(PAX)
            self._numbered(self.profiles, pax.profile, Col.EXTENDED_PROFILE, Col.PROFILES)
            cols[Col.RESTS] += hidden(pax.rest)
            cols[Col.LINKS] += hidden(pax.link)
            self._numbered(self.keys, b"=".join((*pax.keys, b"")), Col.KEY_NUMBERS, Col.KEYS)
            for key, value in zip(pax.keys, pax.values, strict=True):
                self._value(key, value)
                said.take(key, value)
            mtime = self._time(pax.mtime, pax.end, b"extended", (said.floor, self.times.extended))
            cols[Col.EXTENDED_FORM].append(FOLLOWS + BASE * mtime)
        cols[Col.PARTS].append(MAIN)
        self._numbered(self.profiles, unit.profile, Col.MAIN_PROFILE, Col.PROFILES)
        cols[Col.RESTS] += hidden(unit.rest)
        name = self._short(unit.name, said.name, Col.NAMES)
        cols[Col.SHORT_FORM].append(name + 3 * self._short(unit.link, said.link, Col.LINKS))
        size = self._number(unit.size, unit.ends[0])
        mtime = self._time(unit.mtime, unit.ends[1], b"main", (said.floor, said.rounded))
        cols[Col.MAIN_FORM].append(size + BASE * mtime)
        if pax:
            cols[Col.EXTENDED_NAMES] += hidden(pax.name)

    def _unit(self, unit: Unit) -> None:
        said = Said()
        for part in unit.extended:
            self._extended(part, said)
        self.cols[Col.PARTS].append(MAIN_WITH_TAIL if unit.tail else MAIN)
        if unit.tail:
            put_varint(self.cols[Col.TAIL_SIZES], len(unit.tail))
            self.cols[Col.TAILS] += unit.tail
        self._block(unit.main, Col.MAIN_PROFILE)
        forms = [
            self._short(unit.main.name, said.name, Col.NAMES),
            self._short(unit.main.link, said.link, Col.LINKS),
        ]
        self.cols[Col.SHORT_FORM].append(forms[0] + 3 * forms[1])
        size = self._size(unit.main.size)
        mtime = self._mtime(unit.main, b"main", (said.floor, said.rounded))
        self.cols[Col.MAIN_FORM].append(size + BASE * mtime + self._check(unit.main))
        long = unit.main.name if said.name is None else said.name
        for part in unit.extended:
            self.cols[Col.EXTENDED_NAMES] += hidden(headerunits.name_beside(part.block.name, long))

    def _extended(self, part: Extended, said: Said) -> None:
        self.cols[Col.PARTS].append(LONG if part.records is None else PAX)
        self._block(part.block, Col.EXTENDED_PROFILE)
        self.cols[Col.LINKS] += hidden(part.block.link)
        mine = Said()
        if part.records is None:
            long = part.block.kind == b"L"
            self.cols[Col.NAMES if long else Col.LINKS] += hidden(part.text)
            said.take(b"path" if long else b"linkpath", part.text)
        else:
            pattern = b"".join(key + b"=" for key, _ in part.records)
            self._numbered(self.keys, pattern, Col.KEY_NUMBERS, Col.KEYS)
            for key, value in part.records:
                self._value(key, value)
                mine.take(key, value)
                said.take(key, value)
        if part.block.size == b"%011o\0" % len(part.build_text()):
            size = FOLLOWS
        else:
            size = LITERAL
            self.cols[Col.LITERALS] += part.block.size
        mtime = self._mtime(part.block, b"extended", (mine.floor, self.times.extended))
        self.cols[Col.EXTENDED_FORM].append(size + BASE * mtime + self._check(part.block))

    def _value(self, key: bytes, value: bytes) -> None:
        if key in TIME_KEYS:
            match = TIME.fullmatch(value)
            if match is None or int(match[1]) >= U32:
                self.cols[Col.DIGITS].append(0)
                self.cols[Col.VALUES] += hidden(value)
                return
            digits = match[2] or b""
            self.cols[Col.DIGITS].append(1 + len(digits))
            self._planes(Col.SECONDS, self.times.difference(key, int(match[1])))
            if digits:
                self._planes(Col.FRACTIONS, int(digits))
            return
        self.cols[COLUMN_OF.get(key, Col.VALUES)] += hidden(value)

    def _block(self, block: Block, column: Col) -> None:
        self._numbered(self.profiles, block.profile, column, Col.PROFILES)
        self.cols[Col.RESTS] += hidden(block.rest)

    def _numbered(self, known: dict[bytes, int], value: bytes, column: Col, table: Col) -> None:
        if value not in known:
            known[value] = len(known)
            self.cols[table] += value if table == Col.PROFILES else hidden(value)
        put_varint(self.cols[column], known[value])

    def _short(self, name: bytes, long: bytes | None, column: Col) -> int:
        if long is not None:
            for form in (CUT, ASCII):
                if name == shortened(long, form):
                    return form
        self.cols[column] += hidden(name)
        return PLAIN

    def _size(self, field: bytes) -> int:
        if not _OCTAL.fullmatch(field):
            self.cols[Col.LITERALS] += field
            return LITERAL
        return self._number(int(field[:11], 8), field[11:])

    def _number(self, value: int, end: bytes) -> int:
        cols = self.cols
        cols[Col.SIZES].append(value & 0xFF)
        cols[Col.SIZES + 1].append(value >> 8 & 0xFF)
        put_varint(cols[Col.SIZE_TOPS], value >> 16)
        return NUL + ENDS.index(end)

    def _mtime(self, block: Block, key: bytes, known: tuple[int | None, int | None]) -> int:
        """The form of a block's time; ``known``: what it may follow from, cut and rounded."""
        if not _OCTAL.fullmatch(block.mtime):
            self.cols[Col.LITERALS] += block.mtime
            return LITERAL
        form = self._time(int(block.mtime[:11], 8), block.mtime[11:], key, known)
        if form == LITERAL:
            self.cols[Col.LITERALS] += block.mtime
        return form

    def _time(self, seconds: int, end: bytes, key: bytes, known: tuple[int | None, int | None]) -> int:
        """The form of a time; if that is LITERAL, nothing is stored yet."""
        if end == ENDS[0]:
            for form in (self.follows, FOLLOWS, ROUNDED):  # a writer does it one way: few changes
                if seconds == known[form - FOLLOWS]:
                    if key == b"main":
                        self.follows = form
                    return form
        if seconds >= U32:
            return LITERAL
        self._planes(Col.SECONDS, self.times.difference(key, seconds))
        return NUL + ENDS.index(end)

    def _check(self, block: Block) -> int:
        if block.check == block.checksum():
            return 0
        self.cols[Col.LITERALS] += block.check
        return BASE * BASE

    def _planes(self, column: int, value: int) -> None:
        for plane, byte in enumerate(value.to_bytes(4, "little")):
            self.cols[column + plane].append(byte)
