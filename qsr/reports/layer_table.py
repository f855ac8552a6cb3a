"""The table of a comparison's layers."""

from collections.abc import Sequence

from qsr.analysis.records import LayerCost, LayerError, StoredError
from qsr.reports.page import Cell, Column, Row, Table
from qsr.reports.wording import (
    UNKNOWN,
    amount,
    amount_cell,
    decibels_cell,
    percent_cell,
    sqnr_cell,
    text_cell,
)

_NONE = Cell(UNKNOWN)

_COLUMNS = (
    Column("layer", "", numeric=False),
    Column("#", "Place in the order of execution."),
    Column("SQNR", "Signal over noise, dB; all layers before are integer, too.", "accumulated"),
    Column("bias", "Mean of tested less reference, in real units.", "accumulated"),
    Column("max error", "Largest difference of a value, in real units.", "accumulated"),
    Column("cosine", "Of the angle between both tensors; 1 is the same direction.", "accumulated"),
    Column("SQNR", "Signal over noise of this layer alone, dB.", "layer alone"),
    Column("bias", "Mean of tested less reference, this layer alone.", "layer alone"),
    Column("max error", "Largest difference of a value, this layer alone.", "layer alone"),
    Column(
        "alone",
        "Lost when this layer alone is quantized in the reference, dB of mean PSNR.",
        "cost (dB)",
    ),
    Column("weights", "Lost when its stored values alone are quantized.", "cost (dB)"),
    Column("activation", "Lost when its output alone is rounded and saturated.", "cost (dB)"),
    Column("saturation", "Lost when its output alone is saturated, not rounded.", "cost (dB)"),
    Column(
        "recovered",
        "Got back when this layer alone stays in float in the tested model.",
        "cost (dB)",
    ),
    Column("low %", "Values of the reference below the grid, in percent.", "saturated"),
    Column("high %", "Values of the reference above the grid, in percent.", "saturated"),
    Column("levels %", "Share of the grid's integers that occur.", "grid"),
    Column("scale", "Step of the grid, in real units.", "grid"),
    Column("zero point", "The integer that stands for 0.", "grid"),
    Column("holds", "What the grid can hold; sorted by its width.", "grid"),
    Column("values", "What the reference's values span; sorted by their width.", "grid"),
    Column("weights SQNR", "Signal over noise of the stored weights, dB.", "stored values"),
    Column(
        "weights off",
        "Largest distance of a weight from the reference's, in steps of its grid; rounding to the "
        "nearest leaves 0.5.",
        "stored values",
    ),
    Column(
        "bias off",
        "Largest distance of a bias from the reference's, in steps of the output's grid.",
        "stored values",
    ),
    Column(
        "bias scale",
        "Scale that the kernels count biases in, over the one written beside them; 1 is right.",
        "stored values",
    ),
    Column("channel", "The one whose weights or bias are furthest off.", "stored values"),
    Column("operator", "TFLite operator of the tested model.", numeric=False),
)


def layer_table(layers: Sequence[LayerError], anchors: Sequence[str], marked: int | None) -> Table:
    """Return the table, a row for each layer in order of execution.

    Args:
        layers: in order of execution.
        anchors: of their rows.
        marked: place of the layer that stands out; None if none does.
    """
    rows = tuple(
        Row(
            _cells(place, layer),
            anchor,
            marked=place == marked,
            tag="named above" if place == marked else "",
        )
        for place, (layer, anchor) in enumerate(zip(layers, anchors, strict=True))
    )
    return Table(
        f"{len(layers)} tensors that both models have, and the layers that make them.",
        _COLUMNS,
        rows,
    )


def _cells(place: int, layer: LayerError) -> tuple[Cell, ...]:
    accumulated, local = layer.accumulated, layer.local
    alone = (
        (
            sqnr_cell(local.sqnr_db),
            amount_cell(local.mean_error),
            amount_cell(local.max_error),
        )
        if local
        else (_NONE,) * 3
    )
    return (
        text_cell(layer.label, note=_names(layer)),
        Cell(str(place + 1), place),
        sqnr_cell(accumulated.sqnr_db),
        amount_cell(accumulated.mean_error),
        amount_cell(accumulated.max_error),
        Cell(f"{accumulated.cosine:.6f}", accumulated.cosine),
        *alone,
        *_costs(layer.cost),
        percent_cell(accumulated.saturated_low),
        percent_cell(accumulated.saturated_high),
        percent_cell(accumulated.used_levels),
        amount_cell(layer.scale),
        Cell(str(layer.zero_point), layer.zero_point),
        _span(layer.grid_minimum, layer.grid_maximum),
        _span(layer.minimum, layer.maximum),
        *_stored(layer.stored),
        text_cell(layer.operator),
    )


def _names(layer: LayerError) -> str:
    """Say the operator, the tensor's name and, if it has another there, that in the tested one."""
    parts = [layer.operator, *([_first(layer.name)] if layer.name != layer.label else [])]
    if layer.tested_name != layer.name:
        parts.append(f"tested: {_first(layer.tested_name)}")
    if layer.how == "structure":
        parts.append("matched by structure")
    if layer.tied_to_output:
        parts.append("shares the output's grid")
    return " · ".join(parts)


def _first(name: str) -> str:
    """Return the first of the names that were fused into one, and how many follow."""
    first, *others = name.split(";")
    return f"{first} and {len(others)} fused" if others else first


def _span(minimum: float, maximum: float) -> Cell:
    return Cell(f"{amount(minimum)} to {amount(maximum)}", maximum - minimum)


def _stored(stored: StoredError | None) -> tuple[Cell, ...]:
    if stored is None:
        return (_NONE,) * 5
    return (
        sqnr_cell(stored.weights_sqnr_db, coloured=False),
        amount_cell(stored.weights_off_steps),
        amount_cell(stored.bias_off_steps),
        amount_cell(stored.bias_scale_ratio),
        Cell(str(stored.channel), stored.channel),
    )


def _costs(cost: LayerCost | None) -> tuple[Cell, ...]:
    if cost is None:
        return (_NONE,) * 5
    return tuple(
        decibels_cell(value, 4)
        for value in (
            cost.alone_db,
            cost.weights_db,
            cost.activation_db,
            cost.saturation_db,
            cost.recovered_db,
        )
    )
