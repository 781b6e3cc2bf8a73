"""Write tests/conformance/: archives that every reader has to read, and others with exactly one field wrong.

    python tools/make_conformance.py

``valid`` has archives of all shapes, ``invalid`` well-formed ones whose checksums hold (but where a checksum is what is
wrong), each with one field that says what cannot be. ``manifest.json`` says of each file what is wrong, which error
readers give, and which members they still give. The same program gives the same bytes every time.
"""

from __future__ import annotations

import json
import random
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lz4.block

from zllm.format import columns, directory, ends, envelope, frames, section, sectionmap
from zllm.format.directory import Directory, OtherPart
from zllm.format.envelope import SEALED, SKIP, Envelope, Kind
from zllm.format.frames import FrameRow
from zllm.format.section import CONTINUED, CONTINUES, OPAQUE, SectionHeader
from zllm.format.sectionmap import Group, Record, SectionMap
from zllm.format.wire import varints

TARGET = Path(__file__).resolve().parents[1] / "tests" / "conformance"
DAMAGED, UNSUPPORTED, NOT_ZLLM, MISSING = "DamagedError", "UnsupportedVersionError", "NotZllmError", "MissingCodecError"
STORE, LZ4, ZSTD = 0, 1, 2
TEXT = b"All happy families are alike; every unhappy family is unhappy in its own way. " * 3


