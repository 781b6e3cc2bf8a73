"""Encrypted archives: who can read them, what is hidden, and what becomes of damage."""

from __future__ import annotations

import io
import random
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import takeapart

import zllm
from zllm.archive import builder, cipher, compacting, keyfiles, keyless, vault
from zllm.archive.archive import Archive
from zllm.archive.options import ReadOptions, WriteOptions
from zllm.archive.recovering import recover
from zllm.archive.writer import Writer
from zllm.errors import MissingDependencyError
from zllm.format import sealing
from zllm.format.envelope import SEALED, Kind

bindings = pytest.importorskip("nacl.bindings")
SECRET, SECOND = keyfiles.new_secret(), keyfiles.new_secret()
PUBLIC = keyfiles.public_of(SECRET)
MODES = pytest.mark.parametrize("mode", ["r", "r|"])
NAMES = {"payroll-2026.txt": b"salary of the director: 123456\n" * 300, "photo.raw": random.Random(1).randbytes(54_321)}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "ARGON2_KIB", 64)
    monkeypatch.setattr(cipher, "ARGON2_PASSES", 1)


def add(archive: zllm.ZllmFile, members: dict[str, bytes]) -> None:
    for name, data in members.items():
        info = zllm.ZllmInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))


def packed(members: dict[str, bytes], **options: Any) -> bytes:
    out = io.BytesIO()
    with zllm.open(fileobj=out, mode="w", **{"level": 2, **options}) as archive:
        add(archive, members)
    return out.getvalue()


def contents(data: bytes, mode: str = "r", **options: Any) -> dict[str, bytes]:
    with zllm.open(fileobj=io.BytesIO(data), mode=mode, **options) as archive:
        found = {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]
        assert not archive.problems and not archive.warnings
        return found


@MODES
def test_round_trip(mode: str, tmp_path: Path) -> None:
    data = packed(NAMES, passphrase="correct horse", recipients=[PUBLIC, keyfiles.public_of(SECOND)])
    (tmp_path / "id").write_text(f"# mine\n\n{SECOND}\n")
    for keys in ({"passphrase": "correct horse"}, {"identities": [SECRET]}, {"identities": [tmp_path / "id"]}):
        assert contents(data, mode, **keys) == NAMES
    assert contents(data, mode, passphrase=lambda: "correct horse") == NAMES


@MODES
def test_wrong_keys_and_none(mode: str) -> None:
    data = packed(NAMES, passphrase="correct horse", recipients=[PUBLIC])
    for keys in ({"passphrase": "wrong"}, {"identities": [SECOND]}, {"passphrase": "no", "identities": [SECOND]}):
        said = "none of the keys that were given opens it" if "identities" in keys else "the passphrase is wrong"
        with pytest.raises(zllm.LockedError, match=said) as caught:
            contents(data, mode, **keys)
        assert caught.value.exit_code == 4 and caught.value.tried
    for keys in ({}, {"passphrase": lambda: None}):
        with pytest.raises(zllm.LockedError, match=r"no key was given: it takes a passphrase .* or the secret key"):
            contents(data, mode, **keys)


def test_a_passphrase_is_asked_for_once_and_only_where_it_opens_something() -> None:
    asked = []

    def ask() -> str:
        asked.append(1)
        return "x"

    both = packed(NAMES, passphrase="x") + packed({"more": b"1"}, passphrase="x")
    assert contents(both, passphrase=ask) == {**NAMES, "more": b"1"} and len(asked) == 1
    assert contents(packed(NAMES), passphrase=ask) == NAMES
    assert contents(packed(NAMES, recipients=[PUBLIC]), passphrase=ask, identities=[SECRET]) == NAMES
    assert len(asked) == 1


def test_passphrases_are_the_same_on_every_keyboard() -> None:
    word = "Grüße"
    assert unicodedata.normalize("NFD", word) != word
    assert contents(packed(NAMES, passphrase=unicodedata.normalize("NFD", word)), passphrase=word) == NAMES
    with pytest.raises(zllm.UsageError, match="empty"):
        packed(NAMES, passphrase="")


