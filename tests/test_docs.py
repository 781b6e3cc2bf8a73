"""The documents say what the program does. The scripts of docs/backup.md have tests of their own."""

from __future__ import annotations

import ast
import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import zllm

Shell = Callable[..., "subprocess.CompletedProcess[bytes]"]


def documents(checkout: Path) -> list[Path]:
    """Every page of the repository."""
    top = [checkout / name for name in ("README.md", "CHANGELOG.md", "bench/README.md")]
    found = [*top, *sorted((checkout / "docs").rglob("*.md")), *sorted((checkout / "zllm").rglob("*.md"))]
    assert len(found) > 80
    return found


def blocks(text: str, language: str = "sh") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def test_levels_in_the_docs_are_the_codes(checkout: Path) -> None:
    from zllm.planner.levels import DEFAULT_LEVEL, LEVELS

    text = (checkout / "docs" / "cli.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| (\d) \| (.*) \|$", text.split("### Levels")[1], re.M)
    rows = {int(number): what for number, what in found}
    assert rows == {number: level.description for number, level in LEVELS.items()}
    assert DEFAULT_LEVEL == 6


def test_exit_codes_in_the_docs_are_the_codes(checkout: Path) -> None:
    from zllm import errors

    text = (checkout / "docs" / "cli.md").read_text(encoding="utf-8").split("## Exit codes")[1].split("\n## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d) \|", text, re.M)}
    assert documented == {getattr(errors, name) for name in dir(errors) if name.startswith("EXIT_")}


def test_every_option_in_the_docs_exists(checkout: Path) -> None:
    from zllm.cli import append, convert, create, delete, diff, extract, filter, info, list_, main, model, test, update

    known = {"--help", "--version", "--tar"}
    actions = [importlib.import_module(f"zllm.cli.{module}") for module in sorted(set(model.ACTIONS.values()))]
    actions += [append, convert, create, delete, diff, extract, filter, info, list_, model, test, update]
    for parser in (module.parser() for module in actions):
        known |= {option for action in parser._actions for option in action.option_strings}
    text = (checkout / "docs" / "cli.md").read_text(encoding="utf-8")
    of_tar = {"--use-compress-program", "--xattrs", "--acls"}
    inline = " ".join(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)))
    ours = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", inline)) - of_tar
    assert ours <= known
    assert set(main.commands()) - {"filter"} <= set(re.findall(r"zllm (\w+)", text))


def test_readme_has_two_one_line_commands(checkout: Path) -> None:
    text = (checkout / "README.md").read_text(encoding="utf-8")
    match = re.search(r"^## Quick start\s*$(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert match
    commands = blocks(match[1])
    assert len(commands) == 2
    for command in commands:
        lines = [line for line in command.replace("\\\n", " ").splitlines() if line.strip() and line[0] != "#"]
        assert len(lines) == 1
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_the_readmes_main_job(checkout: Path, shell: Shell) -> None:
    """The first command of the README without its installation, which has happened."""
    text = (checkout / "README.md").read_text(encoding="utf-8")
    command = blocks(text.split("## Quick start")[1])[0].replace("\\\n", " ").strip()
    install, rest = command.split("&&", 1)
    assert shlex.split(install) == ["pip", "install", ".[pack]"]
    path = os.pathsep.join(entry for entry in (os.environ.get("PYTHONPATH"),) if entry)
    folder = Path(sys.executable).parent
    script = f'cd "{checkout}" && export PATH="{folder}:$PATH" && {rest}'
    result = shell(script, env={"PYTHONPATH": path} if path else None)
    assert b"docs" in result.stdout


def test_the_api_page_is_what_the_docstrings_say(checkout: Path) -> None:
    made = runpy.run_path(str(checkout / "tools" / "make_api.py"))["page"]()
    assert (checkout / "docs" / "api.md").read_text(encoding="utf-8") == made, "python tools/make_api.py"
    for name in zllm.__all__:
        assert f"zllm.{name}" in made or f"`{name}`" in made


def test_python_in_the_docs_parses(checkout: Path) -> None:
    for path in documents(checkout):
        for block in blocks(path.read_text(encoding="utf-8"), "python"):
            ast.parse(block)


def test_links_between_documents_lead_somewhere(checkout: Path) -> None:
    for path in documents(checkout):
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_lines_of_documents_are_short(checkout: Path) -> None:
    """At most 120 characters but in tables and in what a program printed. ``tools/wrap_docs.py`` wraps paragraphs."""
    for path in documents(checkout):
        if path.parent.name == "data" or path.name == "CHANGELOG.md":  # cards are written by a program
            continue
        text = re.sub(r"^```text\n.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
        long = [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")]
        assert not long, f"{path}: {long[0][:80]}"


def test_documents_speak_of_the_repository_alone(checkout: Path) -> None:
    """What a reader of the repository does not have, no page and no help text names."""
    paths = [*documents(checkout), *(checkout / "bench").rglob("*.py"), *(checkout / "tools").glob("*.py")]
    for path in [*paths, *(checkout / "zllm").rglob("*.py")]:
        assert "../shared" not in path.read_text(encoding="utf-8"), path


def test_decisions_have_their_parts_and_the_index_has_them_all(checkout: Path) -> None:
    folder = checkout / "docs" / "decisions"
    paths = sorted(folder.glob("[0-9]*.md"))
    assert len(paths) > 70
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((.*?)\)", index) == [path.name for path in paths]
    for number, path in enumerate(paths, 1):
        text = path.read_text(encoding="utf-8")
        title = text.splitlines()[0]
        assert title.startswith(f"# {number:03}. ") and path.name.startswith(f"{number:03}-")
        assert title[7:] in index
        parts = re.findall(r"^\*\*(.*?)\.\*\* \S", text, re.M)
        assert parts == ["Context", "Decision", "Measured", "Revisit when"], path.name


def test_documents_are_wrapped_without_a_change_of_words(checkout: Path) -> None:
    wrap = runpy.run_path(str(checkout / "tools" / "wrap_docs.py"))["wrapped"]
    text = "# A\n\n- " + "word " * 60 + "\n- short\n\n| " + "x" * 130 + " |\n\n```sh\n" + "y" * 130 + "\n```\n"
    found = wrap(text)
    assert found.split() == text.split()
    assert [line for line in found.splitlines() if len(line) > 120] == ["| " + "x" * 130 + " |", "y" * 130]
    assert found.splitlines()[3].startswith("  word")
    assert wrap(found) == found
