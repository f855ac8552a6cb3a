"""Is a representative set good? Answered from ranges and saturation, before any search."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qsr.calibration.audit import (
    STEPS,
    Dropped,
    GridsOf,
    TensorSaturation,
    extremes,
    halves_difference,
    with_margin,
    without_each,
)
from qsr.calibration.collect import collect
from qsr.calibration.executor import local_processes
from qsr.calibration.quantize import picture_ranges, quantize
from qsr.calibration.ranges import Ranges, RangeTable, Reader
from qsr.calibration.saturation import Saturation, measure_saturation
from qsr.calibration.scheme import Scheme, scheme_named
from qsr.data.pairs import Pair, find_pairs
from qsr.jobs.audit_held_out import Columns, Unseen, Without, held_out_findings, worst_share
from qsr.jobs.audit_records import Audit, AuditReport, DropAdvice, IoGrid, Role, TensorAudit
from qsr.jobs.audit_verdict import judge
from qsr.jobs.images import check_there, usable
from qsr.jobs.integer_grids import integer_grids
from qsr.jobs.models import load_float
from qsr.jobs.progress import Progress, silent
from qsr.jobs.workers import checked_workers
from qsr.tflite.graph import Graph, end_grids
from qsr.tflite.runtime import ModelFacts, inspect_model

SPLITS = 16
"""Random halvings: enough for a median, and 32 integer models take half a second."""

_SEED = 0
_MIDDLE_BYTE = 128


def audit_repdata(
    model: str = "xcat",
    *,
    images: Path,
    against: Path | None = None,
    scheme: str = "uint8",
    pin_io: bool = True,
    reader: Reader = "exact",
    workers: int | None = None,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
) -> AuditReport:
    """Say whether a representative set is good, why, and which image to drop or to add.

    The ranges of every image are measured once; each grid is read off a real integer model. With
    held-out images, what these grids would cut off of their activations is counted exactly. No
    image is scored.

    Args:
        model: a name from the zoo, or a ``.tflite``, ``.keras``, ``.h5`` or SavedModel path.
        images: folder of the representative images: photographs, or LR/HR images.
        against: folder of images like those that the model will meet, none of them in the set;
            without it, saturation is not measured.
        scheme: name of a quantization scheme.
        pin_io: give input and output their true grid, whatever the images hold.
        reader: ``exact``, or ``converter`` for the ranges that ``TFLiteConverter`` would record.
        workers: number of processes; as many as there are cores if None.
        skip_bad_images: leave unusable images out instead of stopping.
        on_progress: called while working.

    Returns:
        The verdict, and what it rests on.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: the model is unusable, or an integer model already.
        UsageError: the arguments do not fit together, or every held-out image is in the set.
    """
    started = perf_counter()
    chosen_scheme = scheme_named(scheme, pin_io=pin_io)
    workers = checked_workers(workers)
    check_there([images, against])
    on_progress("load the model", 0, 1)
    content = load_float(model)
    on_progress("load the model", 1, 1)
    facts = inspect_model(content, source=model)

    def checked(path: Path, stage: str) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
        return usable(
            find_pairs(path, facts.scale),
            least_lr=facts.smallest_side,
            skip_bad=skip_bad_images,
            stage=stage,
            on_progress=on_progress,
        )

    pairs, skipped = checked(images, "check images")
    held_out_pairs: tuple[Pair, ...] = ()
    if against is not None:
        held_out_pairs, more = checked(against, "check held-out images")
        skipped += more
    with local_processes(workers) as executor:
        work = _Work(content, model, facts, chosen_scheme, reader, executor, on_progress)
        table = work.ranges(pairs, "measure ranges")
        unseen = None
        if held_out_pairs:
            held_out_table = work.ranges(held_out_pairs, "measure held-out ranges")
            unseen = Unseen(table, held_out_table, held_out_pairs)
        audit = _audit(work, table, pairs, unseen, folders=(images, against))
    return AuditReport(
        verdict=judge(audit),
        audit=audit,
        skipped=skipped,
        workers=workers,
        seconds=perf_counter() - started,
    )


@dataclass(frozen=True)
class _Work:
    """What every step needs: the model, how it is quantized, and where to work."""

    content: bytes
    model: str
    facts: ModelFacts
    scheme: Scheme
    reader: Reader
    executor: Executor | None
    on_progress: Progress

    def ranges(self, pairs: Sequence[Pair], stage: str) -> RangeTable:
        """Measure the ranges of every image."""
        return collect(
            self.content,
            [(pair.name, pair.load_lr) for pair in pairs],
            reader=self.reader,
            executor=self.executor,
            on_image=lambda done: self.on_progress(stage, done, len(pairs)),
            source=self.model,
        )

    def saturation(self, pairs: Sequence[Pair], grids: Sequence[Ranges]) -> Saturation:
        """Count the activations that grids cut off: those more than half a step outside.

        What the output holds beyond black and white is cut off in any case, and not counted.
        """
        output = Graph(self.content).output.name
        limits = [with_margin(one) for one in grids]
        for grid, limit in zip(grids, limits, strict=True):
            if output in grid.tensors:
                column = grid.tensors.index(output)
                half_step = (grid.maximum[column] - grid.minimum[column]) / STEPS / 2
                if grid.minimum[column] <= half_step:
                    limit.minimum[column] = -np.inf
                if grid.maximum[column] >= self.facts.value_max - half_step:
                    limit.maximum[column] = np.inf
        return measure_saturation(
            self.content,
            [(pair.name, pair.load_lr) for pair in pairs],
            limits,
            executor=self.executor,
            on_image=lambda done: self.on_progress("measure saturation", done, len(pairs)),
            source=self.model,
        )


def _audit(
    work: _Work,
    table: RangeTable,
    pairs: Sequence[Pair],
    unseen: Unseen | None,
    *,
    folders: tuple[Path, Path | None],
) -> Audit:
    graph = Graph(work.content, source=work.model)
    grids_of = integer_grids(work.content, work.scheme, source=work.model)
    merged = table.merged()
    grids = grids_of(merged)
    roles = _roles(graph, table.tensors, work)
    columns = _columns(merged, grids, roles)
    drop = _droppable(table, grids_of, columns)
    findings = None
    if unseen is not None and columns.judged.any():
        findings = held_out_findings(
            unseen, merged, drop, grids_of=grids_of, columns=columns, measure=work.saturation
        )
    several = len(table.images) > 1
    halves = halves_difference(table, grids_of, splits=SPLITS, seed=_SEED) if several else None
    images, against = folders
    lowest, highest = (
        round(float(end[table.tensors.index(graph.input.name)]) * 255 / work.facts.value_max)
        for end in (merged.minimum, merged.maximum)
    )
    return Audit(
        model=work.model,
        images_folder=str(images),
        against_folder=None if against is None else str(against),
        scheme=work.scheme,
        reader=work.reader,
        images=len(table.images),
        fixed_size=work.facts.fixed_size,
        lowest_byte=lowest,
        highest_byte=highest,
        io_grids=_io_grids(work, merged),
        tensors=_tensors(
            graph,
            table,
            grids,
            (roles, columns),
            halves,
            {} if findings is None else findings.tensors,
        ),
        splits=SPLITS if several else 0,
        drop=_drop_advice(
            work, drop, pairs, columns, None if findings is None else findings.without
        ),
        held_out=None if findings is None else findings.summary,
    )


def _roles(graph: Graph, tensors: Sequence[str], work: _Work) -> tuple[Role, ...]:
    known = picture_ranges(graph, source=work.model)
    ends = {graph.input.name, graph.output.name}

    def role(name: str) -> Role:
        if name not in known:
            return "judged"
        if work.scheme.pin_io:
            return "pinned"
        return "judged" if name in ends else "tied"

    return tuple(role(name) for name in tensors)


def _columns(merged: Ranges, grids: Ranges, roles: Sequence[Role]) -> Columns:
    """Return which tensors count; of those that share a grid, the one that fills it leads."""
    judged = np.array([role == "judged" for role in roles])
    width = np.maximum(merged.maximum, 0) - np.minimum(merged.minimum, 0)
    leader: dict[tuple[float, float], int] = {}
    for column in map(int, np.flatnonzero(judged)):
        grid = (float(grids.minimum[column]), float(grids.maximum[column]))
        if grid not in leader or width[column] > width[leader[grid]]:
            leader[grid] = column
    leads = np.zeros(len(roles), np.bool_)
    leads[list(leader.values())] = True
    return Columns(judged, leads)


def _droppable(table: RangeTable, grids_of: GridsOf, columns: Columns) -> Dropped | None:
    """Return the set without the image whose removal makes the judged grids finest."""
    if not columns.judged.any():
        return None
    drops = [drop for drop in without_each(table, grids_of) if drop.narrower[columns.leads].any()]
    return max(drops, key=lambda one: float(one.narrower[columns.leads].mean()), default=None)


def _drop_advice(
    work: _Work,
    drop: Dropped | None,
    pairs: Sequence[Pair],
    columns: Columns,
    without: Without | None,
) -> DropAdvice | None:
    if drop is None:
        return None
    itself = [pair for pair in pairs if pair.name == drop.image]
    most = int(np.where(columns.leads, drop.narrower, -np.inf).argmax())
    return DropAdvice(
        image=drop.image,
        narrower=float(drop.narrower[columns.leads].mean()),
        tensor=drop.grids.tensors[most],
        tensor_narrower=float(drop.narrower[most]),
        own_share=worst_share(work.saturation(itself, [columns.of(drop.grids)])),
        held_out_share=None if without is None else without.share,
        error_change_db=None if without is None else without.error_change_db,
    )


def _io_grids(work: _Work, merged: Ranges) -> tuple[IoGrid, IoGrid]:
    """Return the grids that a real integer model gets if the images alone decide."""
    unpinned = replace(work.scheme, pin_io=False)
    first, last = end_grids(quantize(work.content, merged, unpinned, source=work.model))

    def seen(end: Literal["input", "output"], dtype: str, scale: float, zero: int) -> IoGrid:
        levels = np.arange(256)
        stored = levels - _MIDDLE_BYTE if dtype == "int8" else levels
        brightness = scale * (stored - zero) * 255 / work.facts.value_max
        return IoGrid(
            end=end,
            pinned=work.scheme.pin_io,
            dtype=dtype,
            scale=scale,
            zero_point=zero,
            byte_128_means=float(brightness[_MIDDLE_BYTE]),
            largest_error=float(np.abs(brightness - levels).max()),
        )

    return (
        seen("input", first.dtype, first.scale, first.zero_point),
        seen("output", last.dtype, last.scale, last.zero_point),
    )


def _tensors(  # noqa: PLR0917 (a row of the table from all that was found)
    graph: Graph,
    table: RangeTable,
    grids: Ranges,
    seen: tuple[Sequence[Role], Columns],
    halves: NDArray[np.float64] | None,
    saturation: dict[str, TensorSaturation],
) -> tuple[TensorAudit, ...]:
    numbers = {tensor.name: tensor.index for tensor in graph.activations}
    roles, columns = seen
    rows = []
    for column, (name, (minimum, maximum)) in enumerate(
        zip(table.tensors, extremes(table), strict=True)
    ):
        operator = graph.producer.get(numbers[name])
        rows.append(
            TensorAudit(
                name=name,
                operator=operator.kind if operator is not None else "INPUT",
                role=roles[column],
                leads=bool(columns.leads[column]),
                state=_state(minimum.value, maximum.value),
                minimum=minimum,
                maximum=maximum,
                grid_minimum=float(grids.minimum[column]),
                grid_maximum=float(grids.maximum[column]),
                halves_median=None if halves is None else float(np.median(halves[:, column])),
                halves_worst=None if halves is None else float(halves[:, column].max()),
                saturation=saturation.get(name),
            )
        )
    return tuple(rows)


def _state(minimum: float, maximum: float) -> Literal["varies", "constant", "dead"]:
    if minimum != maximum:
        return "varies"
    return "constant" if minimum else "dead"