@pytest.mark.parametrize("level", [2, 6])
def test_nothing_is_in_clear(level: int) -> None:
    """Names, parts of names, texts, sizes of members in the forms that headers have them in, the manifest."""
    data = packed(NAMES, level=level, llm=False, recipients=[PUBLIC])
    words = [b"payroll", b"2026", b"photo", b"raw", b"salary", b"director", b"created_by", b"zllm 0", b"level"]
    numbers = [b"%d" % len(body) for body in NAMES.values()] + [b"%o" % len(body) for body in NAMES.values()]
    sizes = [len(body).to_bytes(3, "little") for body in NAMES.values()]
    noise = [NAMES["photo.raw"][at : at + 5] for at in range(0, 54_000, 100)]
    clear = packed(NAMES, level=level, llm=False)
    assert noise[7] in clear  # of what is not encrypted it would be found
    assert not [word for word in (*words, *numbers, *sizes, *noise) if word in data]
    assert packed(NAMES, level=level, llm=False, recipients=[PUBLIC]) != data


def test_what_the_format_page_says_opens_a_frame() -> None:
    """By hand, of the bytes alone."""
    data = packed({"a": b"text " * 100}, recipients=[PUBLIC])
    keys, frame = takeapart.of_kind(data, Kind.KEYS)[0], takeapart.of_kind(data, Kind.FRAME)[0]
    body = keys.body
    assert body[:3] == b"\1\0\0"  # construction, generation, number of the first part
    salt, before, rest = body[3:19], body[19:35], body[35:]
    assert before == bytes(16) and rest[:3] == b"\1\2\x50" and len(rest) == 3 + 80
    secret = keyfiles.secret_keys(SECRET)[0]
    key = bindings.crypto_box_seal_open(rest[3:], bindings.crypto_scalarmult_base(secret), secret)
    number = frame.envelope.sequence
    nonce = salt + number.to_bytes(6, "little") + bytes(2)
    about = b"zllm\3" + data[10:14] + before + bytes(8) + bytes([Kind.FRAME, SEALED]) + number.to_bytes(8, "little")
    about += b"\0" + bytes(4) + b"\0"
    opened = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(frame.body, about, nonce, key)
    assert opened[1] == 0 and opened[2:4] == b"\xf4\3"  # slot, bytes of data


@MODES
def test_bodies_in_several_pieces(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "PIECE", 1000)
    data = packed(NAMES, recipients=[PUBLIC])
    assert contents(data, mode, identities=[SECRET]) == NAMES
    part = max(takeapart.of_kind(data, Kind.FRAME), key=lambda one: len(one.body))
    step, body = 1016, part.body
    assert len(body) > 5 * step
    for changed in (
        body[step : 2 * step] + body[:step] + body[2 * step :],  # swapped
        body[:step] + body[:step] + body[2 * step :],  # repeated
        body[: 3 * step],  # cut off
        body[:step] + body[2 * step :],  # dropped
    ):
        which = takeapart.of_kind(data, Kind.FRAME).index(part)
        bad = takeapart.changed(data, Kind.FRAME, lambda _, changed=changed: changed, which)
        with pytest.raises(zllm.DamagedError):
            contents(bad, mode, identities=[SECRET])


def test_sizes_of_sealed_bodies() -> None:
    for size in (0, 1, sealing.PIECE - 1, sealing.PIECE, sealing.PIECE + 1, 5 * sealing.PIECE):
        assert sealing.opened_size(sealing.sealed_size(size)) == size
    for length in (0, 15, sealing.PIECE + 16 + 15):
        with pytest.raises(zllm.DamagedError):
            sealing.opened_size(length)


# Archives that change


def grown(data: bytes, members: dict[str, bytes], deleted: tuple[str, ...] = (), **keys: Any) -> bytes:
    out = io.BytesIO(data)
    with zllm.open(fileobj=out, mode="a", level=2, **keys) as archive:
        add(archive, members)
        archive.delete(deleted)
    return out.getvalue()


