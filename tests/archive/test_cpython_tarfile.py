"""CPython's own tests of tarfile, run with zllm in gzip's place: archives that they make and read are zllm archives.

Its ``GzipTest`` classes say how to open, with which suffix in modes, and where their test archive is; here these four
say zllm. What cannot hold for another format is named below with the reason, and must really fail.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import os
import tarfile
import types
import unittest
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

import zllm
from zllm.archive.coding import Decoders
from zllm.archive.options import WriteOptions
from zllm.archive.pipe import PipeView
from zllm.archive.writer import Writer

TESTS = "test.test_tarfile"

PLAIN = "reads or writes bytes of a plain tar, past tarfile's API"
OTHER = "is about what the module tarfile has beside TarFile"
SAFE = "the data filter is zllm's default on every Python, so there is nothing to warn of"
THROUGH = "a member replaces the link that has its name: nothing is written through it"
IN_THE_WAY = "a file, or an empty folder, in the way of a member is replaced, as by GNU tar"
OUTSIDE = "with fully_trusted they expect files outside the folder, or written through a link that came before"
REFUSED = "with errorlevel 0 older Pythons extract what the filter refused"
CALLS = "looks at calls of os.chown by path, where zllm goes by descriptors"
PARSER = "replaces what parses the bytes of headers, which are not made here"
SEEKABLE = "expects of a pipe's members that they have no seekable(), without which io.TextIOWrapper refuses them"

GZIP = {
    "GzipCreateTest.test_create_with_compresslevel": "reads what it made by the mode r:gz, whatever its suffix",
    "GzipMiscReadTest.test_zlib_error_does_not_leak": PARSER,
    "GzipMiscReadTest.test_fileobj_with_offset": "opens a plain tar by the open method of the archive's class",
    "GzCompressWriteTest.test_compression_levels": "expects the magic bytes of gzip",
    "GzCompressStreamWriteTest.test_compression_levels": "expects the magic bytes of gzip",
    "GzipStreamReadTest.test_extractfile_attrs": SEEKABLE,
}
EVERYTHING = {
    "AppendTest.test_empty_fileobj": PLAIN,
    "CompressLevelRaises": "compresslevel is zllm's level, in all modes",
    "DeviceHeaderTest.test_headers_written_only_for_device_files": PLAIN,
    "GNUReadTest.test_header_offset": PLAIN,
    "MiscReadTest.test_deprecation_if_no_filter_passed_to_extract": SAFE,
    "MiscReadTest.test_deprecation_if_no_filter_passed_to_extractall": SAFE,
    "MiscReadTest.test_fileobj_with_offset": PLAIN,
    "MiscReadTest.test_length_zero_header": PLAIN,
    "MiscReadTest.test_premature_end_of_archive": PLAIN,
    "MiscReadTest.test_zlib_error_does_not_leak": PARSER,
    "MiscTest.test__all__": OTHER,
    "MiscTest.test_useful_error_message_when_modules_missing": OTHER,
    "NoneInfoTests_Misc.test_add": "adds a member with a size and no data, which Pythons before 3.13 let pass",
    "NoneInfoExtractTests_Data": REFUSED,
    "NoneInfoExtractTests_Default": REFUSED,
    "NumericOwnerTest": CALLS,
    "PaxWriteTest.test_create_pax_header": "looks at what becomes of the dictionary that it hands over",
    "OverwriteTests.test_overwrite_broken_dir_symlink_as_dir": THROUGH,
    "OverwriteTests.test_overwrite_broken_dir_symlink_as_implicit_dir": THROUGH,
    "OverwriteTests.test_overwrite_broken_file_symlink_as_file": THROUGH,
    "OverwriteTests.test_overwrite_dir_as_file": IN_THE_WAY,
    "OverwriteTests.test_overwrite_dir_symlink_as_dir": THROUGH,
    "OverwriteTests.test_overwrite_dir_symlink_as_implicit_dir": THROUGH,
    "OverwriteTests.test_overwrite_file_as_dir": IN_THE_WAY,
    "OverwriteTests.test_overwrite_file_symlink_as_file": THROUGH,
    "PaxReadTest.test_header_offset": PLAIN,
    "PaxReadTest.test_pax_header_bad_formats": PLAIN,
    "StreamReadTest.test_extractfile_attrs": SEEKABLE,
    "StreamReadTest.test_length_zero_header": PLAIN,
    "StreamReadTest.test_premature_end_of_archive": PLAIN,
    "TestExtractionFilters.test_absolute": OUTSIDE,
    "TestExtractionFilters.test_absolute_hardlink": OUTSIDE,
    "TestExtractionFilters.test_absolute_symlink": OUTSIDE,
    "TestExtractionFilters.test_default_filter_warns": SAFE,
    "TestExtractionFilters.test_errorlevel": REFUSED,
    "TestExtractionFilters.test_parent_symlink": OUTSIDE,
    "TestExtractionFilters.test_parent_symlink2": OUTSIDE,
    "TestExtractionFilters.test_sly_relative0": OUTSIDE,
    "TestExtractionFilters.test_sly_relative2": OUTSIDE,
}
# Those differ between Pythons, or have tests beside those that fail.
MAY_PASS = {
    "NoneInfoTests_Misc.test_add", "StreamReadTest.test_extractfile_attrs",
    *(name for name, why in EVERYTHING.items() if why in (OUTSIDE, REFUSED)),
}  # fmt: skip


class Stream(io.BytesIO):
    """What gzip.GzipFile is to the tests: the bytes that an archive holds, to read or to write."""

    def __init__(self, name: str, mode: str = "rb") -> None:
        self._target = name if "w" in mode else None
        if self._target is not None:
            super().__init__()
            return
        with open(name, "rb") as file:
            super().__init__(PipeView(file, Decoders()).read())

    def close(self) -> None:
        if not self.closed and self._target is not None:
            with open(self._target, "wb") as out:
                sink = Writer(out, WriteOptions(level=1))
                sink.write(self.getvalue())
                sink.close()
        super().close()


def is_ours(source: Any) -> bool:
    try:
        return zllm.is_zllmfile(source)
    except OSError:
        return False


def tar_open(name: Any = None, mode: str = "r", fileobj: Any = None, bufsize: int = 10240, **kwargs: Any) -> Any:
    """``tarfile.open`` as it would be if it knew zllm archives."""
    compression = mode.replace("|", ":").partition(":")[2]
    guess = mode in ("r", "r:*", "r|*") and (name or fileobj)
    if compression == "zllm" or (guess and is_ours(name if fileobj is None else fileobj)):
        return zllm.open(name, mode, fileobj, bufsize, **kwargs)
    return tarfile.open(name, mode, fileobj, bufsize, **kwargs)


def knowing_zllm() -> types.ModuleType:
    module = types.ModuleType("tarfile")
    vars(module).update(vars(tarfile))
    is_tarfile: Callable[[Any], bool] = lambda name: is_ours(name) or tarfile.is_tarfile(name)  # noqa: E731
    opener = {"open": staticmethod(tar_open)}
    vars(module).update(open=tar_open, is_tarfile=is_tarfile, TarFile=type("TarFile", (tarfile.TarFile,), opener))
    return module


@pytest.fixture
def tests() -> Any:
    """CPython's module, freshly made; its files are below the current folder. Skips where there is none."""
    try:
        spec = importlib.util.find_spec(TESTS)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.loader is None:
        pytest.skip(f"this Python comes without its own tests ({TESTS})")
    module: Any = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        spec.loader.exec_module(module)
    module.gzipname = os.path.join(module.TEMPDIR, "testtar.tar.zllm")
    os.makedirs(module.TEMPDIR)
    with open(module.tarname, "rb") as plain, Stream(module.gzipname, "wb") as made:
        made.write(plain.read())
    module.testtarnames = [module.tarname, module.gzipname]
    return module


