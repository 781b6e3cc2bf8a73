"""Write what tests/cross/machine.c reads, and what it must print, into a folder.

    python tests/cross/bundle.py FOLDER

``bundle.bin`` has the golden inputs; ``expected-all.txt`` a line ``hash  item`` for each item of golden.json, in the
order of ``LC_ALL=C sort``; ``expected-short.txt`` lacks those that slow machines leave out.

The bundle is flat and little-endian: the magic ``ZLLMGOLD``, u32 version of the arithmetic, then records until the end:
u8 kind, u8 slow, u16 length of the name, name, u64 length of the body, body. A count comes before each list.
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cross import vectors

from zllm import _native as native
from zllm.models import zlm

MAGIC = b"ZLLMGOLD"
FUNCTION_CODES = {"rsqrt": 0, "exp2": 1, "sigmoid": 2, "sincos": 3, "gelu": 4}


def record(kind: str, name: str, body: bytes, slow: bool = False) -> bytes:
    """One record."""
    label = name.encode()
    return struct.pack("<cBH", kind.encode(), slow, len(label)) + label + struct.pack("<Q", len(body)) + body


def numbers(code: str, values: Iterable[int]) -> bytes:
    """u32 count, integers."""
    values = list(values)
    return struct.pack("<I", len(values)) + vectors.little(code, values)


def blob(data: bytes) -> bytes:
    """u32 length, bytes."""
    return struct.pack("<I", len(data)) + data


def model(name: str, file: zlm.ModelFile) -> bytes:
    """Kind M: the whole model file."""
    return record("M", name, bytes(file.data))


def frame(item: vectors.Frame) -> bytes:
    """Streams, code string."""
    body = struct.pack("<I", len(item.streams))
    for s in item.streams:
        body += struct.pack("<Q", s.size) + numbers("Q", s.boundaries) + numbers("I", s.tokens)
    return body + blob(item.coded)


def frames(item: vectors.Frames, kind: str = "S") -> bytes:
    """Kind S: number of the model, start token, ways (pairs of lanes and threads), frames.

    Kind X: the same, to fail with the first of them.
    """
    body = struct.pack("<III", vectors.MODELS.index(item.model), item.start, len(item.ways))
    body += vectors.little("I", [n for way in item.ways for n in way]) + struct.pack("<I", len(item.frames))
    return record(kind, item.name, body + b"".join(map(frame, item.frames)), item.slow)


def other(item: vectors.Decisions | vectors.Sweep | vectors.Rows | vectors.Text) -> bytes:
    """Kinds C (bits, probabilities), F (u32 function, arguments), T (text, cuts, code string), Q (normalise, rows)."""
    if isinstance(item, vectors.Decisions):
        return record("C", item.name, blob(item.bits) + numbers("I", item.probabilities))
    if isinstance(item, vectors.Sweep):
        return record("F", item.name, struct.pack("<I", FUNCTION_CODES[item.function]) + numbers("Q", item.arguments))
    if isinstance(item, vectors.Text):
        return record("T", item.name, blob(item.data) + numbers("Q", item.boundaries) + blob(item.coded))
    rows = b"".join(numbers("i", row) for row in item.rows)
    return record("Q", item.name, struct.pack("<II", item.normalise, len(item.rows)) + rows)


def bundle(models: vectors.Models, golden: vectors.Vectors) -> bytes:
    """The whole file."""
    parts = [MAGIC + struct.pack("<I", native.ARITHMETIC_VERSION)]
    parts += [model(name, models.files[name]) for name in vectors.MODELS]
    parts += [other(item) for item in golden.others]
    for item in golden.sequences:
        # Kind E: number of the model, tokens.
        body = struct.pack("<I", vectors.MODELS.index(item.model)) + numbers("I", item.tokens)
        parts.append(record("E", item.name, body))
    parts += [frames(item) for item in golden.frames]
    parts += [frames(item, "X") for item in golden.frames if item.name == "frames/many"]
    return b"".join(parts)


def write(folder: Path) -> None:
    """Both kinds of files.

    Raises:
        ValueError: the models here are not those of golden.json.
    """
    recorded = vectors.recorded()
    with tempfile.TemporaryDirectory() as temporary:
        models = vectors.Models(Path(temporary), recorded["models"])
        golden = vectors.all_vectors(models)
        (folder / "bundle.bin").write_bytes(bundle(models, golden))
    slow = golden.slow_items()
    for name, left_out in (("all", set()), ("short", slow)):
        lines = sorted(f"{sha256}  {item}\n" for item, sha256 in recorded["vectors"].items() if item not in left_out)
        (folder / f"expected-{name}.txt").write_text("".join(lines), encoding="utf-8")


def main() -> int:
    """Write into the folder that was named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
