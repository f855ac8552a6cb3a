"""Is the output clipped to black and white, and does the clip do anything?"""

import math
from collections.abc import Iterator

from ai_edge_litert import schema_py_generated as schema

from qsr.checks.findings import Finding
from qsr.checks.picture_grid import picture_grid
from qsr.checks.subject import Subject
from qsr.checks.tensor_values import grid_ends
from qsr.tflite.clips import ClipRun, clip_runs
from qsr.tflite.fold import copies
from qsr.tflite.graph import Graph, end_grids
from qsr.tflite.io_grid import ranges_tied_to_output

_FUSED = {
    schema.ActivationFunctionType.RELU: (0.0, math.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}
_BOUNDED = {"LOGISTIC": (0.0, 1.0), "TANH": (-1.0, 1.0)}
_MOVES = {"DEPTH_TO_SPACE", "RESHAPE"}
_TOLERANCE = 1e-4
"""Share of white that a bound may be off: those of integer models are rounded to the grid."""

_CLIP_IT = (
    "end the network in a clipped ReLU (min(x, 1), then ReLU), or let qsr quantize pin the "
    "output's grid, which clips by saturation"
)


def check_clip(subject: Subject) -> Iterator[Finding]:
    """Look for what keeps the output between black and white."""
    graph = subject.graph
    run = _last_run(graph)
    if subject.quantized:
        yield from _of_integer(subject, run)
        return
    white = subject.facts.value_max
    lowest, highest = output_bounds(graph)
    evidence = {"lowest": lowest, "highest": highest, "white": white}
    if math.isclose(highest, white, rel_tol=_TOLERANCE) and abs(lowest) <= _TOLERANCE * white:
        yield Finding(
            code="QSR101",
            where="output",
            problem=f"operators keep it within {lowest:g}..{highest:g}",
            advice="nothing; once the grids are pinned, qsr fold-clip removes them from the "
            "integer model",
            evidence=evidence,
        )
        return
    yield Finding(
        code="QSR102",
        where="output",
        problem=f"nothing keeps it within 0..{white:g}: its bounds are {lowest:g}..{highest:g}. "
        "A grid made from images is wider than a picture, and its bytes are shown as if it were "
        "not",
        advice=_CLIP_IT,
        cost_db=_cost_of_free_output(subject),
        evidence=evidence,
    )


def output_bounds(graph: Graph) -> tuple[float, float]:
    """Return the smallest and largest value that a model's output can take, in real units.

    Clips, fused activations, and operators that only move values are looked through; minus and plus
    infinity where nothing bounds it.

    Args:
        graph: a model, float or integer; grids are not looked at.
    """
    run = _last_run(graph)
    index = _inner_output(graph)
    lowest, highest = -math.inf, math.inf
    if run is not None:
        lowest, highest, index = run.lowest.value, run.highest.value, run.tensors[0]
    while (operator := graph.producer.get(index)) is not None and operator.kind in _MOVES:
        index = operator.inputs[0]
    if operator is not None:
        fused = getattr(operator.options, "fusedActivationFunction", None)
        low, high = _BOUNDED.get(operator.kind, _FUSED.get(fused, (-math.inf, math.inf)))
        lowest, highest = max(lowest, low), min(highest, high)
    return lowest, highest


def _of_integer(subject: Subject, run: ClipRun | None) -> Iterator[Finding]:
    """Look at an integer model, in which the output's grid may clip as well."""
    graph = subject.graph
    redundant = {operator.index for operator in copies(graph)}
    clips = run.clips if run is not None else ()
    useless = [operator for operator in clips if operator.index in redundant]
    if useless:
        kinds = ", ".join(operator.kind for operator in useless)
        yield Finding(
            code="QSR103",
            where="output",
            problem=f"{kinds} cannot change a byte: the grid of what they read ends where they "
            "clip",
            advice="qsr fold-clip MODEL removes them; no byte of the output changes",
            evidence={"operators": kinds},
        )
    if len(useless) < len(clips):
        kinds = ", ".join(one.kind for one in clips if one.index not in redundant)
        yield Finding(
            code="QSR101",
            where="output",
            problem=f"{kinds} cut values off",
            advice="qsr fold-clip MODEL says which range would make them superfluous",
            evidence={"operators": kinds},
        )
    if clips:
        return
    grid = picture_grid(end_grids(subject.model)[1])
    if grid is not None and grid.exact:
        yield Finding(
            code="QSR104",
            where="output",
            problem="no operator clips it; its grid ends at black and white, so that saturation "
            "does",
            advice="nothing: this is the fastest way to clip",
        )
        return
    tensor = graph.tensors[_inner_output(graph)]
    low, high = grid_ends(tensor) if tensor.scale.size == 1 else (-math.inf, math.inf)
    yield Finding(
        code="QSR102",
        where="output",
        problem=f"nothing clips it, and its grid holds {low:.4f}..{high:.4f}, not that of a "
        "picture",
        advice=_CLIP_IT,
        evidence={"grid_minimum": low, "grid_maximum": high},
    )


def _cost_of_free_output(subject: Subject) -> float | None:
    """Measure what an output grid made from the images costs where bytes are shown raw."""
    if not subject.simulates:
        return None
    graph = subject.graph
    names = {graph.tensors[index].name for index in ranges_tied_to_output(graph)}
    of_images = subject.image_ranges
    spans = zip(
        of_images.tensors, of_images.minimum.tolist(), of_images.maximum.tolist(), strict=True
    )
    free = {name: (low, high) for name, low, high in spans if name in names}
    return subject.quantized_psnr_db(shown_raw=True) - subject.quantized_psnr_db(
        free, shown_raw=True
    )


def _last_run(graph: Graph) -> ClipRun | None:
    """Return the clips that make the output, if it is they that do."""
    end = _inner_output(graph)
    return next((run for run in clip_runs(graph) if run.tensors[-1] == end), None)


def _inner_output(graph: Graph) -> int:
    """Return the tensor that the output is, but for its type."""
    operator = graph.producer.get(graph.output_index)
    converts = operator is not None and operator.kind == "DEQUANTIZE"
    return operator.inputs[0] if operator is not None and converts else graph.output_index
