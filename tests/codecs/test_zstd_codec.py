import subprocess
import threading
import time

import pytest
import zstandard

from zllm.codecs.base import Run
from zllm.codecs.lz4 import Lz4Codec
from zllm.codecs.zstd import ZstdCodec
from zllm.errors import DamagedError, UsageError

TEXT = b"".join(b"line %d of a text that repeats itself, but not quite: %d\n" % (i, i * i) for i in range(4000))


@pytest.mark.parametrize("level", [1, 3, 9, 15, 19, 22])
def test_smaller_than_the_command_line_tool_of_the_same_level(level):
    """zstd's own frame has a magic number, a size and a checksum; everything else is the same."""
    payload = ZstdCodec(level).encode(TEXT)
    assert len(payload) <= len(zstandard.ZstdCompressor(level=level).compress(TEXT)) - 4
    assert ZstdCodec().decode(payload, len(TEXT)) == TEXT


def test_pieces_cost_nothing():
    """Handing data over in pieces, for progress, must not change the size: 3 MiB, more than one piece."""
    data = (TEXT * 20)[: 3 << 20]
    assert len(ZstdCodec(3).encode(data)) <= len(zstandard.ZstdCompressor(level=3).compress(data))


def test_payload_is_a_frame_without_its_magic_number():
    payload = ZstdCodec(3).encode(TEXT)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(b"\x28\xb5\x2f\xfd" + payload) == TEXT


@pytest.mark.parametrize("level", [0, -1, 23])
def test_unknown_level(level):
    with pytest.raises(UsageError):
        ZstdCodec(level)


def test_claimed_content_size_is_refused():
    """The library would allocate it before decoding: 0xE0 says single segment, eight bytes of size."""
    bomb = b"\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\x00\x00"
    with pytest.raises(DamagedError, match="header"):
        ZstdCodec().decode(bomb, 100)


def test_window_larger_than_the_frame_needs_is_refused():
    payload = bytearray(ZstdCodec(3).encode(b"x" * 1000))
    payload[1] = 0xB0  # 2^32 bytes of window
    with pytest.raises(DamagedError):
        ZstdCodec().decode(bytes(payload), 1000)


def test_two_frames_are_not_one():
    payload = ZstdCodec().encode(b"a" * 50)
    with pytest.raises(DamagedError):
        ZstdCodec().decode(payload + payload, 100)


def test_long_frames_report_progress_and_stop_on_cancel():
    data = bytes(8 << 20)
    done, cancelled = [], threading.Event()
    ZstdCodec(3).encode_batch([(data, ())], Run(1, done.append))
    assert len(done) == 8
    assert sum(done) == len(data)

    def stop(_count):
        cancelled.set()

    with pytest.raises(KeyboardInterrupt):
        ZstdCodec(3).encode_batch([(data, ())], Run(1, stop, cancelled))


def test_interrupt_in_a_batch_stops_the_other_threads():
    """Ctrl-C reaches one thread; the one that codes 64 MiB at level 19 must not go on for a minute."""
    calls = []

    def interrupt(count):
        calls.append(count)
        if len(calls) == 2:
            raise KeyboardInterrupt

    started = time.process_time()
    run = Run(2, interrupt)
    with pytest.raises(KeyboardInterrupt):
        ZstdCodec(3).encode_batch([(bytes(1 << 20), ()), (bytes(1 << 20), ()), (bytes(512 << 20), ())], run)
    assert time.process_time() - started < 20


def test_decodes_what_the_zstd_tool_wrote(tmp_path):
    """Any encoder's frame will do, once its header says nothing that the container already says."""
    source = tmp_path / "text"
    source.write_bytes(TEXT)
    try:
        tool = subprocess.run(
            ["zstd", "-q", "--no-check", "--no-content-size", "-c", str(source)], capture_output=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("no zstd tool here")
    assert tool.stdout[:4] == b"\x28\xb5\x2f\xfd"
    window_log = 10 + (tool.stdout[5] >> 3)
    if 1 << window_log > 1 << (len(TEXT) - 1).bit_length():
        pytest.skip("this zstd's window is larger than the frame")
    assert ZstdCodec().decode(tool.stdout[4:], len(TEXT)) == TEXT


def test_lz4_is_one_plain_block():
    import lz4.block

    payload = Lz4Codec().encode(TEXT)
    assert lz4.block.decompress(payload, uncompressed_size=len(TEXT)) == TEXT
    assert len(payload) < len(TEXT) / 2


def test_lz4_block_that_gives_less_than_asked_for():
    with pytest.raises(DamagedError, match="instead of"):
        Lz4Codec().decode(Lz4Codec().encode(b"abc" * 10), 31)
