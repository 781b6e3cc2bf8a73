"""The model by torch, on a processor or a CUDA device: the integers of the C core (``docs/executors.md``)."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zllm._native import GIVEN, Model
from zllm._native.steps import SUM_BLOCK, Distributions, Memory, trie_paths
from zllm.executors.attention import Cache
from zllm.executors.network import Network
from zllm.executors.numerics import bits
from zllm.executors.products import check, exactly
from zllm.executors.weights import ModelFile, Weights

# Lanes of a step on a CUDA device: launching a step's few thousand kernels takes as long for 32 lanes as for 512.
_CUDA_LANES, _CPU_LANES = 512, 64
# Tokens of an encoding step over all lanes, for the same reason; and logits that are held at once, in numbers.
_CUDA_ROWS, _CPU_ROWS = 8192, 512
_CUDA_LOGITS, _CPU_LOGITS = 1 << 25, 1 << 22
_CUDA_SCORES, _CPU_SCORES = 1 << 26, 1 << 23  # of one layer at once, in numbers
_MOST_BULK = 64


@dataclass(frozen=True)
class Sizes:
    """How much is computed at once. Nothing in it changes an integer."""

    lanes: int
    """Streams, as far as their keys and values fit."""
    rows: int
    """Tokens of an encoding step."""
    bulk: int
    """Tokens of one lane in an encoding step, at most."""
    logits: int
    scores: int

    @classmethod
    def of(cls, device: torch.device) -> Sizes:
        """What suits a device."""
        if device.type == "cuda":
            return cls(_CUDA_LANES, _CUDA_ROWS, _MOST_BULK, _CUDA_LOGITS, _CUDA_SCORES)
        return cls(_CPU_LANES, _CPU_ROWS, _MOST_BULK, _CPU_LOGITS, _CPU_SCORES)


class TorchExecutor:
    """A model on a device.

    Raises:
        KernelError: the device's products are not exact.
    """

    def __init__(self, native: Model, file: ModelFile, device: torch.device, sizes: Sizes | None = None) -> None:
        check(device)
        self._device = device
        self.device = str(device)
        self.sizes = sizes or Sizes.of(device)
        self.lanes = self.sizes.lanes
        with exactly(device):
            self.network = Network(Weights(file, device))
        self._native = native
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            self.lanes = min(self.lanes, max(1, free // 2 // native.stream_memory))  # the other half: steps

    @functools.cached_property
    def paths(self) -> _Paths:
        """The decisions on the tokens' paths; decoding does without."""
        return _Paths(self._native, self._device)

    def cache(self, lanes: int, bulk: int) -> Cache:
        """Empty lanes for steps of up to ``bulk`` tokens."""
        return Cache(self.network.w, lanes, self.network.w.window + bulk - 1)

    def decoding(self, lanes: int) -> TorchDecoding:
        """See :class:`zllm.executors.base.Executor`."""
        return TorchDecoding(self, lanes)

    def encoding(self, frames: Sequence[Sequence[array[int]]], start: int) -> Iterator[list[Memory]]:
        """See :class:`zllm.executors.base.Executor`."""
        return _Encoding(self, frames, start).pieces()


