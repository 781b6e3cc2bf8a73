"""Words of the command line: what is an option, what is its value, what is a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zllm.cli import options
from zllm.cli.main import main
from zllm.errors import UsageError

Captured = pytest.CaptureFixture[str]


def parser() -> options.Parser:
    result = options.Parser("try", "For tests.")
    result.add_argument("operands", nargs="*")
    result.add_argument("--exclude", action="append", default=[])
    options.archive_name(result)
    options.coding(result)
    options.verbosity(result)
    return result


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "--", "-x", "--level", "--"], ["a", "-x", "--level", "--"]),
        (["-v", "--", "-"], ["-"]),
        (["-", "--level", "3", "b"], ["-", "b"]),
        (["--", "-f", "-C", "\udcff"], ["-f", "-C", "\udcff"]),
        (["--"], []),
    ],
)
def test_names(words: list[str], names: list[str]) -> None:
    assert parser().parse_args(words).operands == names


@pytest.mark.parametrize(
    ("words", "value"),
    [(["--exclude", "-x"], "-x"), (["--exclude=--"], "--"), (["--exclude", "--", "a"], "--"), (["--exclude="], ""),
     (["-v", "--exclude", "-19"], "-19"), (["--exclude", "a=b"], "a=b"), (["--exclude==b"], "=b")],
)  # fmt: skip
def test_a_value_may_be_anything(words: list[str], value: str) -> None:
    assert parser().parse_args(words).exclude == [value]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-9"], {"level": 9}),
        (["-1v"], {"level": 1, "verbose": 1}),
        (["-vvq2"], {"level": 2, "verbose": 2, "quiet": True}),
        (["-vj4"], {"threads": 4, "verbose": 1}),
        (["-j", "4", "-3"], {"threads": 4, "level": 3}),
        (["-vfa.zllm"], {"file": "a.zllm"}),
        (["-f", "--", "-x.zllm"[1:]], {"file": "--", "operands": ["x.zllm"]}),
        (["-f=a"], {"file": "=a"}),
        (["--level=7", "--level", "8"], {"level": 8}),
    ],
)
def test_clusters_and_values(words: list[str], expected: dict[str, object]) -> None:
    found = vars(parser().parse_args(words))
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-19"], "-19 is not a level: levels are 1 to 9"),
        (["-91"], "levels are 1 to 9"),
        (["-v19"], "levels are 1 to 9"),
        (["-0"], "-0 is not a level"),
        (["--level", "19"], "'19' is not a level"),
        (["--level", "-1"], "'-1' is not a level"),
        (["--level", "٣"], "is not a level"),
        (["--fast"], "unknown option --fast: -1 is the fastest level"),
        (["--ultra"], "-9 is the strongest level"),
        (["-T0"], "unknown option -T0: -j N sets the number of threads"),
        (["--exlude", "x"], "unknown option --exlude: did you mean --exclude?"),
        (["--thread", "x"], "did you mean --threads?"),
        (["-level"], "unknown option -level: did you mean --level?"),
        (["-verbose"], "unknown option -verbose: did you mean --verbose?"),
        (["--nonsense"], "unknown option --nonsense. zllm try --help"),
        (["--quiet=yes"], "--quiet takes no value"),
        (["--level"], "--level needs a value"),
        (["-f"], "-f needs a value"),
        (["-f", ""], "-f: the value is empty: is a variable unset?"),
        (["a", ""], "a name is empty: is a variable unset?"),
        (["--", ""], "a name is empty"),
        (["-fa", "-fb"], "-f is given twice, for 'a' and 'b'"),
    ],
)
def test_what_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parser().parse_args(words)
    assert said in str(caught.value)
    assert "\0" not in str(caught.value)


COMMANDS = (
    ["list", "--"], ["list", "-v", "--"], ["test", "--"], ["info", "--"], ["info", "--requires", "--"], ["-dc", "--"],
    ["-c", "--"], ["-t", "--"], ["cat", "--tar", "--"], ["list", "-f"], ["-tvf"], ["extract", "-C", "o", "--"], ["-xf"],
)  # fmt: skip


def test_names_with_a_dash_everywhere(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    Path("-x").write_bytes(b"content")
    Path("f").write_bytes(b"more")
    assert main(["create", "-2", "--", "-a.zllm", "f", "-x"]) == 0
    assert main(["-cf", "-b.zllm", "-2", "--", "f", "-x"]) == 0
    assert main(["-2", "-o", "-c.zllm", "--", "-x"]) == 0
    for words in COMMANDS:
        assert main([*words, "-a.zllm"]) == 0, words
    capfdbinary.readouterr()
    assert main(["cat", "--", "-b.zllm", "-x"]) == 0 == main(["-dc", "--", "-c.zllm"])
    assert capfdbinary.readouterr().out == b"content" * 2
    assert main(["extract", "-C", "p", "--", "-a.zllm", "-x"]) == 0
    assert os.listdir("p") == ["-x"]


def test_models_with_a_dash(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZLLM_HOME", "home")
    assert main(["model", "export", "--", "fast", "-m.zlm"]) == 0
    assert main(["model", "import", "--name", "mine", "--", "-m.zlm"]) == 0
    assert main(["model", "show", "--json", "--", "mine"]) == 0
    assert main(["model", "remove", "-q", "--", "mine"]) == 0
    assert main(["model", "remove", "--", "-mine"]) == 4
    assert "-mine: no such model" in capsys.readouterr().err


def test_a_folder_after_the_dashes_is_a_name() -> None:
    Path("-C").write_text("x")
    assert main(["create", "-2", "a.zllm", "--", "-C"]) == 0
    assert main(["test", "a.zllm", "--", "-C"]) == 0
