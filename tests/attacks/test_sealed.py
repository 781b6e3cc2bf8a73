"""Encrypted archives that somebody without the key has changed, every checksum made right again: nothing that was not
packed there comes out under its name, and the error says so.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import takeapart
from takeapart import Part

import zllm
from zllm.archive import builder, cipher, keyfiles, writer
from zllm.format import ends, envelope, sealing
from zllm.format.envelope import SEALED, SKIP, Envelope, Kind
from zllm.format.sealing import PASSPHRASE, Slot
from zllm.format.wire import varints

pytest.importorskip("nacl")
SECRET = keyfiles.new_secret()
PUBLIC = keyfiles.public_of(SECRET)
KEYS: dict[str, Any] = {"identities": [SECRET]}
OUR, MODES = {"level": 2, "frame_size": 4096, "recipients": [PUBLIC]}, ("r", "r|")


def files(letter: str) -> dict[str, bytes]:
    """Of the same sizes in each archive, so that parts of one fit into another."""
    rng = random.Random(letter)
    return {f"{letter}{number}": rng.randbytes(9000) for number in range(8)}


def add(archive: zllm.ZllmFile, members: dict[str, bytes]) -> None:
    for name, data in members.items():
        info = zllm.ZllmInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))


def packed(members: dict[str, bytes], **options: Any) -> bytes:
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", **{**OUR, **options}) as archive:
        add(archive, members)
    return out.getvalue()


def grown(data: bytes, members: dict[str, bytes]) -> bytes:
    out = io.BytesIO(data)
    with zllm.open(fileobj=out, mode="a", level=2, frame_size=4096, **KEYS) as archive:
        add(archive, members)
    return out.getvalue()


@pytest.fixture(scope="module")
def one() -> bytes:
    """Two sections, several frames each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "SECTION", 40_000)
        data = packed(files("a"))
    assert [len(takeapart.of_kind(data, kind)) for kind in (Kind.KEYS, Kind.SECTION, Kind.FRAME)] == [2, 2, 20]
    return data


