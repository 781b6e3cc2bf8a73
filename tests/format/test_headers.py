"""Header columns: whatever the bytes, they come back; whatever the columns, nothing else happens."""

from __future__ import annotations

import io
import tarfile

import pytest
from format.strategies import checked, damaged, formats, given, infos, survives, unit_of
from hypothesis import example
from hypothesis import strategies as st

from zllm.errors import DamagedError
from zllm.format import columns, headers, headerunits, limits, tarscan


def there_and_back(units: list[bytes]) -> list[bytes]:
    cols = headers.encode(units)
    assert len(cols) == headers.COLUMNS
    decoded = headers.decode(cols, len(units))
    assert [headerunits.built(unit) for unit in decoded] == units
    assert [headerunits.header_size(unit) for unit in decoded] == list(map(len, units))
    assert [headerunits.data_size(unit) for unit in decoded] == list(map(tarscan.data_size, units))
    assert [headerunits.member_name(unit) for unit in decoded] == list(map(tarscan.member_name, units))
    assert headers.encode(decoded) == cols  # by another way: without the bytes
    return cols


def sample(count: int = 20, tar_format: int = tarfile.PAX_FORMAT) -> list[bytes]:
    units = []
    for number in range(count):
        info = tarfile.TarInfo(f"{'long' * (number % 3 * 12)}/{'long' * (number % 3 * 10)}file-{number}")
        info.mtime = 1_700_000_000 + number * 1.7
        info.size = number * 1000
        units.append(unit_of(info, tar_format))
    return units


@given(st.lists(st.tuples(infos(), formats), max_size=6))
def test_what_tarfile_writes(members: list[tuple[tarfile.TarInfo, int]]) -> None:
    there_and_back([unit_of(*member) for member in members])


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=4))
@example([bytes(512)])
@example([b"\1" * 512])
def test_any_bytes(units: list[bytes]) -> None:
    there_and_back(units)


@given(st.data(), infos(), formats)
def test_headers_changed_at_random(data: st.DataObject, info: tarfile.TarInfo, tar_format: int) -> None:
    unit = data.draw(damaged(unit_of(info, tar_format)))
    blocks = [unit, unit + bytes(-len(unit) % 512), checked(unit.ljust(512, b"\0")[:512])]
    there_and_back(blocks)


@given(st.binary(min_size=512, max_size=512), st.binary(max_size=600))
def test_any_block_with_its_checksum(block: bytes, tail: bytes) -> None:
    there_and_back([checked(block), checked(block) + tail])


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_nothing_is_raw_that_tarfile_writes(tar_format: int) -> None:
    cols = there_and_back(sample(50, tar_format))
    assert not cols[headers.Col.RAW] and not cols[headers.Col.LITERALS]


def test_times_of_pax_records_cost_once() -> None:
    cols = there_and_back(sample(50))
    assert len(cols[headers.Col.SECONDS]) == 50
    assert len(columns.pack(cols)) / 50 < 20


def test_names_of_gnu_tar_follow() -> None:
    """GNU tar and bsdtar name the extended header after the member, in a folder that does not exist."""
    unit = bytearray(unit_of(_named("a/b/file", {"comment": "x"}), tarfile.PAX_FORMAT))
    for folder in (b"PaxHeaders", b"PaxHeaders.123", b"PaxHeader"):
        unit[:100] = (b"a/b/" + folder + b"/file").ljust(100, b"\0")
        whole = checked(bytes(unit[:512])) + bytes(unit[512:])
        assert there_and_back([whole])[headers.Col.EXTENDED_NAMES] == b"/" + folder + b"\0"


def _named(name: str, records: dict[str, str]) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.pax_headers = records
    return info


def test_no_units() -> None:
    assert there_and_back([]) == [b""] * headers.COLUMNS


@given(st.data())
def test_damaged_columns(data: st.DataObject) -> None:
    cols = headers.encode([*sample(4), *sample(3, tarfile.GNU_FORMAT), b"raw"])
    number = data.draw(st.integers(0, headers.COLUMNS - 1))
    cols[number] = data.draw(st.one_of(damaged(cols[number]), st.binary(max_size=30)))
    survives(lambda: headers.decode(cols, data.draw(st.sampled_from([8, 7, 9, 0, 1 << 40]))))


@given(st.lists(st.binary(max_size=20), min_size=headers.COLUMNS, max_size=headers.COLUMNS), st.integers(0, 3))
def test_random_columns(cols: list[bytes], count: int) -> None:
    survives(lambda: headers.decode(cols, count))


@pytest.mark.parametrize("number", range(headers.COLUMNS))
def test_bytes_too_many(number: int) -> None:
    cols = headers.encode(sample(3))
    cols[number] += b"\0"
    if number == headers.Col.KEYS:  # a table: what is not used does no harm
        return
    with pytest.raises(DamagedError):
        headers.decode(cols, 3)


def test_headers_do_not_grow_without_limit() -> None:
    """A long list of keywords, used again and again: the columns are small, the headers would be 3 GB."""
    unit = unit_of(_named("a", {f"key{n:06}": "" for n in range(50_000)}), tarfile.PAX_FORMAT)
    cols = headers.encode([unit])
    count = 3000
    wide = [column * count if number not in (headers.Col.KEYS, headers.Col.PROFILES) else column
            for number, column in enumerate(cols)]  # fmt: skip
    wide[headers.Col.VALUES] = bytes(limits.WINDOW)
    with pytest.raises(DamagedError, match="more headers than"):
        headers.decode(wide, count)


def test_a_unit_has_a_limit() -> None:
    cols = headers.encode([unit_of(_named("a", {"comment": "x" * 900_000}), tarfile.PAX_FORMAT)])
    many = [column * 20 for column in cols]
    for number in (headers.Col.KEYS, headers.Col.PROFILES):
        many[number] = cols[number]
    many[headers.Col.PARTS] = b"\2" * 20 + b"\1"
    with pytest.raises(DamagedError, match="beyond the limit"):
        headers.decode(many, 1)


@given(st.binary(max_size=50).filter(lambda key: b"=" not in key), st.binary(max_size=1200))
def test_pax_records_count_themselves(key: bytes, value: bytes) -> None:
    record = headerunits.pax_record(key, value)
    assert int(record.split(b" ")[0]) == len(record)


def test_sparse_members_keep_their_maps() -> None:
    main = bytearray(tarfile.TarInfo("sparse").tobuf(tarfile.GNU_FORMAT))
    main[156:157], main[482] = b"S", 1
    more = io.BytesIO(b"00000000001\0" * 42).read(512)
    cols = there_and_back([checked(bytes(main)) + more.ljust(512, b"\0")])
    assert len(cols[headers.Col.TAILS]) == 512
