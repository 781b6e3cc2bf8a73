"""Processes that share a network's weights and the rows of a batch: each takes the next few rows when it is ready.

So a core that other programs need takes fewer rows and the others do not wait long for it, and every process computes
with one thread, which wastes nothing. The weights are in shared memory; the leader of the crew adds up the gradients.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor

from zllm.models.training.network import Network

IGNORED = -1


class Hand:
    """Computes losses and gradients of a few rows."""

    def __init__(self, network: Network, compiled: bool) -> None:
        self.network = network
        self._hidden = torch.compile(network.hidden) if compiled else network.hidden

    def hidden(self, ids: Tensor) -> Tensor:
        """[B * T, dim], bfloat16."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self._hidden(ids).flatten(0, 1).bfloat16()

    def train(self, rows: Tensor, scale: float) -> float:
        """Add the gradients of ``scale`` * -ln P of rows [n, length + 1] to the parameters'; returns -ln P."""
        net = self.network
        hidden, targets = self.hidden(rows[:, :-1]), rows[:, 1:].flatten()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if net.extras.classes:
                loss = net.head.loss(hidden, net.token_matrix, targets)
            else:
                logits = F.linear(hidden, net.token_matrix)
                loss = F.cross_entropy(logits.float(), targets, reduction="sum")
        (loss * scale).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    @torch.no_grad()
    def bits(self, rows: Tensor) -> Tensor:
        """Bits of each of the rows [n, length + 1], ids of -1 not counted; float64 [n]."""
        net = self.network
        targets = rows[:, 1:].flatten()
        hidden = self.hidden(rows[:, :-1].clamp_min(0))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if net.extras.classes:
                losses = net.head.losses(hidden, net.token_matrix, targets.clamp_min(0))
            else:
                logits = F.linear(hidden, net.token_matrix).float()
                losses = F.cross_entropy(logits, targets.clamp_min(0), reduction="none")
        return torch.where(targets < 0, 0.0, losses.double()).view(len(rows), -1).sum(1) / math.log(2)


@dataclass
class Shared:
    """What all processes see. ``batch`` [rows, length + 1] and ``held_out`` [n, length + 1] are ids."""

    weights: dict[str, Tensor]
    gradients: list[dict[str, Tensor]]
    batch: Tensor
    held_out: Tensor
    losses: Tensor
    bits: Tensor
    few: int


def _common(tensor: Tensor) -> Tensor:
    """The same tensor, from now on in shared memory."""
    common: Tensor = tensor.share_memory_()  # type: ignore[no-untyped-call]
    return common


class Crew:
    """Gradients and bits by ``network``, whose weights are shared. Until it is started the leader does everything."""

    def __init__(self, network: Network, held_out: Tensor, rows: int, few: int = 2, compiled: bool = False) -> None:
        self.network, self._compiled = network, compiled
        self._held_out_rows, length = held_out.shape
        # The number of rows is always the same, so that nothing is compiled twice.
        full = F.pad(held_out, (0, 0, 0, -len(held_out) % few), value=IGNORED)
        self.shared = Shared(
            {name: _common(p.data) for name, p in network.named_parameters()},
            [],
            _common(torch.zeros(rows, length, dtype=torch.int64)),
            _common(full),
            _common(torch.zeros(rows, dtype=torch.float64)),
            _common(torch.zeros(len(full), dtype=torch.float64)),
            few,
        )
        self._hand = Hand(network, compiled)
        self._context = mp.get_context("spawn")
        self._next = self._context.Value("q", 0)
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []

    def start(self, make: Callable[[], Network], workers: int) -> None:
        """Start ``workers`` processes, in which ``make`` makes the network anew."""
        shared = self.shared
        for _ in range(workers):
            shared.gradients.append({n: _common(torch.zeros_like(w)) for n, w in shared.weights.items()})
        for number in range(workers):
            ours, theirs = self._context.Pipe()
            member = Member(number, make, self._compiled, shared)
            process = self._context.Process(target=_work, args=(member, self._next, theirs))
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)
        # One compiles, the others find what it made.
        for pipe in self._pipes if self._compiled else ():
            self._ask([pipe], "bits", shared.few)
            self._ask([pipe], "train", shared.few)

    def _ask(self, pipes: list[Connection], what: str, rows: int) -> None:
        self._next.value = 0
        for pipe in pipes:
            pipe.send((what, rows))
        for pipe in pipes:
            pipe.recv()

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()

    def train(self, batch: Tensor) -> float:
        """Gradients of the mean -ln P of the batch, into the network's parameters; returns the sum of -ln P."""
        rows, few = len(batch), self.shared.few
        scale = 1 / batch[:, 1:].numel()
        if not self._pipes:
            return sum(self._hand.train(part, scale) for part in torch.split(batch, few))
        self.shared.batch[:rows] = batch
        self._ask(self._pipes, "train", rows)
        first, *others = self.shared.gradients
        for name, p in self.network.named_parameters():
            p.grad = first[name]
            for other in others:
                p.grad += other[name]
        return float(self.shared.losses[:rows:few].sum())

    def bits(self) -> Tensor:
        """Bits of each held-out row."""
        if not self._pipes:
            parts = torch.split(self.shared.held_out, self.shared.few)
            return torch.cat([self._hand.bits(part) for part in parts])[: self._held_out_rows]
        self._ask(self._pipes, "bits", len(self.shared.held_out))
        return self.shared.bits[: self._held_out_rows].clone()


@dataclass(frozen=True)
class Member:
    """What another process begins with."""

    number: int
    make: Callable[[], Network]
    compiled: bool
    shared: Shared


def _work(member: Member, following: Any, pipe: Connection) -> None:
    shared, own = member.shared, member.shared.gradients[member.number]
    for interruption in (signal.SIGINT, signal.SIGTERM):  # the leader decides; when it is gone, the pipe is closed
        signal.signal(interruption, signal.SIG_IGN)
    torch.set_num_threads(1)
    network = member.make()
    for name, p in network.named_parameters():
        p.data = shared.weights[name]
        p.grad = own[name]
    hand = Hand(network, member.compiled)
    with suppress(EOFError, OSError):
        while True:
            what, rows = pipe.recv()
            for gradient in own.values():
                gradient.zero_()
            _share(hand, what, rows, shared, following)
            pipe.send(member.number)


def _share(hand: Hand, what: str, rows: int, shared: Shared, following: Any) -> None:
    """Rows until there are none left."""
    few = shared.few
    scale = 1 / (rows * (shared.batch.shape[1] - 1))
    while True:
        with following.get_lock():
            at = following.value
            following.value += few
        if at >= rows:
            return
        if what == "train":
            shared.losses[at] = hand.train(shared.batch[at : at + few], scale)
        else:
            shared.bits[at : at + few] = hand.bits(shared.held_out[at : at + few])


@dataclass(frozen=True)
class Maker:
    """Makes a network in another process. ``shape`` is a :class:`zllm.models.training.longrun.Shape`."""

    shape: Any
    vocab: int
    text: Path

    def __call__(self) -> Network:
        """A new one, whose weights do not matter."""
        network: Network = self.shape.network(self.vocab, self.text)
        return network
