"""docs/zllm-format.md: its numbers are the code's, and its example is an archive."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from pathlib import Path

import pytest
import zstandard
from models import tiny

from zllm import _native as native
from zllm.archive.options import WriteOptions
from zllm.archive.writer import Writer
from zllm.codecs import registry
from zllm.format import ends, frames, headers, headerunits, index, limits, modelblock, section, sectionmap
from zllm.format.dictionary import DICTIONARY
from zllm.format.tarscan import member_name
from zllm.format.wire import checksum64
from zllm.models import store

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


def meaning(archive: bytes) -> tuple[section.SectionHeader, sectionmap.SectionMap, bytes, index.Index]:
    """Every structure of an archive with one section, by the byte tables alone."""
    ends.check_file_header(archive[:12])
    size = section.size_of(archive[12:18])
    header = section.unpack(archive[12 : 12 + size])
    blob = archive[12 + size : 12 + size + header.map_size]
    assert checksum64(blob) & 0xFFFFFFFF == header.map_check
    chart = sectionmap.decode(blob, header)
    body = archive[12 + size + header.map_size :][: header.frames_size]
    footer = archive[-18:]
    block = archive[-18 - int.from_bytes(footer[4:8], "little") : -18]
    assert checksum64(block, footer[:10]) == int.from_bytes(footer[10:], "little")
    return header, chart, body, index.unpack(block)


def test_the_example_is_what_the_table_says() -> None:
    archive = example()
    header, chart, body, found = meaning(archive)
    (record,) = chart.records
    (frame,) = chart.groups[0].frames
    assert member_name(record.header) == "hello.txt"
    assert (len(record.header), record.data_size, record.zeros, record.bucket) == (512, 156, 1380, 0)
    assert record.sha256 == b"" and frame.sha256 == hashlib.sha256(DATA).digest()[:8]
    payload = frames.payload_of(memoryview(body), frame)
    assert registry.get(frame.codec).decode(payload, frame.raw_size) == DATA
    table = [row for row in rows("Example") if row[0].isdigit()]
    end = 0
    for offset, size, *_ in table:
        assert int(offset) == end
        end += int(size)
    assert end == len(archive)
    assert f"stream 0 to {header.stream_size}, map {header.map_size} (columns {header.map_raw_size})" in table[1][3]
    assert table[3][3] == f"codec {frame.codec}, slot 0, data {frame.raw_size}, payload {frame.payload_size}"
    assert table[6][3] == f"index of {table[5][1]} bytes"
    assert found.entries == [index.Entry(12, 1)]
    assert found.manifest["format"] == 2 and "models" not in found.manifest


def test_writing_the_same_means_the_same() -> None:
    out = io.BytesIO()
    sink = Writer(out, WriteOptions(level=4, threads=1))
    sink.write(tar())
    sink.close()
    ours, documented = meaning(out.getvalue()), meaning(example())
    assert ours[1].records == documented[1].records
    assert [group.category for group in ours[1].groups] == [group.category for group in documented[1].groups]
    assert ours[0].stream_size == documented[0].stream_size and ours[3].entries[0].members == 1


def test_the_example_is_read_by_the_program() -> None:
    from zllm.tarface.file import ZllmFile

    with ZllmFile.open(fileobj=io.BytesIO(example())) as archive:
        assert archive.getnames() == ["hello.txt"]
        member = archive.extractfile("hello.txt")
        assert member is not None and member.read() == DATA


@pytest.mark.parametrize(
    ("title", "size"),
    [("File header", ends.FILE_HEADER_SIZE), ("Model block", modelblock.HEADER_SIZE), ("Footer", ends.FOOTER_SIZE)],
)
def test_byte_tables_add_up(title: str, size: int) -> None:
    end = 0
    for offset, length, *_ in rows(title)[1:]:
        assert int(offset) == end
        end += int(length)
    assert end == size
    assert re.search(rf"^{size} bytes", part(title), re.M)


@pytest.mark.parametrize(
    ("title", "magic"),
    [
        ("File header", ends.FILE_MAGIC),
        ("Section header", section.MAGIC),
        ("Frame", frames.MAGIC),
        ("Model block", modelblock.MAGIC),
        ("Index", index.MAGIC),
        ("Footer", ends.FOOTER_MAGIC),
    ],
)
def test_magics(title: str, magic: bytes) -> None:
    assert f"`{magic.hex(' ')}`" in part(title)


def test_model_block_by_the_table() -> None:
    """Fields cut out at the documented offsets are what the program means by them."""
    data = b"a model file, " * 20
    block, coded = modelblock.pack(data)
    packed = modelblock.pack_header(block)
    cut = {what: packed[int(at) : int(at) + int(size)] for at, size, what in rows("Model block")[1:]}
    number = {what.split(":")[0]: int.from_bytes(field, "little") for what, field in cut.items()}
    assert cut["SHA-256 of the model file"] == hashlib.sha256(data).digest()
    assert number["bytes of the model file"] == len(data) and number["bytes of the coded file"] == len(coded)
    assert number["xxh3 of the coded file"] == checksum64(coded)
    assert number["xxh3 of bytes 0 to 63"] == checksum64(packed[:64])
    assert number["how the file is coded, by the numbers of codecs"] == 2
    assert number["reject-me flags"] == number["ignore-me flags"] == number["0"] == 0
    unpacker = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    assert unpacker.decompress(coded, max_output_size=len(data)) == data


def test_where_model_blocks_stand() -> None:
    """Before the first section, at the manifest's offset; file header and footer say that there may be some."""
    out = io.BytesIO()
    model = store.DATA_FOLDER / "fast.zlm"
    sink = Writer(out, WriteOptions(level=8, threads=1, model=model, embed_model=True))
    sink.write(TEXT[:9000].encode())
    sink.close()
    archive = out.getvalue()
    assert archive[9] == archive[-18:][9] == ends.EMBEDDED
    found = index.unpack(archive[-18 - ends.index_size(archive[-18:]) : -18])
    assert found.manifest["blocks"] == [12] and found.manifest["features"] == ["embedded-model"]
    block = modelblock.unpack_header(archive[12:84])
    assert found.entries[0].offset == 84 + block.coded_size
    assert modelblock.unpack(block, archive[84 : 84 + block.coded_size]) == model.read_bytes()


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
    assert documented == {name: value for name, value in vars(limits).items() if name.isupper() and name != "BLOCK"}
    assert limits.BLOCK == 512


def test_limits_that_are_not_of_the_container() -> None:
    from zllm.codecs import lz4, zstd

    text = part("Limits")
    assert f"| 0 | 1 | {frames.LEAST_FRAME} bytes of a section's frames" in text
    assert f"| {lz4._SLACK} | {lz4._MAX_EXPANSION} | byte of a frame of codec lz4" in text
    assert f"| {zstd._BLOCK_RAW} | {zstd._BLOCK_RAW} | {zstd._BLOCK_MIN} bytes of zstd data" in text


def test_dictionary() -> None:
    assert f"{len(DICTIONARY):,} bytes" in TEXT
    assert hashlib.sha256(DICTIONARY).hexdigest() in TEXT


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
    assert frozenset({ends.FORMAT_VERSION}) == ends.ACCEPTED_VERSIONS == {2}
