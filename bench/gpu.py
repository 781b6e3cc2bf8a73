"""Speed of a model on a CUDA device that codes many frames at once, beside the C core.

The codec runs alone, in this process: an archive would choose another codec where the model loses. The C core is far
slower with a large model and codes the first frames only. Of these, both must make the same bytes, and each must decode
what the other made. Everything else must come back.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from bench.common import Row, add_texts, parser, say, table, write_csv
from bench.texts import text
from zllm.archive.options import thread_count
from zllm.codecs.base import Run
from zllm.codecs.llm import LlmCodec
from zllm.codecs.llm_encoding import stream_count
from zllm.executors import Choice
from zllm.models import store

_FRAME = 64 << 10  # 4 streams each: 128 of them fill the lanes
Item = tuple[bytes, tuple[int, ...]]


def main(arguments: list[str]) -> int:
    """Run; exit code 1 if something did not come back, 2 without a device."""
    given = _options().parse_args(arguments)
    choice = Choice(given.device, "torch")  # without a device, this says so and ends the program
    rows, wrong = _measure(given, choice, store.resolve(given.model))
    sys.stdout.write(table(rows))
    sys.stdout.write("".join(f"  WRONG: {what}\n" for what in wrong))
    write_csv(given.results / "gpu.csv", rows)
    return 1 if wrong else 0


def _options() -> ArgumentParser:
    options = parser("gpu", __doc__ or "")
    add_texts(options)
    options.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu (default: %(default)s)")
    options.add_argument("--model", help="name or file of an installed model (default: the built-in one)")
    options.add_argument("--bytes", type=int, metavar="N", default=8 << 20, help="bytes of text (default: %(default)s)")
    options.add_argument(
        "--native-bytes", type=int, metavar="N", default=4 * _FRAME, help="bytes for the C core (default: %(default)s)"
    )
    options.add_argument(
        "--frame-size", type=int, metavar="N", default=_FRAME, help="bytes of a frame (default: %(default)s)"
    )
    options.add_argument(
        "-j",
        "--threads",
        type=int,
        metavar="N",
        default=thread_count(None),
        help="threads (default: one per processor)",
    )
    return options


def _measure(given: Namespace, choice: Choice, model: store.Model) -> tuple[list[Row], list[str]]:
    whole, step = text(given.data, given.corpus, given.bytes), given.frame_size
    items: list[Item] = [(whole[at : at + step], ()) for at in range(0, len(whole), step)]
    few = items[: max(1, given.native_bytes // step)]
    native, torch = LlmCodec(model), LlmCodec(model)
    torch.executor = choice.executor_for(model)
    device = torch.executor.device if torch.executor is not None else "cpu"
    run = Run(given.threads)
    torch.encode_batch([(whole[:1000], ())], run)  # what is paid once: libraries that are loaded, memory
    rows: list[Row] = []

    def timed(who: str, way: str, on: list[Item], work: Callable[[], list[bytes]]) -> list[bytes]:
        say(f"gpu: {who}, {way}, {len(on)} frames")
        started = time.perf_counter()
        found = work()
        seconds = time.perf_counter() - started
        size = sum(len(data) for data, _ in on)
        streams = sum(stream_count(len(data)) for data, _ in on)
        rows.append(
            {"device": who, "way": way, "threads": given.threads, "bytes": size, "streams": streams,
             "seconds": round(seconds, 2), "kb_s": round(size / 1000 / seconds, 3)}
        )  # fmt: skip
        return found

    coded = timed(device, "encode", items, lambda: torch.encode_batch(items, run))
    texts = timed(device, "decode", items, lambda: torch.decode_batch(_back(coded, items), run))
    native_coded = timed("C core", "encode", few, lambda: native.encode_batch(few, run))
    native_texts = timed("C core", "decode", few, lambda: native.decode_batch(_back(coded, few), run))
    wrong = [
        what
        for what, same in (
            ("the C core encodes to other bytes", native_coded == coded[: len(few)]),
            ("what the device decoded", texts == [data for data, _ in items]),
            ("what the C core decoded of the device's", native_texts == [data for data, _ in few]),
        )
        if not same
    ]
    return rows, wrong


def _back(payloads: list[bytes], items: list[Item]) -> list[tuple[bytes, int, tuple[int, ...]]]:
    return [(payload, len(data), boundaries) for payload, (data, boundaries) in zip(payloads, items, strict=False)]
