"""The one tree of exceptions. Each carries the exit code that the command line gives for it (``docs/cli.md``)."""

from __future__ import annotations

import io
import tarfile
from typing import Any

EXIT_OK = 0
EXIT_WARNING = 1
EXIT_FAILURE = 2
EXIT_DAMAGED = 3
EXIT_MISSING = 4


class ZllmError(tarfile.TarError):
    """Base of every error that zllm raises on purpose. ``exit_code`` is what the command line exits with.

    Each can be pickled, as errors of worker processes are: its attributes come along, open files do not.
    """

    exit_code = EXIT_FAILURE

    def __reduce__(self) -> tuple[Any, ...]:
        kept = {name: value for name, value in vars(self).items() if not isinstance(value, io.IOBase)}
        return _restored, (type(self), self.args, kept)


def _restored(kind: type[ZllmError], args: tuple[Any, ...], attributes: dict[str, Any]) -> ZllmError:
    """The pickled error, without ``__init__``, which takes other arguments in some classes."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(attributes)
    return error


class UsageError(ZllmError, ValueError):
    """The caller asked for something that does not exist or does not fit together. Also a ValueError, which is what
    :mod:`tarfile` raises for a wrong mode.
    """


class BusyError(ZllmError):
    """The archive is being changed by somebody else: at a time, one may."""


class VerificationError(ZllmError):
    """What was coded does not decode to what was packed, so it is not written."""


class OtherFormatError(UsageError, tarfile.CompressionError):
    """A mode or an opener of another format, ``r:gz`` or ``gzopen``, which :mod:`tarfile` has and zllm has not."""


class LinkTargetError(ZllmError, KeyError):
    """A link's data was asked for, and the archive has no member that it leads to. ``member`` is the link's name."""

    def __init__(self, message: str, *, member: str | None = None) -> None:
        super().__init__(message)
        self.member = member

    __str__ = tarfile.TarError.__str__  # a KeyError shows the repr of its message


def renewed(error: ZllmError) -> ZllmError:
    """The same error once more, as new: one that is kept and raised again would grow its traceback each time."""
    copy = type(error).__new__(type(error))
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy


class MissingDependencyError(ZllmError):
    """An optional package is not installed."""

    def __init__(self, package: str, hint: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: {hint}")
        self.package = package
        self.hint = hint


class NotZllmError(ZllmError, tarfile.ReadError):
    """The input is not a zllm archive (wrong magic bytes, or none)."""


class NotTarError(UsageError, tarfile.ReadError):
    """The archive contains a single raw stream, not a tar archive, so there are no members.

    ``view`` reads that stream: it stays open until it is closed, or forgotten. None in an error that was pickled.
    """

    view: io.RawIOBase | None = None

    def __init__(self, view: io.RawIOBase) -> None:
        super().__init__(
            "the archive contains a single raw stream, not a tar archive: unpack it with zllm -d < ARCHIVE > FILE"
        )
        self.view = view


class BrokenTarError(ZllmError, tarfile.ReadError):
    """The tar stream was broken or cut before it was packed; the archive itself is whole.

    ``member``: name of the affected member, if known.
    """

    def __init__(self, message: str, *, member: str | None = None) -> None:
        super().__init__(message)
        self.member = member


class UnsupportedVersionError(ZllmError):
    """The archive's format or arithmetic version, or a required feature, is not one this program reads."""


class LimitError(ZllmError, tarfile.ReadError):
    """The archive has more of something than the caller allows (:class:`zllm.format.limits.Limits`)."""


class DamagedError(ZllmError, tarfile.ReadError):
    """The archive is damaged: a checksum, a length or a structure is wrong.

    ``member``: name of the affected member, if known.
    """

    exit_code = EXIT_DAMAGED

    def __init__(self, message: str, *, member: str | None = None) -> None:
        super().__init__(message)
        self.member = member


class TruncatedError(DamagedError):
    """The archive ends before its footer."""


class AuthenticationError(DamagedError):
    """A part of an encrypted archive is not what was written there: somebody has changed, moved or replaced it."""


class LockedError(ZllmError):
    """The archive is encrypted, and no key was given, or none that opens it. ``tried``: some were given."""

    exit_code = EXIT_MISSING

    def __init__(self, message: str, *, tried: bool = False) -> None:
        super().__init__(message)
        self.tried = tried


class MissingCodecError(ZllmError):
    """A frame needs a codec that is not installed. ``codec_id`` is its id, ``hint`` what to do."""

    exit_code = EXIT_MISSING

    def __init__(self, codec_id: int, *, name: str = "", hint: str = "", member: str | None = None) -> None:
        what = f"the codec {name!r} needs more than is installed" if name else f"unknown codec id {codec_id}"
        super().__init__(f"{what}: {hint or 'install the package that provides it, or a newer zllm'}")
        self.codec_id = codec_id
        self.hint = hint
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


def worse(first: ZllmError | None, other: ZllmError) -> ZllmError:
    """Which of two problems of an archive is told: the first, but damage rather than what needs a newer program.

    Or else readers that come upon them in another order would end with another exit code.
    """
    if first is None or (isinstance(first, UnsupportedVersionError) and isinstance(other, DamagedError)):
        return other
    return first
