"""Slips of people who come from other programs: one line that says what they may have meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from zllm.cli.main import choose, main
from zllm.errors import UsageError


@pytest.fixture(autouse=True)
def _files() -> None:
    Path("dir").mkdir()
    Path("dir/x").write_text("text")
    Path("notes.txt").write_text("text")
    assert main(["create", "-2", "a.zllm", "notes.txt"]) == 0
    assert main(["create", "-2", "b.zllm", "dir"]) == 0
    assert main(["create", "-2", "dot.zllm", "-C", "dir", "."]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["crate", "x"], "unknown command 'crate'. Did you mean create?"),
        (["exract"], "Did you mean extract?"),
        (["x", "a.zllm"], "Did you mean extract?"),
        (["ls"], "Did you mean list?"),
        (["LIST"], "Did you mean list?"),
        (["unpack"], "Did you mean extract?"),
        (["qqq"], "unknown command 'qqq'. zllm --help lists the commands"),
        (["qqq.txt"], "qqq.txt: neither a file nor a command. zllm --help lists the commands"),
        (["a.zllm"], "a.zllm is an archive already: -d decompresses it, zllm extract unpacks what is in it"),
        (["dir"], "it is a folder; zllm create"),
        (["-czf", "a.zllm", "dir"], "zllm chooses codecs by itself: zllm -cf ARCHIVE PATH..."),
        (["czvf", "a.zllm", "dir"], "zllm -cvf ARCHIVE PATH..."),
        (["-cJf", "a", "b"], "zllm -cf ARCHIVE PATH..."),
        (["-xzf", "a.zllm"], "zllm -xf ARCHIVE"),
        (["-xvzf", "a.zllm"], "zllm -xvf ARCHIVE"),
        (["-tzf", "a.zllm"], "zllm -tf ARCHIVE"),
        (["-xmf", "a.zllm"], "with x also p and k: zllm -xf ARCHIVE"),
        (["-xpzf", "a.zllm"], "zllm -xpf ARCHIVE"),
        (["-czpf", "a.zllm", "dir"], "zllm -cf ARCHIVE PATH..."),
        (["-ckf", "new.zllm", "dir"], "zllm -cf ARCHIVE PATH..."),
        (["--create", "a.zllm", "dir"], "unknown option --create: zllm create ARCHIVE PATH..."),
        (["--extract", "a.zllm"], "zllm extract ARCHIVE"),
        (["-x", "a.zllm"], "zllm extract ARCHIVE"),
        (["create", "-k", "new.zllm", "notes.txt"], "input files are always kept"),
        (["create", "dir", "new.zllm"], "the archive comes first: zllm create ARCHIVE PATH..."),
        (["create", "-2", "notes.txt", "dir", "new.zllm"], "the archive comes first"),
        (["create", "--force", "notes.txt", "new.zllm"], "the archive comes first"),
        (["create", "dir", "notes.txt"], "dir is a folder: name the archive first"),
        (["create", "a.zllm", "dir"], "a.zllm already exists: pass --force"),
        (
            ["test", "a.zllm", "b.zllm"],
            "b.zllm: no such member, but an archive: zllm -t FILE... tests several archives",
        ),
        (["list", "a.zllm", "b.zllm"], "one archive at a time"),
        (["extract", "a.zllm", "dir"], "dir: no such member. To extract into that folder: -C dir"),
        (["list", "a.zllm", "gone"], "gone: no such member. zllm list shows what there is"),
        (["list", "a.zllm", "./notes.txt"], "./notes.txt: no such member. Did you mean notes.txt?"),
        (["extract", "b.zllm", "/dir/x"], "/dir/x: no such member. Did you mean dir/x?"),
        (["cat", "dot.zllm", "x"], "x: no such member. Did you mean ./x?"),
        (["test", "dot.zllm", ".//x"], "Did you mean ./x?"),
        (["extract", "a.zllm", "-T", "names"], "name the members: xargs -d"),
        (["extract", "a.zllm", "-C", "notes.txt"], "notes.txt is not a folder: -C names the folder to extract into"),
        (["extract", "a.zllm", "--overwrite"], "files that exist are replaced unless -k is given"),
        (["create", "new.zllm", "--selinux", "dir"], "labels are not stored: the system that unpacks gives every file"),
        (["create", "-S", "new.zllm", "dir"], "holes are found without it"),
        (["extract", "-P", "a.zllm"], "relative to a folder"),
        (["create", "new.zllm", "--same-owner", "dir"], "an option of extract"),
        (["-T4", "notes.txt"], "-j N sets the number of threads"),
        (["model", "lst"], "unknown action 'lst'. Did you mean list?"),
        (["model", "list", "fast"], "zllm model show NAME"),
        (["info", "a.zllm", "b.zllm"], "one archive at a time"),
        (["info", "--machine", "a.zllm"], "--machine is about this machine"),
    ],
)
def test_slips(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("notes.txt").read_text()
    assert main(words) == 2
    text = capsys.readouterr().err
    assert said in text and text.count("\n") == 1
    assert Path("notes.txt").read_text() == before and not Path("new.zllm").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--embed-model", "--no-llm"], "--embed-model has no effect with --no-llm"),
        (["--model", "fast", "--no-llm"], "--model has no effect with --no-llm"),
        (["--model", "fast", "-3"], "--model has no effect at level 3: models are used from level 6 on"),
        (["--streams", "1", "-5"], "--streams has no effect at level 5: models are used from level 6 on"),
        (["--streams", "257"], "frames have 1 to 256 streams, not 257"),
        (["--streams", "0"], "'0' is not a positive whole number"),
        (["--embed-model", "--level", "5"], "--embed-model has no effect at level 5"),
    ],
)
@pytest.mark.parametrize("command", [["create", "new.zllm", "dir"], ["-o", "new.zllm", "notes.txt"]])
def test_options_without_effect(
    words: list[str], said: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *words]) == 2
    assert said in capsys.readouterr().err
    assert not Path("new.zllm").exists()


def test_a_device_without_effect_is_only_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "new.zllm", "dir", "-2", "--device", "cpu"]) == 0
    assert capsys.readouterr().err == "zllm: --device has no effect at level 2: models are used from level 6 on\n"
    assert main(["-d", "--device", "cpu", "-3", "--no-llm", "--embed-model", "-o", "out", "new.zllm"]) == 0  # tar -I
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-c", "-o", "x", "notes.txt"], "not allowed with"),
        (["-d", "-z"], "not allowed with"),
        (["-t", "-o", "x", "a.zllm"], "-t writes nothing"),
        (["-o", "x", "-o", "y", "notes.txt"], "-o is given twice"),
        (["list", "--null", "--json", "a.zllm"], "leave out --json"),
        (["list", "--null", "-v", "a.zllm"], "leave out -v"),
    ],
)
def test_contradictions(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "create"]) == 0
    assert capsys.readouterr().out.startswith("usage: zllm create")
    assert main(["version"]) == 0


@pytest.mark.parametrize("word", ["-vcf", "-cvf", "cvf", "-cf"])
def test_tar_letters_in_any_order(word: str) -> None:
    command, rest = choose([word, "a"])
    assert command == "create" and rest[-2:] == ["-f", "a"]


@pytest.mark.parametrize("word", ["-xpf", "xpf", "-pxf", "-xvpf", "-xpvkf"])
def test_tar_letters_of_options_of_extract(word: str) -> None:
    command, rest = choose([word, "a"])
    assert command == "extract"
    assert sorted(rest[:-2]) == sorted(f"-{letter}" for letter in word if letter in "vpk")


def test_tar_letter_p_does_no_harm_where_modes_are_always_kept() -> None:
    assert choose(["-cpf", "a"]) == ("create", ["-f", "a"])
    assert choose(["tvpf", "a"]) == ("list", ["-v", "-f", "a"])


def test_k_of_tar_keeps_what_exists() -> None:
    Path("notes.txt").write_text("newer")
    assert main(["-xkf", "a.zllm"]) == 1
    assert Path("notes.txt").read_text() == "newer"
    assert main(["-xf", "a.zllm"]) == 0
    assert Path("notes.txt").read_text() == "text"


def test_a_name_that_is_no_word_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("a\x1b[31m\nb", "\udcff", "x" * 200_000):
        assert main([word]) == 2
        text = capsys.readouterr().err
        assert text.endswith("\n") and text[:-1].isprintable() and len(text) < 10_000
    with pytest.raises(UsageError, match="unknown command ''"):
        choose([""])
