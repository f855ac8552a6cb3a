"""Ranges that a few values stretch far beyond all others."""

from collections.abc import Iterator
from dataclasses import dataclass

from qsr.analysis.labels import layer_label
from qsr.checks.findings import Finding
from qsr.checks.subject import Subject
from qsr.quantization.shared_grids import KEEPS_GRID, shared_grids
from qsr.tflite.io_grid import ranges_tied_to_input, ranges_tied_to_output

_FAR = 2.0
"""A grid so many times as wide as 99.9 % of the values need loses one of its 8 bits to the rest."""

_LEAST_GAIN_DB = 0.001

_ADVICE = (
    "use representative images without such values, let qsr search-repdata choose them, or tune "
    "the range"
)


@dataclass(frozen=True)
class _Stretched:
    """Tensors of one grid, and what they hold.

    Attributes:
        names: of the tensors.
        label: of the layer that holds all their values.
        span: smallest and largest value, in real units.
        central: what 99.9 % of the values lie between.
    """

    names: tuple[str, ...]
    label: str
    span: tuple[float, float]
    central: tuple[float, float]

    @property
    def needed(self) -> tuple[float, float]:
        """The range that 99.9 % of the values need: grids hold 0."""
        return min(self.central[0], 0.0), max(self.central[1], 0.0)

    @property
    def ratio(self) -> float:
        """How many times as wide the grid is as those need; 1 if they need none."""
        low, high = self.needed
        whole = max(self.span[1], 0.0) - min(self.span[0], 0.0)
        return whole / (high - low) if high > low else 1.0


def check_outliers(subject: Subject) -> Iterator[Finding]:
    """Compare the range of every grid with what 99.9 % of its values need; needs pictures."""
    for grid in _grids(subject):
        if grid.ratio < _FAR:
            continue
        gain = _gain(subject, grid)
        helps = gain is not None and gain >= _LEAST_GAIN_DB
        yield Finding(
            code="QSR801" if helps else "QSR802",
            where=grid.label,
            problem=f"the images span {grid.span[0]:.4g}..{grid.span[1]:.4g}, and 99.9 % of "
            f"the values {grid.central[0]:.4g}..{grid.central[1]:.4g}: the grid is "
            f"{grid.ratio:.1f} times as wide as those need",
            advice=_advice(gain, helps=helps),
            cost_db=gain if helps else None,
            evidence={
                "minimum": grid.span[0],
                "maximum": grid.span[1],
                "percentile_0_05": grid.central[0],
                "percentile_99_95": grid.central[1],
                "ratio": grid.ratio,
                **({} if gain is None else {"gain_of_cutting_db": gain}),
            },
        )


def _grids(subject: Subject) -> Iterator[_Stretched]:
    """Yield the grids that are measured, not known beforehand, with what their tensors hold."""
    graph, values = subject.graph, subject.values
    if not values:
        return
    by_name = {tensor.name: tensor for tensor in graph.activations if tensor.index in values}
    if subject.simulates:
        for group in shared_grids(graph, subject.image_ranges):
            members = [by_name[name] for name in group.tensors if name in by_name]
            if not group.fixed and members:
                widest = max(members, key=lambda tensor: tensor.shape[-1])
                held = values[widest.index]
                label = layer_label(widest.name)
                yield _Stretched(group.tensors, label, held.span, held.central)
        return
    known = ranges_tied_to_input(graph).keys() | ranges_tied_to_output(graph).keys()
    for tensor in by_name.values():
        maker = graph.producer.get(tensor.index)
        if tensor.index not in known and maker is not None and maker.kind not in KEEPS_GRID:
            held = values[tensor.index]
            yield _Stretched((tensor.name,), layer_label(tensor.name), held.span, held.central)


def _advice(gain: float | None, *, helps: bool) -> str:
    if gain is None:
        return f"look whether the values matter; if not, {_ADVICE}"
    if helps:
        return _ADVICE
    return f"nothing: cutting the values off would change the PSNR by {gain:+.4f} dB"


def _gain(subject: Subject, grid: _Stretched) -> float | None:
    """Measure what the integer model gains if the range is cut to what 99.9 % need."""
    if not subject.simulates:
        return None
    cut = dict.fromkeys(grid.names, grid.needed)
    return subject.quantized_psnr_db(cut) - subject.true_psnr_db
