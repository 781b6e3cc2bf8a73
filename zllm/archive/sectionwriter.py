"""Codes sections, and writes them one after the other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from zllm.archive.builder import SectionBuilder
from zllm.archive.coder import Coder
from zllm.archive.partwriter import CodedSection, Output, PartWriter
from zllm.archive.resuming import BEGINNING, End
from zllm.archive.verifying import Verifier
from zllm.codecs import registry
from zllm.format import frames, section, sectionmap
from zllm.format.notepart import Note
from zllm.planner import planner
from zllm.planner.planner import CodedFrame
from zllm.stats import EMBEDDED, HEADERS
from zllm.version import VERSION


@dataclass
class Coded:
    """A section that is coded, but not written."""

    builder: SectionBuilder
    groups: list[sectionmap.Group]
    data: list[memoryview]  # of each group
    boundaries: list[tuple[int, ...]]  # of members in it
    coded: planner.Coded


class SectionWriter:
    """Sections may be coded at the same time; they are written in their order."""

    def __init__(
        self,
        out: Output,
        coder: Coder,
        end: End = BEGINNING,
        *,
        parity: float = 0.0,
        verify: bool | None = None,
        notes: Sequence[Note] = (),
    ) -> None:
        self.coder = coder
        self._verifier = Verifier(coder, verify)
        self.parts = PartWriter(out, end, parity, notes)
        self._embedded = set(end.models)  # SHA-256 of the models that are in the archive

    def start(self) -> None:
        """Write what of the archive's header does not depend on the content."""
        self.parts.start()

    def code(self, builder: SectionBuilder) -> Coded:
        """Code one section. Several may be in work at the same time."""
        with self.coder.run.stage("sorting", builder.size):
            groups, pieces = builder.groups()
        data, boundaries = [piece.data for piece in pieces], [piece.boundaries for piece in pieces]
        return Coded(builder, groups, data, boundaries, self.coder.groups.code(pieces))

    def section(self, work: Coded) -> None:
        """Write one section: in their order."""
        run, builder, groups = self.coder.run, work.builder, work.groups
        coded = self.coder.groups.choose(work.coded)
        payloads = [frame.payload for results in coded for frame in results]
        models = sorted({number for results in coded for frame in results if (number := frame.model)})
        small = sectionmap.with_small(groups, builder.records)
        runs = bytearray()
        for group, data, boundaries, results, hashed in zip(
            groups, work.data, work.boundaries, coded, small, strict=True
        ):
            group.frames = [_row(frame, models) for frame in results]
            if hashed:
                runs += _hash_frames(group, data, boundaries)
        with run.stage("headers") as stage:
            section_map = sectionmap.SectionMap(builder.records, groups, bytes(runs))
            blob, raw_size = sectionmap.encode(
                section_map, continued=builder.continued, continues=builder.continues, mixed=self.coder.level.adaptive,
                bounded=True,
            )  # fmt: skip
            stage.bytes_in, stage.bytes_out = raw_size, len(blob)
        refs = tuple(self.coder.model_ref(number) for number in models)
        header = section.SectionHeader(builder.stream_offset, builder.size, raw_size, _flags(builder), refs)
        run.check()
        rows = [row for group in groups for row in group.frames]
        done = list(zip(rows, payloads, strict=True))
        coded_section = CodedSection(header, blob, done, builder.members, builder.sure)
        self._verifier.check(coded_section, builder.records, work.data, models)
        self._write(coded_section, models)

    def _write(self, done: CodedSection, models: list[int]) -> None:
        wanted = [self.coder.models[number - 1] for number in models] if self.coder.embed else []
        new = [model for model in wanted if model.sha256 not in self._embedded]
        self._embedded.update(model.sha256 for model in new)
        self._put(done, [model.data for model in new])

    def copy(self, done: CodedSection, models: Mapping[bytes, Callable[[], bytes | memoryview]]) -> None:
        """Write a section that is coded already. ``models``: those that are to be in the archive, by their SHA-256,
        each with what gives its file.
        """
        new = [sha256 for sha256 in models if sha256 not in self._embedded]
        data = [models[sha256]() for sha256 in new]
        self._embedded.update(new)
        self._put(done, data)

    def _put(self, done: CodedSection, models: list[bytes | memoryview]) -> None:
        run = self.coder.run
        with run.stage("writing") as stage:
            own, sizes, model_size = self.parts.section(done, models)
            stage.bytes_in = own.whole + sum(sizes) + model_size
        if run.stats is not None:
            for (row, _), size in zip(done.frames, sizes, strict=True):
                run.stats.stored(registry.name_of(row.codec), row.raw_size, size)
            run.stats.stored(HEADERS, 0, own.whole)
            if model_size:
                run.stats.stored(EMBEDDED, 0, model_size)

    def finish(self, *, time: int = 0, deleted: Collection[bytes] = ()) -> None:
        """Write directory and footer; see :meth:`PartWriter.finish`."""
        manifest = {"created_by": f"zllm {VERSION}", "level": self.coder.level.number}
        size = self.parts.finish(manifest, time=time, deleted=deleted)
        if self.coder.run.stats is not None:
            self.coder.run.stats.stored(HEADERS, 0, size)


def _flags(builder: SectionBuilder) -> int:
    flags = section.CONTINUED * builder.continued + section.CONTINUES * builder.continues
    return flags + section.OPAQUE * builder.opaque


def _hash_frames(group: sectionmap.Group, data: memoryview, boundaries: Sequence[int]) -> bytes:
    """Give each frame of a group with members that have no hash of their own one of its data; hashes of their runs."""
    start, runs = 0, bytearray()
    for number, row in enumerate(group.frames):
        end = start + row.raw_size
        part = data[start:end]
        group.frames[number] = replace(row, sha256=frames.hash_of(part))
        inner = boundaries[bisect_right(boundaries, start) : bisect_left(boundaries, end)]
        for run in sectionmap.runs(row.raw_size, [boundary - start for boundary in inner]):
            runs += sectionmap.run_hash(part[slice(*run)])
        start = end
    return bytes(runs)


def _row(frame: CodedFrame, models: list[int]) -> frames.FrameRow:
    """``models``: numbers of those that the section uses, in the order of its slots."""
    slot = 1 + models.index(frame.model) if frame.model else 0
    return frames.FrameRow(frame.raw_size, len(frame.payload), frame.codec_id, slot, frame.reason, frame.rival)
