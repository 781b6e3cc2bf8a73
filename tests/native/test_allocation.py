"""Memory that cannot be had: every public function says so and gives back all it has. Limits of memory hold."""

from __future__ import annotations

import json
import random
import threading
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from models import tiny, variants

from zllm._native import modelfile
from zllm._native.core import ffi, lib
from zllm._native.jobs import new_frame
from zllm.models.store import Model, load

TEXT = b"the quick brown fox jumps over the lazy dog; " * 5


@dataclass
class Memory:
    """A caller's allocator. ``fail_at``: the number of the allocation that fails, from 1, after :meth:`arm`."""

    fail_at: int = 0
    after: bool = False
    limit: int = 0
    context: Any = field(init=False)
    options: Any = field(init=False)

    def __post_init__(self) -> None:
        self.context = ffi.new("zllm_failing *")
        self.options = ffi.new("zllm_options *")
        self.options.size = ffi.sizeof("zllm_options")
        self.options.allocate = ffi.addressof(lib, "zllm_failing_allocate")
        self.options.release = ffi.addressof(lib, "zllm_failing_release")
        self.options.context = self.context
        self.options.memory_limit = self.limit

    def arm(self) -> None:
        """From now on allocations are numbered, and one fails."""
        self.context.fail_at = self.context.calls + self.fail_at if self.fail_at else 0
        self.context.after = self.after

    def all_is_back(self) -> None:
        assert (self.context.blocks, self.context.bytes, self.context.wrong) == (0, 0, 0)


@dataclass
class World:
    """What calls need that exists before them."""

    model: Model
    tokens: list[int]
    coded: bytes = b""

    @property
    def native(self) -> Any:
        return self.model.native._model


