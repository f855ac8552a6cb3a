"""The graph of a comparison: every layer, what it is made of, and how far it is off."""

from collections.abc import Sequence
from math import isfinite

from qsr.analysis.records import Comparison, LayerError
from qsr.reports.graph_layout import Sizes, layered
from qsr.reports.levels import Level, legend, level_of
from qsr.reports.page import Graph, Node
from qsr.reports.wording import decibels, shortened

_SIZES = Sizes()

_TITLE = 22
"""Characters of a name that fit into a box."""


def network_graph(comparison: Comparison, anchors: Sequence[str], marked: int | None) -> Graph:
    """Draw the layers in ranks, coloured by their error.

    Args:
        comparison: of the two models.
        anchors: of the layers' rows, which the boxes lead to.
        marked: place of the layer that stands out; None if none does.
    """
    layers = comparison.layers
    layout = layered(_parents(layers), _SIZES)
    nodes = tuple(
        Node(
            title=shortened(layer.label, _TITLE),
            subtitle=layer.operator,
            values=_values(layer),
            description=_described(layer),
            href=f"#{anchor}",
            marked=place == marked,
            x=x,
            y=y,
        )
        for place, (layer, anchor, (x, y)) in enumerate(
            zip(layers, anchors, layout.places, strict=True)
        )
    )
    return Graph(
        caption="Layers from input to output, in order of execution. In each box, in dB: the SQNR "
        "accumulated up to there above, that of the layer alone below; the redder, the "
        "larger the error. A box leads to its row in the table.",
        description=f"Network of {len(layers)} layers joined by {len(layout.edges)} lines.",
        width=layout.width,
        height=layout.height,
        node_width=_SIZES.width,
        node_height=_SIZES.height,
        nodes=nodes,
        edges=tuple(path for _, _, path in layout.edges),
        legend=legend(),
    )


def _parents(layers: Sequence[LayerError]) -> list[list[int]]:
    """Return, for each layer, the places of those before it that it is made of."""
    place: dict[str, int] = {}
    parents = []
    for own, layer in enumerate(layers):
        parents.append([place[name] for name in layer.after if name in place])
        place[layer.name] = own
    return parents


def _values(layer: LayerError) -> tuple[tuple[str, Level | None], ...]:
    values = [layer.accumulated.sqnr_db, *([layer.local.sqnr_db] if layer.local else [])]
    return tuple(
        (f"{value:.1f}" if isfinite(value) else decibels(value), level_of(value))
        for value in values
    )


def _described(layer: LayerError) -> str:
    """Say everything that a box holds in words, with the whole name."""
    accumulated = decibels(layer.accumulated.sqnr_db)
    local = decibels(layer.local.sqnr_db) if layer.local else "not measured"
    return (
        f"{layer.name} ({layer.operator}); SQNR in dB: accumulated {accumulated}, "
        f"this layer alone {local}"
    )
