"""What ``create`` is told to pack: names, -C, -T, in their order; and what it is not told by an empty word."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from zllm.cli import create, operands
from zllm.cli.operands import Folder, Name, NameList
from zllm.cli.output import Console
from zllm.errors import UsageError

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.mark.parametrize(
    ("words", "options", "found"),
    [
        (["a", "b"], [], [Name("a"), Name("b")]),
        (["-C", "d", "x", "-Ce", "--directory=f"], [], [Folder("d"), Name("x"), Folder("e"), Folder("f")]),
        (["-T", "l", "-Tm", "--files-from", "n", "-T-"], [], [NameList(name) for name in ("l", "m", "n", "-")]),
        (["-vqC", "d", "-3vTl"], ["-vq", "-3v"], [Folder("d"), NameList("l")]),
        (["-X", "-C", "--exclude", "-T", "a"], ["-X-C", "--exclude=-T"], [Name("a")]),
        (["-j", "4", "--level=3", "-6", "-"], ["-j4", "--level=3", "-6"], [Name("-")]),
        (["a", "--", "-C", "--", "-T"], [], [Name("a"), Name("-C"), Name("--"), Name("-T")]),
        (["--unknown", "-y"], ["--unknown", "-y"], []),
    ],
)
def test_options_and_operands_are_told_apart(words: list[str], options: list[str], found: list[object]) -> None:
    assert operands.split(words, create.parser()) == (options, found)


@pytest.mark.parametrize("words", [[""], ["a", ""], ["-C", ""], ["-T", ""], ["--directory="], ["-C"], ["a", "-T"]])
def test_an_empty_or_missing_name_is_an_error(words: list[str]) -> None:
    with pytest.raises(UsageError):
        operands.split(words, create.parser())


@pytest.mark.parametrize(
    "words",
    [
        ["create", "a.zllm", ""], ["create", "a.zllm", "-C", "g", ""], ["create", "a.zllm", "-C", "", "g"],
        ["create", "", "g"], ["create", "-f", "", "g"], ["create", "--file=", "g"], ["create", "a.zllm", "g", ""],
        ["list", ""], ["list", "b.zllm", ""], ["test", ""], ["test", "b.zllm", "", "g"], ["cat", "b.zllm", ""],
        ["extract", "b.zllm", ""], ["extract", "b.zllm", "-C", ""], ["extract", "-f", ""], ["info", ""],
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_empty_word_names_nothing(words: list[str], zllm: Run, tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "1").write_text("1")
    if "b.zllm" in words:
        zllm("create", "b.zllm", "g")
    before = sorted(tmp_path.rglob("*"))
    result = zllm(*words, code=2)
    assert result.stderr.startswith(b"zllm: ") and result.stderr.count(b"\n") == 1 and not result.stdout
    assert b"internal" not in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def expanded(*given: operands.Operand, **how: bool) -> tuple[list[operands.Operand], list[str]]:
    console = Console()
    said: list[str] = []
    console.print = said.append
    return list(operands.expand(given, console, **how)), said


def test_lists(tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(b"a\n\n b \n-C sub\nin\n-Cup\n--directory=x\n-odd\nlast\xff\r")
    assert expanded(Name("x"), NameList("l"), Name("y")) == (
        [
            Name("x"), Name("a"), Name(" b "), Folder("sub"), Name("in"), Folder("up"), Folder("x"), Name("-odd"),
            Name(os.fsdecode(b"last\xff\r")), Name("y"),
        ],
        [],
    )  # fmt: skip
    assert Name("-C sub") in expanded(NameList("l"), verbatim=True)[0]


def test_lists_with_nul(tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(b"a\0-C b\0new\nline\0")
    names = [Name("a"), Name("-C b"), Name("new\nline")]
    assert expanded(NameList("l"), null=True) == (names, [])
    found, said = expanded(NameList("l"))
    assert found == names and len(said) == 1 and "--null" in said[0]


@pytest.fixture
def places(tmp_path: Path) -> Path:
    for name in ("here", "one/in", "one/two/deep"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_names_are_looked_up_where_their_list_stands(places: Path, zllm: Run) -> None:
    (places / "list").write_text("here\n")
    (places / "list2").write_text("deep\n")
    zllm("create", "a.zllm", "-T", "list", "-C", "one", "in", "-vC", "two", "-T", "list2")
    assert zllm("list", "a.zllm").stdout == b"here\nin\ndeep\n"
    (places / "list").write_text("here\n-C one\nin\n")
    zllm("create", "b.zllm", "-T", "list", "two")
    assert zllm("list", "b.zllm").stdout == b"here\nin\ntwo/\ntwo/deep\n"
    zllm("create", "c.zllm", "-C", str(places / "one"), "in", "-C", "..", "here")
    assert zllm("list", "c.zllm").stdout == b"in\nhere\n"


@pytest.mark.parametrize("words", [["-C", "no", "here"], ["here", "-C", "no"], ["-T", "no"], ["-X", "no", "here"]])
def test_what_is_missing_is_said_before_anything_is_packed(words: list[str], places: Path, zllm: Run) -> None:
    result = zllm("create", "a.zllm", *words, code=2)
    assert result.stderr == b"zllm: no: No such file or directory\n"
    assert not (places / "a.zllm").exists()


def test_names_of_a_list_are_as_they_are(places: Path, zllm: Run) -> None:
    (places / "blank ").write_text("x")
    (places / "list").write_bytes(b"here\r\nblank \n\n")
    result = zllm("create", "a.zllm", "-T", "list", code=1)
    assert result.stderr == b"zllm: warning: here\\r: No such file or directory: skipped (its line ends with a CR)\n"
    assert zllm("list", "a.zllm").stdout == b"blank \n"
    (places / "list").write_bytes(b"here\0one\0")
    result = zllm("create", "b.zllm", "-T", "list", code=1)
    assert b"--null" in result.stderr and result.stderr.count(b"\n") == 1
    assert zllm("list", "b.zllm").stdout.split() == [b"here", b"one/", b"one/in", b"one/two/", b"one/two/deep"]
    zllm("create", "empty.zllm", "-T", "/dev/null")
    assert zllm("list", "empty.zllm").stdout == b""


def test_patterns_of_a_file(places: Path, zllm: Run) -> None:
    for name in ("a.o", "b.tmp", "#c", " d", "e"):
        (places / "one" / name).touch()
    (places / "x").write_bytes(b"*.o\r\n*.tmp \t\n\n \r\n#c\n d\n")
    zllm("create", "a.zllm", "-X", "x", "one/a.o", "one")
    assert zllm("list", "a.zllm").stdout.split(b"\n")[:-1] == [
        b"one/",
        b"one/e",
        b"one/in",
        b"one/two/",
        b"one/two/deep",
    ]


def test_patterns_match_the_name_as_it_was_given(places: Path, zllm: Run) -> None:
    def listed(*words: str, cwd: Path = places) -> list[bytes]:
        zllm("create", places / "a.zllm", "--force", "-q", *words, cwd=cwd)
        return zllm("list", "a.zllm").stdout.split()

    one = str(places / "one")
    assert not [name for name in listed("--exclude", f"{one}/two", one) if b"two" in name]
    assert not [name for name in listed("--exclude", f"{one}/two/", one + "/") if b"two" in name]
    assert not [name for name in listed("--exclude", "../one/two", "../one", cwd=places / "one") if b"two" in name]
    assert not [name for name in listed("--exclude", "./two", "-C", "one", ".") if b"two" in name]
    assert listed("--exclude", "one", "one/in", "here") == [b"here"]
    assert b"one/two/deep" in listed("--exclude", "/one/two", "one")
    (places / "one" / "two").chmod(0)  # nothing below it is looked at
    assert not [name for name in listed("--exclude=tw[^p]", one) if b"two" in name]


def test_a_name_is_no_pattern_where_a_member_has_it(tmp_path: Path, zllm: Run, shell: Run) -> None:
    (tmp_path / "b" / "d*").mkdir(parents=True)
    (tmp_path / "b" / "dd").mkdir()
    for name in ("a[1].c", "a1.c", "q?", "qq", "d*/in", "dd/in"):
        (tmp_path / "b" / name).write_text(name)
    zllm("create", "a.zllm", "b")
    zllm("extract", "a.zllm", "-C", "x", "b/a[1].c", "b/q[q]")
    assert sorted(path.name for path in (tmp_path / "x" / "b").iterdir()) == ["a[1].c", "qq"]
    assert zllm("list", "a.zllm", "b/a[1].c").stdout == b"b/a[1].c\n"
    assert zllm("list", "a.zllm", "b/d*").stdout == b"b/d*/\nb/d*/in\n"
    assert zllm("list", "a.zllm", "b/a?.c", "b/d?").stdout == b"b/a1.c\nb/d*/\nb/d*/in\nb/dd/\nb/dd/in\n"
    assert zllm("cat", "a.zllm", "b/q?").stdout == b"q?"
    assert b"1 member," in zllm("test", "-v", "a.zllm", "b/a[1].c").stderr
    assert shell("zllm list - 'b/[a]1.c' < <(cat a.zllm)").stdout == b"b/a1.c\n"
    assert b"no such member" in zllm("list", "a.zllm", "b/z[1]", code=2).stderr