@pytest.fixture(scope="module")
def other() -> bytes:
    """For the same recipient."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "SECTION", 40_000)
        return packed(files("b"))


def read(data: bytes, mode: str, folder: Path, **keys: Any) -> zllm.ZllmError | None:
    """What is wrong with the archive; all that is in ``folder`` then is what was extracted."""
    try:
        with zllm.open(fileobj=io.BytesIO(data), mode=mode, **(keys or KEYS)) as archive:
            archive.errorlevel = 0
            archive.extractall(folder)
            return archive.problems[0] if archive.problems else None
    except zllm.ZllmError as exc:
        return exc


def put(data: bytes, parts: list[Part], *, numbered: bool = False) -> bytes:
    """An archive of these parts behind the header of ``data``, with checksums and, if ``numbered``, numbers that fit;
    the footer says where the directory is.
    """
    seed, out, directory = takeapart.seed_of(data), bytearray(data[: ends.HEADER_SIZE]), 0
    for number, part in enumerate(parts):
        own, body = replace(part.envelope, sequence=number) if numbered else part.envelope, part.body
        if own.kind == Kind.DIRECTORY:
            directory = len(out)
        if own.kind == Kind.FOOTER:
            body = varints([len(out) - directory]) + body[-2:]
        out += takeapart.sealed(seed, own, body)
    return bytes(out)


def swapped(parts: list[Part], kind: Kind, first: int, second: int) -> list[Part]:
    """Bodies of two parts exchanged: the envelopes stay."""
    places = [at for at, part in enumerate(parts) if part.envelope.kind == kind]
    one, two = places[first], places[second]
    out = list(parts)
    out[one], out[two] = replace(parts[one], body=parts[two].body), replace(parts[two], body=parts[one].body)
    return out


def without(parts: list[Part], kind: Kind, which: int = 0) -> list[Part]:
    gone = [part for part in parts if part.envelope.kind == kind][which]
    return [part for part in parts if part is not gone]


def repeated(parts: list[Part], kind: Kind) -> list[Part]:
    at = next(at for at, part in enumerate(parts) if part.envelope.kind == kind)
    return [*parts[: at + 1], parts[at], *parts[at + 1 :]]


def flipped(parts: list[Part], kind: Kind, change: Callable[[Part], Part]) -> list[Part]:
    at = next(at for at, part in enumerate(parts) if part.envelope.kind == kind)
    return [*parts[:at], change(parts[at]), *parts[at + 1 :]]


def wrong_bit(part: Part) -> Part:
    return replace(part, body=part.body[:-1] + bytes([part.body[-1] ^ 1]))


def other_flags(part: Part) -> Part:
    return replace(part, envelope=replace(part.envelope, flags=part.envelope.flags | SKIP))


def spliced(mine: list[Part], theirs: list[Part], *kinds: Kind) -> list[Part]:
    """Parts of these kinds from another archive, where there are as many."""
    rest = [part for part in theirs if part.envelope.kind in kinds]
    return [rest.pop(0) if part.envelope.kind in kinds else part for part in mine]


SEALED_KINDS = (Kind.SECTION, Kind.FRAME, Kind.DIRECTORY)
ATTACKS: dict[str, Callable[[list[Part], list[Part]], list[Part]]] = {
    **{f"flipped {kind.name}": lambda a, b, kind=kind: flipped(a, kind, wrong_bit) for kind in SEALED_KINDS},
    **{f"flagged {kind.name}": lambda a, b, kind=kind: flipped(a, kind, other_flags) for kind in SEALED_KINDS},
    "frames swapped": lambda a, b: swapped(a, Kind.FRAME, 1, 2),
    "frames of sections swapped": lambda a, b: swapped(a, Kind.FRAME, 1, 11),
    "sections swapped": lambda a, b: swapped(a, Kind.SECTION, 0, 1),
    "a frame dropped": lambda a, b: without(a, Kind.FRAME, 3),
    "the last frame dropped": lambda a, b: without(a, Kind.FRAME, -1),
    "a section dropped": lambda a, b: without(a, Kind.SECTION, 0),
    "the last section dropped": lambda a, b: [part for part in a if not 12 <= part.envelope.sequence < 23],
    "the directory dropped": lambda a, b: without(a, Kind.DIRECTORY),
    "a frame repeated": lambda a, b: repeated(a, Kind.FRAME),
    "a section repeated": lambda a, b: repeated(a, Kind.SECTION),
    "a frame of another archive": lambda a, b: [*a[:3], b[3], *a[4:]],
    "frames of another archive": lambda a, b: spliced(a, b, Kind.FRAME),
    "sections of another archive": lambda a, b: spliced(a, b, Kind.SECTION),
    "sections and frames of another archive": lambda a, b: spliced(a, b, Kind.SECTION, Kind.FRAME),
    "the directory of another archive": lambda a, b: spliced(a, b, Kind.DIRECTORY),
    "the keys of another archive": lambda a, b: spliced(a, b, Kind.KEYS),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("name", ATTACKS)
def test_parts_changed_and_moved(  # noqa: PLR0917
    name: str, numbered: bool, mode: str, one: bytes, other: bytes, tmp_path: Path
) -> None:
    data = put(one, ATTACKS[name](takeapart.parts(one), takeapart.parts(other)), numbered=numbered)
    assert takeapart.parts(data)  # to those without the key it is in order
    problem = read(data, mode, tmp_path)
    assert isinstance(problem, zllm.DamagedError) and problem.exit_code == 3, problem
    wanted = files("a")
    for path in tmp_path.iterdir():
        assert path.read_bytes() == wanted[path.name]


def test_what_is_left_as_it_is_is_right(one: bytes, tmp_path: Path) -> None:
    """The helpers do not break archives by themselves."""
    for numbered in (False, True):
        assert put(one, takeapart.parts(one), numbered=numbered) == one
    for mode in MODES:
        assert read(one, mode, tmp_path / mode) is None
        assert {path.name: path.read_bytes() for path in (tmp_path / mode).iterdir()} == files("a")


@pytest.mark.parametrize("mode", MODES)
def test_every_place_to_cut_at(mode: str, one: bytes, tmp_path: Path) -> None:
    bounds = [part.offset for part in takeapart.parts(one)]
    for number, cut in enumerate([*bounds, *(bound + 5 for bound in bounds)]):
        assert isinstance(read(one[:cut], mode, tmp_path / str(number)), zllm.ZllmError), cut
        for path in (tmp_path / str(number)).glob("*"):
            assert path.read_bytes() == files("a")[path.name]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [Kind.NOTE, Kind.FRAME, 99])
def test_parts_that_are_not_encrypted_are_refused(kind: int, mode: str, one: bytes, tmp_path: Path) -> None:
    parts = takeapart.parts(one)
    data = put(one, [*parts[:-3], Part(0, Envelope(kind, 0, 5, SKIP), b"plain"), *parts[-3:]], numbered=True)
    assert isinstance(read(data, mode, tmp_path), zllm.DamagedError)
    (tmp_path / "sub").mkdir()
    data = put(one, [Part(0, Envelope(kind, 0, 5, SKIP), b"plain"), *parts])
    assert isinstance(read(data, mode, tmp_path / "sub"), zllm.ZllmError)


@pytest.mark.parametrize("mode", MODES)
def test_archives_that_are_not_encrypted_do_not_pass_for_such(mode: str, one: bytes, tmp_path: Path) -> None:
    plain = packed({"evil": b"not yours"}, recipients=[])
    assert isinstance(read(plain, mode, tmp_path), zllm.UsageError)
    problem = read(one + plain, mode, tmp_path)
    assert isinstance(problem, zllm.AuthenticationError) and "not encrypted" in str(problem)
    assert isinstance(read(plain + one, mode, tmp_path), zllm.ZllmError)
    assert not (tmp_path / "evil").exists()


def test_generations_of_two_histories(tmp_path: Path) -> None:
    """Two copies of an archive grow differently: what both have are the same key and the same numbers of parts."""
    base = packed({"base": b"1" * 9000})
    forks = [grown(base, files(letter)) for letter in "xy"]
    ends_ = [takeapart.parts(fork) for fork in forks]
    count = len(takeapart.parts(base))
    assert len(ends_[0]) == len(ends_[1])
    for at in range(count, len(ends_[0])):  # each part from the other one
        mixed = [*ends_[0][:at], ends_[1][at], *ends_[0][at + 1 :]]
        if mixed[at].envelope.kind in (Kind.FOOTER,):
            continue
        for mode in MODES:
            folder = tmp_path / f"{at}{mode[-1]}"
            assert isinstance(read(put(base, mixed), mode, folder), zllm.DamagedError), (at, mode)
            assert not list(folder.glob("y*"))
    third = [grown(fork, {"third": b"3" * 9000}) for fork in forks]
    crossed = third[0][: len(forks[0])] + third[1][len(forks[1]) :]
    assert len(forks[0]) == len(forks[1])
    for mode in MODES:
        problem = read(crossed, mode, tmp_path / f"c{mode[-1]}")
        assert isinstance(problem, zllm.AuthenticationError) and "history" in str(problem)


def test_keys_that_lie_about_their_generation(one: bytes, tmp_path: Path) -> None:
    keys = sealing.unpack(takeapart.parts(one)[0].body)
    for change in ({"generation": 1}, {"before": bytes(range(16))}, {"salt": bytes(16)}):
        body = sealing.pack(replace(keys, **change))
        data = put(one, [replace(p, body=body) if p.envelope.kind == Kind.KEYS else p for p in takeapart.parts(one)])
        for mode in MODES:
            assert isinstance(read(data, mode, tmp_path), zllm.AuthenticationError), change
    assert not list(tmp_path.iterdir())


def hostile(kib: int, passes: int, count: int = 1, lanes: int = 1) -> bytes:
    """An archive whose slots want so much of Argon2id."""
    content = bytes(16) + varints([kib, passes, lanes]) + bytes(24 + 48)
    keys = sealing.Keys(0, 0, bytes(16), slots=(Slot(PASSPHRASE, content),) * count)
    body = sealing.pack(keys)
    header = envelope.id_of(Kind.KEYS, body)
    return ends.pack_header(header) + envelope.part(envelope.seed_of(header), Kind.KEYS, 0, body)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("kib", "passes", "count"), [(1 << 22, 1, 1), (1 << 31, 1, 1), (8, 1 << 31, 1)])
def test_argon2_bombs(kib: int, passes: int, count: int, mode: str, tmp_path: Path) -> None:
    problem = read(hostile(kib, passes, count), mode, tmp_path, passphrase="any")
    assert isinstance(problem, zllm.LimitError) and "limit that was set" in str(problem)


def test_argon2_of_many_slots_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "open_passphrase", lambda cost, passphrase: None)
    problem = read(hostile(1 << 20, 1, 65), "r", tmp_path, passphrase="any")
    assert isinstance(problem, zllm.LimitError) and "work" in str(problem)
    problem = read(hostile(1 << 20, 1, 64), "r", tmp_path, passphrase="any")
    assert isinstance(problem, zllm.LockedError)


def test_slots_of_other_forms_are_passed_over(tmp_path: Path) -> None:
    problem = read(hostile(64, 1, lanes=4), "r", tmp_path, passphrase="any")
    assert isinstance(problem, zllm.LockedError) and problem.exit_code == 4


def test_random_changes_of_keys_never_end_otherwise(one: bytes, tmp_path: Path) -> None:
    rng = random.Random(3)
    parts = takeapart.parts(one)
    for _ in range(150):
        body = bytearray(parts[0].body)
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        cut = bytes(body[: rng.choice([len(body), rng.randrange(len(body))])])
        if cut == parts[0].body:
            continue
        head = put(one, [replace(parts[0], body=cut), *parts[1:]])
        problem = read(head, "r|", tmp_path)
        assert problem is None or isinstance(problem, zllm.ZllmError)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == files("a")[path.name]


def test_sealed_flag_is_looked_at(one: bytes) -> None:
    kinds = {part.envelope.kind: bool(part.envelope.flags & SEALED) for part in takeapart.parts(one)}
    assert kinds == {
        Kind.KEYS: False, Kind.SECTION: True, Kind.FRAME: True, Kind.DIRECTORY: True, Kind.FOOTER: False,
    }  # fmt: skip


def test_a_plain_generation_behind_sealed_ones(one: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write the file, but has no key, adds what would replace members, every checksum right."""
    end_of = writer.end_of
    monkeypatch.setattr(writer, "end_of", lambda after: replace(end_of(after), sealing=None))
    data = grown(one, {"a1": b"forged" * 99})
    monkeypatch.undo()
    assert b"forged" in data
    for mode in MODES:
        with (
            pytest.raises(zllm.AuthenticationError, match="not encrypted, as all others are"),
            zllm.open(fileobj=io.BytesIO(data), mode=mode, **KEYS) as archive,
        ):
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None and b"forged" not in file.read()
    with zllm.open(fileobj=io.BytesIO(data), **KEYS) as archive, pytest.raises(zllm.AuthenticationError):
        archive.extractfile("a1")
