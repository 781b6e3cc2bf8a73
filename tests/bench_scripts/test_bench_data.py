import csv
import tarfile

import pytest

from bench.common import write_csv
from bench.mixture import Member, mixture
from bench.texts import validation_documents


@pytest.mark.parametrize("kind", ["noise", "text", "zeros", "floats", "log", "code"])
def test_members_are_deterministic_and_as_long_as_said(kind):
    member = Member("x", kind, 150_001, 5)
    with member.open() as one, member.open() as two:
        data = one.read()
        assert len(data) == 150_001
        assert b"".join(iter(lambda: two.read(777), b"")) == data


@pytest.mark.parametrize("text", [0.0, 0.1, 1.0])
def test_mixture_has_the_size_asked_for(text):
    members = list(mixture(30_000_000, text))
    assert sum(member.size for member in members) == 30_000_000
    assert len({member.name for member in members}) == len(members)
    share = sum(member.size for member in members if member.kind == "text") / 30_000_000
    assert share == pytest.approx(text, abs=0.001)


TABLE = "0\t5\tdocs\tsome/repo:a/readme.md\n6\t3\tcode\tother/repo:x.py\n10\t2\tdocs\tsome/repo:a/readme.md\n"
TEXT = b"hello\0abc\0yo"
EXPECTED = {"docs": [("0000-readme.md", b"hello"), ("0002-readme.md", b"yo")], "code": [("0001-x.py", b"abc")]}


def test_validation_documents(tmp_path):
    (tmp_path / "val.txt").write_bytes(TEXT)
    (tmp_path / "val.tsv").write_text(TABLE)
    assert validation_documents(tmp_path) == EXPECTED
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "val.tar.xz", "w:xz") as tar:
        tar.add(tmp_path / "val.txt", "val.txt")
        tar.add(tmp_path / "val.tsv", "val.tsv")
    assert validation_documents(packed) == EXPECTED


def test_csv(tmp_path):
    write_csv(tmp_path / "new" / "x.csv", [{"a": 1, "b": "c,d"}])
    with (tmp_path / "new" / "x.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"a": "1", "b": "c,d"}]