def header(name: str, size: int) -> bytes:
    """The header block of a member."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, 1_700_000_000
    return info.tobuf(tarfile.USTAR_FORMAT)


@dataclass
class Part:
    """A part before it is numbered and sealed. ``sequence``: another number than its place gives it. ``members``: of a
    section.
    """

    kind: int
    body: bytes
    flags: int = 0
    sequence: int | None = None
    members: int = 1


@dataclass
class Plan:
    """An archive before it is written. Rows of the directory are made when it is, unless ``directory`` is given.

    ``change`` makes other bytes of the whole; ``change_rows`` other rows.
    """

    parts: list[Part] = field(default_factory=list)
    stream: int = 0
    directory: Directory | None = None
    change_rows: Callable[[list[directory.Row]], list[directory.Row]] = lambda rows: rows
    change_directory: Callable[[bytes], bytes] = lambda body: body
    distance: int = 0
    archive_id: bytes = b"conf"

    def section(self, chart: SectionMap, payloads: list[bytes], flags: int = 0, **other: Any) -> Plan:
        """One more section. ``other``: of its header."""
        continued, continues = bool(flags & CONTINUED), bool(flags & CONTINUES)
        blob, size = sectionmap.encode(chart, continued=continued, continues=continues)
        head = replace(SectionHeader(self.stream, chart.size(), size, flags), **other)
        self.parts.append(Part(Kind.SECTION, section.pack(head) + blob, members=chart.members()))
        rows = [row for group in chart.groups for row in group.frames]
        self.parts += [Part(Kind.FRAME, row.front() + payload) for row, payload in zip(rows, payloads, strict=True)]
        self.stream += chart.size()
        return self

    def member(self, name: str, data: bytes, codec: int = STORE) -> Plan:
        """A section with one member."""
        return self.section(*one_member(name, data, codec))

    def bytes(self) -> bytes:
        """The archive."""
        seed = envelope.seed_of(self.archive_id)
        out = bytearray(ends.pack_header(self.archive_id))
        rows: list[directory.Row] = []
        others: list[OtherPart] = []
        for number, part in enumerate(self.parts):
            own = Envelope(part.kind, number if part.sequence is None else part.sequence, len(part.body), part.flags)
            offset = len(out)
            out += sealed(seed, own, part.body)
            if part.kind == Kind.SECTION:
                head = read_header(part.body)
                rows.append(directory.Row(offset, number, part.members, head, len(part.body)))
            elif part.kind == Kind.FRAME and rows:
                size = len(out) - rows[-1].frames_at
                rows[-1] = replace(rows[-1], frames=rows[-1].frames + 1, frames_size=size)
            else:
                others.append(OtherPart(offset, own))
        found = self.directory or Directory(self.change_rows(rows), others, {"created_by": "conformance", "level": 1})
        start, count = len(out), len(self.parts)
        body = self.change_directory(directory.pack(found))
        out += sealed(seed, Envelope(Kind.DIRECTORY, count, len(body)), body)
        footer = ends.pack_footer(len(out) - start + self.distance)
        out += sealed(seed, Envelope(Kind.FOOTER, count + 1, len(footer)), footer)
        return bytes(out)


def read_header(body: bytes) -> SectionHeader:
    """The header of a section; of one that cannot be read, something else."""
    try:
        return section.read(body)[0]
    except Exception:
        return SectionHeader(0, 0, 0)


def sealed(seed: int, own: Envelope, body: bytes) -> bytes:
    """A whole part."""
    front, check = envelope.seal(seed, own, body)
    return front + body + check


def coded(data: bytes, codec: int) -> bytes:
    """A payload."""
    if codec == ZSTD:
        return columns.compress(data)
    return lz4.block.compress(data, store_size=False) if codec == LZ4 else data


def one_member(name: str, data: bytes, codec: int = STORE) -> tuple[SectionMap, list[bytes]]:
    """A member in a frame of its own, or without data."""
    if not data:
        return SectionMap([Record(header(name, 0))], []), []
    payload = coded(data, codec)
    row = FrameRow(len(data), len(payload), codec, sha256=frames.hash_of(data))
    record = Record(header(name, len(data)), len(data), -len(data) % 512, 0)
    return SectionMap([record], [Group(0, 1, [row])]), [payload]


def two() -> Plan:
    """What nearly all invalid archives are but for one field."""
    return Plan().member("a", TEXT).member("b", TEXT[::-1], ZSTD)


BOTH = ["a", "b"]

# Valid


def generations() -> bytes:
    """Two, of which the second has a member more and another version of the first."""
    plan = Plan().member("a", TEXT)
    first = plan.bytes()
    seed, start = envelope.seed_of(plan.archive_id), len(first)
    tail = bytearray()
    rows = []
    for number, (name, data) in enumerate([("a", TEXT[:50]), ("b", TEXT[50:])]):
        chart, payloads = one_member(name, data)
        blob, size = sectionmap.encode(chart, continued=False, continues=False)
        head = SectionHeader(plan.stream, chart.size(), size)
        body = section.pack(head) + blob
        offset, own = start + len(tail), Envelope(Kind.SECTION, 4 + 2 * number, len(body))
        tail += sealed(seed, own, body)
        (row,) = chart.groups[0].frames
        frame = sealed(
            seed, Envelope(Kind.FRAME, 5 + 2 * number, len(row.front() + payloads[0])), row.front() + payloads[0]
        )
        tail += frame
        rows.append(directory.Row(offset, own.sequence, 1, head, len(body), 1, len(frame)))
        plan.stream += chart.size()
    before = first.rindex(envelope.SYNC + bytes([Kind.DIRECTORY]))
    at = start + len(tail)
    body = directory.pack(Directory(rows, generation=1, back=at - before))
    tail += sealed(seed, Envelope(Kind.DIRECTORY, 8, len(body)), body)
    tail += sealed(seed, Envelope(Kind.FOOTER, 9, 1), ends.pack_footer(start + len(tail) - at))
    return first + bytes(tail)


def spanning() -> Plan:
    """A member in two sections, with one SHA-256, and a last record in the second."""
    import hashlib

    data = random.Random(3).randbytes(9000)
    parts = data[:5000], data[5000:]
    first = Record(header("long", 9000), 5000, 0, 0)
    rest = Record(b"", 4000, -9000 % 512, 0, sha256=hashlib.sha256(data).digest())
    rows = [FrameRow(len(part), len(part), STORE, sha256=frames.hash_of(part)) for part in parts]
    plan = Plan().section(SectionMap([first], [Group(5, 1, [rows[0]])]), [parts[0]], CONTINUES)
    return plan.section(SectionMap([rest, Record(b"", 0, 1024)], [Group(5, 1, [rows[1]])]), [parts[1]], CONTINUED)


def repeated() -> Plan:
    """The same data twice, and two members in one frame of two buckets."""
    data = (TEXT, b"another text")
    records = [
        Record(header(name, len(d)), len(d), -len(d) % 512, b)
        for b, (name, d) in enumerate(zip("ab", data, strict=True))
    ]
    records.append(Record(header("c", len(TEXT)), len(TEXT), -len(TEXT) % 512, duplicate_of=0))
    whole = b"".join(data)
    row = FrameRow(len(whole), len(coded(whole, LZ4)), LZ4, sha256=frames.hash_of(whole))
    return Plan().section(SectionMap(records, [Group(0, 2, [row])]), [coded(whole, LZ4)])


def raw_stream() -> Plan:
    """What is not a tar."""
    data = b"no tar, but a text. " * 9
    row = FrameRow(len(data), len(data), STORE, sha256=frames.hash_of(data))
    return Plan().section(SectionMap([Record(b"", len(data), 0, 0)], [Group(0, 1, [row])]), [data], OPAQUE)


def with_other(kind: int, flags: int) -> Plan:
    """The usual one with a part of another kind in the middle."""
    plan = two()
    plan.parts.insert(2, Part(kind, b"whatever", flags))
    return plan


def real_pax() -> Plan:
    """Headers that are not of one block."""
    info = tarfile.TarInfo("ü" * 80)
    info.size, info.mtime = len(TEXT), 1_700_000_000.25
    unit = info.tobuf(tarfile.PAX_FORMAT)
    row = FrameRow(len(TEXT), len(TEXT), STORE, sha256=frames.hash_of(TEXT))
    record = Record(unit, len(TEXT), -len(TEXT) % 512, 0)
    return Plan().section(SectionMap([record], [Group(0, 1, [row])]), [TEXT])


VALID: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "empty": (lambda: Plan().bytes(), ["-"]),
    "one-member-store": (lambda: Plan().member("a", TEXT).bytes(), ["a"]),
    "one-member-lz4": (lambda: Plan().member("a", TEXT, LZ4).bytes(), ["a"]),
    "one-member-zstd": (lambda: Plan().member("a", TEXT, ZSTD).bytes(), ["a"]),
    "member-without-data": (lambda: Plan().member("a", b"").bytes(), ["a"]),
    "two-sections": (lambda: two().bytes(), BOTH),
    "member-in-two-sections": (lambda: spanning().bytes(), ["long"]),
    "repeated-member": (lambda: repeated().bytes(), ["a", "b", "c"]),
    "pax-header": (lambda: real_pax().bytes(), ["ü" * 80]),
    "raw-stream": (lambda: raw_stream().bytes(), ["-"]),
    "generations": (generations, ["a", "a", "b"]),
    "note": (lambda: with_other(Kind.NOTE, SKIP).bytes(), BOTH),
    "parity": (lambda: with_other(Kind.PARITY, SKIP).bytes(), BOTH),
    "unknown-part-to-skip": (lambda: with_other(77, SKIP).bytes(), BOTH),
    "ignore-me-flags-of-a-part": (lambda: with_other(77, 0x0F).bytes(), BOTH),
    "ignore-me-flags-of-the-header": (lambda: header_with(9, 0x0F), BOTH),
    "joined": (lambda: two().bytes() + Plan(archive_id=b"next").member("c", TEXT).bytes(), [*BOTH, "c"]),
    "zeros-behind": (lambda: two().bytes() + bytes(700), BOTH),
    "zeros-between": (lambda: two().bytes() + bytes(512) + Plan().member("c", TEXT).bytes(), [*BOTH, "c"]),
}  # fmt: skip

# Invalid


def header_with(at: int, value: int) -> bytes:
    """Another byte in the file header, whose checksum holds."""
    data = bytearray(two().bytes())
    data[at] = value
    data[14:16] = ends.pack_header(bytes(data[10:14]))[14:16] if at >= 10 else checksum_of(bytes(data[:14]))
    return bytes(data)


def checksum_of(data: bytes) -> bytes:
    """Two bytes of an xxh3."""
    from zllm.format.wire import checksum

    return checksum(2, data)


def bytes_at(find: Callable[[Plan], int], *xor: int) -> bytes:
    """Other bytes from a place on, whose checksums do not hold."""
    plan = two()
    data = bytearray(plan.bytes())
    at = find(plan)
    for number, value in enumerate(xor):
        data[at + number] ^= value
    return bytes(data)


def place(number: int) -> Callable[[Plan], int]:
    """Where a part begins."""

    def find(plan: Plan) -> int:
        at = ends.HEADER_SIZE
        for before, part in enumerate(plan.parts[:number]):
            at += Envelope(part.kind, before, len(part.body)).whole
        return at

    return find


def part_with(number: int, **changes: Any) -> bytes:
    """Something else in a part's envelope, whose checksum holds."""
    plan = two()
    plan.parts[number] = replace(plan.parts[number], **changes)
    return plan.bytes()


