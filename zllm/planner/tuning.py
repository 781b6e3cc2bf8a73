"""What the planner was tuned to: how large samples are, and how far they are believed. Nothing of this is in archives.

Each value has its unit, and the command that measured it: ``python tools/measure_planner.py`` with the name of a table,
and files like those that it was tuned to (logs, tables, JSON, SQL, sources, prose and verse of 128 KiB to 9 MiB).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """The planner's constants."""

    probed: int = 256 << 10
    """Bytes of a text from which on samples decide whether a model is asked: coding less costs little more than them.
    ``samples``."""

    sample: int = 64 << 10
    """Bytes of a sample for a model. Its first half is not counted: there all is new, and a model knows it better by
    some share of what it loses later. ``samples``."""

    sample_spots: int = 8
    """Parts of such a sample, evenly spread. One window of 32 KiB was right about 8 of 10 logs, this about all but one,
    whose 2.6% are lost. ``samples``."""

    fading: float = 0.012
    """Of what a model saves, lost at every doubling of the text: the predictor learns meanwhile. 0 to 0.05 in 17 texts.
    ``samples``."""

    prose: int = 4
    """Text that zstd -9 makes less than this many times smaller is prose, which models know: no samples of it. It makes
    prose 2.6 to 3.5 times smaller, source code 5 times, logs 8 to 30 times. ``samples``."""

    compared: int = 32 << 10
    """Bytes of each of two windows by which codecs without a model are compared with zstd -9, where data is not text.
    ``bound``."""

    hardly: float = 0.02
    """Share that zstd -9 saves at least of data that slower codecs are tried on: random and encrypted data, and most
    media, have less in them for anything. ``bound``."""

    clearly: float = 1.1
    """Times what a codec makes of two windows of data that it recognised: what another one makes larger than this is
    not tried on the whole. Of music, speech and photographs cm made 1.2 to 2 times as much. ``bench media``."""

    surely_beaten: float = 0.75
    """Of zstd -9: what another codec makes smaller than this, zstd -19 does not make smaller still. It made 0.84 of it
    and more, of texts, logs, tables, libraries and made-up repetitions, up to windows apart. ``bound``."""

    estimated: int = 128 << 10
    """Bytes of a text from which on the predictor's size is estimated: coding less takes it less than a tenth of a
    second, beside the model. ``estimates``."""

    share: int = 8
    """An estimate's larger sample is one part in so many of a text, but one in twice as many of :attr:`much` and more:
    mostly 32 to 64 KiB. ``estimates``."""

    much: int = 512 << 10
    """Bytes; see :attr:`share`. ``estimates``."""

    estimate_spots: int = 4
    """Parts of an estimate's sample, evenly spread. ``estimates``."""

    repetitive: int = 12
    """What comes out more than so many times smaller is not estimated: sample and whole have too little in common.
    ``estimates``."""

    ahead: float = 0.95
    """Of an estimate, which may be 5% too high: with a model that makes less, the predictor alone need not be run.
    ``estimates``."""


TUNING = Tuning()