class Result(unittest.TestResult):
    """Puts back the default filter, which tests change, and leave there as a function that becomes a method."""

    before: ClassVar[list[Any]] = [inspect.getattr_static(zllm.ZllmFile, "extraction_filter")]

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        zllm.ZllmFile.extraction_filter = self.before[0]


def outcome(tests: Any, wanted: Callable[[str, type], bool], known: dict[str, str]) -> int:
    """How many tests ran. All that are not known to fail must pass, and those must fail."""
    suite, result = unittest.TestSuite(), Result()
    cases = [case for case in vars(tests).values() if isinstance(case, type) and issubclass(case, unittest.TestCase)]
    for case in sorted(set(cases), key=lambda case: case.__name__):
        if wanted(case.__name__, case):
            suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    ran = {name_of(test) for test in suite}
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore", ResourceWarning)
        suite.run(result)
    failed = {name_of(test): trace for test, trace in [*result.failures, *result.errors]}

    def reason(name: str) -> str | None:
        return known.get(name) or known.get(name.partition(".")[0])

    unknown = [f"{name}\n{trace}" for name, trace in failed.items() if not reason(name)]
    assert not unknown, "\n".join(unknown)
    passed = {name for name in known if name in ran and name not in failed}
    assert not passed - MAY_PASS, "these pass now: take them from the list"
    return result.testsRun


def name_of(test: Any) -> str:
    """Class and method; of what fails before a class's tests, the class."""
    name = getattr(test, "test_case", test).id()
    return name.partition("(")[2].rpartition(".")[2].rstrip(")") if "(" in name else ".".join(name.split(".")[-2:])


def test_zllm_in_the_place_of_gzip(tests: Any) -> None:
    tests.tarfile = knowing_zllm()
    kind = tests.GzipTest
    kind.tarname, kind.suffix, kind.open, kind.taropen = tests.gzipname, "zllm", Stream, zllm.ZllmFile.open
    assert outcome(tests, lambda _, case: issubclass(case, kind), GZIP) > 80


def test_zllm_in_the_place_of_tarfile(tests: Any) -> None:
    """All its archives are zllm's, and all that it opens is opened by zllm."""
    module = types.ModuleType("tarfile")
    vars(module).update(vars(tarfile))
    module.open, module.is_tarfile = zllm.open, zllm.is_zllmfile  # type: ignore[attr-defined]
    module.TarFile, module.TarInfo = zllm.ZllmFile, zllm.ZllmInfo  # type: ignore[attr-defined]
    tests.tarfile, tests.tarname, tests.testtarnames = module, tests.gzipname, [tests.gzipname]
    kind = tests.TarTest
    kind.tarname, kind.open, kind.taropen = tests.gzipname, Stream, zllm.ZllmFile.taropen
    others = ("Gz", "Bz2", "Lzma", "Zst", "CommandLine")
    assert outcome(tests, lambda name, _: not name.startswith(others), EVERYTHING) > 150
