"""``python -m bench media``: what packed files and JPEG files take, beside the files themselves and zstd -19.

Files that are named are measured; without any, files are made: PNG images by Pillow at several levels, an office
document by python-docx, a sheet by openpyxl, and a PDF by reportlab, as far as these packages are installed. Their text
is the project's own documentation. Each file goes through the planner of a level, without a model.

A PNG file is rebuilt if its stream can be made again, bit for bit. It is not zlib's if its blocks end where zlib does
not end any.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zllm._native.rebuild import deflate_find
from zllm.codecs import registry
from zllm.codecs.base import Run
from zllm.codecs.media.deflated import streams
from zllm.codecs.zstd import ZstdCodec
from zllm.planner.categories import categorize
from zllm.planner.levels import get_level
from zllm.planner.planner import CodedFrame, Group, Planner

_ROOT = Path(__file__).resolve().parents[1]
_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".pdf": "PDF", ".whl": "wheel", ".gz": "gzip"}
_OFFICE = frozenset({".docx", ".odt", ".ods", ".odp", ".xlsx", ".pptx"})
_HEAD = "file,bytes,codec,payload,encode MB/s,decode MB/s,zstd -19,other,its bytes"


def main(arguments: list[str]) -> int:
    """Print a row for each file, and means by kind to standard error."""
    parser = argparse.ArgumentParser(prog="bench media", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="PNG, JPEG, PDF, gzip and zip files, office documents")
    parser.add_argument("--level", type=int, default=5)
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="only make files, in this folder")
    options = parser.parse_args(arguments)
    if options.make is not None:
        options.make.mkdir(parents=True, exist_ok=True)
        for name, data in made():
            (options.make / name).write_bytes(data)
        return 0
    files = ((path.name, path.read_bytes()) for path in options.files) if options.files else made()
    print(_HEAD)
    summary: dict[str, list[tuple[int, int, int]]] = {}
    pngs = [0, 0, 0]
    for name, data in files:
        sizes = measure(name, data, options.level)
        kind = kind_of(name)
        summary.setdefault(kind, []).append(sizes)
        if kind == "PNG":
            pngs[0] += 1
            pngs[1] += is_rebuilt(data)
            pngs[2] += not is_rebuilt(data) and is_not_zlibs(data)
    report(summary, pngs)
    return 0


def kind_of(name: str) -> str:
    """What a file is, by its name."""
    suffix = Path(name).suffix.lower()
    return "office" if suffix in _OFFICE else _KINDS.get(suffix, "other")


def measure(name: str, data: bytes, level: int) -> tuple[int, int, int]:
    """Print the row of a file; bytes of the file, of the frames, and of zstd -19."""
    planner = Planner(get_level(level))
    start = time.process_time()
    (coded,) = planner.encode([Group(categorize(name, memoryview(data)), memoryview(data))])
    middle = time.process_time()
    if unpacked(coded) != data:
        raise SystemExit(f"{name} does not come back")
    end = time.process_time()
    size = sum(len(frame.payload) for frame in coded)
    zstd = min(len(data), len(ZstdCodec(19).encode(data)))
    codecs = "+".join(sorted({registry.name_of(frame.codec_id) for frame in coded}))
    speeds = [len(data) / 1e6 / max(1e-6, span) for span in (middle - start, end - middle)]
    print(f"{name},{len(data)},{codecs},{size},{speeds[0]:.2f},{speeds[1]:.2f},{zstd},the file,{len(data)}", flush=True)
    return len(data), size, zstd


def unpacked(coded: Sequence[CodedFrame]) -> bytes:
    """The data of frames."""
    parts = [registry.get(f.codec_id).decode_batch([(f.payload, f.raw_size, ())], Run())[0] for f in coded]
    return b"".join(parts)


def _image_stream(data: bytes) -> tuple[bytes, bytes, int] | None:
    found = next((one for one in streams(memoryview(data)) if one.chunks), None)
    return None if found is None else (found.coded, found.data, found.window)


def is_rebuilt(data: bytes) -> bool:
    """Whether the image's stream can be made again."""
    found = _image_stream(data)
    return found is not None and any(
        deflate_find(found[0], found[1], window=window) is not None for window in {found[2], 15}
    )