def test_growing_takes_the_key_and_stays_encrypted() -> None:
    base = packed(NAMES, passphrase="x", recipients=[PUBLIC])
    more = grown(base, {"secret-plan": b"by night " * 50}, ("photo.raw",), passphrase="x")
    assert more.startswith(base) and b"secret-plan" not in more and b"by night" not in more
    wanted = {"payroll-2026.txt": NAMES["payroll-2026.txt"], "secret-plan": b"by night " * 50}
    for keys in ({"passphrase": "x"}, {"identities": [SECRET]}):
        assert contents(more, **keys) == wanted and contents(more, generation=0, **keys) == NAMES
    sealed = [part for part in takeapart.parts(more) if part.envelope.kind not in sealing.OPEN_KINDS]
    assert all(part.envelope.flags & SEALED for part in sealed)
    salts = {sealing.unpack(part.body).salt for part in takeapart.of_kind(more, Kind.KEYS)}
    assert len(salts) == 2 and len(takeapart.of_kind(more, Kind.KEYS)) == 4
    with pytest.raises(zllm.LockedError):
        grown(base, {"a": b"1"})
    with pytest.raises(zllm.UsageError, match="recipients are chosen when an archive is made"):
        grown(base, {"a": b"1"}, passphrase="x", recipients=[PUBLIC])
    with pytest.raises(zllm.UsageError, match="not encrypted"):
        grown(packed(NAMES), {"a": b"1"}, passphrase="x")


def test_an_archive_is_read_while_it_grows_at_the_end_of_others() -> None:
    """A host that cannot read makes another archive behind the first."""
    joined = packed(NAMES, recipients=[PUBLIC]) + packed({"later": b"2"}, recipients=[PUBLIC])
    for mode in ("r", "r|"):
        assert contents(joined, mode, identities=[SECRET]) == {**NAMES, "later": b"2"}
    other = packed(NAMES, recipients=[PUBLIC]) + packed({"later": b"2"}, recipients=[keyfiles.public_of(SECOND)])
    with zllm.open(fileobj=io.BytesIO(other), identities=[SECRET]) as archive:
        assert [one.name for one in archive.archive] == list(NAMES)  # type: ignore[union-attr]
        assert isinstance(archive.problem, zllm.LockedError)


def test_a_generation_that_was_never_finished() -> None:
    base = packed(NAMES, recipients=[PUBLIC])
    more = grown(base, {"new": b"3" * 5000}, identities=[SECRET])
    for part in takeapart.parts(more)[len(takeapart.parts(base)) + 1 :]:
        with zllm.open(fileobj=io.BytesIO(more[: part.offset]), identities=[SECRET]) as archive:
            assert archive.getnames() == list(NAMES) and "never finished" in archive.warnings[0]
        again = grown(more[: part.offset], {"new": b"4"}, identities=[SECRET])
        assert contents(again, identities=[SECRET]) == {**NAMES, "new": b"4"}


def test_compacted_archives_stay_encrypted() -> None:
    data = grown(packed(NAMES, recipients=[PUBLIC]), {"new": b"3"}, ("photo.raw",), identities=[SECRET])
    archive, out = Archive(io.BytesIO(data), ReadOptions(identities=[SECRET])), io.BytesIO()
    writer = Writer(out, WriteOptions(level=2, sealing=archive.sealing))
    compacting.Compactor(archive, writer, lambda _: None).run()
    assert b"payroll" not in out.getvalue()
    wanted = {"payroll-2026.txt": NAMES["payroll-2026.txt"], "new": b"3"}
    assert contents(out.getvalue(), identities=[SECRET]) == wanted


# Damage


@pytest.fixture(scope="module")
def several() -> Iterator[tuple[bytes, dict[str, bytes]]]:
    members = {f"f{number}": random.Random(number).randbytes(20_000) for number in range(6)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "SECTION", 50_000)
        yield packed(members, recipients=[PUBLIC], frame_size=8192), members


def damaged(data: bytes, at: int, size: int) -> bytes:
    return data[:at] + bytes(byte ^ 0x55 for byte in data[at : at + size]) + data[at + size :]


def left(data: bytes, mode: str = "r", **options: Any) -> tuple[dict[str, bytes], zllm.ZllmError | None]:
    found: dict[str, bytes] = {}
    with zllm.open(fileobj=io.BytesIO(data), mode=mode, identities=[SECRET], **options) as archive:
        assert archive.archive is not None
        for one in archive.archive:
            try:
                found[one.name] = archive.archive.open(one).read()  # type: ignore[union-attr]
            except zllm.DamagedError:
                continue
        return found, archive.problem


