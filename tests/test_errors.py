"""Exceptions are caught by the clauses that people have, and travel between processes."""

from __future__ import annotations

import inspect
import io
import pickle
import tarfile

import pytest

import zllm
from zllm import errors
from zllm.archive.coding import Decoders
from zllm.archive.pipe import PipeView

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, zllm.ZllmError)]


def opaque() -> bytes:
    from zllm.archive.options import WriteOptions
    from zllm.archive.writer import Writer

    out = io.BytesIO()
    sink = Writer(out, WriteOptions(level=1))
    sink.write(b"no tar " * 1000)
    sink.close()
    return out.getvalue()


def made(kind: type[zllm.ZllmError]) -> zllm.ZllmError:
    special = {
        errors.MissingDependencyError: ("torch", "pip install torch", "the executor"),
        errors.NotTarError: (PipeView(io.BytesIO(opaque()), Decoders()),),
        errors.MissingCodecError: (77,),
        errors.MissingModelError: ("m", "ab" * 32, 5),
    }
    error = kind(*special.get(kind, ("what happened",)))
    if hasattr(error, "member"):
        error.member = "a/b"
    return error


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_can_be_pickled(kind: type[zllm.ZllmError]) -> None:
    error = made(kind)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))
        assert type(copy) is kind
        assert (str(copy), copy.args, copy.exit_code) == (str(error), error.args, error.exit_code)
        assert {**vars(error), "view": None} == {**vars(copy), "view": None}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_message_is_one_line_and_no_repr(kind: type[zllm.ZllmError]) -> None:
    text = str(made(kind))
    assert text and "\n" not in text and text[0] not in "'\""


def test_all_of_them_are_public() -> None:
    assert {kind.__name__ for kind in CLASSES} <= set(zllm.__all__)


@pytest.mark.parametrize(
    "kind, caught_as",
    [
        (zllm.UsageError, ValueError), (zllm.OtherFormatError, ValueError),
        (zllm.OtherFormatError, tarfile.CompressionError), (zllm.NotTarError, tarfile.ReadError),
        (zllm.NotZllmError, tarfile.ReadError), (zllm.DamagedError, tarfile.ReadError),
        (zllm.TruncatedError, tarfile.ReadError), (zllm.LinkTargetError, KeyError), (zllm.ZllmError, tarfile.TarError),
    ],
)  # fmt: skip
def test_families(kind: type[Exception], caught_as: type[Exception]) -> None:
    assert issubclass(kind, caught_as)