class TorchDecoding:
    """See :class:`zllm.executors.base.Decoding`."""

    def __init__(self, executor: TorchExecutor, lanes: int) -> None:
        self._executor = executor
        self._network = executor.network
        self._device = executor._device
        with exactly(self._device):
            self._cache = executor.cache(lanes, 1)
        self._make_room(lanes)

    def _make_room(self, lanes: int) -> None:
        """Where distributions are put: on a CUDA device, memory that it can write to while the program goes on."""
        outputs, pinned = self._network.w.outputs, self._device.type == "cuda"
        self._weights = torch.empty(lanes, outputs, dtype=torch.int32, pin_memory=pinned)
        self._base = torch.empty(lanes, outputs // SUM_BLOCK + 1, dtype=torch.int64, pin_memory=pinned)

    def step(self, tokens: array[int]) -> Distributions:
        """See :class:`zllm.executors.base.Decoding`."""
        with exactly(self._device):
            fed = torch.frombuffer(tokens, dtype=torch.int32).to(self._device, torch.int64)
            x = self._network.feed(self._cache, fed[:, None])
            part = max(1, self._executor.sizes.logits // self._network.w.outputs)
            for at in range(0, x.shape[0], part):
                weights = self._network.weights(x[at : at + part])
                self._weights[at : at + part].copy_(weights, non_blocking=True)
                self._base[at : at + part].copy_(_bases(weights), non_blocking=True)
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
        return Distributions(_memory(self._weights), _memory(self._base))

    def restart(self, lanes: Sequence[int]) -> None:
        """See :class:`zllm.executors.base.Decoding`."""
        with exactly(self._device):
            self._cache.restart(torch.tensor(lanes, device=self._device))

    def keep(self, lanes: Sequence[int]) -> None:
        """See :class:`zllm.executors.base.Decoding`."""
        with exactly(self._device):
            self._cache.keep(torch.tensor(lanes, device=self._device))
        self._make_room(len(lanes))


def _bases(weights: Tensor) -> Tensor:
    """Sums of the weights before each block: int64 [rows][outputs / SUM_BLOCK + 1]. 64 weights of 26 bits pass 32."""
    rows, outputs = weights.shape
    blocks = outputs // SUM_BLOCK
    sums = weights[:, : blocks * SUM_BLOCK].view(rows, blocks, SUM_BLOCK).sum(-1)
    return torch.cat((sums.new_zeros(rows, 1), sums.cumsum(-1)), -1)


def _memory(tensor: Tensor) -> Memory:
    return Memory(tensor.data_ptr(), tensor.numel(), tensor)


class _Paths:
    """The byte trie's decisions on the device, and how many each token has, here."""

    def __init__(self, native: Model, device: torch.device) -> None:
        parts = [torch.frombuffer(part, dtype=torch.int32) for part in trie_paths(native)]
        self.counts = parts[0].diff().to(torch.int64)
        self.first, self.low, self.split, self.high = (part.to(device) for part in parts)


class _Encoding:
    """Streams of known tokens, side by side in lanes that all start at once: their positions are the same."""

    def __init__(self, executor: TorchExecutor, frames: Sequence[Sequence[array[int]]], start: int) -> None:
        self.executor = executor
        self.network, self.paths = executor.network, executor.paths
        self.device = executor._device
        streams = [stream for frame in frames for stream in frame]
        self.frames = len(frames)
        owners = [number for number, frame in enumerate(frames) for _ in frame]
        self.longest = max(map(len, streams), default=0)
        self.tokens = torch.full((len(streams), self.longest), -1, dtype=torch.int64)
        """[lanes][position]: what is coded there; -1 where nothing is."""
        self.fed = torch.zeros_like(self.tokens)
        for lane, stream in enumerate(streams):
            ids = torch.frombuffer(stream, dtype=torch.int32).to(torch.int64) & 0xFFFFFFFF
            plain = ids & ~GIVEN
            self.tokens[lane, : len(stream)] = ids.masked_fill(ids >= GIVEN, -1)
            self.fed[lane, 0] = start
            self.fed[lane, 1 : len(stream)] = plain[:-1]
        self.lengths = torch.tensor([len(stream) for stream in streams], dtype=torch.int64)
        self.owners = torch.tensor(owners, dtype=torch.int64)

    def bulk(self, lanes: int) -> int:
        """Tokens of each lane in a step."""
        w, sizes = self.network.w, self.executor.sizes
        per_token = lanes * w.heads * (w.window + sizes.bulk)
        return max(1, min(sizes.bulk, sizes.rows // lanes, sizes.scores // per_token))

    def pieces(self) -> Iterator[list[Memory]]:
        """See :class:`zllm.executors.base.Executor`."""
        lanes = torch.arange(len(self.lengths))
        with exactly(self.device):
            cache = self.executor.cache(len(lanes), self.executor.sizes.bulk)
        at = 0
        while at < self.longest:
            going = (self.lengths[lanes] > at).nonzero().flatten()
            with exactly(self.device):
                if len(going) <= len(lanes) * 3 // 4:
                    lanes = lanes[going]
                    cache.keep(going.to(self.device))
                count = min(self.bulk(len(lanes)), self.longest - at)
                if self.network.w.period:  # no step goes across the end of positions
                    count = min(count, self.network.w.period - at % self.network.w.period)
                piece = self._piece(cache, lanes, at, count)
            yield piece
            at += count

    def _piece(self, cache: Cache, lanes: Tensor, at: int, count: int) -> list[Memory]:
        fed = self.fed[lanes, at : at + count].to(self.device)
        x = self.network.feed(cache, fed)
        coded = self.tokens[lanes, at : at + count]
        # Rows in the order of coding: frame by frame, then position by position, then lane by lane.
        order = coded.t().flatten()
        row = torch.arange(coded.numel()).view(coded.shape).t().flatten()
        owner = self.owners[lanes].repeat(count)
        some = (order >= 0).nonzero().flatten()
        some = some[torch.argsort(owner[some], stable=True)]
        wanted = self.paths.counts[order[some]]
        found = self._probabilities(x, row[some], order[some], wanted)
        per_frame = torch.zeros(self.frames, dtype=torch.int64).index_add_(0, owner[some], wanted)
        return [_memory(part) for part in torch.split(found, per_frame.tolist())]

    def _probabilities(self, x: Tensor, rows: Tensor, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Of all decisions on the tokens' paths, int32, here; token i follows on row ``rows[i]``."""
        part = max(1, self.executor.sizes.logits // self.network.w.outputs)
        found = [torch.empty(0, dtype=torch.int32)]
        for at in range(0, len(rows), part):
            own = slice(at, at + part)
            weights = self.network.weights(x[rows[own].to(self.device)])
            counts = wanted[own]
            found.append(self._on_the_way(weights, tokens[own].to(self.device), counts).cpu())
        return torch.cat(found)

    def _on_the_way(self, weights: Tensor, tokens: Tensor, counts: Tensor) -> Tensor:
        """The probability of each decision, "at or above the split", of row i's token."""
        total = int(counts.sum())
        counts = counts.to(self.device)
        row = torch.arange(len(tokens), device=self.device).repeat_interleave(counts, output_size=total)
        begin = counts.cumsum(0) - counts
        decision = self.paths.first[tokens][row] + (torch.arange(total, device=self.device) - begin[row])
        sums = torch.nn.functional.pad(weights.cumsum(-1), (1, 0))
        low, split, high = (sums[row, part[decision]] for part in (self.paths.low, self.paths.split, self.paths.high))
        return probability(high - split, high - low)


def probability(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole in 2^-24, within [1, 2^24 - 1], as section 5 of ``docs/arithmetic.md`` has it: int32.

    A total is below 2^44. 40 bits of part times 2^24 would pass 63, so the quotient is taken in two steps of 12 bits:
    with part * 2^12 = a * whole + rest, it is a * 2^12 + rest * 2^12 / whole, rounded down once.
    """
    k = (bits(whole) - 40).clamp(min=0)
    part, whole = (part >> k) << 12, whole >> k
    upper = part // whole
    rest = part - upper * whole
    return ((upper << 12) + (rest << 12) // whole).clamp(1, (1 << 24) - 1).to(torch.int32)
