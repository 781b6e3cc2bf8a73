"""Imports point one way, and reading an archive loads nothing heavy."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# A layer may import those before it and itself. Modules at the top of the package come first, by their names.
LAYERS = (
    "version", "errors", "partial", "stats", "_native", "executors", "format", "codecs", "models", "planner",
    "extraction", "archive", "",
)  # fmt: skip
TOP = ("cli", "benchmark", "integrations", "__main__")
HEAVY = {
    "torch", "transformers", "tokenizers", "numpy", "tqdm", "fsspec", "dask", "distributed", "safetensors",
    "huggingface_hub",
}  # fmt: skip


def package() -> Path:
    import zllm

    return Path(zllm.__file__).parent


def layer(module: str) -> str:
    """``zllm.codecs.llm`` is in ``codecs``; ``zllm`` itself, the public API, in the one without a name."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[str]:
    """What runs when the code runs: not what stands there for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module == "zllm" else [node.module or ""]


def test_layers_import_only_what_is_below_them() -> None:
    wrong = []
    for path in sorted(package().rglob("*.py")):
        module = ".".join(("zllm", *path.relative_to(package()).with_suffix("").parts)).removesuffix(".__init__")
        mine = layer(module)
        if mine in TOP:
            continue
        assert mine in LAYERS, f"{module}: which layer is it in?"
        for name in imports(path):
            theirs = layer(name) if name.split(".")[0] == "zllm" else None
            known = theirs in LAYERS or theirs in TOP
            if theirs and known and (theirs in TOP or LAYERS.index(theirs) > LAYERS.index(mine)):
                wrong.append(f"{module} imports {name}")
    assert not wrong


def test_only_the_cli_and_the_layers_above_touch_the_cli() -> None:
    for path in sorted(package().rglob("*.py")):
        if path.relative_to(package()).parts[0] not in ("cli", "__main__.py"):
            assert not [name for name in imports(path) if name.startswith("zllm.cli")], path


def loaded(code: str, cwd: Path, *, whole: bool = False) -> set[str]:
    """Modules that a fresh interpreter has after running ``code``, by their ``whole`` names or the packages' names."""
    script = f"{code}\nimport sys; names = sorted(sys.modules); import json; print(); print(json.dumps(names))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, cwd=cwd, timeout=60)
    names = json.loads(result.stdout.splitlines()[-1])
    return set(names) if whole else {name.split(".")[0] for name in names}


@pytest.mark.parametrize("level", ["5", "6"])
def test_reading_loads_nothing_heavy(level: str, zllm: object, tree: Path, tmp_path: Path) -> None:
    zllm("create", "--level", level, "a.zllm", "tree")  # type: ignore[operator]
    code = (
        "import zllm\n"
        "with zllm.open('a.zllm') as archive:\n"
        "    archive.getmembers()\n"
        "    archive.extractall('out', filter='data')\n"
    )
    assert not HEAVY & loaded(code, tmp_path)
    assert (tmp_path / "out" / "tree" / "every-byte").read_bytes() == (tree / "every-byte").read_bytes()


@pytest.mark.parametrize("words", [["list", "a.zllm"], ["extract", "-q", "a.zllm", "-C", "out"], ["test", "a.zllm"]])
def test_reading_commands_load_nothing_heavy(words: list[str], zllm: object, tree: Path, tmp_path: Path) -> None:
    zllm("create", "a.zllm", "tree")  # type: ignore[operator]
    code = f"from zllm.cli.main import main\nassert main({words!r}) == 0"
    assert not HEAVY & loaded(code, tmp_path)


def test_packing_loads_a_cluster_only_when_asked(tree: Path, tmp_path: Path) -> None:
    code = "from zllm.cli.main import main\nassert main(['create', '--level', '5', 'a.zllm', 'tree']) == 0"
    assert not {"dask", "distributed"} & loaded(code, tmp_path)


# What takes milliseconds and only writers, other packages' codecs or threads need.
NOT_FOR_READING = {
    "importlib.metadata", "email", "secrets", "random", "tempfile", "traceback", "concurrent.futures", "logging",
    "zllm.planner", "zllm.archive.sink", "zllm.archive.builder", "zllm.archive.coder", "zllm.archive.needs",
    "zllm.models.tokenizer", "zllm.models.texttokenizer", "zllm.models.verify", "zllm.models.training",
    "zllm.models.importing",
}  # fmt: skip


def test_reading_one_member_loads_little(zllm: object, tmp_path: Path, checkout: Path) -> None:
    (tmp_path / "note.txt").write_bytes((checkout / "LICENSE").read_bytes()[:4096])
    zllm("create", "a.zllm", "note.txt")  # type: ignore[operator]
    code = "from zllm.cli.main import main\nassert main(['cat', 'a.zllm', 'note.txt']) == 0"
    modules = loaded(code, tmp_path, whole=True)
    assert "zllm.codecs.llm" in modules
    assert not NOT_FOR_READING & modules


def test_the_version_loads_next_to_nothing(tmp_path: Path) -> None:
    modules = loaded("from zllm.cli.main import main\nmain(['--version'])", tmp_path, whole=True)
    assert not modules & {*HEAVY, *NOT_FOR_READING, "cffi", "_cffi_backend", "argparse", "dataclasses"}


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    modules = loaded("from zllm.cli.main import main\nmain(['--help'])", tmp_path)
    assert not modules & {*HEAVY, "cffi", "_cffi_backend"}
