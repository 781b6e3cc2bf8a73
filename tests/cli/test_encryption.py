"""Encrypted archives on the command line: where keys come from, and what is said without one."""

from __future__ import annotations

import os
import pty
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import takeapart

from zllm.cli import passphrases
from zllm.errors import UsageError
from zllm.format.envelope import Kind

pytest.importorskip("nacl")
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
TEXT = b"Where the treasure is buried.\n" * 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "treasure.txt").write_bytes(TEXT)
    (tmp_path / "f" / "map.bin").write_bytes(random.Random(1).randbytes(30_000))
    return tmp_path


@pytest.fixture
def public(zllm: Run, folder: Path) -> str:
    """The public key of ``id``."""
    return zllm("key", "new", "id").stdout.decode().strip()


def flip(path: Path, kind: Kind, size: int = 1) -> None:
    data = path.read_bytes()
    at = max(takeapart.of_kind(data, kind), key=lambda part: len(part.body)).body_at + 50
    path.write_bytes(data[:at] + bytes(byte ^ 8 for byte in data[at : at + size]) + data[at + size :])


def test_keys(zllm: Run, folder: Path, public: str) -> None:
    assert public.startswith("zllm-public-") and (folder / "id").stat().st_mode & 0o777 == 0o600
    assert zllm("key", "public", "id").stdout.decode().strip() == public
    before = (folder / "id").read_bytes()
    assert b"never overwritten" in zllm("key", "new", "id", code=2).stderr
    assert (folder / "id").read_bytes() == before
    assert b"unknown action 'nwe'. Did you mean new?" in zllm("key", "nwe", "id", code=2).stderr
    assert b"not a secret key" in zllm("key", "public", "f/treasure.txt", code=2).stderr


def test_a_host_that_writes_and_cannot_read(zllm: Run, folder: Path, public: str) -> None:
    zllm("create", "-3", "a.zllm", "f", "--recipient", public)
    assert b"treasure" not in (folder / "a.zllm").read_bytes()
    for words in (("list",), ("extract", "-C", "out"), ("cat", "--tar"), ("info",), ("delete",), ("compact",)):
        done = zllm(words[0], *words[1:], "a.zllm", *(["f"] if words[0] == "delete" else []), code=4)
        assert b"no key was given: it takes the secret key of a recipient (--identity FILE)" in done.stderr
        assert not done.stdout
    assert b"no key was given" in zllm("append", "a.zllm", "f", code=4).stderr
    assert not (folder / "out").exists()
    key = ("--identity", "id")
    assert zllm("list", *key, "a.zllm").stdout == b"f/\nf/map.bin\nf/treasure.txt\n"
    assert zllm("cat", *key, "-", "f/treasure.txt", data=(folder / "a.zllm").read_bytes()).stdout == TEXT
    zllm("extract", *key, "a.zllm", "-C", "out")
    assert (folder / "out" / "f" / "treasure.txt").read_bytes() == TEXT
    assert not zllm("diff", *key, "a.zllm", ".").stdout
    assert zllm("test", "-v", *key, "a.zllm").stderr.count(b"all whole") == 1
    # What such a host can do is to put another archive behind the first.
    (folder / "g").write_bytes(b"later")
    more = zllm("create", "-3", "-", "g", "--recipient", public).stdout
    (folder / "a.zllm").write_bytes((folder / "a.zllm").read_bytes() + more)
    assert zllm("list", *key, "a.zllm").stdout == b"f/\nf/map.bin\nf/treasure.txt\ng\n"


def test_info_says_whether_an_archive_is_encrypted(zllm: Run, folder: Path, public: str) -> None:
    zllm("create", "-3", "a.zllm", "f", "--recipient", public)
    zllm("create", "-3", "b.zllm", "f")
    assert b"\nencrypted: yes\n" in zllm("info", "--identity", "id", "a.zllm").stdout
    assert b"\nencrypted: no\n" in zllm("info", "b.zllm").stdout
    assert b'"encrypted": true' in zllm("info", "--json", "--identity", "id", "a.zllm").stdout


