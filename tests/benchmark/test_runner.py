import argparse
import json
import typing

import pytest

from zllm.benchmark import BenchOptions, run
from zllm.benchmark.hybrid import Hybrid
from zllm.benchmark.workload import snapshot
from zllm.errors import UsageError
from zllm.models import store

FAST = BenchOptions(level=2, llm=False, rivals=["zstd -3", "zstd -19"])


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("some words and some more words\n" * 100)
    (root / "sub" / "ünï.json").write_text('{"a": [1, 2, 3], "b": "c"}\n' * 100)
    (root / "empty").write_bytes(b"")
    return root


def test_run(folder):
    told = []
    report = run(folder, BenchOptions(level=2, llm=False, rivals=["zstd -3", "zstd -19"], progress=told.append))
    assert report.exact
    assert [(section.title, section.files, section.raw) for section in report.sections] == [
        ("all", 3, 5800),
        ("text", 1, 3100),
        ("structured", 1, 2700),
    ]
    assert [row.name for row in report.sections[0].rows] == ["zllm -2 --no-llm", "zstd -3", "zstd -19"]
    assert told[0] == "all: zllm -2 --no-llm"
    assert json.loads(report.to_json())["settings"]["level"] == 2
    assert "zstd -19" in report.table()


def test_models_are_counted(folder, tmp_path):
    prose = folder / "prose.txt"
    prose.write_text("".join(filter(None, (module.__doc__ for module in (argparse, json, typing)))))
    report = run(prose, BenchOptions(level=8, rivals=["zstd -3"]))
    (size,) = (model.size for model in store.installed() if model.name == "default")
    assert [row.model_bytes for row in report.sections[0].rows] == [size, 0]


def test_one_category_is_not_shown_twice(folder):
    report = run(folder / "a.txt", FAST)
    assert [section.title for section in report.sections] == ["all"]
    assert report.sections[0].rows[0].exact


def test_categories_can_be_left_out(folder):
    options = BenchOptions(level=2, llm=False, rivals=["zstd -3"], categories=False)
    assert [section.title for section in run(folder, options).sections] == ["all"]


def test_nothing_to_compress(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(UsageError, match="no data"):
        run(tmp_path, FAST)


def test_hybrid_sees_a_difference(folder, tmp_path):
    """What was archived is compared with the workload, not with itself."""
    hybrid = Hybrid(2, llm=False)
    work = snapshot(folder, tmp_path / "one.tar")
    hybrid.encode(work, tmp_path / "a.zllm")
    assert hybrid.decode(work, tmp_path / "a.zllm", tmp_path)
    (folder / "a.txt").write_text("some words and some more wordS\n" * 100)
    changed = snapshot(folder, tmp_path / "two.tar")
    assert not hybrid.decode(changed, tmp_path / "a.zllm", tmp_path)
    (folder / "b.txt").write_text("one more")
    assert not hybrid.decode(snapshot(folder, tmp_path / "three.tar"), tmp_path / "a.zllm", tmp_path)
