import bz2
import csv
import gzip
import io
import json
import lzma
import math
import random
import struct
import time
import wave
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zllm.planner.categories import Category, bucket_key, categorize, is_for_models
from zllm.planner.encodings import invalid_utf8
from zllm.planner.signatures import signature

RNG = random.Random(5)
ENGLISH = (
    "The keeper wound the clocks at noon, and the town set itself by them. Nobody had told it to; it was the custom,"
    " older than the tower.\nSo it went on, year after year, until the keeper died.\n\nWho would have thought it?\n"
    "Not the mayor, not the priest, not the smith, and not the cat.\n"
) * 40
GERMAN = "Größere Änderungen müssen für die Übergänge früh genug geprüft werden, sonst täuschen sie über vieles.\n" * 60
CHINESE = "压缩档案由模型和普通编码器一起完成、每个成员都能单独读取。\n" * 80
RUSSIAN = "Архив читается по частям, и каждая часть проверяется отдельно.\n" * 80
SOURCE = "def f(x):\n    if x < 2:\n        return 1\n    return f(x - 1) + f(x - 2)  # slow\n\n\n" * 40


def of(data: bytes, name: str = "file") -> Category:
    return categorize(name, memoryview(data))


def stray(data: bytes, count: int) -> bytes:
    out = bytearray(data)
    for _ in range(count):
        out[RNG.randrange(len(out))] = RNG.choice(b"\x00\x01\x80\xff\xfe")
    return bytes(out)


@pytest.mark.parametrize(
    "data",
    [
        ENGLISH.encode(),
        GERMAN.encode(),
        GERMAN.encode("latin-1"),
        GERMAN.encode("cp1252"),
        ("“Größer”, " * 3 + GERMAN).encode("cp1252"),
        CHINESE.encode(),
        RUSSIAN.encode(),
        SOURCE.encode(),
        ENGLISH.replace("\n", "\r\n").encode(),
        ENGLISH.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + ENGLISH.encode(),
        b"\x1b[1mbold\x1b[0m " * 20 + ENGLISH.encode(),
        b"a",
        b"\n",
        b"short, and no newline at the end",
        ENGLISH.encode()[1:] + b"\xe2\x82",
        stray(ENGLISH.encode() * 10, 8),
        stray(CHINESE.encode(), 8),
        b"<!DOCTYPE html>\n<html><body>" + ENGLISH.encode(),
        b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0">' + ENGLISH.encode(),
        b"# Title\n\n- one\n- two\n\n" + ENGLISH.encode(),
        b"ORC was here. " + ENGLISH.encode(),
        b"ID3 tags are read by " + ENGLISH.encode(),
        b"BZh9 is how it starts. " + ENGLISH.encode(),
    ],
    ids=range(24),
)
def test_text(data):
    assert of(data) is Category.TEXT


def test_eight_stray_bytes_do_not_make_a_book_binary():
    assert of(stray(ENGLISH.encode() * 1000, 8)) is Category.TEXT
    assert of(ENGLISH.encode() * 1000 + bytes(8)) is Category.TEXT


CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy, a proto se hodiny na věži zastavily dřív, než kdokoli čekal.\n" * 20
POLISH = "Zażółć gęślą jaźń, powiedział strażnik; źródła są wciąż żywe, a łąki ciągną się aż po horyzont.\n" * 20
GREEK = "Ο φύλακας κούρδιζε τα ρολόγια κάθε μεσημέρι, και όλη η πόλη τα ακολουθούσε χωρίς να το ζητήσει.\n" * 20  # noqa: RUF001
JAPANESE = "時計番は毎日正午に時計を巻き、町の人々はそれに合わせて暮らした。誰もそうしろとは言わなかった。\n" * 20
KOREAN = "시계지기는 날마다 정오에 시계를 감았고, 마을 사람들은 거기에 맞추어 살았다. 아무도 시키지 않았다.\n" * 20
FOREIGN = [
    (RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (RUSSIAN, "cp866"), (RUSSIAN, "iso8859-5"), (GREEK, "iso8859-7"),
    (CHINESE, "gb18030"), (CHINESE, "gbk"), (JAPANESE, "shift_jis"), (JAPANESE, "euc_jp"), (KOREAN, "euc_kr"),
    *((text, f"utf-16{order}") for text in (ENGLISH, CZECH, CHINESE, RUSSIAN) for order in ("", "-le", "-be")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "encoding"), FOREIGN)
def test_text_that_models_have_never_read(text, encoding):
    """It is text, of which the model is not asked."""
    for size in (200, 1500, len(text)):
        data = text[:size].encode(encoding)
        assert of(data) is Category.TEXT
        assert not is_for_models(memoryview(data))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(GERMAN, "latin-1"), (CZECH, "iso8859-2"), (POLISH, "iso8859-2"), (POLISH, "cp1250"), (ENGLISH, "cp1252")],
)
def test_western_text_is_for_models_as_far_as_it_is_ascii(text, encoding):
    data = text.encode(encoding)
    assert of(data) in (Category.TEXT, Category.STRUCTURED)  # lines that repeat themselves look like a table
    assert is_for_models(memoryview(data)) == (invalid_utf8(data) <= 0.1 * len(data))
    assert is_for_models(memoryview(text.encode()))