def test_changes_with_a_key(zllm: Run, folder: Path, public: str) -> None:
    key = ("--identity", "id")
    zllm("append", "-3", "a.zllm", "f", "--recipient", public)  # makes it
    (folder / "secret-new").write_bytes(b"new")
    zllm("append", *key, "a.zllm", "secret-new")
    (folder / "f" / "treasure.txt").write_bytes(b"dug up")
    zllm("update", *key, "a.zllm", "f")
    zllm("delete", *key, "a.zllm", "f/map.bin")
    assert zllm("list", *key, "a.zllm").stdout == b"f/\nsecret-new\nf/treasure.txt\n"
    zllm("compact", *key, "a.zllm")
    data = (folder / "a.zllm").read_bytes()
    assert len(data) < 2000 and not [word for word in (b"secret", b"treasure", b"dug") if word in data]
    assert zllm("cat", *key, "a.zllm", "f/treasure.txt").stdout == b"dug up"
    assert b"recipients are chosen" in zllm("append", *key, "--recipient", public, "a.zllm", "id", code=2).stderr
    zllm("create", "-3", "plain.zllm", "f")
    assert b"not encrypted" in zllm("append", *key, "plain.zllm", "id", code=2).stderr


def test_the_filter(zllm: Run, folder: Path, public: str) -> None:
    coded = zllm("-3", "--recipient", public, data=TEXT).stdout
    assert zllm("-d", "--identity", "id", data=coded).stdout == TEXT
    (folder / "c.zllm").write_bytes(coded)
    assert zllm("-dc", "--identity", "id", "c.zllm").stdout == TEXT
    assert b"no key was given" in zllm("-d", data=coded, code=4).stderr


def test_places_of_passphrases(zllm: Run, folder: Path) -> None:
    (folder / "pw").write_bytes("Schlüssel\n".encode())
    (folder / "other").write_text("wrong")
    command = f"{sys.executable} -c \"print('Schlüssel')\""
    zllm("create", "-3", "a.zllm", "f", "--encrypt", "--passphrase-file", "pw")
    with (folder / "pw").open("rb") as file:
        number = file.fileno()
        zllm("list", "a.zllm", "--passphrase-fd", str(number), pass_fds=[number])
    bare = {name: value for name, value in os.environ.items() if not name.startswith("ZLLM_PASSPHRASE")}
    assert zllm("cat", "a.zllm", "f/treasure.txt", env={**bare, "ZLLM_PASSPHRASE_COMMAND": command}).stdout == TEXT
    done = zllm("list", "a.zllm", "--passphrase-file", "other", code=4)
    assert done.stderr == b"zllm: a.zllm: the archive is encrypted, and the passphrase is wrong\n"


def test_a_secret_key_where_a_public_one_belongs(folder: Path, zllm: Run) -> None:
    zllm("key", "new", "k")
    done = zllm("create", "-3", "a.zllm", "f", "--recipient", "k", code=2)
    assert done.stderr == b"zllm: k has a secret key, not a public one: zllm key public k prints the one to give\n"
    (folder / "none").write_text("words\n")
    assert b"not a secret key (in none): " in zllm("key", "public", "none", code=2).stderr


def chosen(*words: str) -> str:
    from zllm.cli import create

    found = passphrases.chosen(create.parser().parse_args([*words]), new=True)
    assert isinstance(found, str)
    return found


def test_what_a_passphrase_may_be(folder: Path) -> None:
    for data, text in ((b"x\n", "x"), (b"x\r\n", "x"), (b" two words ", " two words ")):
        (folder / "pw").write_bytes(data)
        assert chosen("--passphrase-file", "pw") == text
        assert chosen("--passphrase-command", "cat pw") == text
    for data, words in ((b"", "empty"), (b"\n", "empty"), (b"a\nb", "one line"), (b"\xff", "UTF-8")):
        (folder / "pw").write_bytes(data)
        with pytest.raises(UsageError, match=words):
            chosen("--passphrase-file", "pw")
    for option, value, words in (
        ("--passphrase-file", "nowhere", "No such file"),
        ("--passphrase-command", "nowhere-command", "No such file"),
        ("--passphrase-command", "false", "code 1"),
        ("--passphrase-command", "'", "closing"),
        ("--passphrase-fd", "x", "descriptor"),
        ("--passphrase-fd", "99", "descriptor"),
    ):
        with pytest.raises(UsageError, match=words):
            chosen(option, value)
    with pytest.raises(UsageError, match="one passphrase is enough"):
        chosen("--passphrase-file", "pw", "--passphrase-command", "cat pw")


