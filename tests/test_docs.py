"""The documents say what the program does. The scripts of docs/backup.md have tests of their own."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Shell = Callable[..., "subprocess.CompletedProcess[bytes]"]


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
    from zllm.cli import create, extract, filter, info, list_, main, model

    known = {"--help", "--version", "--tar"}
    actions = [importlib.import_module(f"zllm.cli.{module}") for module in sorted(set(model.ACTIONS.values()))]
    for parser in (module.parser() for module in (create, extract, filter, info, list_, model, *actions)):
        known |= {option for action in parser._actions for option in action.option_strings}
    text = (checkout / "docs" / "cli.md").read_text(encoding="utf-8")
    of_tar = {"--use-compress-program", "--xattrs", "--acls"}
    inline = " ".join(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)))
    ours = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", inline)) - of_tar
    assert ours <= known
    assert set(main.COMMANDS) - {"filter"} <= set(re.findall(r"zllm (\w+)", text))


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
    command = blocks(text.split("## Quick start")[1])[0].strip()
    install, rest = command.split("&&", 1)
    assert install.split() == ["pip", "install", "'.[pack]'"]
    path = os.pathsep.join(entry for entry in (os.environ.get("PYTHONPATH"),) if entry)
    folder = Path(sys.executable).parent
    script = f'cd "{checkout}" && export PATH="{folder}:$PATH" && {rest}'
    result = shell(script, env={"PYTHONPATH": path} if path else None)
    assert b"docs" in result.stdout


def test_python_in_the_docs_parses(checkout: Path) -> None:
    for path in [checkout / "README.md", *sorted((checkout / "docs").glob("*.md"))]:
        for block in blocks(path.read_text(encoding="utf-8"), "python"):
            ast.parse(block)


def test_links_between_documents_lead_somewhere(checkout: Path) -> None:
    for path in [checkout / "README.md", checkout / "CHANGELOG.md", *sorted((checkout / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
