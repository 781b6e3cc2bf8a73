"""Write tests/vectors/: for every golden archive, what each of its parts means, as JSON.

    python tools/make_vectors.py

Whoever writes another reader prints the same JSON of the same archives. Everything but the members' hashes is read by
:mod:`zllm.format` alone: nothing is decoded for it.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import takeapart  # noqa: E402
from cross import vectors  # noqa: E402

import zllm  # noqa: E402
from zllm.format import directory, ends, modelpart, section, sectionmap  # noqa: E402
from zllm.format.envelope import Kind  # noqa: E402
from zllm.format.section import ModelRef, SectionHeader  # noqa: E402
from zllm.format.sectionmap import SectionMap  # noqa: E402

TARGET = ROOT / "tests" / "vectors"


def described(data: bytes, model: Path | None) -> dict[str, Any]:
    """What an archive means. ``model``: the file of the model that it was made with."""
    return {
        "header": {"version": data[8], "flags": data[9], "id": data[10:14].hex(), "size": ends.HEADER_SIZE},
        "parts": [_part(part, takeapart.seed_of(data)) for part in takeapart.parts(data)],
        "members": _members(data, model),
    }


def _part(part: takeapart.Part, seed: int) -> dict[str, Any]:
    own = part.envelope
    facts: dict[str, Any] = {
        "offset": part.offset, "kind": own.kind, "flags": own.flags, "sequence": own.sequence, "length": own.length,
    }  # fmt: skip
    if own.kind == Kind.SECTION:
        header, at = section.read(part.body)
        chart = sectionmap.decode(part.body[at:], header, own.sequence + 1)
        facts |= {**_header(header), "models": _models(header.models), "map": {"offset": at, **_map(chart)}}
    elif own.kind == Kind.FRAME:
        payload = _frame(part.body, facts)
        facts["payload"] = hashlib.sha256(payload).hexdigest()
    elif own.kind == Kind.MODEL:
        said = modelpart.read_front(part.body[: modelpart.FRONT_SIZE], len(part.body))
        facts |= {**asdict(said), "sha256": said.sha256.hex()}
    elif own.kind == Kind.DIRECTORY:
        facts |= _directory(directory.unpack(part.body, seed))
    elif own.kind == Kind.FOOTER:
        facts["distance"] = ends.read_footer(part.body)
    return facts


def _header(header: SectionHeader) -> dict[str, Any]:
    return {
        "stream_offset": header.stream_offset, "stream_size": header.stream_size, "columns_size": header.columns_size,
        "section_flags": header.flags,
    }  # fmt: skip


def _models(models: tuple[ModelRef, ...]) -> list[dict[str, Any]]:
    return [{**asdict(m), "sha256": m.sha256.hex(), "known_answer": m.known_answer.hex()} for m in models]


def _frame(body: bytes, facts: dict[str, Any]) -> bytes:
    """The payload; what stands before it is added to ``facts``."""
    size = shift = 0
    at = 2
    while True:
        size |= (body[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if body[at - 1] < 128:
            break
    facts |= {"codec": body[0], "slot": body[1], "data_size": size, "payload_size": len(body) - at}
    return body[at:]


def _map(chart: SectionMap) -> dict[str, Any]:
    extents = _extents(chart)
    return {
        "records": [
            {
                "header": hashlib.sha256(record.header).hexdigest(), "header_size": len(record.header),
                "data_size": record.data_size, "zeros": record.zeros, "bucket": record.bucket,
                "duplicate_of": record.duplicate_of,
                "sha256": record.sha256.hex(), "extents": extents[number],
            }
            for number, record in enumerate(chart.records)
        ],
        "groups": [
            {
                "category": group.category, "buckets": group.buckets,
                "frames": [
                    {
                        "data_size": row.raw_size, "payload_size": row.payload_size, "codec": row.codec,
                        "slot": row.slot, "reason": row.reason, "rival": row.rival, "sha256": row.sha256.hex(),
                        "sequence": row.sequence,
                    }
                    for row in group.frames
                ],
            }
            for group in chart.groups
        ],
    }  # fmt: skip


def _extents(chart: SectionMap) -> list[list[list[int]]]:
    """Of each record, the (frame, start, size) of its data; frames count from the section's first."""
    sizes = [row.raw_size for group in chart.groups for row in group.frames]
    order = sorted((record.bucket, number) for number, record in enumerate(chart.records) if record.bucket >= 0)
    out: list[list[list[int]]] = [[] for _ in chart.records]
    frame = start = 0
    for _, number in order:
        left = chart.records[number].data_size
        while left:
            size = min(left, sizes[frame] - start)
            out[number].append([frame, start, size])
            left, start = left - size, start + size
            if start == sizes[frame]:
                frame, start = frame + 1, 0
    return [out[record.duplicate_of] if record.duplicate_of >= 0 else out[n] for n, record in enumerate(chart.records)]


def _directory(found: directory.Directory) -> dict[str, Any]:
    return {
        "generation": found.generation, "time": found.time, "back": found.back, "manifest": found.manifest,
        "deleted": [name.hex() for name in found.deleted],
        "others": [{"offset": other.offset, **asdict(other.envelope)} for other in found.others],
        "rows": [
            {
                "offset": row.offset, "sequence": row.sequence, "members": row.members, "length": row.length,
                "frames": row.frames, "frames_size": row.frames_size,
                "header": None if row.header is None else _header(row.header),
                "models": [] if row.header is None else _models(row.header.models),
                "names": None if row.names is None else row.names.bits.hex(),
            }
            for row in found.rows
        ],
    }  # fmt: skip


def _members(data: bytes, model: Path | None) -> list[dict[str, Any]]:
    out = []
    with zllm.open(fileobj=io.BytesIO(data), model=model) as archive:
        for member in archive:
            file = archive.extractfile(member)
            content = file.read() if file is not None else b""
            out.append({"name": member.name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    return out


def of_golden(name: str) -> str:
    """The JSON of one golden archive."""
    model = vectors.GOLDEN / "tiny.zlm" if vectors.ARCHIVES[name] == "tiny" else None
    return json.dumps(described((vectors.GOLDEN / name).read_bytes(), model), indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write all of them."""
    TARGET.mkdir(exist_ok=True)
    for name in vectors.ARCHIVES:
        path = TARGET / f"{name}.json"
        path.write_text(of_golden(name), encoding="utf-8")
        print(f"{path.stat().st_size:8,} {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
