"""Write tests/golden/: the archives, the tiny model and golden.json, after the arithmetic or the format has changed.

    python tools/make_golden.py

Needs zllm to be importable, and takes a few seconds. The same program gives the same bytes every time. Until zllm 1.0
golden files are made again whenever a version number rises; from then on those of every version are kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from cross import vectors  # noqa: E402

import zllm  # noqa: E402
from zllm import _native as native  # noqa: E402
from zllm.archive import coder  # noqa: E402
from zllm.codecs import llm_encoding  # noqa: E402
from zllm.codecs.cm import CmCodec  # noqa: E402
from zllm.format.ends import FORMAT_VERSION  # noqa: E402
from zllm.planner.planner import Coded, Group, Planner  # noqa: E402
from zllm.planner.reasons import Reason, Why  # noqa: E402
from zllm.planner.units import CodedFrame, Piece, cut_pieces  # noqa: E402

GOLDEN = vectors.GOLDEN
MTIME = 1_700_000_000
FRAME = 24 << 10
STREAM = 4 << 10


class Always(Planner):
    """The model codes everything, whatever it costs: random bytes, and text with random weights. Without a model, the
    predictor does. Frames and streams are small, so that there are several of both."""

    def code(self, groups: Sequence[Group]) -> Coded:
        """See :meth:`Planner.code`."""
        codec = self.models[0] if self.models else CmCodec()
        reason = Reason(Why.SMALLEST)
        out = []
        for group in groups:
            pieces = cut_pieces(Piece(group.data, group.boundaries), FRAME)
            with mock.patch.object(llm_encoding, "stream_count", lambda size, most: max(1, min(size // STREAM, most))):
                payloads = codec.encode_batch([(p.data, p.boundaries) for p in pieces], self.run)
            frames = [
                CodedFrame(codec.id, int(codec.needs_model), len(p.data), payload, reason)
                for p, payload in zip(pieces, payloads, strict=True)
            ]
            out.append(frames)
        return Coded(out, [], None)


def members() -> dict[str, bytes]:
    """Text of several kinds, enough for two streams in one frame; bytes that are no text; small members."""
    texts = {path.name: path.read_bytes() for path in sorted((GOLDEN / "texts").iterdir())}
    noise = b"".join(n.to_bytes(8, "little") for n in vectors.pseudo_random("noise", 160))
    lines = texts["english.txt"].splitlines(keepends=True)
    small: dict[str, bytes] = {f"small/{i}.txt": b"".join(lines[7 * i : 7 * i + 4]) for i in range(12)}
    strange = "Grüße, 你好 \r\n\ttab \x00 nul\n".encode() * 4 + b"\xff\xfe stray \xc3( bytes \xed\xa0\x80\n" * 3
    odd = {"noise.bin": noise, "empty": b"", "strange.txt": strange, "again.txt": strange, "one": b"1"}
    return {**texts, **small, **odd}


def write_archive(path: Path, model: Path | None) -> None:
    """An archive of the members, with fixed times and owners."""
    level = 9 if model else 5
    always = mock.patch.object(coder, "Planner", Always)
    with always, zllm.open(path, "w", level=level, model=model, frame_size=64 << 10) as archive:
        for name, data in members().items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), MTIME
            archive.addfile(info, io.BytesIO(data))


def describe(path: Path) -> dict[str, Any]:
    """Hashes of an archive and of its members."""
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in members().items()}
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "members": hashes}


def main() -> int:
    """Write all of it, and say how much it is."""
    vectors.write_tiny(GOLDEN / "tiny.zlm")
    with tempfile.TemporaryDirectory() as folder:
        models = vectors.Models(Path(folder))
        for archive, model in vectors.ARCHIVES.items():
            write_archive(GOLDEN / archive, models.paths[model] if model else None)
        kernel = native.usable_kernels()[0]
        golden = {
            "arithmetic": native.ARITHMETIC_VERSION,
            "format": FORMAT_VERSION,
            "models": models.hashes,
            "archives": {name: describe(GOLDEN / name) for name in vectors.ARCHIVES},
            "vectors": vectors.all_vectors(models).hashes(models, kernel, slow=True),
        }
    (GOLDEN / "golden.json").write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    for path in sorted(GOLDEN.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size:8,} {path.relative_to(GOLDEN)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
