"""Archives that code text with a language model and everything else with zstd or lz4; the API is tarfile's.

>>> import zllm
>>> with zllm.open("docs.zllm", "w") as archive:  # doctest: +SKIP
...     archive.add("docs")
>>> with zllm.open("docs.zllm") as archive:  # doctest: +SKIP
...     archive.extractall("unpacked")
>>> zllm.decompress(zllm.compress(b"one stream"))
b'one stream'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zllm.errors import (
    AuthenticationError,
    BrokenTarError,
    BusyError,
    ClusterError,
    DamagedError,
    KernelError,
    LimitError,
    LinkTargetError,
    LockedError,
    MissingCodecError,
    MissingDependencyError,
    MissingModelError,
    ModelError,
    NotTarError,
    NotZllmError,
    OtherFormatError,
    TruncatedError,
    UnsupportedVersionError,
    UsageError,
    VerificationError,
    ZllmError,
)
from zllm.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from zllm.format.limits import Limits
    from zllm.streams.compressor import Compressor, compress
    from zllm.streams.decompressor import Decompressor, decompress
    from zllm.streams.file import ZllmStream
    from zllm.streams.opening import open_stream
    from zllm.tarface.file import ZllmFile
    from zllm.tarface.hooks import register_shutil, register_tarfile
    from zllm.tarface.info import ZllmInfo
    from zllm.tarface.opening import is_zllmfile

    open = ZllmFile.open

__all__ = [
    "AuthenticationError",
    "BrokenTarError",
    "BusyError",
    "ClusterError",
    "Compressor",
    "DamagedError",
    "Decompressor",
    "KernelError",
    "LimitError",
    "Limits",
    "LinkTargetError",
    "LockedError",
    "MissingCodecError",
    "MissingDependencyError",
    "MissingModelError",
    "ModelError",
    "NotTarError",
    "NotZllmError",
    "OtherFormatError",
    "TruncatedError",
    "UnsupportedVersionError",
    "UsageError",
    "VerificationError",
    "ZllmError",
    "ZllmFile",
    "ZllmInfo",
    "ZllmStream",
    "compress",
    "decompress",
    "is_zllmfile",
    "open",
    "open_stream",
    "register_shutil",
    "register_tarfile",
]


_HOMES = {
    "Compressor": "streams.compressor",
    "Decompressor": "streams.decompressor",
    "Limits": "format.limits",
    "ZllmFile": "tarface.file",
    "ZllmInfo": "tarface.info",
    "ZllmStream": "streams.file",
    "compress": "streams.compressor",
    "decompress": "streams.decompressor",
    "is_zllmfile": "tarface.opening",
    "open": "tarface.file",
    "open_stream": "streams.opening",
    "register_shutil": "tarface.hooks",
    "register_tarfile": "tarface.hooks",
}


def __getattr__(name: str) -> Any:
    """What needs codecs is loaded when it is first asked for, so that ``zllm --help`` loads none (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'zllm' has no attribute {name!r}")
    home = importlib.import_module(f"zllm.{_HOMES[name]}")
    return home.ZllmFile.open if name == "open" else getattr(home, name)


def __dir__() -> list[str]:
    """What is loaded, and what will be when it is asked for."""
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "VERSION", "annotations", "importlib"})
