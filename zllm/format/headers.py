"""Header blocks of many members, in columns: like beside like, and nothing that follows from something else.

What is left out: checksums, sizes of extended headers, lengths of pax records, whole seconds that a pax record repeats,
short names that are the beginning of a long one. A member whose headers would not come back exactly is kept raw.
``docs/zllm-format.md`` lists the columns.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from enum import IntEnum

from zllm.errors import DamagedError
from zllm.format import headerunits, limits
from zllm.format.headerunits import Block, Extended, Unit
from zllm.format.tarscan import padded
from zllm.format.wire import Reader, put_varint, read_varints, unzigzag, zigzag

_WHAT = "the section map"
_U32 = 1 << 32
_MAX_OCTAL = 8**11 - 1
_MAX_UNITS = limits.WINDOW // limits.BLOCK
_TIME = re.compile(rb"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,9}))?")
_TIME_KEYS = frozenset({b"mtime", b"atime", b"ctime", b"LIBARCHIVE.creationtime"})
_OCTAL = re.compile(rb"[0-7]{11}[\0 ]")
_ENDS = (b"\0", b" ")


class Col(IntEnum):
    """The columns, in order."""

    PARTS = 0
    RAW_SIZES = 1
    RAW = 2
    PROFILES = 3
    EXTENDED_PROFILE = 4
    MAIN_PROFILE = 5
    EXTENDED_FORM = 6
    MAIN_FORM = 7
    SHORT_FORM = 8
    EXTENDED_NAMES = 9
    NAMES = 10
    LINKS = 11
    RESTS = 12
    LITERALS = 13
    KEYS = 14
    KEY_NUMBERS = 15
    VALUES = 16
    DIGITS = 17
    SECONDS = 18  # 4 columns: bytes 0 (lowest) to 3
    FRACTIONS = 22  # 4 columns
    SIZES = 26  # 2 columns: bytes 0 and 1; the rest are varints in SIZE_TOPS
    SIZE_TOPS = 28
    TAIL_SIZES = 29
    TAILS = 30


COLUMNS = 31
_RAW, _MAIN, _PAX, _LONG, _MAIN_WITH_TAIL = range(5)  # parts
_LITERAL, _NUL, _SPACE, _FOLLOWS, _ROUNDED = range(5)  # forms of a number
_BASE = 5  # a form byte is size form + 5 * mtime form + 25 * (the checksum is a literal)
_PLAIN, _CUT, _ASCII = range(3)  # forms of a short name
_BYTES = (Col.PARTS, Col.EXTENDED_FORM, Col.MAIN_FORM, Col.SHORT_FORM, Col.DIGITS)
_NUMBERS = (
    Col.RAW_SIZES, Col.EXTENDED_PROFILE, Col.MAIN_PROFILE, Col.KEY_NUMBERS, Col.SIZE_TOPS, Col.TAIL_SIZES,
)  # fmt: skip
_TEXTS = (Col.EXTENDED_NAMES, Col.NAMES, Col.LINKS, Col.RESTS, Col.KEYS, Col.VALUES)


def encode(units: list[bytes]) -> list[bytes]:
    """Columns for the header units of a section, in order."""
    return _Encoder().run(units)


def parts_of(columns: list[bytes]) -> int:
    """Header blocks and their texts and times: what decoding takes time for, known before."""
    texts = sum(columns[column].count(b"\0") for column in (Col.NAMES, Col.LINKS, Col.VALUES))
    return len(columns[Col.PARTS]) + len(columns[Col.DIGITS]) + texts


def decode(columns: list[bytes], count: int) -> list[bytes]:
    """The inverse of :func:`encode` for ``count`` units.

    Raises:
        DamagedError: the columns are no such ones, or give more than a section can hold.
    """
    if len(columns) != COLUMNS or count > _MAX_UNITS:
        raise DamagedError(f"{_WHAT} is damaged: its headers make no sense")
    return _Decoder(columns).run(count)


def _hidden(text: bytes) -> bytes:
    """``text`` without NULs, and a NUL after it."""
    if b"\0" in text or b"\1" in text:
        text = text.replace(b"\1", b"\1\3").replace(b"\0", b"\1\2")
    return text + b"\0"


def _shortened(long: bytes, form: int) -> bytes:
    """What writers put into the 100 bytes of a name that has a longer or non-ASCII version elsewhere."""
    if form == _ASCII:
        long = long.decode("utf-8", "surrogateescape").encode("ascii", "replace")
    return long[: headerunits.NAME_SIZE].rstrip(b"\0")


def _beside(name: bytes, folder: bytes) -> bytes:
    """The name of the extended header of ``name``: in a made-up folder in its own folder."""
    front, slash, base = name.rstrip(b"/").rpartition(b"/")
    return front + slash + folder + b"/" + base


class _Said:
    """What a member's extended headers say that its main block repeats."""

    def __init__(self, extended: list[Extended]) -> None:
        self.name: bytes | None = None
        self.link: bytes | None = None
        self.floor: int | None = None
        self.rounded: int | None = None
        for part in extended:
            if part.records is None:
                if part.block.kind == b"L":
                    self.name = part.text
                else:
                    self.link = part.text
            for key, value in part.records or ():
                self._record(key, value)

    def _record(self, key: bytes, value: bytes) -> None:
        if key == b"path":
            self.name = value
        elif key == b"linkpath":
            self.link = value
        elif key == b"mtime" and (match := _TIME.fullmatch(value)):
            self.floor = int(match[1])
            self.rounded = self.floor + (match[2] is not None and match[2][:1] >= b"5")