@pytest.fixture(scope="module", params=["plain", "second"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    path = tmp_path_factory.mktemp("m") / "m.zlm"
    if request.param == "second":
        model = load(variants.write(path, seed=3, **variants.FAMILIES["second"]))
    else:
        model = load(tiny.write(path, seed=3, layers=2, dim=32, heads=2, kv_heads=1))
    made = World(model, list(model.tokenizer.encode(TEXT)))
    _, made.coded = encode(made, Memory(), threads=1)
    return made


Result = tuple[int, bytes]


def frame_of(world: World, streams: int, *, decoding: bool) -> tuple[Any, list[Any]]:
    """A frame of the text, so many times; and what has to stay."""
    frame, keep = new_frame(streams, len(TEXT) * streams)
    tokens = ffi.new("uint32_t[]", world.tokens)
    for item in keep[0]:
        item.size = len(TEXT)
        if not decoding:
            item.tokens, item.n_tokens = tokens, len(world.tokens)
    coded = ffi.new("uint8_t[]", world.coded if decoding else 1024 + 30 * len(TEXT) * streams)
    data = ffi.new("uint8_t[]", len(TEXT) * streams)
    frame.coded, frame.coded_size, frame.data = coded, len(world.coded) if decoding else len(coded), data
    return frame, [*keep, tokens, coded, data]


def new_job(world: World, memory: Memory, frame: Any, threads: int, decoding: bool) -> tuple[int, Any]:
    out = ffi.new("zllm_job **")
    rc = lib.zllm_job_new(world.native, frame, world.model.start, threads, int(decoding), memory.options, out)
    assert (out[0] == ffi.NULL) == (rc != lib.ZLLM_OK)
    return rc, out[0]


def work(job: Any, threads: int, team: Any = ffi.NULL) -> int:
    """The worst that any thread returns."""
    found: list[int] = []

    def part(number: int) -> None:
        run = ffi.new("zllm_run *", {"lanes": 4, "team": team})
        found.append(lib.zllm_job_work(ffi.new("zllm_job *[]", [job]), 1, number, run))

    started = [threading.Thread(target=part, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return max(found)


def encode(world: World, memory: Memory, threads: int) -> Result:
    frame, keep = frame_of(world, 2, decoding=False)
    rc, job = new_job(world, memory, frame, threads, decoding=False)
    if rc == lib.ZLLM_OK:
        memory.arm()
        rc = work(job, threads)
        lib.zllm_job_free(job)
    return rc, bytes(ffi.buffer(frame.coded, frame.coded_size)) if rc == lib.ZLLM_OK and keep else b""


def decode(world: World, memory: Memory, threads: int, team: int = 0) -> Result:
    frame, keep = frame_of(world, 2, decoding=True)
    members = ffi.new("zllm_team **")
    if team:
        assert lib.zllm_team_new(team, ffi.NULL, members) == lib.ZLLM_OK
    rc, job = new_job(world, memory, frame, threads, decoding=True)
    if rc == lib.ZLLM_OK:
        memory.arm()
        rc = work(job, team or threads, members[0])
        lib.zllm_job_free(job)
    lib.zllm_team_free(members[0])
    return rc, bytes(ffi.buffer(frame.data, frame.size)) if rc == lib.ZLLM_OK and keep else b""


def make_job(world: World, memory: Memory, threads: int, decoding: bool) -> Result:
    frame, _keep = frame_of(world, 2, decoding=decoding)
    memory.arm()
    rc, job = new_job(world, memory, frame, threads, decoding)
    lib.zllm_job_free(job)
    return rc, b""


def make_team(_: World, memory: Memory) -> Result:
    out = ffi.new("zllm_team **")
    memory.arm()
    rc = lib.zllm_team_new(3, memory.options, out)
    assert (out[0] == ffi.NULL) == (rc != lib.ZLLM_OK)
    lib.zllm_team_free(out[0])
    return rc, b""


def make_model(world: World, memory: Memory, *, arm: bool = True) -> tuple[int, Any]:
    file, out = world.model.file, ffi.new("zllm_model **")
    text = json.dumps(file.description).encode()
    with modelfile.listed(file.tensors) as tensors:
        if arm:
            memory.arm()
        rc = lib.zllm_model_new(text, len(text), tensors, len(tensors), ffi.NULL, memory.options, out)
    assert (out[0] == ffi.NULL) == (rc != lib.ZLLM_OK)
    return rc, out[0]


def model(world: World, memory: Memory) -> Result:
    rc, made = make_model(world, memory)
    lib.zllm_model_free(made)
    return rc, b""


def parse_model(world: World, memory: Memory) -> Result:
    data, out = bytes(world.model.data), ffi.new("zllm_model **")
    memory.arm()
    rc = lib.zllm_model_parse(data, len(data), ffi.NULL, memory.options, out)
    assert (out[0] == ffi.NULL) == (rc != lib.ZLLM_OK)
    lib.zllm_model_free(out[0])
    return rc, b""


def open_file(world: World, memory: Memory) -> Result:
    data, out, size = bytes(world.model.data), ffi.new("zllm_model_file **"), ffi.new("size_t *")
    memory.arm()
    rc = lib.zllm_model_file_open(data, len(data), memory.options, out)
    if rc != lib.ZLLM_OK:
        assert out[0] == ffi.NULL
        return rc, b""
    description = bytes(ffi.buffer(lib.zllm_model_file_description(out[0], size), size[0]))
    lib.zllm_model_file_free(out[0])
    return rc, description


def evaluate(world: World, memory: Memory) -> Result:
    rc, made = make_model(world, memory, arm=False)
    logits = array("i", bytes(4 * 3 * world.model.native.outputs))
    if rc == lib.ZLLM_OK:
        memory.arm()
        with ffi.from_buffer("int32_t[]", logits) as view:
            rc = lib.zllm_evaluate(made, world.tokens[:3], 3, 1, view, ffi.NULL)
        lib.zllm_model_free(made)
    return rc, logits.tobytes()


def repeats(_: World, memory: Memory) -> Result:
    out, count = ffi.new("zllm_repeat[]", 4), ffi.new("size_t *", 4)
    memory.arm()
    rc = lib.zllm_repeats(TEXT * 9, len(TEXT) * 9, 128, out, count, memory.options)
    return rc, bytes(ffi.buffer(out)) if rc == lib.ZLLM_OK else b""


def cm_encode(_: World, memory: Memory) -> Result:
    out, size = ffi.new("uint8_t[]", 1000), ffi.new("size_t *", 1000)
    memory.arm()
    rc = lib.zllm_cm_encode(TEXT, len(TEXT), [7], 1, out, size, ffi.NULL, ffi.NULL, ffi.NULL, memory.options)
    return rc, bytes(ffi.buffer(out, size[0])) if rc == lib.ZLLM_OK else b""


def cm_decode(world: World, memory: Memory) -> Result:
    _, coded = cm_encode(world, Memory())
    out = ffi.new("uint8_t[]", len(TEXT))
    memory.arm()
    rc = lib.zllm_cm_decode(coded, len(coded), out, len(TEXT), [7], 1, ffi.NULL, ffi.NULL, ffi.NULL, memory.options)
    assert rc != lib.ZLLM_OK or bytes(ffi.buffer(out)) == TEXT
    return rc, bytes(ffi.buffer(out)) if rc == lib.ZLLM_OK else b""


def kernel_time(_: World, memory: Memory) -> Result:
    memory.arm()
    return lib.zllm_kernel_time(b"generic", 32, 32, 1, 1, memory.options, ffi.new("uint64_t *")), b""


CASES: dict[str, Callable[[World, Memory], Result]] = {
    "model": model,
    "model of a file": parse_model,
    "model file": open_file,
    "evaluate": evaluate,
    "team": make_team,
    "job to encode": lambda world, memory: make_job(world, memory, 2, False),
    "job to decode": lambda world, memory: make_job(world, memory, 2, True),
    "job to decode step by step": lambda world, memory: make_job(world, memory, 0, True),
    "encode": lambda world, memory: encode(world, memory, 1),
    "encode by two threads": lambda world, memory: encode(world, memory, 2),
    "decode": lambda world, memory: decode(world, memory, 1),
    "decode by two threads": lambda world, memory: decode(world, memory, 2),
    "decode by a team": lambda world, memory: decode(world, memory, 1, team=2),
    "repeats": repeats,
    "cm encode": cm_encode,
    "cm decode": cm_decode,
    "kernel time": kernel_time,
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Callable[[World, Memory], Result]]:
    return CASES[request.param]  # type: ignore[no-any-return]


@pytest.mark.parametrize("after", [False, True], ids=["once", "from then on"])
def test_every_allocation_may_fail(case: Callable[[World, Memory], Result], world: World, after: bool) -> None:
    rc, expected = case(world, Memory())
    assert rc == lib.ZLLM_OK
    for number in range(1, 1000):
        memory = Memory(number, after)
        rc, result = case(world, memory)
        memory.all_is_back()
        if memory.context.fail_at > memory.context.calls:
            assert (rc, result) == (lib.ZLLM_OK, expected)
            assert number > 2  # a heap, and something in it
            return
        assert rc == lib.ZLLM_E_MEMORY, number
    pytest.fail("it never ends")


def test_the_limit_of_memory_is_one(case: Callable[[World, Memory], Result], world: World) -> None:
    free = Memory()
    _, expected = case(world, free)
    free.all_is_back()
    most = int(free.context.most)
    for limit in (1, 100, most // 3, most - 1):
        memory = Memory(limit=limit)
        assert case(world, memory)[0] == lib.ZLLM_E_MEMORY
        memory.all_is_back()
        assert memory.context.most <= limit
    assert case(world, Memory(limit=most)) == (lib.ZLLM_OK, expected)


def test_the_limit_holds_for_the_system_s_own_memory_too() -> None:
    """Large tables are mapped, not allocated."""
    text = random.Random(1).randbytes(60) * 5000
    out, size, options = ffi.new("uint8_t[]", 1000), ffi.new("size_t *"), ffi.new("zllm_options *")
    options.size = ffi.sizeof("zllm_options")
    for limit, wanted in ((1 << 20, lib.ZLLM_E_MEMORY), (1 << 26, lib.ZLLM_OK), (0, lib.ZLLM_OK)):
        options.memory_limit, size[0] = limit, len(out)
        rc = lib.zllm_cm_encode(text, len(text), ffi.NULL, 0, out, size, ffi.NULL, ffi.NULL, ffi.NULL, options)
        assert rc == wanted, limit


def test_options_that_make_no_sense() -> None:
    for change in ("short", "no release", "no allocate", "unknown field"):
        room = ffi.new("char[]", ffi.sizeof("zllm_options") + 8)
        options = ffi.cast("zllm_options *", room)
        ffi.memmove(options, Memory().options, ffi.sizeof("zllm_options"))
        options.size = len(room)
        if change == "short":
            options.size = ffi.sizeof("zllm_options") - 1
        elif change == "unknown field":
            room[len(room) - 1] = b"\1"
        else:
            setattr(options, change.split()[1], ffi.NULL)
        out = ffi.new("zllm_team **")
        assert lib.zllm_team_new(1, options, out) == lib.ZLLM_E_ARGUMENT and out[0] == ffi.NULL, change


def test_options_of_a_later_version() -> None:
    """Fields that this one does not know, and that ask for nothing."""
    memory = Memory()
    room = ffi.new("char[]", ffi.sizeof("zllm_options") + 24)
    options = ffi.cast("zllm_options *", room)
    ffi.memmove(options, memory.options, ffi.sizeof("zllm_options"))
    options.size = len(room)
    out = ffi.new("zllm_team **")
    assert lib.zllm_team_new(1, options, out) == lib.ZLLM_OK
    lib.zllm_team_free(out[0])
    memory.all_is_back()
    assert memory.context.calls == 2