def test_large_wide_text_is_sampled_at_whole_characters():
    data = memoryview((RUSSIAN * 300).encode("utf-16-be"))
    assert all(categorize("x", data[:size]) is Category.TEXT for size in range(100_000, 150_000, 7002))


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, RUSSIAN])
def test_characters_of_four_bytes_are_binary_data(text):
    assert of(text.encode("utf-32")) is Category.BINARY


def _tone(count: int) -> bytes:
    return bytes(128 + int(90 * math.sin(n / 9) * math.sin(n / 700)) for n in range(count))


@pytest.mark.parametrize(
    "data",
    [
        _tone(20_000),
        bytes(128 + (n * n // 97) % 100 for n in range(20_000)),
        bytes(RNG.randrange(128, 256) for _ in range(9000)),
        struct.pack("<3000H", *(RNG.randrange(1 << 15) for _ in range(3000))),
        struct.pack("<3000H", *(2000 + n % 300 for n in range(3000))),
        struct.pack(">3000H", *(RNG.randrange(0x20, 0x3000) for _ in range(3000))),
    ],
    ids=range(6),
)
def test_numbers_are_not_text_in_any_encoding(data):
    assert of(data) in (Category.BINARY, Category.COMPRESSED)


def _csv(separator: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator)
    writer.writerows([n, RNG.random(), "some name", RNG.randrange(1000)] for n in range(200))
    return out.getvalue().encode()


def _lines(make) -> bytes:
    return "\n".join(make(n) for n in range(300)).encode()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (json.dumps({"a": list(range(300)), "b": {"c": 1}}).encode(), "no-hint"),
        (json.dumps([{"id": n, "name": "x" * n} for n in range(50)], indent=2).encode(), "x.json"),
        (_lines(lambda n: json.dumps({"time": n, "level": "info", "message": "said " * (n % 5)})), "x"),
        (json.dumps([[n, n * n] for n in range(500)]).encode(), "x"),
        (b'<?xml version="1.0"?>\n<a>' + b"<b c='d'>e</b>\n" * 50 + b"</a>", "x"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>" + b"<path d='M0 0L1 1'/>" * 50 + b"</svg>", "x"),
        (b"<project>" + b"<dependency><id>x</id></dependency>\n" * 50, "pom.xml"),
        (_csv(","), "x"),
        (_csv(";"), "x"),
        (_csv("\t"), "x"),
        (_csv("|"), "x"),
        (_lines(lambda n: f"2024-03-{n % 28 + 1:02} 12:{n % 60:02}:07 host daemon[{n}]: did something {n}"), "x"),
        (_lines(lambda n: f"Mar {n % 28 + 1:2} 12:{n % 60:02}:07 host sshd[{n}]: closed by peer"), "x"),
        (_lines(lambda n: f'10.0.{n % 7}.{n % 250} - - [01/Mar/2024:12:00:{n % 60:02}] "GET /{n} HTTP/1.1" 200'), "x"),
        (_lines(lambda n: f"[{n * 0.37:12.6f}] usb 1-1: new device number {n}"), "dmesg"),
    ],
    ids=range(15),
)
def test_structured(data, name):
    assert of(data, name) is Category.STRUCTURED


def test_source_full_of_constants_stays_with_the_sources():
    table = _lines(lambda n: f"    ({n}, {n + 1}, {n * 7}),")
    assert of(table, "tables.py") is Category.TEXT
    assert of(table, "tables") is Category.STRUCTURED


def _zip(method: int, name: str = "a.txt") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, ENGLISH)
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(ENGLISH.encode()),
        bz2.compress(ENGLISH.encode()),
        lzma.compress(ENGLISH.encode()),
        _zip(zipfile.ZIP_DEFLATED),
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + RNG.randbytes(100),
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + RNG.randbytes(100),
        b"RIFF\x00\x10\x00\x00WEBPVP8 " + RNG.randbytes(100),
        b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00" + RNG.randbytes(100),
        b"\x28\xb5\x2f\xfd\x04\x00" + RNG.randbytes(100),
        RNG.randbytes(100_000),
    ],
    ids=range(10),
)
def test_compressed(data):
    assert of(data, "data.bin") is Category.COMPRESSED


