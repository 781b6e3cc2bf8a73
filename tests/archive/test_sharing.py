"""Several threads share one open archive."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable

import pytest

import zllm

NAMES = [f"folder/file {number}" for number in range(400)]


def content(name: str) -> bytes:
    rng = random.Random(name)
    return rng.randbytes(rng.randrange(4000)) + name.encode() * rng.randrange(100)


@pytest.fixture(scope="module")
def packed() -> bytes:
    """An archive of three sections: each third begins with a large member."""
    file = io.BytesIO()
    with zllm.open(fileobj=file, mode="w", level=1) as archive:
        for number, name in enumerate(NAMES):
            if number % 150 == 0:
                large = zllm.ZllmInfo(f"large {number}")
                large.size = 30 << 20
                archive.addfile(large, io.BytesIO(bytes(30 << 20)))
            info = zllm.ZllmInfo(name)
            data = content(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def together(work: Callable[[int], None], count: int = 8) -> None:
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_members_by_name(packed: bytes) -> None:
    with zllm.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.layout is not None and len(archive.layout.rows) == 3

        def work(number: int) -> None:
            rng = random.Random(number)
            for name in rng.sample(NAMES, 60):
                member = archive.getmember(name)
                file = archive.extractfile(member)
                assert file is not None and file.read() == content(name)
                assert member.codecs and member.size == len(content(name))

        together(work)


def test_everyone_finds_all_members(packed: bytes) -> None:
    with zllm.open(fileobj=io.BytesIO(packed)) as archive:
        found: dict[int, list[str]] = {}

        def work(number: int) -> None:
            if number % 4 == 3:
                found[number] = archive.getnames()
            else:
                found[number] = [member.name for member in archive]

        together(work)
        assert len({tuple(names) for names in found.values()}) == 1
        assert [name for name in found[0] if name in NAMES] == NAMES
        assert archive.getnames() == found[0]


def test_next_gives_each_member_once(packed: bytes) -> None:
    with zllm.open(fileobj=io.BytesIO(packed)) as archive:
        found: list[str] = []

        def work(_: int) -> None:
            while (member := archive.next()) is not None:
                found.append(member.name)

        together(work)
        assert sorted(name for name in found if name in NAMES) == sorted(NAMES)
        assert len(found) == len(set(found))


def test_one_file_and_several_threads(packed: bytes) -> None:
    with zllm.open(fileobj=io.BytesIO(packed)) as archive:
        file = archive.extractfile("large 150")
        assert file is not None
        sizes: list[int] = []

        def work(_: int) -> None:
            while piece := file.read(100_000):
                sizes.append(len(piece))

        together(work)
        assert sum(sizes) == 30 << 20
