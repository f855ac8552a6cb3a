"""Do bytes mean b/255 at both ends, as a phone takes them?"""

from collections.abc import Iterator

import numpy as np

from qsr.checks.findings import Finding
from qsr.checks.picture_grid import PictureGrid, picture_grid
from qsr.checks.subject import Subject
from qsr.tflite.graph import end_grids
from qsr.tflite.io_grid import ranges_tied_to_input

_PIN = (
    "quantize with the grids of input and output pinned to black and white, as qsr quantize does "
    "unless told --io-from-images"
)
_LEAST_COST_DB = 0.001
_WIDEST_MISS = 1e-3


def check_ends(subject: Subject) -> Iterator[Finding]:
    """Look at what bytes stand for at both ends."""
    if not subject.quantized:
        yield from _of_float(subject)
        return
    grids = {
        role: (end, picture_grid(end))
        for role, end in zip(("input", "output"), end_grids(subject.model), strict=True)
    }
    floats = [role for role, (end, _) in grids.items() if end.dtype == "float32"]
    if floats:
        yield Finding(
            code="QSR902",
            where=" and ".join(floats),
            problem="a phone's bytes have to be turned into float32 and back",
            advice="quantize with bytes at both ends: --scheme uint8 or int8",
        )
    known = {role: grid for role, (_, grid) in grids.items() if grid is not None}
    wrong = {role: grid for role, grid in known.items() if not grid.exact}
    for role, grid in wrong.items():
        yield _wrong(subject, role, grid)
    if known and not wrong:
        (first, *_) = known.values()
        yield Finding(
            code="QSR201",
            where=" and ".join(known),
            problem=f"scale {first.scale:.7f} is that of black to white in 256 steps, and black "
            "is the lowest byte",
            advice="nothing",
            evidence={"scale": first.scale},
        )


def _wrong(subject: Subject, role: str, grid: PictureGrid) -> Finding:
    """Say what an end's grid does to brightness."""
    worst = int(np.abs(grid.errors).argmax())
    verb = "reads" if role == "input" else "means"
    return Finding(
        code="QSR202" if role == "input" else "QSR203",
        where=role,
        problem=f"scale {grid.scale:.6f} and zero point {grid.zero_point}, not "
        f"{grid.white / 255.0:.6f} and 0: the model {verb} byte 0 as {grid.levels[0]:.1f} and byte "
        f"255 as {grid.levels[-1]:.1f}; off by {np.abs(grid.errors).mean():.1f} levels on average, "
        f"{abs(grid.errors[worst]):.1f} at worst (byte {worst})",
        advice=_PIN,
        cost_db=_cost(subject, role),
        evidence={
            "scale": grid.scale,
            "zero_point": grid.zero_point,
            "mean_error_levels": float(np.abs(grid.errors).mean()),
            "worst_error_levels": float(grid.errors[worst]),
            "worst_byte": worst,
        },
    )


def _cost(subject: Subject, role: str) -> float | None:
    """Measure what taking one end's bytes raw costs, the other end going through its grid."""
    if not subject.pictures:
        return None
    best = subject.psnr_db(subject.model)
    raw = subject.ends_psnr_db(
        subject.model, raw_input=role == "input", raw_output=role == "output"
    )
    return best - raw


def _of_float(subject: Subject) -> Iterator[Finding]:
    """Say what the input's grid would be if it were made from the images."""
    if not subject.simulates:
        return
    graph, white = subject.graph, subject.facts.value_max
    ranges = subject.image_ranges
    column = ranges.tensors.index(graph.input.name)
    low, high = float(ranges.minimum[column]), float(ranges.maximum[column])
    if low <= _WIDEST_MISS * white and high >= (1 - _WIDEST_MISS) * white:
        return
    names = {graph.tensors[index].name for index in ranges_tied_to_input(graph)}
    spans = zip(ranges.tensors, ranges.minimum.tolist(), ranges.maximum.tolist(), strict=True)
    free = {name: (one, other) for name, one, other in spans if name in names}
    cost = subject.quantized_psnr_db(shown_raw=True) - subject.quantized_psnr_db(
        free, shown_raw=True
    )
    if cost < _LEAST_COST_DB:
        return
    yield Finding(
        code="QSR204",
        where="input",
        problem=f"the {len(subject.pictures)} images span {low / white:.3f}..{high / white:.3f} of "
        "white: a converter that calibrates on them feeds every picture darker or brighter than "
        "it is",
        advice=_PIN,
        cost_db=cost,
        evidence={"lowest": low, "highest": high, "white": white},
    )