@MODES
def test_one_wrong_byte_anywhere_costs_nothing(mode: str, several: tuple[bytes, dict[str, bytes]]) -> None:
    data, members = several
    for part in takeapart.parts(data)[::2]:
        for at in (part.offset + 3, part.body_at + len(part.body) // 2, part.end - 2):
            found, problem = left(damaged(data, at, 1), mode)
            assert found == members, (part.envelope, at)
            assert problem is None or problem.exit_code == 3


@MODES
def test_a_burst_costs_the_members_of_its_frame(mode: str, several: tuple[bytes, dict[str, bytes]]) -> None:
    data, members = several
    for part in takeapart.of_kind(data, Kind.FRAME)[::5]:
        found, _ = left(damaged(data, part.body_at + 100, 50), mode)
        assert len(found) >= len(members) - 2 and all(members[name] == body for name, body in found.items())


def test_keys_that_are_lost_where_they_stand_first(several: tuple[bytes, dict[str, bytes]]) -> None:
    data, members = several
    first, last = takeapart.of_kind(data, Kind.KEYS)
    for part in (first, last):
        assert left(damaged(data, part.body_at, 60))[0] == members
    bad = damaged(damaged(data, first.body_at, 60), last.body_at, 60)
    with pytest.raises(zllm.ZllmError) as caught, zllm.open(fileobj=io.BytesIO(bad), identities=[SECRET]) as archive:
        archive.getmembers()
    assert caught.value.exit_code == 3


def test_parity_mends_what_is_encrypted() -> None:
    data = packed(NAMES, recipients=[PUBLIC], parity=0.05)
    for kind in (Kind.FRAME, Kind.KEYS, Kind.SECTION):
        assert left(damaged(data, takeapart.of_kind(data, kind)[0].body_at + 20, 60))[0] == NAMES


def test_embedded_models_are_encrypted(prose: bytes) -> None:
    from zllm.models import store

    data = packed({"a.txt": prose[:6000]}, level=7, model="fast", embed_model=True, recipients=[PUBLIC])
    model = store.resolve("fast").data
    assert takeapart.of_kind(data, Kind.MODEL) and bytes(model[-2000:-1900]) not in data
    for mode in ("r", "r|"):
        assert contents(data, mode, identities=[SECRET]) == {"a.txt": prose[:6000]}
    at = takeapart.of_kind(data, Kind.MODEL)[0].body_at + 9000
    bad = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]  # of so long a part one bit is corrected
    with zllm.open(fileobj=io.BytesIO(bad), identities=[SECRET]) as archive:
        assert archive.archive is not None
        assert next(iter(archive.archive.decoders.embedded.values())).fetch()[2]  # corrected


def test_recovered_archives_are_encrypted_for_the_same_keys(several: tuple[bytes, dict[str, bytes]]) -> None:
    data, members = several
    bad = damaged(data, takeapart.of_kind(data, Kind.FRAME)[4].body_at + 100, 50)
    out = io.BytesIO()
    done = recover(Archive(io.BytesIO(bad), ReadOptions(identities=[SECRET])), out, WriteOptions(level=2))
    assert done.lost and b"ustar" not in out.getvalue()
    found = contents(out.getvalue(), identities=[SECRET])
    assert len(found) >= 4 and all(members[name] == body for name, body in found.items())


# Without a key


