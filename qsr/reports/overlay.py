"""The errors of layers as node data for Google's Model Explorer, which colours its graph by them.

Model Explorer reads "custom node data" from JSON files, one measurement each: ``results`` from a
node's id or the name of one of its output tensors to ``{"value": ...}``, and ``thresholds``, each
of which colours the values up to its own. A file without graph ids is for the graph that is shown.
See the user guide, https://github.com/google-ai-edge/model-explorer/wiki/2.-User-Guide, and
``GraphNodeData`` in src/server/package/src/model_explorer/node_data_builder.py of
https://github.com/google-ai-edge/model-explorer.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from math import isfinite
from typing import Any, Literal

from qsr.analysis.records import Comparison, LayerError
from qsr.reports.levels import LEVELS, level_of
from qsr.reports.wording import decibels

_DEAREST, _FREE = "#dd7043", "#e4eef5"
"""Colours of the dearest layer and of one that costs nothing."""

_SQNR: dict[str, Callable[[LayerError], float | None]] = {
    "accumulated SQNR (dB)": lambda layer: layer.accumulated.sqnr_db,
    "local SQNR (dB)": lambda layer: layer.local.sqnr_db if layer.local else None,
}
_COSTS: dict[str, Callable[[LayerError], float | None]] = {
    "cost alone (dB)": lambda layer: layer.cost.alone_db if layer.cost else None,
    "recovered (dB)": lambda layer: layer.cost.recovered_db if layer.cost else None,
}


def overlays(
    comparison: Comparison, *, model: Literal["reference", "tested"] = "tested"
) -> dict[str, dict[str, Any]]:
    """Return each measurement as the content of a file of custom node data.

    JSON has no infinity: an SQNR without noise is the text ``no error``. What was not measured is
    left out, and so is a measurement that no layer has.

    Args:
        comparison: of two models.
        model: the one whose graph is shown, by whose tensors the nodes are found.

    Returns:
        Name of the measurement to a dictionary for :func:`json.dump`.
    """
    found = {
        name: {"name": name, "results": _results(comparison.layers, model, value), **colours}
        for measurements, colours in (
            (_SQNR, {"thresholds": _thresholds()}),
            (
                _COSTS,
                {"gradient": [{"stop": 0, "bgColor": _FREE}, {"stop": 1, "bgColor": _DEAREST}]},
            ),
        )
        for name, value in measurements.items()
    }
    return {name: data for name, data in found.items() if data["results"]}


def _results(
    layers: Iterable[LayerError],
    model: Literal["reference", "tested"],
    value: Callable[[LayerError], float | None],
) -> dict[str, dict[str, Any]]:
    """Return the value of each layer by the name of its tensor."""
    results: dict[str, dict[str, Any]] = {}
    for layer in layers:
        number = value(layer)
        if number is None:
            continue
        name = layer.tested_name if model == "tested" else layer.name
        results[name] = (
            {"value": round(number, 6)}
            if isfinite(number)
            else {"value": decibels(number), "bgColor": level_of(number).colour}
        )
    return results


def _thresholds() -> list[dict[str, Any]]:
    """Return the colours of the levels: up to each value that of the level below it."""
    steps = [
        {"value": above.least_db, "bgColor": level.colour} for above, level in pairwise(LEVELS)
    ]
    return [*reversed(steps), {"value": 1000.0, "bgColor": LEVELS[0].colour}]
