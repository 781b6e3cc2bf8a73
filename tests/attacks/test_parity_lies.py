"""Parity that lies: it may mend nothing, but nothing wrong is given for it, and it takes no time."""

from __future__ import annotations

import io
import random
import time

import pytest
import takeapart

import zllm
from zllm.format import parity
from zllm.format.envelope import Kind
from zllm.format.parity import ParityPart, Shape

FILES = {f"{number}.bin": random.Random(number).randbytes(20_000) for number in range(10)}


def archive() -> bytes:
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", level=2, parity=0.05, threads=1) as opened:
        for name, data in FILES.items():
            info = zllm.ZllmInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read(data: bytes) -> tuple[dict[str, bytes], list[str]]:
    found = {}
    with zllm.open(fileobj=io.BytesIO(data)) as opened:
        for member in opened:
            try:
                stream = opened.extractfile(member)
                assert stream is not None
                found[member.name] = stream.read()
            except zllm.DamagedError:
                continue
        return found, opened.warnings


def lying(what: str, body: bytes) -> bytes:
    part = parity.unpack(body)
    shape = part.shape
    if what == "blocks":
        return parity.pack(ParityPart(shape, part.number, part.hashes, bytes(len(part.blocks))))
    if what == "hashes":
        return parity.pack(ParityPart(shape, part.number, bytes(len(part.hashes)), part.blocks))
    if what == "number":
        return parity.pack(ParityPart(shape, (part.number + 1) % shape.parity, part.hashes, part.blocks))
    if what == "place":
        moved = Shape(shape.offset + 100, shape.size - 100, shape.block, shape.data, shape.parity)
        hashes = part.hashes[: moved.blocks * parity.HASH_SIZE]
        return parity.pack(ParityPart(moved, part.number, hashes, part.blocks[: moved.row]))
    if what == "behind itself":
        far = Shape(1 << 40, shape.size, shape.block, shape.data, shape.parity)
        return parity.pack(ParityPart(far, part.number, part.hashes, part.blocks))
    return b"\2" + body[1:]  # another code


@pytest.mark.parametrize("what", ["none", "blocks", "hashes", "number", "place", "behind itself", "code"])
def test_nothing_wrong_is_given(what: str) -> None:
    data = archive()
    for which in range(len(takeapart.of_kind(data, Kind.PARITY)) if what != "none" else 0):
        data = takeapart.changed(data, Kind.PARITY, lambda body: lying(what, body), which)
    bad = bytearray(data)
    at = data.index(FILES["3.bin"][:100])
    bad[at + 50 : at + 3000] = bytes(2950)
    found, warnings = read(bytes(bad))
    assert all(FILES[name] == content for name, content in found.items())
    assert len(found) == 10 if what == "none" else len(found) >= 9
    assert warnings or what not in ("none", "code")


def test_the_dearest_code_is_bounded() -> None:
    """As many damaged blocks in each group as it has parity: by far the most work for a byte."""
    shape = Shape(0, 64 * 128 * 400, 64, 128, 127)
    row = random.Random(1).randbytes(shape.row)
    parts = [ParityPart(shape, number, b"", row) for number in range(127)]
    wrong = [number for number in range(shape.blocks) if number // shape.groups < 127]
    started = time.process_time()
    parity.rebuild(bytes(shape.size), shape, parts, wrong, parity.Budget(1 << 30))
    assert time.process_time() - started < 5