class _Times:
    """Seconds as differences from the last of the same keyword."""

    def __init__(self) -> None:
        self.last: dict[bytes, int] = {}

    def difference(self, key: bytes, seconds: int) -> int:
        delta = (seconds - self.last.get(key, 0)) % _U32
        self.last[key] = seconds
        return zigzag(delta - _U32 if delta >> 31 else delta)

    def seconds(self, key: bytes, coded: int) -> int:
        self.last[key] = (self.last.get(key, 0) + unzigzag(coded)) % _U32
        return self.last[key]

    def said(self, part: Extended) -> _Said:
        """For an extended header's own time: that of its records, or that of the extended header before."""
        said = _Said([part])
        said.rounded = self.last.get(b"extended", 0)
        return said


class _Encoder:
    def __init__(self) -> None:
        self.cols = [bytearray() for _ in range(COLUMNS)]
        self.times = _Times()
        self.profiles: dict[bytes, int] = {}
        self.keys: dict[bytes, int] = {}
        self.follows = _FOLLOWS

    def run(self, units: list[bytes]) -> list[bytes]:
        for data in units:
            unit = headerunits.split(data)
            if unit is None:
                self.cols[Col.PARTS].append(_RAW)
                put_varint(self.cols[Col.RAW_SIZES], len(data))
                self.cols[Col.RAW] += data
            else:
                self._unit(unit)
        return [bytes(column) for column in self.cols]

    def _unit(self, unit: Unit) -> None:
        for part in unit.extended:
            self._extended(part)
        said = _Said(unit.extended)
        self.cols[Col.PARTS].append(_MAIN_WITH_TAIL if unit.tail else _MAIN)
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
        self.cols[Col.MAIN_FORM].append(size + self._mtime(unit.main, b"main", said) + self._check(unit.main))
        long = unit.main.name if said.name is None else said.name
        for part in unit.extended:
            name = part.block.name
            folder = name.rpartition(b"/")[0].rpartition(b"/")[2]
            follows = name == _beside(long, folder)
            self.cols[Col.EXTENDED_NAMES] += _hidden(b"/" + folder if follows else b"=" + name)

    def _extended(self, part: Extended) -> None:
        self.cols[Col.PARTS].append(_LONG if part.records is None else _PAX)
        self._block(part.block, Col.EXTENDED_PROFILE)
        self.cols[Col.LINKS] += _hidden(part.block.link)
        if part.records is None:
            self.cols[Col.NAMES if part.block.kind == b"L" else Col.LINKS] += _hidden(part.text)
        else:
            pattern = b"".join(key + b"=" for key, _ in part.records)
            self._numbered(self.keys, pattern, Col.KEY_NUMBERS, Col.KEYS)
            for key, value in part.records:
                self._value(key, value)
        if part.block.size == b"%011o\0" % len(part.build_text()):
            size = _FOLLOWS
        else:
            size = _LITERAL
            self.cols[Col.LITERALS] += part.block.size
        mtime = self._mtime(part.block, b"extended", self.times.said(part))
        self.cols[Col.EXTENDED_FORM].append(size + mtime + self._check(part.block))

    def _value(self, key: bytes, value: bytes) -> None:
        if key in _TIME_KEYS:
            match = _TIME.fullmatch(value)
            if match is None or int(match[1]) >= _U32:
                self.cols[Col.DIGITS].append(0)
                self.cols[Col.VALUES] += _hidden(value)
                return
            digits = match[2] or b""
            self.cols[Col.DIGITS].append(1 + len(digits))
            self._planes(Col.SECONDS, self.times.difference(key, int(match[1])))
            if digits:
                self._planes(Col.FRACTIONS, int(digits))
            return
        column = {b"path": Col.NAMES, b"linkpath": Col.LINKS}.get(key, Col.VALUES)
        self.cols[column] += _hidden(value)

    def _block(self, block: Block, column: Col) -> None:
        self._numbered(self.profiles, block.profile, column, Col.PROFILES)
        self.cols[Col.RESTS] += _hidden(block.rest)

    def _numbered(self, known: dict[bytes, int], value: bytes, column: Col, table: Col) -> None:
        if value not in known:
            known[value] = len(known)
            self.cols[table] += value if table == Col.PROFILES else _hidden(value)
        put_varint(self.cols[column], known[value])

    def _short(self, name: bytes, long: bytes | None, column: Col) -> int:
        if long is not None:
            for form in (_CUT, _ASCII):
                if name == _shortened(long, form):
                    return form
        self.cols[column] += _hidden(name)
        return _PLAIN

    def _size(self, field: bytes) -> int:
        if not _OCTAL.fullmatch(field):
            self.cols[Col.LITERALS] += field
            return _LITERAL
        value = int(field[:11], 8)
        self.cols[Col.SIZES].append(value & 0xFF)
        self.cols[Col.SIZES + 1].append(value >> 8 & 0xFF)
        put_varint(self.cols[Col.SIZE_TOPS], value >> 16)
        return _NUL + _ENDS.index(field[11:])

    def _mtime(self, block: Block, key: bytes, said: _Said) -> int:
        for form in (self.follows, _FOLLOWS, _ROUNDED):  # a writer does it one way: few changes
            seconds = said.floor if form == _FOLLOWS else said.rounded
            if seconds is not None and block.mtime == b"%011o\0" % seconds:
                if key == b"main":
                    self.follows = form
                return _BASE * form
        if not _OCTAL.fullmatch(block.mtime) or int(block.mtime[:11], 8) >= _U32:
            self.cols[Col.LITERALS] += block.mtime
            return _BASE * _LITERAL
        self._planes(Col.SECONDS, self.times.difference(key, int(block.mtime[:11], 8)))
        return _BASE * (_NUL + _ENDS.index(block.mtime[11:]))

    def _check(self, block: Block) -> int:
        if block.check == block.checksum():
            return 0
        self.cols[Col.LITERALS] += block.check
        return _BASE * _BASE

    def _planes(self, column: int, value: int) -> None:
        for plane, byte in enumerate(value.to_bytes(4, "little")):
            self.cols[column + plane].append(byte)


