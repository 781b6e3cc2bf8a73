"""docs/zllm-format.md: its numbers are the code's, and its example is an archive."""

from __future__ import annotations

import hashlib
import io
import re
import runpy
import tarfile
import zlib
from pathlib import Path

import pytest
import takeapart
import zstandard
from models import tiny

from zllm import _native as native
from zllm.archive.options import WriteOptions
from zllm.archive.writer import Writer
from zllm.codecs import registry
from zllm.format import (
    directory,
    ends,
    envelope,
    headers,
    headerunits,
    limits,
    modelpart,
    payloads,
    section,
    sectionmap,
)
from zllm.format.dictionary import DICTIONARY
from zllm.format.envelope import Kind
from zllm.format.names import NameFilter
from zllm.format.tarscan import member_name
from zllm.format.wire import checksum64
from zllm.models import store
from zllm.planner.reasons import describe

TEXT = (Path(__file__).parent.parent / "docs" / "zllm-format.md").read_text(encoding="utf-8")
DATA = b"hello, world\n" * 12


def part(title: str) -> str:
    """The text under a heading."""
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", TEXT, re.M | re.S)
    assert found, title
    return found[1]


def rows(title: str) -> list[list[str]]:
    """Cells of the tables under a heading, without heads."""
    lines = [line for line in part(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|---")]


def example() -> bytes:
    found = re.search(r"^```hex\n(.*?)^```", TEXT, re.M | re.S)
    assert found
    return bytes.fromhex(found[1])


def tar() -> bytes:
    info = tarfile.TarInfo("hello.txt")
    info.mtime, info.uid, info.gid, info.uname, info.gname = 1_700_000_000, 1000, 1000, "user", "user"
    info.size = len(DATA)
    return info.tobuf(tarfile.GNU_FORMAT) + DATA + bytes(-len(DATA) % 512) + bytes(1024)


def meaning(archive: bytes) -> tuple[section.SectionHeader, sectionmap.SectionMap, bytes, directory.Directory]:
    """Every structure of an archive with one section and one frame, by the byte tables alone."""
    assert checksum64(archive[:14]).to_bytes(8, "little")[:2] == archive[14:16]
    seed = int.from_bytes(archive[10:14], "little")
    at, bodies = 16, []
    for number, kind in enumerate((1, 2, 4, 5)):
        assert archive[at : at + 5] == bytes((0xB5, 0x5A, kind, 0, number))
        size, body = varint(archive, at + 5)
        assert checksum64(archive[at:body], seed=seed) & 0xFFFF == int.from_bytes(archive[body : body + 2], "little")
        end = body + 2 + size
        assert zlib.crc32(archive[at:end], seed) == int.from_bytes(archive[end : end + 4], "little")
        bodies.append(archive[body + 2 : end])
        at = end + 4
    assert at == len(archive)
    assert archive[10:14] == checksum64(b"\1" + bodies[0]).to_bytes(8, "little")[:4]
    assert varint(bodies[3], 0)[0] == 8 + len(bodies[2]) + 4
    header, map_at = section.read(bodies[0])
    chart = sectionmap.decode(bodies[0][map_at:], header, 1)
    return header, chart, bodies[1], directory.unpack(bodies[2], seed)


def says_of_map() -> str:
    """What the table says of the example's map."""
    return next(row[3] for row in rows("Example") if row[2] == "map")


def test_the_example_is_what_the_table_says() -> None:
    archive = example()
    header, chart, body, found = meaning(archive)
    (record,) = chart.records
    (frame,) = chart.groups[0].frames
    assert member_name(record.header) == "hello.txt"
    assert (len(record.header), record.data_size, record.zeros, record.bucket) == (512, 156, 1380, 0)
    assert record.sha256 == b"" and frame.sha256 == hashlib.sha256(DATA).digest()[:8]
    assert describe(frame.reason) == "the level tries no other codec" and f"; reason {frame.reason};" in says_of_map()
    assert body[:4] == bytes((frame.codec, 0)) + (156 | 0x80).to_bytes(1, "little") + b"\1"
    assert registry.get(frame.codec).decode(body[4:], frame.raw_size) == DATA
    table = [row for row in rows("Example") if row[0].isdigit()]
    end = 0
    for offset, size, *_ in table:
        assert int(offset) == end
        end += int(size)
    assert end == len(archive)
    says = {int(offset): (int(size), meaning) for offset, size, _, meaning in table}
    assert says[0] == (16, f"version 3, id `{archive[10:14].hex()}`")
    assert says[24][1] == f"stream 0 to {header.stream_size}, columns {header.columns_size}, no flags, no model"
    assert says[100][1] == f"codec {frame.codec}, slot 0, data {frame.raw_size}"
    assert says[104][0] == frame.payload_size
    named = [
        [*map(int, re.findall(r"number (\d+), body (\d+)", text)[0])] for _, text in says.values() if "body" in text
    ]
    parts = takeapart.parts(archive)
    assert named == [[part.envelope.sequence, part.envelope.length] for part in parts]
    assert says[164][1] == f"directory {ends.read_footer(parts[3].body)} bytes before"
    assert found.rows == [directory.Row(16, 0, 1)]
    assert found.manifest["format"] == 3 and "models" not in found.manifest
    (map_size,) = (size for size, text in says.values() if text.startswith("1 record"))
    fixed, per_frame = map(int, re.findall(r"has (\d+)\s", part("Sizes")))
    assert len(archive) == fixed + per_frame + map_size + frame.payload_size and per_frame == 16


def test_sizes_are_as_documented() -> None:
    """Of what is packed here: texts and small files are measured by hand."""

    def size(data: bytes, level: int) -> int:
        out = io.BytesIO()
        sink = Writer(out, WriteOptions(level=level, threads=1))
        sink.write(data)
        sink.close()
        return len(out.getvalue())

    says = {row[0]: int(row[2].replace(",", "")) for row in rows("Sizes")[1:]}
    assert says["one small file (the example below)"] == len(example()) == size(tar(), 4)
    assert says["an empty tar stream"] == size(b"", 4)


def test_writing_the_same_means_the_same() -> None:
    out = io.BytesIO()
    sink = Writer(out, WriteOptions(level=4, threads=1))
    sink.write(tar())
    sink.close()
    ours, documented = meaning(out.getvalue()), meaning(example())
    assert ours[1].records == documented[1].records
    assert [group.category for group in ours[1].groups] == [group.category for group in documented[1].groups]
    assert ours[0].stream_size == documented[0].stream_size and ours[3].rows[0].members == 1


def test_the_example_is_read_by_the_program() -> None:
    from zllm.tarface.file import ZllmFile

    with ZllmFile.open(fileobj=io.BytesIO(example())) as archive:
        assert archive.getnames() == ["hello.txt"]
        member = archive.extractfile("hello.txt")
        assert member is not None and member.read() == DATA


def test_byte_table_of_the_header() -> None:
    end = 0
    for offset, length, *_ in rows("Header")[1:]:
        assert int(offset) == end
        end += int(length)
    assert end == ends.HEADER_SIZE
    assert re.search(rf"^{end} bytes", part("Header"), re.M)
    assert f"`{ends.FILE_MAGIC.hex(' ')}`" in part("Header")


def test_kinds_and_flags_of_parts() -> None:
    assert f"`{envelope.SYNC.hex(' ')}`" in part("Parts")
    kinds = {int(row[0]): row[1] for row in rows("Parts") if row[0].isdigit() and "](#" in row[1]}
    assert {number: re.findall(r"\[(\w+)", text)[0].upper() for number, text in kinds.items()} == {
        kind.value: kind.name for kind in Kind
    }
    assert f"{envelope.SKIP} *skip*, {envelope.SEALED} *sealed*" in part("Parts")


def test_model_by_the_table() -> None:
    data = b"a model file, " * 20
    said, coded = modelpart.pack(data)
    body = modelpart.pack_front(said) + bytes(coded)
    size, at = varint(body, 1)
    assert body[0] == 2 and size == len(data) and body[at : at + 32] == hashlib.sha256(data).digest()
    assert [row[0] for row in rows("Model")[1:]] == ["1", "varint", "32", ""]
    unpacker = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    assert unpacker.decompress(body[at + 32 :], max_output_size=len(data)) == data


def test_where_models_stand() -> None:
    """Before the first section; the directory has their places. The archive's id is made from the section."""
    out = io.BytesIO()
    model = store.DATA_FOLDER / "fast.zlm"
    sink = Writer(out, WriteOptions(level=8, threads=1, model=model, embed_model=True))
    sink.write(TEXT[:9000].encode())
    sink.close()
    archive = out.getvalue()
    parts = takeapart.parts(archive)
    assert [part.envelope.kind for part in parts] == [3, 1, 2, 4, 5]
    found = directory.unpack(parts[3].body)
    assert found.others == [directory.OtherPart(16, parts[0].envelope)]
    whole = archive[parts[0].offset : parts[0].end]
    assert modelpart.unpack(whole, parts[0].envelope.size, takeapart.seed_of(archive))[1] == model.read_bytes()
    assert archive[10:14] == envelope.id_of(Kind.SECTION, parts[1].body)


def test_filter_by_the_text() -> None:
    names = [f"name {number}" for number in range(50)]
    bits = NameFilter.of(names, 77).bits
    assert len(bits) == 50
    for name in names:
        value = checksum64(name.encode(), seed=77)
        a, s = value % 2**32, value // 2**32 | 1
        for i in range(5):
            bit = (a + i * s) % 2**32 * 8 * 50 // 2**32
            assert bits[bit // 8] >> bit % 8 & 1


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def test_payload_of_the_model(tmp_path: Path) -> None:
    """By the table: repeats, streams less one, their sizes but the last's, the code string. Nothing else shapes it."""
    model = store.load(tiny.write(tmp_path / "m.zlm", layers=1, dim=32))
    fresh = b" ".join(b"%x" % (n * n * 7919) for n in range(12_000))
    data = fresh[:70_000] + fresh[100:5000] + fresh[70_000:]
    payload = registry.get(3, model).encode(data)
    repeats, at = varint(payload, 0)
    out = []
    for _ in range(3 * repeats):
        value, at = varint(payload, at)
        out.append(value)
    assert out == [70_000, 4899, 69_899]
    streams, at = varint(payload, at)
    sizes = []
    for _ in range(streams):
        size, at = varint(payload, at)
        sizes.append(size)
    sizes.append(len(fresh) - sum(sizes))
    assert 1 < len(sizes) <= 256 and min(sizes) > 0
    job = model.native.decoder(payload[at:], [(size, ()) for size in sizes], model.start)
    native.work([job], 0)
    assert job.result() == fresh


def test_payload_without_a_model() -> None:
    payload = registry.get(4).encode(DATA)
    assert payload[0] == native.ARITHMETIC_VERSION
    assert native.cm_decode(payload[1:], len(DATA)) == DATA


def test_no_data_has_an_empty_payload() -> None:
    assert {registry.get(number).encode(b"") for number in (0, 1, 2, 4)} == {b""}


def test_limits() -> None:
    documented = {name: int(value) for name, value in re.findall(r"`([A-Z_]+)`[ |]*(\d+)", part("Limits"))}
    numbers = {name: value for name, value in vars(limits).items() if name.isupper() and isinstance(value, int)}
    assert documented == {name: value for name, value in numbers.items() if name != "BLOCK"}
    assert limits.BLOCK == 512


def test_limits_that_are_not_of_the_container() -> None:
    from zllm.codecs import lz4

    text = part("Limits")
    assert f"| {lz4._SLACK} | {lz4._MAX_EXPANSION} | byte of a frame of codec lz4" in text
    assert f"| {payloads.ZSTD_BLOCK} | {payloads.ZSTD_BLOCK} | {payloads.ZSTD_LEAST} bytes of zstd data" in text


def test_dictionary() -> None:
    assert f"{len(DICTIONARY):,} bytes" in TEXT
    assert hashlib.sha256(DICTIONARY).hexdigest() in TEXT


def test_the_script_makes_the_dictionary(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = runpy.run_path(str(checkout / "tools" / "make_dictionary.py"))
    monkeypatch.setitem(script["main"].__globals__, "TARGET", tmp_path / "dictionary.bin")
    assert script["main"]() == 0
    assert (tmp_path / "dictionary.bin").read_bytes() == DICTIONARY


def test_columns() -> None:
    first = [row[0] for row in rows("Map") if row[0][0].isdigit()]
    assert first == [str(number) for number in range(16)] + [f"16 to {15 + headers.COLUMNS}"]
    numbers: list[int] = []
    for row in rows("Header columns")[1:]:
        ends_of = [int(number) for number in re.findall(r"\d+", row[0])]
        numbers += range(ends_of[0], ends_of[-1] + 1)
    assert numbers == list(range(16, 16 + headers.COLUMNS))
    assert f"{headerunits.PROFILE_SIZE} bytes each" in part("Header columns")


def test_flags_and_codecs() -> None:
    assert (section.CONTINUED, section.CONTINUES, section.OPAQUE) == (1, 2, 4)
    for number, name in enumerate(("store", "lz4", "zstd", "llm", "cm")):
        assert registry.name_of(number) == name
        assert f"{number} {name}" in part("Frame")
    assert frozenset({ends.FORMAT_VERSION}) == ends.ACCEPTED_VERSIONS == {3}
