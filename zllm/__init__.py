"""Archives that code text with a language model and everything else with zstd or lz4; the API is tarfile's.

>>> import zllm
>>> with zllm.open("docs.zllm", "w") as archive:  # doctest: +SKIP
...     archive.add("docs")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zllm.errors import (
    ClusterError,
    DamagedError,
    KernelError,
    MissingCodecError,
    MissingDependencyError,
    MissingModelError,
    ModelError,
    NotTarError,
    NotZllmError,
    TruncatedError,
    UnsupportedVersionError,
    UsageError,
    ZllmError,
)

if TYPE_CHECKING:
    from zllm.archive.file import ZllmFile, is_zllmfile
    from zllm.archive.info import ZllmInfo

    open = ZllmFile.open

__all__ = [
    "ClusterError",
    "DamagedError",
    "KernelError",
    "MissingCodecError",
    "MissingDependencyError",
    "MissingModelError",
    "ModelError",
    "NotTarError",
    "NotZllmError",
    "TruncatedError",
    "UnsupportedVersionError",
    "UsageError",
    "ZllmError",
    "ZllmFile",
    "ZllmInfo",
    "is_zllmfile",
    "open",
]


def __getattr__(name: str) -> Any:
    """What needs codecs is loaded when it is first asked for, so that ``zllm --help`` loads none (PEP 562)."""
    if name in ("ZllmFile", "is_zllmfile", "open"):
        from zllm.archive import file

        return file.ZllmFile.open if name == "open" else getattr(file, name)
    if name == "ZllmInfo":
        from zllm.archive.info import ZllmInfo

        return ZllmInfo
    raise AttributeError(f"module 'zllm' has no attribute {name!r}")