def is_not_zlibs(data: bytes) -> bool:
    """Whether the image's stream has blocks that no parameter of zlib makes."""
    found = _image_stream(data)
    recipe = None if found is None else deflate_find(found[0], found[1], share=1)
    return recipe is None or recipe[2] > 0


def report(summary: dict[str, list[tuple[int, int, int]]], pngs: list[int]) -> None:
    """Geometric means, and sums, by kind."""
    for kind, sizes in sorted(summary.items()):
        whole, own, zstd = (sum(column) for column in zip(*sizes, strict=True))
        mean = math.exp(sum(math.log(size[1] / size[0]) for size in sizes) / len(sizes))
        worst = max(size[1] / size[0] for size in sizes)
        sys.stderr.write(
            f"{kind}: {len(sizes)} files, {mean:.3f} of a file in the geometric mean, {worst:.3f} at worst, "
            f"{own / whole:.3f} of all bytes, {own / zstd:.3f} of zstd -19\n"
        )
    if pngs[0]:
        sys.stderr.write(f"PNG files rebuilt: {pngs[1]} of {pngs[0]}; surely not zlib's: {pngs[2]}\n")


def made() -> Iterator[tuple[str, bytes]]:
    """Names and bytes of files that the installed packages make."""
    text = (_ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for maker in (_images, _document, _sheet, _pdf):
        with contextlib.suppress(ImportError):
            yield from maker(text)


def _saved(save: Any, **options: Any) -> bytes:
    import io

    out = io.BytesIO()
    save(out, **options)
    return out.getvalue()


def _images(text: str) -> Iterator[tuple[str, bytes]]:
    """A page of text, a gradient with noise and transparency, and one of few colours, at several levels."""
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (480, 360), "white")
    ImageDraw.Draw(page).multiline_text((8, 8), text[:1500], fill="black")
    noise = Image.effect_noise((320, 240), 24)
    smooth = Image.merge("RGBA", [Image.linear_gradient("L").resize((320, 240)), noise, noise.rotate(180), noise])
    for name, image in (("page", page), ("smooth", smooth), ("colours", page.rotate(9).quantize(16))):
        for level in (0, 1, 3, 6, 9):
            yield f"{name}-{level}.png", _saved(image.save, format="PNG", compress_level=level)
        yield f"{name}-optimised.png", _saved(image.save, format="PNG", optimize=True)


def _document(text: str) -> Iterator[tuple[str, bytes]]:
    import docx

    document = docx.Document()
    for line in text.split("\n"):
        document.add_paragraph(line)
    yield "cli.docx", _saved(document.save)


def _sheet(text: str) -> Iterator[tuple[str, bytes]]:
    import openpyxl

    book = openpyxl.Workbook()
    for number, line in enumerate(text.split("\n")):
        book.active.append([number, len(line), *(word for word in line.split(" ")[:8] if not word.startswith("="))])
    yield "cli.xlsx", _saved(book.save)


def _pdf(text: str) -> Iterator[tuple[str, bytes]]:
    import io

    from reportlab import rl_config
    from reportlab.pdfgen.canvas import Canvas

    rl_config.useA85 = 0  # streams as they are, as most programs write them
    out = io.BytesIO()
    canvas = Canvas(out, pageCompression=1)
    lines = text.split("\n")
    for start in range(0, len(lines), 55):
        page = canvas.beginText(40, 800)
        page.textLines([line.encode("ascii", "replace").decode() for line in lines[start : start + 55]])
        canvas.drawText(page)
        canvas.showPage()
    canvas.save()
    yield "cli.pdf", out.getvalue()
