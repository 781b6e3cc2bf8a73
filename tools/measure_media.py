"""Sizes and speeds of the codecs of media beside FLAC, WavPack, JPEG XL and WebP, of the files that are named.

``python tools/measure_media.py FILE...`` prints CSV: WAV and AIFF files go to pcm, PPM and PGM files to image. Speeds
are of processor time, in MB/s. Programs that are missing have no rows of their sizes. Sizes are those of whole files.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from zllm.codecs.base import Codec
from zllm.codecs.image import ImageCodec
from zllm.codecs.pcm import PcmCodec
from zllm.codecs.zstd import ZstdCodec

_AUDIO = {
    "flac -5": ("flac", "-5", "-s", "--no-padding", "-f", "{source}", "-o", "{target}"),
    "flac -8": ("flac", "-8", "-s", "--no-padding", "-f", "{source}", "-o", "{target}"),
    "wavpack -hh": ("wavpack", "-hh", "-q", "-y", "{source}", "-o", "{target}"),
}
_IMAGES = {
    "cjxl -d 0 -e 7": ("cjxl", "-d", "0", "-e", "7", "--num_threads=0", "{source}", "{target}"),
    "cwebp -lossless -z 6": ("cwebp", "-quiet", "-lossless", "-z", "6", "{source}", "-o", "{target}"),
}


def other(command: Sequence[str], source: Path, folder: Path) -> str:
    """Bytes that a program makes of a file; empty without it."""
    target = folder / ("out.wv" if command[0] == "wavpack" else "out")
    target.unlink(missing_ok=True)
    if shutil.which(command[0]) is None:
        return ""
    words = [word.format(source=source, target=target) for word in command]
    subprocess.run(words, check=False, capture_output=True)
    return str(target.stat().st_size) if target.exists() else ""


def own(codec: Codec, data: bytes) -> tuple[int, float, float]:
    """Bytes of the payload, and MB/s each way."""
    start = time.process_time()
    payload = codec.encode(data)
    middle = time.process_time()
    if codec.decode(payload, len(data)) != data:
        raise SystemExit(f"{codec.name} does not give back what it was given")
    end = time.process_time()
    return len(payload), len(data) / 1e6 / (middle - start), len(data) / 1e6 / (end - middle)


def main() -> None:
    """Print a row for each codec and file."""
    print("file,bytes,codec,payload,encode MB/s,decode MB/s,zstd -19,other,its bytes")
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:]:
            source = Path(name)
            data = source.read_bytes()
            image = source.suffix in (".ppm", ".pgm")
            codecs: list[tuple[str, Codec]] = [("image", ImageCodec())]
            if not image:
                codecs = [("pcm", PcmCodec()), ("pcm fast", PcmCodec(fast=1))]
            zstd = len(ZstdCodec(19).encode(data))
            others = {
                key: other(command, source, Path(folder)) for key, command in (_IMAGES if image else _AUDIO).items()
            }
            for label, codec in codecs:
                size, there, back = own(codec, data)
                for key, bytes_ in others.items():
                    print(
                        f"{source.name},{len(data)},{label},{size},{there:.2f},{back:.2f},{zstd},{key},{bytes_}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