def test_damage_is_found_without_the_key(several: tuple[bytes, dict[str, bytes]]) -> None:
    data, _ = several
    for seekable in (True, False):
        seen = keyless.test(io.BytesIO(data), seekable=seekable)
        assert not seen.problems and (seen.generations, seen.slots) == (1, [sealing.RECIPIENT])
        assert seen.parts == len(takeapart.parts(data)) - 1 and seen.size == len(data)  # but for the footer
        for part in takeapart.parts(data):
            for at in (part.offset + 4, part.body_at + len(part.body) // 2):
                assert keyless.test(io.BytesIO(damaged(data, at, 1)), seekable=seekable).problems, (part, at)
        for part in takeapart.parts(data)[1:]:
            problems = keyless.test(io.BytesIO(data[: part.offset]), seekable=seekable).problems
            assert isinstance(problems[0], zllm.TruncatedError)
            gone = data[: part.offset] + data[part.end :]
            assert keyless.test(io.BytesIO(gone), seekable=seekable).problems, part.envelope
    with pytest.raises(zllm.UsageError, match="not encrypted"):
        keyless.test(io.BytesIO(packed(NAMES)), seekable=True)


def test_mended_without_the_key(several: tuple[bytes, dict[str, bytes]]) -> None:
    data, _ = several
    bad = data
    for part in takeapart.parts(data)[:-1]:
        bad = damaged(bad, part.body_at + len(part.body) // 2, 1)
    bad = damaged(bad, 11, 1)
    out = io.BytesIO()
    assert not keyless.mend(io.BytesIO(bad), out).damaged
    assert out.getvalue() == data
    out = io.BytesIO()
    frame = takeapart.of_kind(data, Kind.FRAME)[3]
    assert keyless.mend(io.BytesIO(damaged(data, frame.body_at, 40)), out).damaged == [frame.envelope.sequence]
    assert out.getvalue() == damaged(data, frame.body_at, 40)  # what the key's owner may still use stays
    out = io.BytesIO()
    keyless.mend(io.BytesIO(data[: frame.body_at + 30]), out)
    assert out.getvalue() == data[: frame.offset]


def test_mended_by_parity_without_the_key() -> None:
    data = packed(NAMES, recipients=[PUBLIC], parity=0.05)
    out = io.BytesIO()
    keyless.mend(io.BytesIO(damaged(data, takeapart.of_kind(data, Kind.FRAME)[0].body_at + 300, 200)), out)
    assert out.getvalue() == data


# What is said, and what is not


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="passphrase must be a string") as caught:
        packed(NAMES, passphrase=b"hunter2")
    assert "hunter2" not in str(caught.value)
    for keys in ({"recipients": PUBLIC}, {"identities": SECRET}, {"recipients": [5]}):
        with pytest.raises(TypeError, match="a list of strings or paths"):
            packed(NAMES, **keys)  # type: ignore[arg-type]
    (tmp_path / "empty").write_text("# nothing\n")
    bad = PUBLIC[:-1] + ("a" if PUBLIC[-1] != "a" else "b")
    for text in ("nowhere", bad, SECRET, str(tmp_path / "empty")):
        with pytest.raises(zllm.UsageError) as caught_error:
            packed(NAMES, recipients=[text])
        assert SECRET not in str(caught_error.value)
    wrong = SECRET[:-1] + ("A" if SECRET[-1] != "A" else "B")
    with pytest.raises(zllm.UsageError) as caught_error:
        contents(packed(NAMES, recipients=[PUBLIC]), identities=[wrong])
    assert wrong not in str(caught_error.value)
    shown = repr(ReadOptions(passphrase="hunter2", identities=[SECRET])) + repr(WriteOptions(passphrase="hunter2"))
    assert "hunter2" not in shown and SECRET not in shown


def test_a_key_demands_encryption() -> None:
    for mode in ("r", "r|"):
        for keys in ({"passphrase": "x"}, {"identities": [SECRET]}):
            with pytest.raises(zllm.UsageError, match="not encrypted, so anybody may have made it"):
                contents(packed(NAMES), mode, **keys)


def test_without_pynacl(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed(NAMES, recipients=[PUBLIC])
    monkeypatch.setitem(sys.modules, "nacl.bindings", None)
    for work in (lambda: contents(data, identities=[SECRET]), lambda: packed(NAMES, recipients=[PUBLIC])):
        with pytest.raises(MissingDependencyError, match=r"pip install 'zllm\[crypto\]'"):
            work()
    assert not keyless.test(io.BytesIO(data), seekable=True).problems


def test_too_many_recipients() -> None:
    many = [keyfiles.secret_keys(SECRET)[0][:-2] + number.to_bytes(2, "big") for number in range(257)]
    with pytest.raises(zllm.UsageError, match="256 recipients at most"):
        cipher.new_sealing(None, many)


def test_the_vault_names_a_loss_of_all_keys() -> None:
    with pytest.raises(zllm.LockedError, match="keys of the archive are lost"):
        vault.Vault().open(1, takeapart.Envelope(Kind.FRAME, 3, 100, SEALED), bytes(100))


def test_argon2_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """libsodium says so by an error of its own kind, which is no way to end."""
    monkeypatch.setattr(cipher, "ARGON2_KIB", 1 << 40)  # more than libsodium takes
    with pytest.raises(zllm.LimitError, match="not to be had"):
        packed(NAMES, passphrase="x")