def test_documents_are_judged_by_their_content():
    """Streams of a PDF may be compressed or not."""
    head = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n"
    assert of(head + ENGLISH.encode() * 20, "plain.pdf") is Category.TEXT
    assert of(head + RNG.randbytes(100_000), "deflated.pdf") is Category.COMPRESSED


def _npy(descr: str) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (100,), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + RNG.randbytes(800)


def _safetensors(dtype: str) -> bytes:
    header = json.dumps({"w": {"dtype": dtype, "shape": [100], "data_offsets": [0, 400]}}).encode()
    return struct.pack("<Q", len(header)) + header + RNG.randbytes(400)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64", "F8_E4M3"])
def test_safetensors(dtype):
    assert of(_safetensors(dtype)) is Category.TENSOR


@pytest.mark.parametrize("descr", ["<f4", "<f2", ">f8", "<c8"])
def test_float_arrays(descr):
    assert of(_npy(descr)) is Category.TENSOR


def test_other_tensor_files():
    assert of(b"GGUF\x03\x00\x00\x00" + RNG.randbytes(100)) is Category.TENSOR
    assert of(_zip(zipfile.ZIP_STORED, "archive/data.pkl")) is Category.TENSOR
    assert of(_zip(zipfile.ZIP_STORED, "weights.npy")) is Category.TENSOR
    assert of(_zip(zipfile.ZIP_DEFLATED, "weights.npy")) is Category.COMPRESSED


def test_integer_arrays_are_not_float_tensors():
    assert of(_npy("<i8")) is Category.BINARY
    assert of(_safetensors("I64")) is Category.BINARY


def _wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(RNG.randbytes(2000))
    return out.getvalue()


def test_audio():
    assert of(_wav()) is Category.AUDIO
    assert of(b"FORM\x00\x00\x10\x00AIFFCOMM" + bytes(50)) is Category.AUDIO
    mp3_in_wav = bytearray(_wav())
    mp3_in_wav[20:22] = b"\x55\x00"
    assert of(bytes(mp3_in_wav)) is not Category.AUDIO


def test_later_pieces_of_a_large_file_go_by_name():
    noise = RNG.randbytes(100_000)
    assert of(noise, "model.safetensors") is Category.TENSOR
    assert of(noise, "take.WAV") is Category.AUDIO
    assert of(noise, "backup.bin") is Category.COMPRESSED


@pytest.mark.parametrize("data", [b"", b"\0", bytes(1000), b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 4, b"\x01text"])
def test_binary(data):
    assert of(data, "no-hint") is Category.BINARY


@given(st.binary(max_size=2000), st.text(max_size=40))
def test_any_bytes_and_names(data, name):
    category = categorize(name, memoryview(data))
    assert category in Category
    key = bucket_key(name, category)
    assert key.isascii() and len(key) <= 12
    assert signature(data[:1024]) in (*Category, None)


@given(
    st.binary(max_size=40), st.sampled_from([b"RIFF", b"GGUF", b"\x93NUMPY", b"FORM", b"PK\x03\x04", b"<?xml", b"{"])
)
def test_cut_headers(tail, magic):
    categorize("x", memoryview(magic + tail))


@given(st.text(min_size=40, max_size=400, alphabet=st.characters(min_codepoint=32, blacklist_categories=("Cs", "Cc"))))
def test_any_valid_utf8_without_controls_is_text(text):
    assert of(text.encode()) in (Category.TEXT, Category.STRUCTURED)


def test_large_members_are_sampled():
    data = memoryview(ENGLISH.encode() * 5000)
    started = time.process_time()
    assert categorize("book", data) is Category.TEXT
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a/b/foo.c", "c"),
        ("foo.HPP", "c"),
        ("README", ""),
        (".bashrc", ""),
        ("x.tar.gz", "gz"),
        ("var/log/syslog.1", ""),
        ("app.log.12", "log"),
        ("app.log~", "log"),
        ("v1.2.3", ""),
        ("what.is this?", ""),
        ("photo.überlang", ""),
        ("a.b/c", ""),
        ("x." + "y" * 20, ""),
        ("caf\udce9.txt", "txt"),
    ],
)
def test_bucket_keys(name, key):
    assert bucket_key(name, Category.TEXT) == key


def test_compressed_members_share_one_bucket():
    assert bucket_key("a.png", Category.COMPRESSED) == bucket_key("b.gz", Category.COMPRESSED) == ""
