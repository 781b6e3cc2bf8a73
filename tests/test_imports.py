"""Imports point one way, and reading an archive loads nothing heavy."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# A layer may import those before it and itself. Modules at the top of the package are layers of their own; the public
# API (``zllm`` itself) is the one without a name.
LAYERS = (
    "version", "errors", "partial", "stats", "_native", "executors", "format", "codecs", "models", "planner",
    "extraction", "archive", "tarface", "streams", "", "integrations", "benchmark", "cli", "__main__",
)  # fmt: skip
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


def module_name(path: Path) -> str:
    return ".".join(("zllm", *path.relative_to(package()).with_suffix("").parts)).removesuffix(".__init__")


def imports(path: Path, *, types: bool = False) -> Iterator[str]:
    """What is imported when the code runs, at the top or inside functions; ``types``: and for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
            and not types
        ):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def graph() -> dict[str, set[str]]:
    """The modules of the package and those that each imports anywhere, also inside functions and for type checkers."""
    paths = {module_name(path): path for path in sorted(package().rglob("*.py"))}

    def known(name: str) -> str | None:
        """A name is a module, or something in one."""
        return name if name in paths else name.rpartition(".")[0] if name.rpartition(".")[0] in paths else None

    found = {name: {known(one) for one in imports(path, types=True)} for name, path in paths.items()}
    return {name: {one for one in theirs if one not in (None, name)} for name, theirs in found.items()}  # type: ignore[misc]


def test_layers_import_only_what_is_below_them() -> None:
    wrong = []
    for path in sorted(package().rglob("*.py")):
        module = module_name(path)
        mine = layer(module)
        assert mine in LAYERS, f"{module}: which layer is it in?"
        for name in imports(path):
            theirs = layer(name) if name.split(".")[0] == "zllm" else None
            if theirs in LAYERS and LAYERS.index(theirs) > LAYERS.index(mine):
                wrong.append(f"{module} imports {name}")
    assert not wrong


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one twice; empty if there is no circle."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_imports_in_a_circle() -> None:
    edges = graph()
    assert len(edges) > 100
    # Loaded where an executor computes; it extends classes that are there.
    edges["zllm.codecs.llm"].discard("zllm.codecs.llm_steps")
    assert " -> ".join(circle(edges)) == ""


def test_circles_are_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) in (list("abca"), list("bcab"), list("cabc"))


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
    "zllm.planner", "zllm.archive.writer", "zllm.archive.builder", "zllm.archive.coder", "zllm.archive.paxheader",
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
