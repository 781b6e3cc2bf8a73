"""Options of the command line are fields of ``ReadOptions`` and ``WriteOptions``: a new one is a field and a line."""

from __future__ import annotations

import argparse
import dataclasses

import pytest

from zllm import Limits
from zllm.archive.options import ReadOptions, WriteOptions
from zllm.cli import cat, create, extract, info, list_, options, test
from zllm.errors import UsageError
from zllm.format.limits import DEFAULT

NOT_GIVEN = {"progress", "cluster", "frame_size", "sealing", "notes"}
"""What commands bring themselves, or do not offer."""


@pytest.mark.parametrize("command", [cat, extract, info, list_, test])
def test_all_fields_can_be_given_to_readers(command: object) -> None:
    args = command.parser().parse_args(["a.zllm"])  # type: ignore[attr-defined]
    fields = {field.name for field in dataclasses.fields(ReadOptions)} - NOT_GIVEN
    assert fields <= vars(args).keys()
    found = options.read_options(args)
    assert callable(found.passphrase) and dataclasses.replace(found, passphrase=None) == ReadOptions()


def test_all_fields_can_be_given_to_writers() -> None:
    args = create.parser().parse_args(["a.zllm", "b"])
    fields = {field.name for field in dataclasses.fields(WriteOptions)} - NOT_GIVEN - {"identities"}
    assert fields <= vars(args).keys()
    words = ["-3", "--no-llm", "--embed-model", "-j2", "--device", "cpu", "--model", "m", "--streams=2", "a.zllm", "b"]
    given = create.parser().parse_args(words)
    made = options.write_options(given, print)
    assert made == WriteOptions(
        level=3, llm=False, embed_model=True, threads=2, device="cpu", model=["m"], streams=2, progress=print
    )  # fmt: skip


def limits(*words: str) -> Limits:
    found = list_.parser().parse_args([word for text in words for word in ("--limit", text)])
    assert isinstance(found, argparse.Namespace)
    return options.read_options(found).limits


def test_limits() -> None:
    assert limits() == DEFAULT
    assert limits("members=5", "output-bytes=3M") == Limits(members=5, output_bytes=3 << 20)
    assert limits("map-free=1k", "map-free=2k") == Limits(map_free=2048)
    assert limits("frame-bytes=1T", "name-bytes=1G") == Limits(frame_bytes=1 << 40, name_bytes=1 << 30)
    for wrong in ("members", "members=", "members=x", "members=-1", "member=5", "=5", "map_free=1", "members=1K"):
        with pytest.raises(UsageError, match="--limit"):
            limits(wrong)
    for wrong, says in (
        ("members", r"the size is missing: members=SIZE"),
        ("members=x", r"'x' is not a size, such as 5000 or 10G"),
        ("member=5", r"unknown limit 'member': choose one of argon2-bytes, argon2-work, deleted, "),
    ):
        with pytest.raises(UsageError, match=says):
            limits(wrong)