def section_with(**changes: Any) -> bytes:
    """Something else in the header of the second section."""
    plan = two()
    body = plan.parts[2].body
    head, at = section.read(body)
    plan.parts[2] = replace(plan.parts[2], body=section.pack(replace(head, **changes)) + body[at:])
    return plan.bytes()


def column_with(number: int, column: bytes) -> bytes:
    """Another column in the map of the second section."""
    plan = two()
    body = plan.parts[2].body
    head, at = section.read(body)
    cols = columns.unpack(body[at:], head.columns_size, "a map")
    cols[number] = column
    size = sum(map(len, cols))
    plan.parts[2] = replace(plan.parts[2], body=section.pack(replace(head, columns_size=size)) + columns.pack(cols))
    return plan.bytes()


def frame_with(change: Callable[[bytes], bytes]) -> bytes:
    """Another body of the second frame."""
    plan = two()
    plan.parts[3] = replace(plan.parts[3], body=change(plan.parts[3].body))
    return plan.bytes()


def rows_with(change: Callable[[list[directory.Row]], list[directory.Row]]) -> bytes:
    """Other rows in the directory."""
    plan = two()
    plan.change_rows = change
    return plan.bytes()


def second(**changes: Any) -> Callable[[list[directory.Row]], list[directory.Row]]:
    """Another second row."""

    def change(rows: list[directory.Row]) -> list[directory.Row]:
        facts = {
            key: value for key, value in changes.items() if hasattr(SectionHeader, key) or key.startswith("stream")
        }
        rest = {key: value for key, value in changes.items() if key not in facts}
        head = rows[1].header
        assert head is not None
        return [rows[0], replace(rows[1], header=replace(head, **facts), **rest)]

    return change


