"""The adaptive predictor of docs/arithmetic.md, section 9, in plain Python integers: for tests/reference.py, and to
compare the C code's probabilities with."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from itertools import accumulate
from operator import mul

from reference import Cursor, clamp
from reference_code import X86
from reference_counters import (
    INITIAL,
    NEXT,
    ONE,
    STRETCH,
    Adaptive,
    Histories,
    Lazy,
    hashed,
    slot_key,
    squash,
    upper_of,
)

# What was predicted with less than this left to the other answer teaches no weights, or no probabilities.
KNOWN, CERTAIN = 2**16, 2**10


TEXT, PROSE, RECORDS, X86_CODE, ARM_CODE = 0, 1, 2, 254, 255
"""Profiles of text without a model: from RECORDS to 253, they are the size of the records."""


class Frame:
    """All that the streams share."""

    def __init__(self, sizes: list[int], model: bool, profile: int) -> None:
        size = sum(sizes)
        self.model = model
        self.profile = profile
        self.first = 5 if model else 0  # of the contexts
        self.starts = [0, *accumulate(sizes)][:-1]
        self.written = list(self.starts)  # where each stream's next byte goes
        self.text = bytearray(size)
        self.ended: set[int] = set()  # where tokens have ended
        self.follow = [0] * 2**16
        self.histories = Histories(size, 24 if model else 25)
        self.direct = [bytearray(2**8), bytearray(2**16)]  # the histories of contexts 0 and 1
        self.probabilities = [[Adaptive(p, 0, 1023) for p in INITIAL] for _ in range(15)]
        self.match_bits = next((r for r in range(10, 18) if 2**r >= size), 18)
        self.match_least = 7 if profile == PROSE else 5
        self.matches: dict[int, int] = {}
        self.match_probabilities = [
            [Adaptive(2**22 - 2**20 // (1 + length), 2, 1023) for _ in range(4)] for length in range(16)
        ]
        self.mixer = Mixer(model)
        self.maps = Maps(size, model)
        self.ends = Ends(size)

    def stream(self, position: int) -> int:
        return bisect_right(self.starts, position) - 1

    def equal_before(self, a: int, b: int, own: int) -> int:
        """How many bytes before a, of any stream, are those before b, of the stream own."""
        first, second = self.starts[self.stream(a)], self.starts[own]
        n = 0
        while n < min(400, a - first, b - second) and self.text[a - n - 1] == self.text[b - n - 1]:
            n += 1
        return n


def rate(last: int, used: int) -> int:
    """Of a weight vector that has learnt so often."""
    return last + 2500 // (1 + used // 64)


def trained(weights: list[int], inputs: list[int], step: int) -> list[int]:
    moved = [w + (((x * step >> 12) + 1) >> 1) for w, x in zip(weights, inputs, strict=True)]
    if max(moved) >= 2**15 or min(moved) < -(2**15):
        moved = [max(-(2**15), min(2**15 - 1, w)) for w in moved]
    return moved


class Mixer:
    """Selected weights, and those that mix their outputs."""

    def __init__(self, model: bool) -> None:
        even = 1000 if model else 1500
        first = [even, 0] * 16
        if model:
            first[:10:2] = 5000, 2000, 2000, 2000, 0
        self.weights: list[Lazy[list[int]]] = [Lazy(lambda _: list(first)) for _ in range(6)]
        self.used: list[Lazy[int]] = [Lazy(lambda _: 0) for _ in range(6)]
        self.final = [Lazy(lambda _: [10922] * 6) for _ in range(3)]

    def mix(self, inputs: list[int], selected: list[int], finally_selected: list[int]) -> int:
        self.inputs, self.selected, self.finally_selected = inputs, selected, finally_selected
        vectors = [weights[i] for weights, i in zip(self.weights, selected, strict=True)]
        self.outputs = [clamp(sum(map(mul, inputs, vector)) >> 14, 2047) for vector in vectors]
        last = [weights[i] for weights, i in zip(self.final, finally_selected, strict=True)]
        self.mixed = [clamp(sum(map(mul, self.outputs, vector)) >> 16, 2047) for vector in last]
        return sum(self.mixed) * 21845 >> 16

    def learn(self, bit: int) -> None:
        target = ONE if bit else 0
        sets = zip(self.weights, self.used, self.selected, self.outputs, strict=True)
        for s, (weights, used, i, o) in enumerate(sets):
            step = (((target - squash(o)) >> 8) * rate(40 if s % 2 else 900, used[i])) >> 14
            weights[i] = trained(weights[i], self.inputs, step)
            used[i] = min(used[i] + 1, 4095)
        for weights, i, x in zip(self.final, self.finally_selected, self.mixed, strict=True):
            error = (target - squash(x)) >> 8
            weights[i] = [
                clamp(w + ((o * error + 2**15) >> 16), 2**20) for w, o in zip(weights[i], self.outputs, strict=True)
            ]


class Map:
    """An adaptive probability map: rows by group and node."""

    def __init__(self, n: int, limit: int) -> None:
        steps = [squash(4094 * j // 15 - 2047) >> 2 for j in range(16)]
        self.rows = defaultdict[tuple[int, int], list[Adaptive]](lambda: [Adaptive(p, n, limit) for p in steps])

    def refine(self, x: int, group: int, node: int) -> int:
        """A probability in 2^-29."""
        k, w = divmod((x + 2047) * 15 // 32, 128)
        row = self.rows[group, node]
        self.nearest = row[k + 1] if w >= 64 else row[k]
        return row[k].p * (128 - w) + row[k + 1].p * w


class Maps:
    """Those of what was mixed, and of the model's probability."""

    def __init__(self, size: int, model: bool) -> None:
        most = 9 if model else 11
        self.bits = next((g for g in range(6, most) if 2**g >= size // 64), most)
        self.mixed = [Map(6, 127) for _ in range(2)]
        self.model = [Map(2, 255) for _ in range(3 if model else 0)]

    def group(self, value: int, upper: int) -> int:
        return hashed(value * 256 + upper) >> (32 - self.bits)

    def inputs(self, x: int, values: list[int], upper: int, node: int) -> list[int]:
        found = []
        for each, v in zip(self.model, values, strict=True):
            p = each.refine(x, self.group(v, upper), node) >> 7
            found += [STRETCH[p >> 10], (p >> 12) - 512]
        return found

    def refine(self, x: int, values: tuple[int, int], upper: int, node: int) -> int:
        total = 0
        for each, v in zip(self.mixed, values, strict=True):
            total += each.refine(x, self.group(v, upper), node) >> 5
        total = (2 * squash(x) + total) >> 2 if self.model else (2 * squash(x) + 3 * total) >> 3
        return max(16, min(ONE - 16, total))

    def learn(self, bit: int) -> None:
        for each in self.mixed + self.model:
            each.nearest.learn(bit)


class Ends:
    """The predictor of a token's end."""

    def __init__(self, size: int) -> None:
        self.bits = next((b for b in range(10, 16) if 2**b >= size // 4), 16)
        self.tables = [Lazy(lambda _: Adaptive(2**21, 0, 1023)) for _ in range(10)]
        self.weights = [Lazy(lambda _: [1250] * 10 + [12500, 0]) for _ in range(3)]
        self.used: list[Lazy[int]] = [Lazy(lambda _: 0) for _ in range(3)]

    def ask(self, lm: int, values: list[int], selected: list[int]) -> int:
        shift = 32 - self.bits
        self.asked = [table[hashed(v + 1) >> shift] for table, v in zip(self.tables, values, strict=True)]
        self.inputs = [*(STRETCH[a.p >> 10] for a in self.asked), STRETCH[lm >> 12], 256]
        self.selected = selected
        vectors = [weights[i] for weights, i in zip(self.weights, selected, strict=True)]
        self.outputs = [clamp(sum(map(mul, self.inputs, vector)) >> 14, 2047) for vector in vectors]
        self.predicted = squash(sum(self.outputs) * 21845 >> 16)
        return self.predicted

    def learn(self, end: int) -> None:
        missed = ONE - self.predicted if end else self.predicted
        if missed >= KNOWN:
            self._learn_weights(end)
        for probability in self.asked if missed >= CERTAIN else []:
            probability.learn(end)

    def _learn_weights(self, end: int) -> None:
        target = ONE if end else 0
        for weights, used, i, o in zip(self.weights, self.used, self.selected, self.outputs, strict=True):
            step = (((target - squash(o)) >> 8) * rate(400, used[i])) >> 13
            weights[i] = trained(weights[i], self.inputs, step)
            used[i] = min(used[i] + 1, 1023)


class Match:
    """What a stream's document found of itself in the frame's text."""

    def __init__(self, frame: Frame, own: int) -> None:
        self.frame, self.own = frame, own
        self.expected: int | None = None
        self.length = self.misses = self.position = self.stream = 0

    def follow(self, byte: int) -> None:
        if self.expected is None:
            return
        wrong = byte != self.expected
        self.misses = (2 * self.misses + wrong) % 256
        self.length = 0 if wrong else min(self.length + 1, 65535)
        self.position += 1
        if self.misses != 255 and self.position < self.frame.written[self.stream]:
            self.expected = self.frame.text[self.position]
        else:
            self.expected, self.length = None, 0

    def search(self, last: int) -> None:
        """last: as many bytes as the shortest match has."""
        frame = self.frame
        here = frame.written[self.own]
        if here - frame.starts[self.own] < frame.match_least:
            return
        older = hashed(last // 256 << (72 - 8 * frame.match_least)) >> (36 - frame.match_bits)
        k = older * 16 + (hashed(last % 256) >> 28)
        entry = frame.matches.get(k)
        frame.matches[k] = here
        if entry is None or (self.expected is not None and self.length >= 16):
            return
        n = frame.equal_before(entry, here, self.own)
        stream = frame.stream(entry)
        if n >= frame.match_least and n > self.length and entry < frame.written[stream]:
            self.expected, self.length, self.misses = frame.text[entry], n, 0
            self.position, self.stream = entry, stream

    def length_class(self) -> int:
        if self.length < 8:
            return self.length
        return 8 + bisect_right((12, 16, 24, 32, 64, 128, 512), self.length)

    def wrong(self) -> int:
        return min(3, self.misses.bit_count())

    def hint(self) -> int:
        if self.expected is None:
            return 0
        return 2 if self.position in self.frame.ended else 1


SEPARATORS = b"\t, ;|"


class Lines:
    """The line and the field that a document is in, and the line before."""

    def __init__(self) -> None:
        self.line, self.fields = bytearray(), [0]
        self.last, self.last_fields = bytearray(), list[int]()

    def add(self, byte: int) -> None:
        self.line.append(byte)
        if byte == 10:
            self.last, self.last_fields = self.line, self.fields
            self.line, self.fields = bytearray(), [0]
        elif byte in SEPARATORS and len(self.fields) < 32:
            self.fields.append(len(self.line))

    @property
    def column(self) -> int:
        return len(self.line)

    @property
    def field(self) -> int:
        return len(self.fields) - 1

    @property
    def place(self) -> int:
        return len(self.line) - self.fields[-1]

    def up(self) -> int:
        return self._last(self.column)

    def field_up(self) -> int:
        if self.field >= len(self.last_fields):
            return 0
        return self._last(self.last_fields[self.field] + self.place)

    def _last(self, column: int) -> int:
        return self.last[column] if column < len(self.last) else 0


def class_of(byte: int) -> int:
    if byte >= 128:
        return 7
    for number, (low, high) in enumerate(((b"0", b"9"), (b"a", b"z"), (b"A", b"Z")), 1):
        if low <= bytes([byte]) <= high:
            return number
    return {32: 4, 10: 5}.get(byte, 6 if byte < 32 else 0)


class Document:
    """All that the contexts of a stream are made of: it starts anew with each document."""

    def __init__(self, frame: Frame, own: int) -> None:
        self.frame, self.own = frame, own
        self.bytes = 0  # b(1..8)
        self.start = frame.written[own]
        self.word = self.word_before = self.word_before_that = self.line_word = 0
        self.classes = 0
        self.followed = frame.follow[0]
        self.lines, self.match, self.x86 = Lines(), Match(frame, own), X86()
        self.token_hash = self.token_length = 0
        self.tokens_before = 0, 0  # the newest first
        self.hashes = self._hashes()

    def last(self, first: int, last: int) -> int:
        """b(first..last)."""
        return (self.bytes >> 8 * (first - 1)) & ((1 << 8 * (last - first + 1)) - 1)

    def add(self, byte: int) -> None:
        frame = self.frame
        frame.text[frame.written[self.own]] = byte
        frame.written[self.own] += 1
        self.bytes = (self.bytes << 8 | byte) & (2**64 - 1)
        self._words(byte)
        self.x86.byte(byte)
        self.classes = (self.classes * 8 + class_of(byte)) & 0xFFFFFFFF
        self.lines.add(byte)
        before = self.last(2, 3)
        frame.follow[before] = (256 * frame.follow[before] + byte) & 0xFFFF
        self.followed = frame.follow[self.last(1, 2)]
        self.match.follow(byte)
        self.match.search(self.last(1, frame.match_least))
        self.token_hash = hashed(self.token_hash * 256 + byte + 1)
        self.token_length += 1
        self.hashes = self._hashes()

    def end_token(self, token: int) -> None:
        self.frame.ended.add(self.frame.written[self.own])
        self.token_hash, self.token_length, self.tokens_before = 0, 0, (token, self.tokens_before[0])

    def _words(self, byte: int) -> None:
        if byte == 0:
            return
        if class_of(byte) in (2, 3, 7):
            small = byte + 32 if class_of(byte) == 3 else byte
            self.word = hashed(self.word * 256 + small + 1)
        elif self.word:
            self.line_word = self.line_word or self.word
            self.word_before_that, self.word_before, self.word = self.word_before, self.word, 0
        if byte == 10:
            self.line_word = 0

    @property
    def expected(self) -> int:
        """The byte and 1; 0 for none."""
        return 0 if self.match.expected is None else self.match.expected + 1

    def _hashes(self) -> list[int]:
        values = self._text_values()
        if self.frame.profile == PROSE:
            self._make_prose(values)
        elif self.frame.profile == X86_CODE:
            self._make_x86(values)
        elif self.frame.profile >= RECORDS:
            self._make_records(values, 4 if self.frame.profile == ARM_CODE else self.frame.profile)
        if self.frame.profile == ARM_CODE:
            place = self.place(4)
            values[9] = self.bytes % 2 ** (8 * place) << 16 | self.last(place + 1, place + 1) << 8 | place
        return [hashed((v + i + 1) * 0xD6E8FEB86659FD93 + i * 0x632BE59BD9B4E019) for i, v in enumerate(values)]

    def _text_values(self) -> list[int]:
        b1, lines = self.last(1, 1), self.lines
        return [
            self.last(1, 3),
            self.last(2, 3) << 8,
            self.followed << 8 | b1,
            self.last(1, 2),
            self.last(1, 4),
            self.last(1, 6),
            self.word << 8 | b1,
            self.word << 32 | self.word_before,
            lines.up() << 16 | min(lines.column, 255) << 8 | b1,
            lines.field_up() << 24 | lines.field << 16 | b1 << 8 | min(lines.place, 255),
            self.line_word << 16 | lines.field << 8 | b1,
            self.expected << 8 | min(self.match.length, 15),
            self.classes << 8 | b1,
        ]

    def _make_prose(self, values: list[int]) -> None:
        values[1] = self.last(1, 6) & 0xE0E0E0E0FFFF
        values[2] = self.word << 32 | min(self.lines.column, 255)
        values[9] = self.word << 32 | self.classes % 2**18
        values[10] = self.word << 32 | self.word_before_that

    def _make_x86(self, values: list[int]) -> None:
        seen, history, kind, b1 = self.x86.seen, self.x86.history, self.x86.kind(), self.last(1, 1)
        values[2] = history << 4 | kind
        values[6] = seen << 8 | kind
        values[7] = seen << 32 | history % 2**12 << 8 | kind
        values[8] = seen << 32 | history % 2**24 << 4 | kind
        values[9] = seen << 16 | b1 << 8 | kind
        values[10] = history % 2**12 << 16 | kind << 8 | b1
        values[12] = kind << 40 | self.x86.opcode << 24 | self.last(1, 2)

    def place(self, size: int) -> int:
        """In the record or the word."""
        return (self.frame.written[self.own] - self.start) % size

    def selectors(self, bits: int) -> tuple[int, int, int]:
        """What the second and fifth vector of weights and the last final one are selected by, of the bytes before."""
        if self.frame.profile < X86_CODE:
            return self.classes % 4096, self.classes % 8, self.classes % 512
        place = self.place(4)
        kind, known = place, self.last(place + 1, place + 1)
        if self.frame.profile == X86_CODE:
            kind, known = self.x86.kind(), self.x86.known()
        return kind * 256 + known, kind % 8, kind * 8 + bits

    def _make_records(self, values: list[int], size: int) -> None:
        written = self.frame.written[self.own] - self.start
        text = self.frame.text[self.start : self.start + written]
        place, b1 = written % size, self.last(1, 1)
        above = text[-size] if written >= size else 0
        above_that = text[-2 * size] if written >= 2 * size else 0
        values[6] = place << 16 | above << 8
        values[7] = above << 16 | above_that << 8 | place
        values[8] = place << 16 | above << 8 | b1
        values[9] = place << 8 | b1
        values[10] = self.last(2, 2) << 8
        values[12] = self.last(3, 4) << 16

    def end_values(self) -> list[int]:
        """What the end of a token is predicted from."""
        t, length, match = self.token_hash, min(self.token_length, 255), self.match
        return [
            t,
            self.tokens_before[0] << 32 | t,
            self.last(1, 3) << 8 | length,
            self.word << 8 | length,
            self.expected << 32 | t,
            match.hint() << 8 | min(match.length, 31) << 2 | match.wrong(),
            self.classes << 8 | length,
            self.lines.column << 32 | t,
            hashed(self.tokens_before[1] << 32 | self.tokens_before[0]) << 32 | t,
            self.word_before << 32 | hashed(self.word << 8 | length),
        ]


class StreamCursor:
    """See :class:`reference.Cursor`."""

    def __init__(self, frame: Frame, own: int) -> None:
        self.frame, self.own = frame, own
        self.document = Document(frame, own)
        self.partial = 1
        self.slots: list[int] | None = None  # of this nibble, if they have been looked up

    def bit(self, lm: int) -> int:
        document, frame, upper, node = self.document, self.frame, upper_of(self.partial), self._node()
        self._histories(upper, node)
        inputs = []
        if frame.model:
            x = STRETCH[lm >> 12]
            inputs = [x, (lm - 2**23) >> 14, *frame.maps.inputs(x, self._model_values(), upper, node), 256, 0]
        for asked in self.asked:
            inputs += STRETCH[asked.p >> 10], (asked.p >> 12) - 512
        inputs += self._match_inputs()
        selected = self._selected(lm)
        last = document.selectors(self.partial.bit_length() - 1)[2]
        x = frame.mixer.mix(inputs, selected, [self.partial, selected[0], last])
        self.predicted = frame.maps.refine(x, (document.last(1, 1), document.last(1, 2)), upper, node)
        return self.predicted

    def update(self, bit: int) -> None:
        missed = ONE - self.predicted if bit else self.predicted
        if missed >= KNOWN:
            self.frame.mixer.learn(bit)
        if missed >= CERTAIN:
            self.frame.maps.learn(bit)
            if self.matched:
                self.matched.learn(int(bit == self.matched_bit))
            for asked in self.asked:
                asked.learn(bit)
        for table, at in self.places:
            table[at] = NEXT[table[at]][bit]  # not what it was when asked for, if an earlier context has the same slot
        self.skip(bit)

    def skip(self, bit: int) -> None:
        self.partial = 2 * self.partial + bit
        if self.partial >= 256:
            self.document.add(self.partial - 256)
            self.partial = 1
        if self.partial == 1 or 16 <= self.partial < 32:
            self.slots = None

    def flag(self, lm: int) -> int:
        document = self.document
        matched = document.match.hint() * 5 + min(document.token_length, 4)
        selected = [matched, document.classes % 512, document.last(1, 1)]
        return self.frame.ends.ask(lm, document.end_values(), selected)

    def update_flag(self, end: int) -> None:
        self.frame.ends.learn(end)

    def token(self, token: int) -> None:
        self.document.end_token(token)

    def cut(self) -> None:
        self.document = Document(self.frame, self.own)
        self.slots = None

    def _node(self) -> int:
        """The nibble's bits so far, after a one."""
        depth = (self.partial.bit_length() - 1) % 4
        return 1 << depth | self.partial & ((1 << depth) - 1)

    def _histories(self, upper: int, node: int) -> None:
        """Finds where the histories of the contexts are, and their adaptive probabilities."""
        frame, document = self.frame, self.document
        if self.slots is None:
            keys = [slot_key(h, upper) for h in document.hashes]
            self.slots = [frame.histories.slot(key) for key in keys[frame.first - 2 if frame.model else 0 :]]
        self.places = []
        if not frame.model:
            at = document.last(1, 1) << 8 | self.partial
            self.places += (frame.direct[0], self.partial), (frame.direct[1], at)
        self.places += [(frame.histories.bytes, at + node) for at in self.slots]
        states = [table[at] for table, at in self.places]
        rows = frame.probabilities[frame.first :]
        self.asked = [row[state] for row, state in zip(rows, states, strict=True)]
        self.known = sum(state != 0 for state in states[6 - frame.first : 10 - frame.first])

    def _model_values(self) -> list[int]:
        """What the model's maps are selected by."""
        document = self.document
        token = document.tokens_before[0] * 256 + document.token_length
        return [document.classes % 4096, token, document.token_hash]

    def _match_inputs(self) -> tuple[int, int]:
        match, bits = self.document.match, self.partial.bit_length() - 1
        self.matched: Adaptive | None = None
        if match.expected is None or (match.expected | 256) >> (8 - bits) != self.partial:
            return 0, 0
        self.matched = self.frame.match_probabilities[match.length_class()][match.wrong()]
        self.matched_bit = match.expected >> (7 - bits) & 1
        sign = 1 if self.matched_bit else -1
        return sign * STRETCH[self.matched.p >> 10], sign * ((self.matched.p >> 12) - 512)

    def _selected(self, lm: int) -> list[int]:
        """Numbers of the six weight vectors."""
        document, bits = self.document, self.partial.bit_length() - 1
        first = int(document.token_length == 0)
        m = 1 + document.match.length_class() if self.matched else 0
        kind, narrow, _ = document.selectors(bits)
        by_partial = self.partial * 8 + narrow
        confidence = (abs(STRETCH[lm >> 12]) >> 8) * 17 + m if self.frame.model else by_partial
        order = (self.known * 8 + bits) * 2 + first
        return [m * 2 + first, kind, document.last(1, 1), order, confidence, 0]


def _cursors(sizes: list[int], model: bool, profile: int = TEXT) -> list[Cursor]:
    frame = Frame(sizes, model, profile)
    return [StreamCursor(frame, own) for own in range(len(sizes))]


def with_model(sizes: list[int]) -> list[Cursor]:
    """A :data:`reference.Predictor`."""
    return _cursors(sizes, True)


def alone(sizes: list[int], profile: int = TEXT) -> list[Cursor]:
    """Without a language model."""
    return _cursors(sizes, False, profile)
