"""What the first bytes of a file give away: compressed formats, audio samples, pixels, float tensors."""

from __future__ import annotations

import re
import struct

from zllm.format.category import Category

# (offset, bytes): formats whose payload is entropy coded. Sources: the formats' specifications, file(1)'s magic.
_COMPRESSED: tuple[tuple[int, bytes], ...] = (
    (0, b"\x1f\x8b\x08"),  # gzip
    (0, b"\x1f\x9d"),  # compress
    (0, b"PK\x03\x04"),  # zip, and what is built on it
    (0, b"PK\x05\x06"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ\x00"),
    (0, b"\x28\xb5\x2f\xfd"),  # zstd
    (0, b"\x04\x22\x4d\x18"),  # lz4
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"Rar!\x1a\x07"),
    (0, b"LZIP"),
    (0, b"LRZI"),
    (0, b"7kSt\xa0"),  # zpaq
    (0, b"\xff\x06\x00\x00sNaPpY"),  # snappy frames
    (0, b"\x89LZO\x00\r\n\x1a\n"),
    (0, b"MSCF\x00\x00\x00\x00"),  # cab
    (0, b"!<arch>\ndebian-binary"),
    (0, b"\xed\xab\xee\xdb"),  # rpm
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),  # jpeg
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n"),
    (0, b"\xff\x0a"),  # bare jpeg xl
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n"),
    (8, b"WEBP"),
    (8, b"AVI "),
    (4, b"ftyp"),  # mp4, heic, avif
    (0, b"\x1aE\xdf\xa3"),  # matroska, webm
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3"),
    (0, b"MAC "),
    (0, b"wvpk"),
    (0, b"FLV\x01"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # asf
    (0, b"wOFF"),
    (0, b"wOF2"),
    (0, b"PAR1"),  # parquet
    (0, b"ORC"),
    (0, b"ZLLM"),
)
_ZIPPED_TENSORS = re.compile(rb"PK\x03\x04.{4}\x00\x00.{16}.{4}[^/]{0,64}(/data\.pkl|\.npy)", re.DOTALL)
_FLOAT_DESCR = re.compile(rb"'descr': *'[<>=|]?[fc]\d")
_FLOAT_DTYPE = re.compile(rb'"dtype": *"(?:F|BF)\d')
_PNM = re.compile(rb"P[56]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s+\d+\s|P7\nWIDTH ")
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_MAX_SAFETENSORS_HEADER = 100_000_000
_WAVE_PCM = (1, 3, 0xFFFE)  # integers, floats, "extensible" (nearly always one of the two)


def signature(head: bytes) -> Category | None:
    """The category that the first bytes (1 KiB is enough) prove, or None."""
    if _is_audio(head):
        return Category.AUDIO
    if _is_tensor(head):
        return Category.TENSOR
    if _is_image(head):
        return Category.IMAGE
    if any(head.startswith(magic, offset) for offset, magic in _COMPRESSED):
        # Words can look like these ("ORC", "ID3 tags"): text never has the control bytes of a real header nearby.
        return Category.COMPRESSED if _has_controls(head[:64]) else None
    return None


def _has_controls(head: bytes) -> bool:
    return any(byte < 9 or 13 < byte < 27 or byte == 0x7F for byte in head)


def _is_audio(head: bytes) -> bool:
    if head.startswith((b"RIFF", b"RF64")) and head[8:12] == b"WAVE":
        at = head.find(b"fmt ")
        return at >= 0 and len(head) >= at + 10 and struct.unpack_from("<H", head, at + 8)[0] in _WAVE_PCM
    return (head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC")) or head.startswith(b".snd\x00\x00\x00")


def _is_image(head: bytes) -> bool:
    """Of a format whose pixels are, or may be, as they are."""
    if head.startswith(b"BM"):
        return len(head) >= 30 and head[15:18] == bytes(3) and head[14] in _BITMAP_HEADERS and head[6:10] == bytes(4)
    return head.startswith((b"II*\0", b"MM\0*")) or _PNM.match(head) is not None


def _is_tensor(head: bytes) -> bool:
    if head.startswith(b"\x93NUMPY"):
        return _FLOAT_DESCR.search(head[:256]) is not None
    if head.startswith(b"GGUF") and len(head) >= 8 and 0 < head[4] < 16:
        return True
    if len(head) > 16 and head[8:9] == b"{":
        length = struct.unpack_from("<Q", head)[0]
        return 2 <= length <= _MAX_SAFETENSORS_HEADER and _FLOAT_DTYPE.search(head) is not None
    return _ZIPPED_TENSORS.match(head[:160]) is not None