def directory_with(found: Directory | None = None, change: Callable[[bytes], bytes] | None = None) -> bytes:
    """Another directory."""
    plan = two()
    if change is not None:
        plan.change_directory = change
    elif found is not None:
        plan.change_directory = lambda body: directory.pack(merged(directory.unpack(body), found))
    return plan.bytes()


def merged(own: Directory, other: Directory) -> Directory:
    """The rows of one with the numbers of another."""
    return replace(other, rows=own.rows, others=own.others, manifest=own.manifest)


def distance_with(more: int) -> bytes:
    """Another distance in the footer."""
    plan = two()
    plan.distance = more
    return plan.bytes()


def garbage_between() -> bytes:
    """A byte between two archives."""
    return two().bytes() + b"x" + Plan().member("c", b"").bytes()


Case = tuple[Callable[[], bytes], str, str, list[str]]
"""How it is made, the error, what is wrong, and the members that come out."""
INVALID: dict[str, Case] = {
    "header-magic": (lambda: header_with(0, 0x8C), NOT_ZLLM, "the first byte of the magic", []),
    "header-version": (lambda: header_with(8, 4), UNSUPPORTED, "version 4", []),
    "header-reject-flag": (lambda: header_with(9, 0x40), UNSUPPORTED, "a reject-me flag of the header", []),
    "header-checksum": (lambda: bytes_at(lambda _: 14, 1), DAMAGED, "the checksum of the header", BOTH),
    "part-sync": (lambda: bytes_at(place(2), 1, 1), DAMAGED, "the sync of the second section", BOTH),
    "part-kind": (lambda: with_other(77, 0).bytes(), UNSUPPORTED, "a part of an unknown kind without skip", BOTH),
    "part-reject-flag": (lambda: with_other(Kind.NOTE, SKIP | 0x20).bytes(), UNSUPPORTED, "a reject-me flag", BOTH),
    "part-sealed": (lambda: with_other(Kind.NOTE, SKIP | SEALED).bytes(), UNSUPPORTED, "a part that is sealed", BOTH),
    "keys": (lambda: with_other(Kind.KEYS, 0).bytes(), UNSUPPORTED, "a part with keys", BOTH),
    "part-number-repeated": (lambda: part_with(2, sequence=0), DAMAGED, "the second section has number 0", ["a"]),
    "part-number-skipped": (lambda: part_with(2, sequence=9), DAMAGED, "the second section has number 9", ["a"]),
    "part-checksum": (lambda: bytes_at(lambda p: place(2)(p) - 4, 1, 1), DAMAGED, "that of the first frame", BOTH),
    "section-offset": (lambda: section_with(stream_offset=1536), DAMAGED, "the second section begins later", BOTH),
    "section-offset-before": (lambda: section_with(stream_offset=512), DAMAGED, "it begins inside the first", ["a"]),
    "section-size": (lambda: section_with(stream_size=512), DAMAGED, "it is shorter than its map", ["a"]),
    "section-columns-size": (lambda: section_with(columns_size=7), DAMAGED, "the columns unpack to more", ["a"]),
    "section-reject-flag": (lambda: section_with(flags=8), UNSUPPORTED, "a reject-me flag of a section", ["a"]),
    "section-continued": (lambda: section_with(flags=CONTINUED), DAMAGED, "a hash of a continued member is due", ["a"]),
    "map-records": (lambda: column_with(0, varints([2])), DAMAGED, "two records where there is one", ["a"]),
    "map-shape": (lambda: column_with(1, b"\x08"), DAMAGED, "a record of a shape that there is not", ["a"]),
    "map-zeros": (lambda: column_with(3, b"\0"), DAMAGED, "zeros of a record that has none", ["a"]),
    "map-bucket": (lambda: column_with(4, b"\5"), DAMAGED, "a bucket of no group", ["a"]),
    "map-repeats-nothing": (lambda: column_with(4, b"\0"), DAMAGED, "a repetition of nothing", ["a"]),
    "map-hash": (lambda: column_with(6, bytes(32)), DAMAGED, "a SHA-256 too many", ["a"]),
    "map-group": (lambda: column_with(8, b"\2"), DAMAGED, "a group of two buckets where there is one", ["a"]),
    "map-frame-size": (lambda: column_with(9, b"\1"), DAMAGED, "a frame of one byte", ["a"]),
    "map-payload-size": (lambda: column_with(10, b"\1"), DAMAGED, "a payload of one byte", ["a"]),
    "map-codec": (lambda: column_with(11, bytes([99])), MISSING, "a codec that there is not", ["a"]),
    "map-slot": (lambda: column_with(12, b"\1"), DAMAGED, "a model that is not named", ["a"]),
    "map-frame-hash": (lambda: column_with(15, bytes(8)), DAMAGED, "another SHA-256 of a frame's data", ["a"]),
    "map-header-kind": (lambda: column_with(16, b"\7"), DAMAGED, "a header of an unknown kind", ["a"]),
    "map-profile": (lambda: column_with(21, b"\3"), DAMAGED, "a profile that is not there", ["a"]),
    "frame-codec": (lambda: frame_with(lambda b: b"\x63" + b[1:]), DAMAGED, "the frame's codec", BOTH),
    "frame-data-size": (lambda: frame_with(lambda b: b[:2] + b"\x83" + b[3:]), DAMAGED, "the frame's size", BOTH),
    "frame-payload": (lambda: frame_with(lambda b: b[:-4] + b"wron"), DAMAGED, "the end of the payload", ["a"]),
    "directory-offset": (lambda: rows_with(second(offset=17)), DAMAGED, "the place of the second section", BOTH),
    "directory-number": (lambda: rows_with(second(sequence=3)), DAMAGED, "the number of the second section", BOTH),
    "directory-length": (lambda: rows_with(second(length=40)), DAMAGED, "the length of the second section", BOTH),
    "directory-frames": (lambda: rows_with(second(frames=2)), DAMAGED, "the number of its frames", BOTH),
    "directory-frames-size": (lambda: rows_with(second(frames_size=9)), DAMAGED, "the bytes of its frames", BOTH),
    "directory-members": (lambda: rows_with(second(members=2)), DAMAGED, "the number of its members", BOTH),
    "directory-stream-offset": (lambda: rows_with(second(stream_offset=1536)), DAMAGED, "where it begins", BOTH),
    "directory-row-missing": (lambda: rows_with(lambda rows: rows[:1]), DAMAGED, "it names one section only", BOTH),
    "directory-generation": (lambda: directory_with(Directory([], generation=1)), DAMAGED, "generation 1", BOTH),
    "directory-back": (lambda: directory_with(Directory([], back=40)), DAMAGED, "a generation before the first", BOTH),
    "directory-deleted": (lambda: directory_with(Directory([], deleted=[b"a"])), DAMAGED, "a deleted name", BOTH),
    "directory-filters": (lambda: directory_with(change=lambda b: b + b"\xff"), DAMAGED, "a filter too short", BOTH),
    "directory-text-size": (lambda: directory_with(change=lambda b: b"\0\1" + b[2:]), DAMAGED, "its length", BOTH),
    "footer-distance": (lambda: distance_with(1), DAMAGED, "the distance to the directory", BOTH),
    "no-footer": (lambda: cut(Kind.FOOTER), DAMAGED, "it ends before the footer", BOTH),
    "no-directory": (lambda: cut(Kind.DIRECTORY), DAMAGED, "it ends before the directory", BOTH),
    "garbage-between": (garbage_between, DAMAGED, "a byte between archives", [*BOTH, "c"]),
}  # fmt: skip


