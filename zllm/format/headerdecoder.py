"""Header blocks from their columns. What most members have becomes a :class:`headerunits.Plain`, the rest bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, cast

from zllm.errors import DamagedError
from zllm.format import headerunits, limits
from zllm.format.headercolumns import (
    ASCII,
    FOLLOWS,
    LITERAL,
    LONG,
    MAIN,
    MAIN_WITH_TAIL,
    MAX_OCTAL,
    MAX_UNITS,
    NUL,
    PAX,
    PLAIN,
    RAW,
    SPACE,
    TIME,
    WHAT,
    Col,
    Times,
    rounded,
    shortened,
    shown,
)
from zllm.format.headerforms import (
    FORMS,
    NO_LITERALS,
    NOTHING,
    TIME_COLUMN,
    ExtendedHeader,
    Form,
    Heard,
    Odd,
    Pattern,
    built,
    full_block,
)
from zllm.format.headerunits import BLOCK, PLAIN_KINDS, Headers, Pax, Plain, beside, record_size
from zllm.format.tarscan import padded
from zllm.format.wire import Reader, read_varints

_BYTES = (Col.PARTS, Col.EXTENDED_FORM, Col.MAIN_FORM, Col.SHORT_FORM, Col.DIGITS)
_NUMBERS = (
    Col.RAW_SIZES, Col.EXTENDED_PROFILE, Col.MAIN_PROFILE, Col.KEY_NUMBERS, Col.SIZE_TOPS, Col.TAIL_SIZES,
)  # fmt: skip
_new = tuple.__new__  # of named tuples, in half the time of their own
_MARKS = (b"/", b"=")
_MAX_DIGITS = 9
_POWERS = [10**digits for digits in range(_MAX_DIGITS + 1)]


def texts(column: bytes, most: int, limit: int = limits.WINDOW) -> list[bytes]:
    """The texts of a column, at most ``most`` of at most ``limit`` bytes each.

    Raises:
        DamagedError: it has more or longer ones, or the last one has no NUL after it.
    """
    if column[-1:] not in (b"", b"\0"):
        raise DamagedError(f"{WHAT} is damaged: a text does not end")
    if column.count(b"\0") > most:
        raise DamagedError(f"{WHAT} is damaged: a column is too long")
    found = column.split(b"\0")
    del found[-1]
    if b"\1" in column:
        found = [shown(text) for text in found]
    if max(map(len, found), default=0) > limit:
        raise DamagedError(f"{WHAT} is damaged: a text is too long")
    return found


def _together(columns: list[bytes], form: str) -> Iterator[tuple[int]]:
    """Numbers whose bytes are in these columns, the lowest first."""
    if len({len(column) for column in columns}) != 1:
        raise DamagedError(f"{WHAT} is damaged: its columns differ in length")
    data = bytearray(len(columns) * len(columns[0]))
    for plane, column in enumerate(columns):
        data[plane :: len(columns)] = column
    return struct.iter_unpack(form, data)


class Decoder:
    """Columns are iterators, of which the end is a :class:`StopIteration`. Each is consumed in the order of headers."""

    def __init__(self, columns: list[bytes], longest: int) -> None:
        self._longest = longest
        self._readers = {column: Reader(columns[column], WHAT) for column in (Col.RAW, Col.LITERALS, Col.TAILS)}
        self._profiles = _profiles(columns[Col.PROFILES])
        if columns[Col.KEYS].count(0) > MAX_UNITS:
            raise DamagedError(f"{WHAT} is damaged: impossible number of kinds of headers")
        keys = texts(columns[Col.KEYS], MAX_UNITS, limits.MAX_EXTENDED)
        self._patterns = [Pattern.of(text) for text in keys]
        numbers = {column: read_varints(columns[column], WHAT, MAX_UNITS) for column in _NUMBERS}
        its: dict[int, Iterator[Any]] = {column: iter(columns[column]) for column in _BYTES}
        its.update((column, iter(values)) for column, values in numbers.items())
        its.update((column, iter(found)) for column, found in self._texts(columns, numbers[Col.KEY_NUMBERS]))
        its[Col.SECONDS] = _together(columns[Col.SECONDS : Col.SECONDS + 4], "<I")
        its[Col.FRACTIONS] = _together(columns[Col.FRACTIONS : Col.FRACTIONS + 4], "<I")
        its[Col.SIZES] = _together(columns[Col.SIZES : Col.SIZES + 2], "<H")
        self._columns = its
        self._times = Times()
        self._left = limits.WINDOW
        self._bind({int(column): it.__next__ for column, it in its.items()})

    def _bind(self, get: dict[int, Callable[[], Any]]) -> None:
        """Attributes: a look-up by an enumeration's member is slow, and there are twenty for each header."""
        self._get = get
        self._part, self._short_form = get[Col.PARTS], get[Col.SHORT_FORM]
        self._main_form, self._extended_form = get[Col.MAIN_FORM], get[Col.EXTENDED_FORM]
        self._main_profile, self._extended_profile = get[Col.MAIN_PROFILE], get[Col.EXTENDED_PROFILE]
        self._key_number, self._digits = get[Col.KEY_NUMBERS], get[Col.DIGITS]
        self._size_low, self._size_top = get[Col.SIZES], get[Col.SIZE_TOPS]
        self._seconds, self._fraction = get[Col.SECONDS], get[Col.FRACTIONS]
        self._name, self._link, self._rest = get[Col.NAMES], get[Col.LINKS], get[Col.RESTS]
        self._value = get[Col.VALUES]
        self._extended_name = get[Col.EXTENDED_NAMES]

    def _texts(self, columns: list[bytes], key_numbers: list[int]) -> Iterator[tuple[Col, list[bytes]]]:
        """The texts of all columns of them: no more than the headers can have."""
        counts = [len(pattern.keys) for pattern in self._patterns]
        if max(key_numbers, default=-1) >= len(counts):
            raise DamagedError(f"{WHAT} is damaged: a header of a kind that is not there")
        most = 2 * len(columns[Col.PARTS])
        yield Col.EXTENDED_NAMES, texts(columns[Col.EXTENDED_NAMES], most)
        yield Col.RESTS, texts(columns[Col.RESTS], most, headerunits.REST_SIZE)
        most += sum(counts[number] for number in key_numbers)
        for column in (Col.NAMES, Col.LINKS, Col.VALUES):
            yield column, texts(columns[column], most, self._longest)

    def run(self, count: int) -> list[Headers]:
        """The headers of ``count`` members.

        Raises:
            DamagedError: the columns are not those of so many.
        """
        try:
            units = [self._unit() for _ in range(count)]
        except (StopIteration, IndexError):
            raise DamagedError(f"{WHAT} is damaged: a column is too short") from None
        for reader in self._readers.values():
            reader.end()
        ended = object()
        if any(next(iterator, ended) is not ended for iterator in self._columns.values()):
            raise DamagedError(f"{WHAT} is damaged: a column is too long")
        return units

    def _unit(self) -> Headers:
        part = self._part()
        if part == MAIN:
            return self._member(NOTHING, None)
        if part == PAX:
            pax, odd, said = self._pax()
            part = self._part()
            if part == MAIN and odd is None:
                return self._member(said, pax)
            return self._unusual(part, said, ExtendedHeader(pax, odd))
        return self._blob(Col.RAW_SIZES, Col.RAW) if part == RAW else self._unusual(part, NOTHING)

    def _member(self, said: Heard, pax: Pax | None) -> Headers:
        """A block, and before it at most one extended header, with nothing unusual about that."""
        profile, name, link, rest = self._texts_of_block(said)
        size, mtime, ends, odd = self._numbers(said)
        header_size = BLOCK
        if pax is not None:
            header_size = 2 * BLOCK + padded(pax.length)
            _check_name(pax.name, name if said.name is None else said.name)
        self._left -= header_size
        if self._left < 0:
            raise DamagedError(f"{WHAT} is damaged: more headers than a section can hold")
        if odd is not None or profile[24:25] not in PLAIN_KINDS:
            block = full_block(profile, name, link, rest, size, mtime, ends, odd)
            return built([] if pax is None else [ExtendedHeader(pax, None)], block, said.name)
        data_size = headerunits.stored_size(profile, name, size, said.size)
        return _new(Plain, (header_size, data_size, profile, name, link, rest, size, mtime, ends, pax))

    def _unusual(self, part: int, said: Heard, *extended: ExtendedHeader) -> bytes:
        """Any headers but one blob. ``part`` is the next one behind ``extended``."""
        parts = list(extended)
        used = sum(BLOCK + padded(one.pax.length) for one in parts)
        while part in (PAX, LONG):
            pax, odd, more = self._pax() if part == PAX else self._long()
            said = Heard._make(old if new is None else new for old, new in zip(said, more, strict=True))
            parts.append(ExtendedHeader(pax, odd, long=part == LONG))
            used += BLOCK + padded(pax.length)
            if used > limits.MAX_UNIT:
                raise DamagedError(f"{WHAT} is damaged: headers beyond the limit")
            part = self._part()
        if part not in (MAIN, MAIN_WITH_TAIL):
            raise DamagedError(f"{WHAT} is damaged: unknown kind of header")
        self._spend(used + BLOCK)
        tail = self._blob(Col.TAIL_SIZES, Col.TAILS) if part == MAIN_WITH_TAIL else b""
        profile, name, link, rest = self._texts_of_block(said)
        block = full_block(profile, name, link, rest, *self._numbers(said))
        for one in parts:
            _check_name(one.pax.name, name if said.name is None else said.name)
        return built(parts, block, said.name, tail)

    def _texts_of_block(self, said: Heard) -> tuple[bytes, bytes, bytes, bytes]:
        """Profile, name, link and rest of a main block."""
        profile, rest, form = self._profiles[self._main_profile()], self._rest(), self._short_form()
        if form:
            name = _short(said.name, form % 3, self._name)
            link = _short(said.link, form // 3, self._link)
        else:
            name, link = self._name(), self._link()
        if len(name) > headerunits.NAME_SIZE or len(link) > headerunits.LINK_SIZE:
            raise DamagedError(f"{WHAT} is damaged: a text is too long")
        return profile, name, link, rest

    def _numbers(self, said: Heard) -> tuple[int, int, tuple[bytes, bytes], Odd | None]:
        """Size and time of a main block, what comes after their digits, and what is unusual."""
        form = _form(self._main_form())
        size, own = 0, None
        if form.size in (NUL, SPACE):
            size = self._size_low()[0] | self._size_top() << 16
            if size > MAX_OCTAL:
                raise DamagedError(f"{WHAT} is damaged: a size of {size} in eleven digits")
        elif form.size == LITERAL:
            own = self._literal(headerunits.NUMBER_SIZE)
        else:
            raise DamagedError(f"{WHAT} is damaged: unknown form of a number")
        if form.usual:
            return size, self._mtime(form.mtime, b"main", said.floor, said.rounded), form.ends, None
        mtime, odd = self._odd(form, own, b"main", said.floor, said.rounded)
        return size, mtime, form.ends, odd

    def _odd(self, form: Form, size: bytes | None, key: bytes, *known: int | None) -> tuple[int, Odd]:
        """The time of a block of which something is literal, and what that is."""
        literal, mtime = None, 0
        if form.mtime == LITERAL:
            literal = self._literal(headerunits.NUMBER_SIZE)
        else:
            mtime = self._mtime(form.mtime, key, *known)
        return mtime, Odd(size, literal, self._literal(headerunits.CHECK_SIZE) if form.check else None)

    def _pax(self) -> tuple[Pax, Odd | None, Heard]:
        """An extended header with records."""
        profile, rest, link = self._profiles[self._extended_profile()], self._rest(), self._link()
        pattern = self._patterns[self._key_number()]
        if pattern.only_time:
            value, floor, rounded = self._time(b"mtime")
            values: tuple[bytes, ...] = (value,)
            length = record_size(5, len(value))
            said = _new(Heard, (None, None, floor, rounded, None))
        else:
            values, said = self._records(pattern)
            length = sum(map(record_size, map(len, pattern.keys), map(len, values)))
        mtime, end, odd = self._extended_numbers(length, said.floor)
        if odd is None and (profile[24:25] != b"x" or not pattern.distinct):
            odd = NO_LITERALS
        beside = self._name_beside()
        pax = _new(Pax, (profile, beside, link, rest, pattern.keys, values, length, mtime, end))
        return pax, odd, said

    def _records(self, pattern: Pattern) -> tuple[tuple[bytes, ...], Heard]:
        """The values of an extended header, and what the main block may repeat of them."""
        values: list[bytes] = []
        floor = rounded = None
        for key, column in pattern.records:
            if column == TIME_COLUMN:
                value, seconds, up = self._time(key)
                if key == b"mtime" and seconds is not None:
                    floor, rounded = seconds, up
            else:
                value = self._get[column]()
            values.append(value)
        name, link, size = (values[at] if at >= 0 else None for at in (pattern.path, pattern.link, pattern.size))
        return tuple(values), Heard(name, link, floor, rounded, size)

    def _long(self) -> tuple[Pax, Odd, Heard]:
        """An extended header of GNU tar: a long name, or what a link leads to."""
        profile, rest, link = self._profiles[self._extended_profile()], self._rest(), self._link()
        name = profile[24:25] == b"L"
        text = (self._name if name else self._link)()
        mtime, end, odd = self._extended_numbers(len(text) + 1, None)
        said = Heard(name=text) if name else Heard(link=text)
        pax = Pax(profile, self._name_beside(), link, rest, (), (text,), len(text) + 1, mtime, end)
        return pax, odd or NO_LITERALS, said

    def _extended_numbers(self, length: int, floor: int | None) -> tuple[int, bytes, Odd | None]:
        """Time of an extended header's block, what comes after its digits, and what is unusual."""
        if length > limits.MAX_EXTENDED:
            raise DamagedError(f"{WHAT} is damaged: headers beyond the limit")
        form = _form(self._extended_form())
        if form.size == FOLLOWS and form.mtime != LITERAL and not form.check:
            return self._mtime(form.mtime, b"extended", floor, self._times.extended), form.ends[1], None
        if form.size not in (LITERAL, FOLLOWS):
            raise DamagedError(f"{WHAT} is damaged: unknown form of a number")
        size = self._literal(headerunits.NUMBER_SIZE) if form.size == LITERAL else None
        mtime, odd = self._odd(form, size, b"extended", floor, self._times.extended)
        return mtime, form.ends[1], odd

    def _time(self, key: bytes) -> tuple[bytes, int | None, int | None]:
        """The value of a record with a time, and that in seconds, cut and rounded, if it is a number."""
        digits = self._digits() - 1
        if digits > _MAX_DIGITS:
            raise DamagedError(f"{WHAT} is damaged: a time with {digits} digits")
        if digits < 0:
            value = self._value()
        else:
            seconds = self._times.seconds(key, self._seconds()[0])
            if not digits:
                return b"%d" % seconds, seconds, seconds
            fraction = self._fraction()[0]
            value = b"%d.%0*d" % (seconds, digits, fraction)
            if fraction < _POWERS[digits]:
                return value, seconds, seconds + (2 * fraction >= _POWERS[digits])
        match = TIME.fullmatch(value)
        return (value, None, None) if match is None else (value, int(match[1]), rounded(match))

    def _name_beside(self) -> bytes:
        text = cast(bytes, self._extended_name())
        return text if text[:1] in _MARKS else b"=" + text[1:]

    def _mtime(self, form: int, key: bytes, floor: int | None, rounded: int | None) -> int:
        if form in (NUL, SPACE):
            return self._times.seconds(key, self._seconds()[0])
        value = floor if form == FOLLOWS else rounded
        if value is None or value > MAX_OCTAL:
            raise DamagedError(f"{WHAT} is damaged: a time that repeats nothing")
        return value

    def _literal(self, size: int) -> bytes:
        return self._readers[Col.LITERALS].take(size)

    def _blob(self, sizes: Col, column: Col) -> bytes:
        data = self._readers[column].take(self._get[sizes]())
        self._spend(len(data))
        return data

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise DamagedError(f"{WHAT} is damaged: more headers than a section can hold")


def _profiles(column: bytes) -> list[bytes]:
    step = headerunits.PROFILE_SIZE
    if len(column) % step or len(column) > MAX_UNITS * step:
        raise DamagedError(f"{WHAT} is damaged: impossible number of kinds of headers")
    return [column[start : start + step] for start in range(0, len(column), step)]


def _form(form: int) -> Form:
    if form >= len(FORMS):
        raise DamagedError(f"{WHAT} is damaged: unknown form of a number")
    return FORMS[form]


def _short(long: bytes | None, form: int, column: Callable[[], bytes]) -> bytes:
    if form == PLAIN:
        return column()
    if long is None or form > ASCII:
        raise DamagedError(f"{WHAT} is damaged: a name that repeats nothing")
    return shortened(long, form)


def _check_name(text: bytes, long: bytes) -> None:
    """Raises DamagedError if the name of an extended header does not fit into its block."""
    most = headerunits.NAME_SIZE
    if text[:1] == b"/":
        fits = len(long) + len(text) + 1 <= most or len(beside(long, text[1:])) <= most
    else:
        fits = len(text) <= most + 1
    if not fits:
        raise DamagedError(f"{WHAT} is damaged: a name is too long")
