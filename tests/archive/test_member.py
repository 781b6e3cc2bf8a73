"""Files from extractfile: they keep the archive open, know their place, and may be read by several threads."""

from __future__ import annotations

import gc
import io
import os
import random
import tarfile
import threading
import warnings
from pathlib import Path

import pytest

import zllm

DATA = {f"m{i}": random.Random(i).randbytes(90_000) + b"words and words " * 9000 for i in range(4)}


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("member") / "t.zllm"
    with zllm.open(path, "w", level=1, frame_size=65536) as archive:
        for member, data in DATA.items():
            info = zllm.ZllmInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for link, kind, target in (
            ("sym", tarfile.SYMTYPE, "m1"), ("hard", tarfile.LNKTYPE, "m2"), ("chain", tarfile.SYMTYPE, "sym"),
            ("lost", tarfile.SYMTYPE, "nowhere"), ("loop", tarfile.SYMTYPE, "pool"), ("pool", tarfile.SYMTYPE, "loop"),
            ("self", tarfile.SYMTYPE, "self"),
        ):  # fmt: skip
            info = zllm.ZllmInfo(link)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        folder = zllm.ZllmInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return path


def test_a_file_outlives_the_archive_object(name: Path) -> None:
    files = {}
    for member in DATA:
        opened = zllm.open(name).extractfile(member)
        assert opened is not None
        files[member] = opened
    gc.collect()
    for member, file in files.items():
        assert file.read(10) == DATA[member][:10]
        assert file.read() == DATA[member][10:]
    lines = io.TextIOWrapper(zllm.open(name).extractfile("m1"), encoding="latin-1").read()  # type: ignore[arg-type]
    assert lines.encode("latin-1").replace(b"\n", b"") == DATA["m1"].replace(b"\r", b"").replace(b"\n", b"")


def test_nothing_stays_open(name: Path) -> None:
    def held() -> int:
        return sum(os.path.realpath(f"/proc/self/fd/{fd}") == str(name) for fd in os.listdir("/proc/self/fd"))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = zllm.open(name).extractfile("m0")
        assert held() == 1
        file.close()
        del file
        assert held() == 0
        zllm.open(name).getmembers()
        assert held() == 0


@pytest.mark.parametrize("mode", ["r", "r|"])
def test_reading_after_close_is_a_value_error_however_small(name: Path, mode: str) -> None:
    archive = zllm.open(name, mode)
    member = archive.next()
    file = archive.extractfile(member)
    assert file.read(3) == DATA["m0"][:3]  # a whole frame is decoded now
    archive.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(200_000)
    with pytest.raises(OSError, match="ZllmFile is closed"):
        archive.extractfile(member)
    file.close()
    with pytest.raises(ValueError, match="closed file"):
        file.read()


def test_a_file_object_that_was_given_can_be_read_on(name: Path) -> None:
    with name.open("rb") as source:
        with zllm.open(fileobj=source) as archive:
            file = archive.extractfile("m1")
        assert file.read() == DATA["m1"]  # as in tarfile: closing the archive does not close what it did not open


def test_many_threads_read_many_members(name: Path) -> None:
    wrong: list[str] = []
    with zllm.open(name) as archive:
        archive.getmembers()

        def work(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(30):
                member = chance.choice(list(DATA))
                with archive.extractfile(member) as file:
                    at, size = chance.randrange(len(DATA[member])), chance.randrange(1, 60_000)
                    file.seek(at)
                    if file.read(size) != DATA[member][at : at + size]:
                        wrong.append(member)
                    if archive.getmember(member).size != len(DATA[member]):
                        wrong.append(f"size of {member}")

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_reading_while_another_thread_lists(name: Path) -> None:
    with zllm.open(name) as archive:
        file = archive.extractfile(archive.next())
        got: list[bytes] = []
        thread = threading.Thread(target=lambda: got.extend(iter(lambda: file.read(500), b"")))
        thread.start()
        names = archive.getnames()
        thread.join()
    assert b"".join(got) == DATA["m0"]
    assert names[:4] == list(DATA)


def test_seeking_as_in_tarfile(name: Path) -> None:
    data = DATA["m3"]
    with zllm.open(name) as archive, archive.extractfile("m3") as file:
        assert (file.name, file.mode, file.readable(), file.writable(), file.seekable()) == (
            "m3", "rb", True, False, True
        )  # fmt: skip
        with pytest.raises(AttributeError):
            file.fileno()
        for offset, whence, at in ((10, 0, 10), (-5, 1, 5), (1 << 40, 0, len(data)), (-3, 2, len(data) - 3)):
            assert file.seek(offset, whence) == at == file.tell()
        assert file.read() == data[-3:]
        assert file.read() == file.read(5) == b""
        file.seek(0)
        assert file.readline() == data[: data.index(b"\n") + 1]
        assert file.peek(1)[:1] == data[data.index(b"\n") + 1 :][:1]
        buffer = bytearray(100)
        file.seek(7)
        assert file.readinto(buffer) == 100 and buffer == data[7:107]


def test_links_lead_to_data(name: Path) -> None:
    with zllm.open(name) as archive:
        for link, member in (("sym", "m1"), ("hard", "m2"), ("chain", "m1")):
            with archive.extractfile(link) as file:
                assert (file.name, file.read()) == (member, DATA[member])
        assert archive.extractfile("folder") is None


@pytest.mark.parametrize("link", ["lost", "loop", "self"])
def test_links_that_lead_nowhere(name: Path, link: str) -> None:
    with zllm.open(name) as archive, pytest.raises(KeyError) as caught:
        archive.extractfile(link)
    assert isinstance(caught.value, zllm.LinkTargetError)
    assert caught.value.member and "\n" not in str(caught.value)


def test_pipes_give_members_in_order_only(name: Path) -> None:
    with zllm.open(name, "r|") as archive:
        for member in archive:
            if member.issym() or member.islnk():
                with pytest.raises(tarfile.StreamError, match=f"{member.name}: cannot extract a link"):
                    archive.extractfile(member)
            elif member.isreg():
                file = archive.extractfile(member)
                assert not file.seekable()
                assert file.read() == DATA[member.name]
                with pytest.raises(OSError, match="not seekable"):
                    file.seek(0)
        with pytest.raises(tarfile.StreamError, match="m0: seeking backwards is not allowed"):
            archive.extractfile(archive.members[0]).read()


def test_sparse_members_are_read_with_their_holes(tmp_path: Path) -> None:
    import subprocess

    path = tmp_path / "sparse"
    with path.open("wb") as out:
        for at, data in ((100_000, b"one"), (1_000_000, b"two" * 5000), (2_999_000, b"three")):
            out.seek(at)
            out.write(data)
        out.truncate(3_500_000)
    command = ["tar", "-C", tmp_path, "--format=posix", "-S", "-cf", "-", "sparse"]
    stream = subprocess.run(command, capture_output=True, check=True).stdout
    from zllm.archive.options import WriteOptions
    from zllm.archive.writer import Writer

    archive = io.BytesIO()
    sink = Writer(archive, WriteOptions(level=1))
    sink.write(stream)
    sink.close()
    whole = path.read_bytes()
    with zllm.open(fileobj=io.BytesIO(archive.getvalue())) as opened, opened.extractfile("sparse") as file:
        assert file.read() == whole
        chance = random.Random(3)
        for at in (
            0,
            99_999,
            100_002,
            999_990,
            2_999_004,
            3_499_999,
            *(chance.randrange(3_500_000) for _ in range(20)),
        ):
            file.seek(at)
            assert file.read(17_000) == whole[at : at + 17_000]
