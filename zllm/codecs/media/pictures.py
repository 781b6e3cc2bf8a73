"""Where pixels are in a frame: in BMP, PNM, TGA and TIFF files by their headers, elsewhere by measurement.

A header may lie: what it says is a proposal, which costs bytes where it is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from zllm._native.media import ImageRun, image_measure
from zllm.codecs.media.coder import Changes, parts

_MEASURED = 16 << 10
"""Bytes of a member from which on it is measured."""
_MOST_SAMPLES = 1 << 18
"""Of a row, as many as C takes."""
_MOST_STRIPS = 4096
_TGA_FOOTER = 64 << 10
"""Bytes that may follow a TGA file's pixels."""
_BITMAP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
_PNM = re.compile(rb"P[56](?:\s+(?:#[^\n]*\n\s*)*)(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)\s+(?:#[^\n]*\n\s*)*(\d+)\s")
_PAM = re.compile(rb"P7\n(?:[^\n]*\n){1,16}?ENDHDR\n")
_PAM_FIELD = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL) +(\d+)$", re.MULTILINE)
_HEAD = 1 << 10


def runs(data: memoryview, boundaries: Sequence[int]) -> list[ImageRun]:
    """The pixels of a frame, whose members begin at ``boundaries``; none if it has none."""
    found: list[ImageRun] = []
    changes = Changes(len(data))
    end = 0
    for start, part in parts(data, boundaries):
        for run in _member(part):
            if not changes.allow(*run[2:6]):
                continue
            placed = run._replace(raw=start + run.raw - end)
            end += placed.raw + run.rows * run.row
            found.append(placed)
    return found


def _member(data: memoryview) -> list[ImageRun]:
    """Runs of one member, ``raw`` from its start."""
    said = _bitmap(data) or _pnm(data) or _tiff(data) or _tga(data)
    if said is None:
        measured = image_measure(data) if len(data) >= _MEASURED else None
        return [] if measured is None else [measured]
    return [run for run in (_inside(run, len(data)) for run in said) if run is not None]


def _inside(run: ImageRun, size: int) -> ImageRun | None:
    """The whole rows that are there."""
    usable = run.columns > 0 and 1 <= run.planes <= 4 and 1 <= run.width <= 2
    if not usable or run.columns * run.planes > _MOST_SAMPLES or run.padding >= 1 << 20:
        return None
    rows = min(run.rows, (size - run.raw) // run.row)
    return run._replace(rows=rows) if rows > 0 else None


def _number(data: memoryview, at: int, size: int, order: str = "little") -> int:
    return int.from_bytes(data[at : at + size], "big" if order == "big" else "little")


def _bitmap(data: memoryview) -> list[ImageRun] | None:
    if bytes(data[:2]) != b"BM" or len(data) < 54 or _number(data, 14, 4) not in _BITMAP_HEADERS:
        return None
    old = _number(data, 14, 4) == 12
    columns = _number(data, 18, 2 if old else 4)
    bits = _number(data, 24 if old else 28, 2)
    if bits not in (8, 24, 32) or (not old and _number(data, 30, 4) not in (0, 3)):
        return []
    start, used = _number(data, 10, 4), columns * bits // 8
    return [ImageRun(start, 1 << 32, columns, bits // 8, 1, big=False, padding=-used % 4)]


def _pnm(data: memoryview) -> list[ImageRun] | None:
    head = bytes(data[:_HEAD])
    if match := _PNM.match(head):
        columns, rows, most = map(int, match.groups())
        planes, end = 1 if head[1:2] == b"5" else 3, match.end()
    elif match := _PAM.match(head):
        fields = {key: int(value) for key, value in _PAM_FIELD.findall(match[0])}
        columns, rows, planes, most = (fields.get(key, 0) for key in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
        end = match.end()
    else:
        return None
    return [ImageRun(end, min(rows, 1 << 32), columns, planes, 1 if most < 256 else 2, big=True)]


def _tga(data: memoryview) -> list[ImageRun] | None:
    """It has no magic number: kind and size have to fit."""
    if len(data) < 18 or data[1] > 1 or data[2] not in (1, 2, 3) or data[16] not in (8, 24, 32):
        return None
    start = 18 + data[0] + (_number(data, 5, 2) * ((data[7] + 7) // 8) if data[1] else 0)
    columns, rows, planes = _number(data, 12, 2), _number(data, 14, 2), data[16] // 8
    size = start + columns * rows * planes
    if not columns or not rows or not size <= len(data) <= size + _TGA_FOOTER:
        return None
    return [ImageRun(start, rows, columns, planes)]


def _tiff(data: memoryview) -> list[ImageRun] | None:
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(bytes(data[:4]))
    if order is None:
        return None
    at = _number(data, 4, 4, order)
    fields: dict[int, list[int]] = {}
    for entry in range(at + 2, at + 2 + 12 * min(_number(data, at, 2, order), 64), 12):
        kind, count = _number(data, entry + 2, 2, order), _number(data, entry + 4, 4, order)
        size = {1: 1, 3: 2, 4: 4}.get(kind, 0)
        if not size or not 0 < count <= _MOST_STRIPS:
            continue
        place = entry + 8 if size * count <= 4 else _number(data, entry + 8, 4, order)
        tag = _number(data, entry, 2, order)
        fields[tag] = [_number(data, place + n * size, size, order) for n in range(count)]
    columns, offsets, sizes = (fields.get(tag, [0]) for tag in (256, 273, 279))
    planes, bits = fields.get(277, [1])[0], fields.get(258, [1])[0]
    plain = fields.get(259, [1])[0] == 1 and fields.get(284, [1])[0] == 1 and bits in (8, 16)
    if not plain or not columns[0] or not 1 <= planes <= 4 or len(offsets) != len(sizes):
        return []
    row = columns[0] * planes * bits // 8
    return _strips(offsets, sizes, ImageRun(0, 0, columns[0], planes, bits // 8, big=order == "big"), row)


def _strips(offsets: list[int], sizes: list[int], form: ImageRun, row: int) -> list[ImageRun]:
    """Neighbours are one run."""
    found: list[ImageRun] = []
    end = 0
    for start, size in zip(offsets, sizes, strict=True):
        if start < end:
            return found  # not in order
        rows = size // row
        if found and start == end:
            found[-1] = found[-1]._replace(rows=found[-1].rows + rows)
        elif rows:
            found.append(form._replace(raw=start, rows=rows))
        end = start + rows * row
    return found
