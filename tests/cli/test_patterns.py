"""Patterns mean what they mean for GNU tar."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from zllm.cli import patterns

# Pattern, names that it leaves out, names that it does not.
TABLE = [
    ("*.o", ["a.o", "x/a.o", ".o", "x/a.o/below"], ["a.oo", "a.O", "ao"]),
    ("a", ["a", "x/a", "a/b", "x/a/y"], ["b/aa", "ab", "b.a"]),
    ("x/a", ["x/a", "w/x/a", "x/a/b"], ["xx/a", "x/y/a"]),
    ("/x/a", ["/x/a", "/x/a/b"], ["x/a", "/w/x/a"]),
    ("../x", ["../x", "../x/y", "w/../x"], ["x", "../xy"]),
    ("./x", ["./x", "./x/y"], ["x", ".x"]),
    ("x/*.c", ["x/a.c", "x/y/a.c", "w/x/.c"], ["a.c", "y/a.c"]),
    ("?", ["a", "x/b", "ü/below"], ["ab", ""]),
    ("a?c", ["abc", "a/c"], ["ac", "abbc"]),
    ("a\\[1]", ["a[1]"], ["a1", "a\\1"]),
    ("a[1]", ["a1"], ["a[1]"]),
    ("[^a]x", ["bx", "w/bx", "]x"], ["ax", "x"]),
    ("[!a]x", ["bx", "^x"], ["ax"]),
    ("[a-c]1", ["a1", "c1"], ["d1", "-1"]),
    ("[c-a]1", [], ["a1", "b1", "c1", "-1"]),
    ("[]]1", ["]1"], ["1", "a1"]),
    ("[^]]1", ["a1"], ["]1"]),
    ("[a-]1", ["a1", "-1"], ["b1"]),
    ("[[:digit:]]x", ["1x"], ["ax", ":x"]),
    ("[^[:upper:]_]x", ["ax", "1x"], ["Ax", "_x"]),
    ("[\\]]x", ["]x"], ["\\x"]),
    ("[a", ["[a", "x/[a"], ["a"]),
    ("\\*", ["*"], ["a", "\\"]),
    ("a\\b", ["ab"], ["a\\b"]),
    ("*a*b*", ["ab", "xaxbx", "a/b"], ["ba"]),
    ("a**b", ["ab", "a/x/b"], ["a"]),
    ("*", ["a", "a/b"], []),
    ("new\nline*", ["new\nline", "new\nlines"], ["new"]),
    ("*\n*", ["a\nb"], ["ab"]),
    ("\udcff*", ["\udcff", "\udcffx"], ["x"]),
    ("dir/", ["dir", "x/dir/y"], ["dirs"]),
]


@pytest.mark.parametrize(("pattern", "out", "kept"), TABLE, ids=[row[0] for row in TABLE])
def test_what_a_pattern_leaves_out(pattern: str, out: list[str], kept: list[str]) -> None:
    excluded = patterns.Excluded(["never", pattern, "[["])
    assert [name for name in out if not excluded(name)] == []
    assert [name for name in kept if excluded(name)] == []


def test_no_pattern_leaves_nothing_out() -> None:
    for nothing in ([], [""], ["/"]):
        assert not patterns.Excluded(nothing)("a")
        assert not patterns.Excluded(nothing)("")


@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is needed")
def test_the_table_is_gnu_tars(tmp_path: Path) -> None:
    """Each pattern with each name that can be a path, by tar's own word."""
    if b"GNU tar" not in subprocess.run(["tar", "--version"], capture_output=True, check=True).stdout:
        pytest.skip("GNU tar is needed")
    for number, (pattern, out, kept) in enumerate(TABLE):
        if pattern.endswith("/"):  # for tar it matches nothing, which nobody means
            continue
        names = [name for name in out + kept if name and not name.startswith(("/", "..", "w/.."))]
        words: list[str] = []
        for place, name in enumerate(names):
            path = tmp_path / str(number) / str(place) / name
            path.parent.mkdir(parents=True)
            path.touch()
            words += ["-C", str(tmp_path / str(number) / str(place)), f"--add-file={name}"]
        command = ["tar", "-cv", "--no-unquote", "--quoting-style=literal", "-f", "/dev/null", f"--exclude={pattern}"]
        result = subprocess.run([*command, *words], check=True, capture_output=True)
        excluded = patterns.Excluded([pattern])
        expected = "".join(f"{name}\n" for name in names if not excluded(name))
        assert expected.encode("utf-8", "surrogateescape") == result.stdout, pattern


def test_many_stars_take_no_time() -> None:
    """Backtracking would take years."""
    excluded = patterns.Excluded(["*a" * 30 + "*b"])
    began = time.process_time()
    assert not excluded("a" * 4000)
    assert excluded("a" * 4000 + "b")
    assert time.process_time() - began < 5


def test_a_pattern_for_members() -> None:
    assert patterns.matches("docs/a.md", "*.md")
    assert patterns.matches("docs/sub/a.md", "d*/sub")
    assert not patterns.matches("x/docs", "docs")
    assert patterns.named("a[1]/x", "a[1]") and not patterns.named("a1", "a[1]")
    assert [text for text in ("a", "a*", "a?", "[a]", "a\\b") if not patterns.is_pattern(text)] == ["a"]