@pytest.mark.parametrize("command", ["nowhere-command hunter2", "false hunter2", "hunter2 '"])
def test_a_command_that_fails_is_not_shown(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have a secret in it, and errors go to logs."""
    monkeypatch.setenv("ZLLM_PASSPHRASE_COMMAND", command)
    with pytest.raises(UsageError, match=r"^ZLLM_PASSPHRASE_COMMAND: ") as caught:
        passphrases._from_environment.__wrapped__()
    assert "hunter2" not in str(caught.value)


def test_passphrases_are_not_taken_from_the_command_line(zllm: Run, folder: Path) -> None:
    for option in ("--passphrase", "--password"):
        done = zllm("create", "a.zllm", "f", option, "hunter2", code=2)
        assert b"unknown option" in done.stderr and b"hunter2" not in done.stderr
    bare = {name: value for name, value in os.environ.items() if not name.startswith("ZLLM_PASSPHRASE")}
    done = zllm("create", "a.zllm", "f", "--encrypt", code=2, start_new_session=True, env=bare)
    assert b"no terminal to ask" in done.stderr and not (folder / "a.zllm").exists()


def typed(folder: Path, lines: list[bytes], *words: str) -> tuple[int, bytes]:
    """Runs the program on a terminal of its own, on which a person answers each question."""
    number, terminal = pty.fork()
    if number == 0:
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", "zllm", *words])
    seen = b""
    while True:
        try:
            piece = os.read(terminal, 1000)
        except OSError:
            break
        if not piece:
            break
        seen += piece
        if seen.rstrip(b" ").endswith(b":") and lines and piece.strip():
            os.write(terminal, lines.pop(0) + b"\n")
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), seen


def test_the_prompt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZLLM_PASSPHRASE_COMMAND", raising=False)
    monkeypatch.delenv("ZLLM_PASSPHRASE_FILE", raising=False)
    code, seen = typed(folder, [b"open sesame", b"open sesam"], "create", "-3", "a.zllm", "f", "--encrypt")
    assert code == 2 and b"two different" in seen and not (folder / "a.zllm").exists()
    code, seen = typed(folder, [b"open sesame"] * 2, "create", "-q", "-3", "a.zllm", "f", "--encrypt")
    assert code == 0 and b"sesame" not in seen
    code, seen = typed(folder, [b"open sesame"], "list", "a.zllm")
    assert code == 0 and b"f/treasure.txt" in seen and seen.count(b"Passphrase") == 1


def test_damage_without_a_key(zllm: Run, folder: Path, public: str) -> None:
    zllm("create", "-3", "a.zllm", "f", "--recipient", public)
    whole = (folder / "a.zllm").read_bytes()
    assert b"was not checked" in zllm("test", "a.zllm").stderr
    assert b"was not checked" in zllm("test", "--without-key", "-", data=whole).stderr
    flip(folder / "a.zllm", Kind.FRAME)
    assert b"checksums of 1 part is wrong" in zllm("test", "a.zllm", code=3).stderr
    done = zllm("recover", "a.zllm", "b.zllm")
    assert b"no key was given" in done.stderr and (folder / "b.zllm").read_bytes() == whole
    (folder / "a.zllm").write_bytes(whole)
    flip(folder / "a.zllm", Kind.FRAME, 40)
    zllm("recover", "a.zllm", "c.zllm", code=3)
    done = zllm("recover", "--identity", "id", "a.zllm", "d.zllm", code=3)
    assert b"f/map.bin" in done.stderr and b"treasure" not in (folder / "d.zllm").read_bytes()
    assert zllm("cat", "--identity", "id", "d.zllm", "f/treasure.txt").stdout == TEXT
    (folder / "a.zllm").write_bytes(whole[:-40])
    assert b"truncated" in zllm("test", "a.zllm", code=3).stderr
    assert b"truncated" in zllm("recover", "--force", "a.zllm", "b.zllm", code=3).stderr
    (folder / "plain").write_bytes(b"1")
    zllm("create", "-3", "p.zllm", "plain")
    assert b"not encrypted" in zllm("test", "--without-key", "p.zllm", code=2).stderr
    assert b"not encrypted" in zllm("test", "--identity", "id", "p.zllm", code=2).stderr
