"""The grids that ranges really lead to: read off an integer model that TFLite's quantizer made."""

import numpy as np

from qsr.analysis.matching import align
from qsr.calibration.audit import GridsOf
from qsr.calibration.quantize import quantize
from qsr.calibration.ranges import Ranges
from qsr.calibration.scheme import Scheme
from qsr.tflite.graph import Graph


def integer_grids(model: bytes, scheme: Scheme, *, source: str = "model") -> GridsOf:
    """Return a function from ranges to what the tensors of the integer model can hold.

    The first call imports TensorFlow; each then takes about 15 ms, and nothing for ranges that were
    asked for before. A tensor that the integer model lacks has its range, and 0, for a grid.

    Args:
        model: content of a float ``.tflite`` model.
        scheme: how it is quantized.
        source: named in errors.
    """
    graph = Graph(model, source=source)
    known: dict[bytes, Ranges] = {}

    def grids_of(ranges: Ranges) -> Ranges:
        key = ranges.minimum.tobytes() + ranges.maximum.tobytes()
        if key not in known:
            known[key] = _grids(graph, ranges, scheme, source)
        return known[key]

    return grids_of


def _grids(graph: Graph, ranges: Ranges, scheme: Scheme, source: str) -> Ranges:
    integer = Graph(quantize(graph.model, ranges, scheme, source=source), source=source)
    minimum, maximum = np.minimum(ranges.minimum, 0), np.maximum(ranges.maximum, 0)
    columns = {name: column for column, name in enumerate(ranges.tensors)}
    for match in align(graph, integer).matches:
        column = columns.get(match.reference.name)
        if column is not None:
            minimum[column], maximum[column] = match.grid.minimum, match.grid.maximum
    return Ranges(ranges.tensors, minimum, maximum)
