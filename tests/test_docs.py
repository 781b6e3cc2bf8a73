"""The documents say what the program does, and their scripts run."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Shell = Callable[..., "subprocess.CompletedProcess[bytes]"]


def blocks(text: str, language: str = "sh") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.fixture
def scripts(checkout: Path, tmp_path: Path) -> Path:
    """The scripts of docs/backup.md, as files, under the names that their second lines give them."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    for block in blocks((checkout / "docs" / "backup.md").read_text(encoding="utf-8")):
        match = re.match(r"#!/bin/bash\n# (\S+)", block)
        assert match, block
        (folder / match[1]).write_text(block)
    return folder


def dump(tmp_path: Path) -> tuple[str, bytes]:
    """A command that writes a long SQL dump, and what it writes."""
    code = "for n in range(20000): print(f\"INSERT INTO t VALUES ({n}, 'name {n * 7919 % 1000}');\")"
    expected = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    script = tmp_path / "dump.py"
    script.write_text(code)
    return f"{shlex.quote(sys.executable)} {script}", expected


def test_a_dump_goes_in_and_comes_back(shell: Shell, scripts: Path, tmp_path: Path) -> None:
    command, expected = dump(tmp_path)
    shell("bash scripts/dump.sh app.zllm", env={"DUMP": command})
    assert (tmp_path / "app.zllm").stat().st_size < len(expected) / 4
    result = shell("bash scripts/restore.sh app.zllm", env={"RESTORE": "cat"})
    assert result.stdout == expected
    assert not (tmp_path / "app.zllm.new").exists()


def test_a_dump_that_breaks_leaves_nothing(shell: Shell, scripts: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'CREATE TABLE t;'\nexit 7\n")
    broken.chmod(0o755)
    shell("bash scripts/dump.sh app.zllm", env={"DUMP": str(broken)}, code=7)
    assert not list(tmp_path.glob("app.zllm*"))


def test_restore_fails_on_a_damaged_archive(shell: Shell, scripts: Path, tmp_path: Path) -> None:
    command, _ = dump(tmp_path)
    shell("bash scripts/dump.sh app.zllm", env={"DUMP": command})
    data = bytearray((tmp_path / "app.zllm").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "app.zllm").write_bytes(data)
    shell("bash scripts/restore.sh app.zllm", env={"RESTORE": "cat"}, code=3)


def test_tar_goes_in_and_comes_back(shell: Shell, scripts: Path, tree: Path, tmp_path: Path) -> None:
    shell("bash scripts/pack.sh t.zllm tree && mkdir back && bash scripts/unpack.sh t.zllm back")
    shell("diff -r --no-dereference tree back")


def test_the_nightly_script(shell: Shell, scripts: Path, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    for day in range(10, 30):
        (tmp_path / "target" / f"2001-01-{day}.zllm").write_bytes(b"old")
    result = shell("bash scripts/nightly.sh tree target")
    assert result.stdout == b""
    kept = sorted(path.name for path in (tmp_path / "target").glob("*.zllm"))
    assert len(kept) == 14 and kept[0] == "2001-01-17.zllm"
    newest = tmp_path / "target" / kept[-1]
    shell(f"zllm extract {newest} -C back && diff -r --no-dereference tree back")


def test_the_nightly_script_tells_warnings_from_failures(
    shell: Shell, scripts: Path, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "target").mkdir()
    # The folder's size changes under the program's feet: a warning, and a complete archive.
    slow = "import os, time\nwith open('tree/growing', 'ab', 0) as f:\n while True: f.write(b'x'); time.sleep(0.0005)"
    writer = subprocess.Popen([sys.executable, "-c", slow], cwd=tmp_path)
    try:
        result = shell("until [ -s tree/growing ]; do sleep 0.01; done; bash scripts/nightly.sh tree target")
    finally:
        writer.kill()
        writer.wait()
    if result.stdout:  # nearly always: the file is written a thousand times a second
        assert b"complete, with warnings" in result.stdout and b"growing" in result.stdout
    result = shell("bash scripts/nightly.sh no-such-folder target", code=2)
    assert b"FAILED" in result.stdout and b"no-such-folder" in result.stdout


def test_levels_in_the_docs_are_the_codes(checkout: Path) -> None:
    from zllm.chooser.levels import DEFAULT_LEVEL, LEVELS

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
    inline = " ".join(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)))
    ours = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", inline)) - {"--use-compress-program"}
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
    assert install.split() == ["pip", "install", "."]
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
