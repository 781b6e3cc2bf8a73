"""The one tree of exceptions. Each carries the exit code that the command line gives for it (``docs/cli.md``)."""

from __future__ import annotations

import io
import tarfile

EXIT_OK = 0
EXIT_WARNING = 1
EXIT_FAILURE = 2
EXIT_DAMAGED = 3
EXIT_MISSING = 4


class ZllmError(tarfile.TarError):
    """Base of every error that zllm raises on purpose. ``exit_code`` is what the command line exits with."""

    exit_code = EXIT_FAILURE


class UsageError(ZllmError):
    """The caller asked for something that does not exist or does not fit together."""


class MissingDependencyError(ZllmError):
    """An optional package is not installed."""

    def __init__(self, package: str, hint: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: {hint}")
        self.package = package
        self.hint = hint


class NotZllmError(ZllmError, tarfile.ReadError):
    """The input is not a zllm archive (wrong magic bytes)."""


class NotTarError(UsageError):
    """The archive holds one stream that is no tar, so there are no members. ``view`` reads that stream."""

    def __init__(self, view: io.RawIOBase) -> None:
        super().__init__("the archive holds one stream that is no tar: unpack it with zllm -d < ARCHIVE > FILE")
        self.view = view


class UnsupportedVersionError(ZllmError):
    """The archive's format or arithmetic version, or a required feature, is not one this program reads."""


class DamagedError(ZllmError, tarfile.ReadError):
    """The archive is damaged: a checksum, a length or a structure does not hold. ``member`` names who is hit."""

    exit_code = EXIT_DAMAGED

    def __init__(self, message: str, *, member: str | None = None) -> None:
        super().__init__(message)
        self.member = member


class TruncatedError(DamagedError):
    """The archive ends before its footer."""


class MissingCodecError(ZllmError):
    """A frame needs a codec that is not installed. ``codec_id`` is its id."""

    exit_code = EXIT_MISSING

    def __init__(self, codec_id: int, *, member: str | None = None) -> None:
        super().__init__(f"unknown codec id {codec_id}: install the package that provides it, or a newer zllm")
        self.codec_id = codec_id
        self.member = member


class ModelError(ZllmError):
    """A model file is malformed or its numbers are out of range."""


class MissingModelError(ZllmError):
    """A member needs a model that is not here. Carries ``name``, ``sha256`` (hex) and ``size`` (bytes)."""

    exit_code = EXIT_MISSING

    def __init__(self, name: str, sha256: str, size: int, *, why: str = "not installed") -> None:
        which = f"model {name!r} (sha256 {sha256}, {size} bytes)" if sha256 else f"model {name!r}"
        super().__init__(
            f"{which} is {why}: pass its file with --model FILE.zlm, or install it with zllm model import FILE.zlm"
            " (zllm model list shows what is here)"
        )
        self.name = name
        self.sha256 = sha256
        self.size = size


class ClusterError(ZllmError):
    """Other machines that were to help cannot be reached, would not make the same bytes, or one of them failed."""


class KernelError(ZllmError):
    """A kernel demanded by name is unknown, was not built, cannot run here, or what runs computes wrong integers."""