def _together(columns: list[bytes], form: str) -> Iterator[tuple[int]]:
    """Numbers whose bytes are in these columns, the lowest first."""
    if len({len(column) for column in columns}) != 1:
        raise DamagedError(f"{_WHAT} is damaged: its columns differ in length")
    data = bytearray(len(columns) * len(columns[0]))
    for plane, column in enumerate(columns):
        data[plane :: len(columns)] = column
    return struct.iter_unpack(form, data)


class _Decoder:
    """Columns of bytes and numbers are iterators, of which the end is a :class:`StopIteration`; texts are searched."""

    def __init__(self, columns: list[bytes]) -> None:
        self.readers = {column: Reader(columns[column], _WHAT) for column in (Col.RAW, Col.LITERALS, Col.TAILS)}
        self.columns = columns
        self.places = dict.fromkeys(_TEXTS, 0)
        self.bytes = {column: iter(columns[column]) for column in _BYTES}
        self.numbers = {column: iter(read_varints(columns[column], _WHAT, _MAX_UNITS)) for column in _NUMBERS}
        self.planes = {
            Col.SECONDS: _together(columns[Col.SECONDS : Col.SECONDS + 4], "<I"),
            Col.FRACTIONS: _together(columns[Col.FRACTIONS : Col.FRACTIONS + 4], "<I"),
            Col.SIZES: _together(columns[Col.SIZES : Col.SIZES + 2], "<H"),
        }
        self.times = _Times()
        self.left = limits.WINDOW
        profiles, step = columns[Col.PROFILES], headerunits.PROFILE_SIZE
        if len(profiles) % step or len(profiles) > _MAX_UNITS * step or columns[Col.KEYS].count(0) > _MAX_UNITS:
            raise DamagedError(f"{_WHAT} is damaged: impossible number of kinds of headers")
        self.profiles = [profiles[start : start + step] for start in range(0, len(profiles), step)]
        self.keys = []
        while self.places[Col.KEYS] < len(columns[Col.KEYS]):
            self.keys.append(self._text(Col.KEYS))

    def run(self, count: int) -> list[bytes]:
        try:
            units = [self._unit() for _ in range(count)]
        except StopIteration:
            raise DamagedError(f"{_WHAT} is damaged: a column is too short") from None
        for reader in self.readers.values():
            reader.end()
        left = any(place != len(self.columns[column]) for column, place in self.places.items())
        ended = object()
        iterators = (*self.bytes.values(), *self.numbers.values(), *self.planes.values())
        if left or any(next(iterator, ended) is not ended for iterator in iterators):
            raise DamagedError(f"{_WHAT} is damaged: a column is too long")
        return units

    def _unit(self) -> bytes:
        extended: list[Extended] = []
        start = self.left
        while (part := self._byte(Col.PARTS)) in (_PAX, _LONG):
            extended.append(self._extended(part))
            if start - self.left > limits.MAX_UNIT:
                raise DamagedError(f"{_WHAT} is damaged: headers beyond the limit")
        if part == _RAW and not extended:
            return self._blob(Col.RAW_SIZES, Col.RAW)
        if part not in (_MAIN, _MAIN_WITH_TAIL):
            raise DamagedError(f"{_WHAT} is damaged: unknown kind of header")
        tail = self._blob(Col.TAIL_SIZES, Col.TAILS) if part == _MAIN_WITH_TAIL else b""
        said = _Said(extended)
        main = self._main(said)
        long = main.name if said.name is None else said.name
        for item in extended:
            self._extended_name(item.block, long)
        return Unit(extended, main, tail).build()

    def _main(self, said: _Said) -> Block:
        main = self._block(Col.MAIN_PROFILE)
        link_form, name_form = divmod(self._byte(Col.SHORT_FORM), 3)
        main.name = self._short(said.name, name_form, Col.NAMES, headerunits.NAME_SIZE)
        main.link = self._short(said.link, link_form, Col.LINKS, headerunits.LINK_SIZE)
        forms = self._forms(Col.MAIN_FORM)
        main.size = self._size(forms[0])
        main.mtime = self._mtime(forms[1], b"main", said)
        main.check = self._literal(headerunits.CHECK_SIZE) if forms[2] else main.checksum()
        return main

    def _extended(self, part: int) -> Extended:
        block = self._block(Col.EXTENDED_PROFILE)
        block.link = self._text(Col.LINKS, headerunits.LINK_SIZE)
        item = Extended(block)
        if part == _LONG:
            item.text = self._text(Col.NAMES if block.kind == b"L" else Col.LINKS, limits.MAX_EXTENDED)
        else:
            item.records = self._records()
        length = len(item.build_text())
        if length > limits.MAX_EXTENDED:
            raise DamagedError(f"{_WHAT} is damaged: headers beyond the limit")
        self._spend(padded(length))
        forms = self._forms(Col.EXTENDED_FORM)
        if forms[0] not in (_LITERAL, _FOLLOWS):
            raise DamagedError(f"{_WHAT} is damaged: unknown form of a number")
        block.size = b"%011o\0" % length if forms[0] else self._literal(headerunits.NUMBER_SIZE)
        block.mtime = self._mtime(forms[1], b"extended", self.times.said(item))
        if forms[2]:
            block.check = self._literal(headerunits.CHECK_SIZE)
        return item

    def _records(self) -> list[tuple[bytes, bytes]]:
        pattern = self._entry(self.keys, Col.KEY_NUMBERS)
        if len(pattern) > limits.MAX_EXTENDED:
            raise DamagedError(f"{_WHAT} is damaged: headers beyond the limit")
        return [(key, self._value(key)) for key in pattern.split(b"=")[:-1]]

    def _value(self, key: bytes) -> bytes:
        if key not in _TIME_KEYS:
            return self._text({b"path": Col.NAMES, b"linkpath": Col.LINKS}.get(key, Col.VALUES), limits.MAX_EXTENDED)
        digits = self._byte(Col.DIGITS) - 1
        if digits < 0:
            return self._text(Col.VALUES, limits.MAX_EXTENDED)
        if digits > 9:
            raise DamagedError(f"{_WHAT} is damaged: a time with {digits} digits")
        seconds = b"%d" % self.times.seconds(key, self._planes(Col.SECONDS))
        if not digits:
            return seconds
        return seconds + b".%0*d" % (digits, self._planes(Col.FRACTIONS))

    def _extended_name(self, block: Block, long: bytes) -> None:
        name = self._text(Col.EXTENDED_NAMES)
        block.name = _beside(long, name[1:]) if name[:1] == b"/" else name[1:]
        if len(block.name) > headerunits.NAME_SIZE:
            raise DamagedError(f"{_WHAT} is damaged: a name is too long")
        block.check = block.check or block.checksum()

    def _block(self, column: Col) -> Block:
        """A block with what comes first; the rest is still empty."""
        self._spend(limits.BLOCK)
        profile = self._entry(self.profiles, column)
        return Block(profile, b"", b"", self._text(Col.RESTS, headerunits.REST_SIZE), b"", b"", b"")

    def _entry(self, table: list[bytes], column: Col) -> bytes:
        number = next(self.numbers[column])
        if number >= len(table):
            raise DamagedError(f"{_WHAT} is damaged: a header of a kind that is not there")
        return table[number]

    def _short(self, long: bytes | None, form: int, column: Col, size: int) -> bytes:
        if form == _PLAIN:
            return self._text(column, size)
        if long is None or form > _ASCII:
            raise DamagedError(f"{_WHAT} is damaged: a name that repeats nothing")
        return _shortened(long, form)

    def _forms(self, column: Col) -> tuple[int, int, int]:
        """Of size, time and checksum."""
        form = self._byte(column)
        if form >= 2 * _BASE * _BASE:
            raise DamagedError(f"{_WHAT} is damaged: unknown form of a number")
        return form % _BASE, form // _BASE % _BASE, form // (_BASE * _BASE)

    def _size(self, form: int) -> bytes:
        if form == _LITERAL:
            return self._literal(headerunits.NUMBER_SIZE)
        value = next(self.planes[Col.SIZES])[0] | next(self.numbers[Col.SIZE_TOPS]) << 16
        if value > _MAX_OCTAL:
            raise DamagedError(f"{_WHAT} is damaged: a size of {value} in eleven digits")
        return self._octal(value, form)

    def _mtime(self, form: int, key: bytes, said: _Said) -> bytes:
        if form == _LITERAL:
            return self._literal(headerunits.NUMBER_SIZE)
        if form in (_NUL, _SPACE):
            return self._octal(self.times.seconds(key, self._planes(Col.SECONDS)), form)
        value = said.floor if form == _FOLLOWS else said.rounded
        if value is None or value > _MAX_OCTAL:
            raise DamagedError(f"{_WHAT} is damaged: a time that repeats nothing")
        return self._octal(value, _NUL)

    def _octal(self, value: int, form: int) -> bytes:
        if form not in (_NUL, _SPACE):
            raise DamagedError(f"{_WHAT} is damaged: unknown form of a number")
        return b"%011o" % value + _ENDS[form - _NUL]

    def _planes(self, column: Col) -> int:
        return next(self.planes[column])[0]

    def _literal(self, size: int) -> bytes:
        return self.readers[Col.LITERALS].take(size)

    def _blob(self, sizes: Col, column: Col) -> bytes:
        data = self.readers[column].take(next(self.numbers[sizes]))
        self._spend(len(data))
        return data

    def _byte(self, column: Col) -> int:
        return next(self.bytes[column])

    def _text(self, column: Col, limit: int = limits.WINDOW) -> bytes:
        """A text and the NUL after it; at most ``limit`` bytes."""
        data, place = self.columns[column], self.places[column]
        end = data.find(b"\0", place)
        if end < 0:
            raise DamagedError(f"{_WHAT} is damaged: a text does not end")
        text = data[place:end]
        self.places[column] = end + 1
        if b"\1" in text:
            text = text.replace(b"\1\2", b"\0").replace(b"\1\3", b"\1")
        if len(text) > limit:
            raise DamagedError(f"{_WHAT} is damaged: a text is too long")
        return text

    def _spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise DamagedError(f"{_WHAT} is damaged: more headers than a section can hold")
