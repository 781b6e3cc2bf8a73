"""Archives that code text with a language model and everything else with zstd or lz4; the API is tarfile's.

>>> import zllm
>>> with zllm.open("docs.zllm", "w") as archive:  # doctest: +SKIP
...     archive.add("docs")
"""

from zllm.archive.file import ZllmFile, is_zllmfile
from zllm.archive.info import ZllmInfo
from zllm.errors import (
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

open = ZllmFile.open

__all__ = [
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
