"""A second implementation of docs/arithmetic.md in plain Python integers: slow, simple, and the tests' oracle.

The adaptive predictor (section 9) is plugged in: what codes a frame takes any object that has its interface. The one
of tests/reference_predictor.py is such a second implementation too.
"""

from __future__ import annotations

import bisect
import copy
import itertools
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, getcontext
from typing import Any, Protocol

getcontext().prec = 50
_PI = Decimal("3.14159265358979323846264338327950288419716939937511")


def _sine(x: Decimal) -> Decimal:
    term, total, n = x, x, 1
    while abs(term) > Decimal(10) ** -45:
        term *= -x * x / ((n + 1) * (n + 2))
        total, n = total + term, n + 2
    return total


def _nearest(x: Decimal) -> int:
    return int(x.to_integral_value(rounding="ROUND_HALF_UP"))


SINE = [max(-32767, min(32767, _nearest(_sine(2 * _PI * i / 1024) * 32768))) for i in range(1025)]
RSQRT = {i: 16 * math.isqrt(2**61 // (2 * i + 1)) for i in range(64, 256)}

Scale = tuple[int, int]


def clamp(x: int, m: int) -> int:
    return max(-m, min(m, x))


def rsqrt(x: int) -> Scale:
    k = 32 - x.bit_length()
    k -= k & 1
    y = x << k if k >= 0 else x >> -k
    r = RSQRT[y >> 24]
    for _ in range(2):
        r = r * ((3 * 2**62 - y * (r * r >> 30)) >> 32) >> 31
    return min(r, 2**31), 46 - k // 2


def _fraction(d: int) -> int:
    f = (d & 0xFFFF) >> 1
    p = 7575 - (f * 1298 >> 15)
    p = 22662 - (f * p >> 15)
    return 32767 - (f * p >> 15)


def exp2(d: int) -> int:
    return _fraction(d) >> min(d >> 16, 31)


def weight(d: int) -> int:
    return 1 + ((_fraction(d) << 11) >> min(d >> 16, 31))


def sigmoid(x: int) -> int:
    x = clamp(x, 32767)
    z = half_up(4 * min(abs(x), 8191) * 23637)
    t = 32767 - half_up(z * (22710 + half_up(z * (half_up(z * 1514) - 7793))))
    for _ in range(4):
        t = half_up(t * t)
    c = 2 * t - 32767
    w = -110
    for coefficient in (321, -798, 2407, -7283, 21845):
        w = coefficient + half_up(c * w)
    return 32768 - w if x < 0 else w


def gelu(g: int) -> int:
    c = g * g >> 10
    f = 1673285 + (c * 74821 >> 10)
    return g * sigmoid(g * f >> 20)


def half_up(product: int) -> int:
    return (product + 2**14) >> 15


def sine(phase: int) -> int:
    phase %= 2**32
    i, f = phase >> 22, (phase >> 12) % 1024
    return (SINE[i] * (1024 - f) + SINE[i + 1] * f + 512) >> 10


def norm_of(squares: int, n: int) -> Scale:
    if squares == 0:
        return 2**15, 40
    r, e = rsqrt((squares << 20) // n)
    return min(r >> 15, 65535), e - 25


def quantise(x: list[int], frac: int | None, wide: int = 0) -> tuple[list[int], Scale]:
    """frac None: normalised."""
    a = max(abs(v) for v in x)
    if a == 0:
        return [0] * len(x), ((2**15, 40) if frac is None else (2**15, 62))
    s = 31 - a.bit_length()
    c = (127 << 54) // (a << s)
    drop = 47 if wide else 54
    q = [((v << s) * c + 2 ** (drop - 1)) >> drop for v in x]
    if frac is None:
        return q, norm_of(sum(v * v for v in q), len(q))
    t = (a << s) // 127
    drop = 9 if t >= 2**24 else 8
    return q, (t >> drop, s + frac - drop + (7 if wide else 0))


def fourteen_bits(h: list[int]) -> tuple[list[int], int]:
    """A head that is brought to 14 bits, and k."""
    k = max(map(abs, h)).bit_length() - 14
    return [v >> k if k > 0 else v << -k for v in h], k


def multiply(a: Scale, b: Scale) -> Scale:
    m, e = a[0] * b[0] >> 15, a[1] + b[1] - 15
    return (m >> 1, e - 1) if m >= 2**16 else (m, e)


def linear(  # noqa: PLR0917
    rows: list[list[int]], scales: list[int], exponent: int, q: list[int], scale: Scale, frac: int, wide: int = 0
) -> list[int]:
    s = max(1, min(62, exponent + scale[1] - 15 - frac))
    unclamped = not wide and s + 14 >= (len(q) * 127 * 127).bit_length()
    out = []
    for row, w in zip(rows, scales, strict=True):
        acc = sum(a * b for a, b in zip(row, q, strict=True))
        v = (acc * (w * scale[0] >> 15) + (1 << (s - 1))) >> s
        out.append(v if unclamped else clamp(v, 2**30 - 1))
    return out


@dataclass
class Matrix:
    rows: list[list[int]]
    scales: list[int]
    exponent: int
    bias: list[int] | None
    wide: int  # whether its input is

    def __call__(self, x: list[int], x_frac: int | None, frac: int) -> list[int]:
        """x is quantised, normalised if it has no fractional bits, and mapped."""
        q, scale = quantise(x, x_frac, self.wide)
        out = linear(self.rows, self.scales, self.exponent, q, scale, frac, self.wide)
        return out if self.bias is None else [clamp(v + b, 2**30 - 1) for v, b in zip(out, self.bias, strict=True)]

    def part(self, start: int, end: int | None = None) -> Matrix:
        bias = None if self.bias is None else self.bias[start:end]
        return Matrix(self.rows[start:end], self.scales[start:end], self.exponent, bias, self.wide)


@dataclass
class Cache:
    keys: list[tuple[list[int], int]] = field(default_factory=list)
    values: list[tuple[list[int], int]] = field(default_factory=list)


def _ints(code: str, data: memoryview) -> list[int]:
    size = struct.calcsize(code)
    return list(struct.unpack(f"<{len(data) // size}{code}", data))


MATRICES = ("qkv", "o", "gate_up", "down")
VARIANTS = ("qk", "mlp", "parallel", "positions", "embed_rows", "wide_head", "classes", "pair_bits", "nibbles")
LAYER = {"wide": 0, "k_frac": 18, "window": 0, "residual_scale": 8192, "embed_scale": 0, "pair_scale": 0}
PAIRS = (
    (0x9E3779B1, 0x85EBCA77),
    (0xC2B2AE3D, 0x27D4EB2F),
    (0x165667B1, 0xD3A2646D),
    (0xFD7046C5, 0xB55A4F09),
)
"""Multipliers of a token and of the one before, for each part of a pair's row."""


@dataclass
class Table:
    """Rows that are looked up."""

    rows: list[list[int]]
    scales: list[int]
    exponent: int

    def __getitem__(self, row: int) -> list[int]:
        """With 12 fractional bits."""
        e = self.exponent
        return [(v * self.scales[row] + (1 << (e - 13))) >> (e - 12) for v in self.rows[row]]


class Reference:
    """Feeds one stream; ``file`` is a parsed ``.zlm``."""

    def __init__(self, file: Any) -> None:
        self.c = dict.fromkeys(VARIANTS, 0) | file.description["config"]
        self.exponents = {"embed": 16, **file.description["exponents"]}
        self.layers = [LAYER | layer for layer in file.description["layers"]]
        self.t = file.tensors
        self.head = self._matrix("head", self.c["wide_head"])
        embedding = self._rows("embed.q") if self.c["embed_rows"] else self.head.rows
        self.embedding = Table(embedding, _ints("h", self.t["embed.scale"][2]), self.exponents["embed"])
        self.first = _ints("I", self.t["classes"][2]) if self.c["classes"] else []
        self.classes = self._matrix("class", self.c["wide_head"]) if self.first else None
        self.pairs = self._table("pairs", self.c["nibbles"] & 2) if self.c["pair_bits"] else None
        self.values = {
            i: self._table(f"layers.{i}.values", self.c["nibbles"] & 1)
            for i in range(len(self.layers))
            if f"layers.{i}.values.q" in self.t
        }
        self.learned = self._rows("positions") if self.c["positions"] else []
        self.step = _ints("I", self.t["rope.step"][2])
        self.maps = [
            {name: self._matrix(f"layers.{i}.{name}", layer["wide"] >> bit & 1) for bit, name in enumerate(MATRICES)}
            for i, layer in enumerate(self.layers)
        ]
        self._empty()

    def _empty(self) -> None:
        self.caches = [[Cache() for _ in range(self.c["kv_heads"])] for _ in self.layers]
        self.position = 0
        self.before = 0  # the token that was fed last

    def fresh(self) -> Reference:
        """The same model for another stream."""
        other = copy.copy(self)
        other._empty()
        return other

    def _rows(self, name: str) -> list[list[int]]:
        dtype, (rows, cols), data = self.t[name]
        flat = _ints({"I8": "b", "I32": "i"}[dtype], data)
        return [flat[r * cols : (r + 1) * cols] for r in range(rows)]

    def _matrix(self, name: str, wide: int) -> Matrix:
        scales = _ints("h", self.t[name + ".scale"][2])
        bias = _ints("i", self.t[name + ".bias"][2]) if name + ".bias" in self.t else None
        return Matrix(self._rows(name + ".q"), scales, self.exponents[name], bias, wide)

    def _table(self, name: str, nibbles: int) -> Table:
        rows = self._rows(name + ".q")
        if nibbles:
            rows = [[half - (half > 7) * 16 for v in row for half in (v & 15, v >> 4 & 15)] for row in rows]
        return Table(rows, _ints("h", self.t[name + ".scale"][2]), self.exponents[name])

    def _rotate(self, h: list[int]) -> tuple[list[int], int]:
        """The rotated head, and k."""
        n = len(h) // 2
        h, k = fourteen_bits(h)
        out = [0] * (2 * n)
        for i in range(n):
            phase = self.position * self.step[i]
            s, c, a, b = sine(phase), sine(phase + 2**30), h[i], h[n + i]
            out[i] = (a * c - b * s + 2**14) >> 15
            out[n + i] = (b * c + a * s + 2**14) >> 15
        return out, k

    def _head(self, h: list[int], gain: str) -> tuple[list[int], Scale]:
        """A query or key head as it is compared; gain: the name of its tensor."""
        if self.c["qk"] == 0:
            return quantise(self._rotate(h)[0], None)
        if self.c["qk"] == 1:
            rotated, k = self._rotate(h)
            return quantise(rotated, 12 - k)
        t, _ = fourteen_bits(h)
        norm = norm_of(sum(v * v for v in t), len(t))
        rotated, k = self._rotate([v * g for v, g in zip(t, _ints("h", self.t[gain][2]), strict=True)])
        q, scale = quantise(rotated, self.exponents[gain] - k)
        return q, multiply(scale, norm)

    def _attend(self, query: list[int], i: int, cache: Cache) -> list[int]:
        layer = self.layers[i]
        q, scale = self._head(query, f"layers.{i}.q_gain")
        scale = multiply(scale, (layer["temperature"], layer["temperature_exponent"]))
        window = layer["window"] or self.c["window"]
        keys, values = cache.keys[-window:], cache.values[-window:]
        score = linear([k for k, _ in keys], [s for _, s in keys], layer["k_frac"], q, scale, 16)
        e = [exp2(max(score) - s) for s in score]
        c = 2**38 // sum(e)
        w = [(a * v + 2**14) >> 15 for a, (_, v) in zip(e, values, strict=True)]
        sums = [sum(a * v[d] for a, (v, _) in zip(w, values, strict=True)) for d in range(len(query))]
        return [(s * c + 2**18) >> 19 for s in sums]

    def _attention(self, i: int, x: list[int], token: int) -> list[int]:
        c, layer = self.c, self.layers[i]
        n, k_frac = c["head_dim"], layer["k_frac"]
        qkv = self.maps[i]["qkv"](x, None, 12)
        if i in self.values:
            at = len(qkv) - n * c["kv_heads"]
            qkv[at:] = _add(qkv[at:], self.values[i][token])
        heads = [qkv[j : j + n] for j in range(0, len(qkv), n)]
        queries, keys = heads[: c["heads"]], heads[c["heads"] : c["heads"] + c["kv_heads"]]
        for key, value, cache in zip(keys, heads[c["heads"] + c["kv_heads"] :], self.caches[i], strict=True):
            q, (m, e) = self._head(key, f"layers.{i}.k_gain")
            cache.keys.append((q, 32767 if e < k_frac else min(m >> min(e - k_frac, 31), 32767)))
            scale = min(max(map(abs, value)) * 66052 >> layer["v_shift"], 32767)
            cache.values.append((quantise(value, 0)[0], scale))
        group = c["heads"] // c["kv_heads"]
        o = [v for h, q in enumerate(queries) for v in self._attend(q, i, self.caches[i][h // group])]
        return self.maps[i]["o"](o, 39 - layer["v_shift"], 12)

    def _feed_forward(self, i: int, x: list[int]) -> list[int]:
        both, up_frac, ffn = self.maps[i]["gate_up"], self.layers[i]["up_frac"], self.c["ffn"]
        g = [clamp(v, 32767) for v in both.part(0, ffn)(x, None, 10)]
        if self.c["mlp"] == 1:
            return self.maps[i]["down"]([gelu(v) for v in g], 25, 12)
        u = [clamp(v, 32767) for v in both.part(ffn)(x, None, up_frac)]
        h = [((a * sigmoid(a) + 2**14) >> 15) * b for a, b in zip(g, u, strict=True)]
        return self.maps[i]["down"](h, 10 + up_frac, 12)

    def _embed(self, token: int) -> list[int]:
        x = self.embedding[token]
        return _add(x, self.learned[self.position]) if self.learned else x

    def _pair(self, token: int) -> list[int]:
        if self.pairs is None:
            return [0] * self.c["dim"]
        bits, out = self.c["pair_bits"], []
        for part, (a, b) in enumerate(PAIRS):
            row = (token * a + self.before * b) % 2**32 >> (32 - bits)
            out += self.pairs[(part << bits) + row]
        return out

    def feed(self, token: int) -> list[int]:
        """Logits after ``token``: of all tokens, or of classes and behind them of the tokens of all classes."""
        if self.learned and self.position == len(self.learned):
            before = self.before
            self._empty()
            self.before = before
        x = first = self._embed(token)
        pair = self._pair(token)
        for i, layer in enumerate(self.layers):
            x = blend((x, first, pair), (layer["residual_scale"], layer["embed_scale"], layer["pair_scale"]))
            before = x
            x = _add(x, self._attention(i, x, token))
            x = _add(x, self._feed_forward(i, before if self.c["parallel"] else x))
        self.position += 1
        self.before = token
        return ([] if self.classes is None else self.classes(x, None, 16)) + self.head(x, None, 16)

    def weights(self, logits: list[int]) -> Weights:
        """Of what :meth:`feed` gave."""
        return Weights(logits, self.first, self.c["vocab"])


class Weights:
    """Of all tokens; or of classes and, behind them, of the tokens of each, by the largest logit of their class."""

    def __init__(self, logits: list[int], first: list[int], vocab: int) -> None:
        self.first, self.n = first, len(first)
        ends = [0, self.n, *(self.n + t for t in first[1:]), self.n + vocab] if first else [0, vocab]
        self.all: list[int] = []
        for low, high in itertools.pairwise(ends):
            part = logits[low:high]
            self.all += [weight(max(part) - v) for v in part]

    def probability(self, low: int, split: int, high: int) -> int:
        """That the token, of those from ``low`` to ``high`` - 1, is at or above ``split``."""
        if not self.first:
            return probability(self.all, low, split, high)
        classes = [bisect.bisect(self.first, t) - 1 for t in (low, high - 1)]
        if classes[0] == classes[1]:
            return probability(self.all, *(self.n + t for t in (low, split, high)))
        place = self.first.index(split)  # there is no such question otherwise
        return probability(self.all[: self.n], classes[0], place, classes[1] + 1)


def blend(rows: Sequence[list[int]], by: Sequence[int]) -> list[int]:
    if tuple(by) == (8192, 0, 0):
        return rows[0]
    limited = [[clamp(v, 2**27 - 1) for v in row] for row in rows]
    sums = [sum(a * v for a, v in zip(by, column, strict=True)) for column in zip(*limited, strict=True)]
    return [clamp((v + 2**12) >> 13, 2**30 - 1) for v in sums]


def _add(a: list[int], b: list[int]) -> list[int]:
    return [clamp(v + w, 2**30 - 1) for v, w in zip(a, b, strict=True)]


def probability(weights: list[int], low: int, split: int, high: int) -> int:
    part, whole = sum(weights[split:high]), sum(weights[low:high])
    k = max(0, whole.bit_length() - 40)
    return max(1, min(2**24 - 1, ((part >> k) << 24) // (whole >> k)))


class RangeCoder:
    """Encoder over one unbounded number instead of bytes and carries."""

    def __init__(self) -> None:
        self.low, self.range, self.bytes = 0, 2**64 - 1, 0  # low counts 2^-64 of the last byte written

    def put(self, p: int, bit: int) -> None:
        b = (self.range >> 24) * p
        if bit:
            self.range = b
        else:
            self.low += b
            self.range -= b
        while self.range < 2**56:
            self.low <<= 8
            self.range <<= 8
            self.bytes += 1

    def finish(self) -> bytes:
        top = (self.low + 2**56 - 1) >> 56
        return top.to_bytes(self.bytes + 1, "big").rstrip(b"\0")


class RangeDecoder:
    """Reads zeros past the end."""

    def __init__(self, coded: bytes) -> None:
        self.rest = iter(coded)
        self.code, self.range = 0, 2**64 - 1
        for _ in range(8):
            self.code = self.code << 8 | next(self.rest, 0)

    def get(self, p: int) -> int:
        b = (self.range >> 24) * p
        bit = int(self.code < b)
        if bit:
            self.range = b
        else:
            self.code -= b
            self.range -= b
        while self.range < 2**56:
            self.code = self.code << 8 | next(self.rest, 0)
            self.range <<= 8
        return bit


class Cursor(Protocol):
    """The predictor as one stream of a frame sees it (section 9). Probabilities are of a one, in 2^-24."""

    def bit(self, lm: int) -> int:
        """Of the next bit."""

    def update(self, bit: int) -> None:
        """It is this one."""

    def skip(self, bit: int) -> None:
        """It is certain to be this one."""

    def flag(self, lm: int) -> int:
        """Of the token's end."""

    def update_flag(self, end: int) -> None:
        """Whether it has ended."""

    def token(self, token: int) -> None:
        """It was this one."""

    def cut(self) -> None:
        """A document starts."""


Predictor = Callable[[list[int]], Sequence[Cursor]]
"""A frame's cursors, of the sizes of its streams."""


class ModelAlone:
    """In the predictor's place: the language model's probability as it is."""

    def bit(self, lm: int) -> int:
        return lm

    def flag(self, lm: int) -> int:
        return lm

    def update(self, bit: int) -> None:
        pass

    def skip(self, bit: int) -> None:
        pass

    def update_flag(self, end: int) -> None:
        pass

    def token(self, token: int) -> None:
        pass

    def cut(self) -> None:
        pass


def model_alone(sizes: list[int]) -> list[Cursor]:
    return [ModelAlone() for _ in sizes]


Decide = Callable[[int, int], int]
"""Of the probability that the token is at or above a split, and the split, whether it is."""


class Walk:
    """The way through the byte trie to one token."""

    def __init__(self, tokens: list[bytes], weights: Weights, cursor: Cursor, decide: Decide) -> None:
        self.tokens, self.weights, self.cursor, self.decide = tokens, weights, cursor, decide
        self.low, self.high = 0, len(tokens)
        self.bits = 0  # that the cursor has seen

    def run(self) -> int:
        depth = 0
        while self.high - self.low > 1:
            if depth and len(self.tokens[self.low]) == depth:
                self._ask_end(depth)
            for place in range(8):
                if self.high - self.low > 1:
                    self._ask_bit(depth, place)
            depth += 1
        self._skip(8 * len(self.tokens[self.low]))
        self.cursor.token(self.low)
        return self.low

    def _skip(self, to: int) -> None:
        for at in range(self.bits, to):
            self.cursor.skip(self.tokens[self.low][at // 8] >> (7 - at % 8) & 1)
        self.bits = to

    def _lm(self, split: int) -> int:
        return self.weights.probability(self.low, split, self.high)

    def _narrow(self, split: int, above: int) -> None:
        if above:
            self.low = split
        else:
            self.high = split

    def _ask_end(self, depth: int) -> None:
        split = self.low + 1
        self._skip(8 * depth)
        above = self.decide(2**24 - self.cursor.flag(2**24 - self._lm(split)), split)
        self.cursor.update_flag(1 - above)
        self._narrow(split, above)

    def _ask_bit(self, depth: int, place: int) -> None:
        ones = [t for t in range(self.low, self.high) if self.tokens[t][depth] >> (7 - place) & 1]
        split = ones[0] if ones else self.high
        if not self.low < split < self.high:
            return
        self._skip(8 * depth + place)
        above = self.decide(self.cursor.bit(self._lm(split)), split)
        self.cursor.update(above)
        self.bits += 1
        self._narrow(split, above)


GIVEN = 2**31
"""On a token to encode: a document starts here, with this token."""


class Stream:
    """One stream of a frame that is coded."""

    def __init__(self, model: Reference, start: int, cursor: Cursor) -> None:
        self.model, self.start, self.cursor = model, start, cursor
        self.next = start  # the token to feed

    def code(self, tokens: list[bytes], decide: Decide) -> int:
        logits = self.model.feed(self.next)
        self.next = Walk(tokens, self.model.weights(logits), self.cursor, decide).run()
        return self.next

    def cut(self) -> None:
        self.model.feed(self.next)
        self.cursor.cut()
        self.next = self.start


def _sizes(tokens: list[bytes], streams: Sequence[Sequence[int]]) -> list[int]:
    return [sum(len(tokens[i]) for i in ids if i < GIVEN) for ids in streams]


def encode(
    file: Any, tokens: list[bytes], streams: Sequence[Sequence[int]], start: int, predictor: Predictor = model_alone
) -> bytes:
    """The code string of a frame."""
    coder, model = RangeCoder(), Reference(file)
    cursors = predictor(_sizes(tokens, streams))
    states = [Stream(model.fresh(), start, cursor) for cursor in cursors]
    for step in range(max(map(len, streams))):
        for ids, state in zip(streams, states, strict=True):
            if step >= len(ids):
                continue
            if ids[step] >= GIVEN:
                state.cut()
                continue

            def decide(p: int, split: int, token: int = ids[step]) -> int:
                coder.put(p, int(token >= split))
                return int(token >= split)

            state.code(tokens, decide)
    return coder.finish()


def decode(  # noqa: PLR0917
    file: Any,
    tokens: list[bytes],
    coded: bytes,
    streams: Sequence[tuple[int, Sequence[int]]],
    start: int,
    predictor: Predictor = model_alone,
) -> list[bytes]:
    """The text of each stream of a frame, of which (size, boundaries) are known."""
    coder, model = RangeDecoder(coded), Reference(file)
    cursors = predictor([size for size, _ in streams])
    states = [Stream(model.fresh(), start, cursor) for cursor in cursors]
    texts = [b""] * len(streams)
    between = [False] * len(streams)  # a document has ended, and another follows
    while any(len(text) < size for text, (size, _) in zip(texts, streams, strict=True)):
        for i, (size, boundaries) in enumerate(streams):
            if between[i]:
                states[i].cut()
                between[i] = False
            elif len(texts[i]) < size:
                texts[i] += tokens[states[i].code(tokens, lambda p, _: coder.get(p))]
                between[i] = len(texts[i]) in boundaries
    return texts