OF_A_PIPE = {"part-sync": ["a"]}
"""Members that come out of a pipe, where that are fewer: it cannot go back when it has read the directory."""


def cut(kind: Kind) -> bytes:
    """The usual one without its end, from the last part of this kind on."""
    data = two().bytes()
    return data[: data.rindex(envelope.SYNC + bytes([kind]))]


def manifest() -> dict[str, Any]:
    """What is said of each file."""
    return {
        "valid": {name: {"members": members} for name, (_, members) in VALID.items()},
        "invalid": {
            name: {
                "error": error, "wrong": wrong, "members": members,
                **({"members of a pipe": OF_A_PIPE[name]} if name in OF_A_PIPE else {}),
            }
            for name, (_, error, wrong, members) in INVALID.items()
        },
    }  # fmt: skip


def files() -> dict[str, bytes]:
    """All files, by their names in the folder."""
    out = {f"valid/{name}.zllm": make() for name, (make, _) in VALID.items()}
    out |= {f"invalid/{name}.zllm": make() for name, (make, *_) in INVALID.items()}
    out["manifest.json"] = (json.dumps(manifest(), indent=1, ensure_ascii=False) + "\n").encode()
    return out


def main() -> int:
    """Write all of it."""
    made = files()
    for old in TARGET.rglob("*.zllm"):
        old.unlink()
    for name, data in made.items():
        path = TARGET / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    print(f"{len(made)} files, {sum(map(len, made.values())):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
