"""The page of a comparison of two models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qsr.analysis.panels import Panels
from qsr.analysis.records import Comparison, Diagnosis, LayerError
from qsr.reports.causes_chart import causes_figure
from qsr.reports.layer_charts import costs_figure, depth_figure
from qsr.reports.layer_table import layer_table
from qsr.reports.network import network_graph
from qsr.reports.page import (
    Block,
    Facts,
    Figures,
    Names,
    Origin,
    Page,
    Section,
    Text,
)
from qsr.reports.picture_table import picture_panels, picture_table
from qsr.reports.rendering import page_html
from qsr.reports.tensor_charts import channels_figure, histogram_figure
from qsr.reports.wording import amount, decibels

_WORST = 6
"""Layers of which histogram and channels are shown."""

_READING = (
    "First: how often the reference's values occur, on a logarithmic scale. Shaded, between dotted "
    "lines, is what the grid of the tested model holds; hatched values lie beyond and are cut off. "
    "Then: of each channel, SQNR, bias in steps of the grid, and gain, what its values are "
    "multiplied by: 1 where nothing is wrong; and which share of its values is cut off, if any is."
)


@dataclass(frozen=True)
class Subject:
    """What was compared.

    Attributes:
        reference: what the user calls the reference, such as its path.
        tested: what the user calls the tested model.
        images: the folder of the images.
        reference_psnr_db: mean RGB PSNR of the reference, its output rounded to 8 bits; None
            without originals.
        tested_psnr_db: mean RGB PSNR of the tested model.
        skipped: one line on each image that was left out as unusable.
        facts: further (name, value) to tell.
    """

    reference: str
    tested: str
    images: str
    reference_psnr_db: float | None = None
    tested_psnr_db: float | None = None
    skipped: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


def comparison_page(
    comparison: Comparison,
    diagnosis: Diagnosis,
    subject: Subject,
    origin: Origin,
    *,
    panels: Mapping[str, Panels] | None = None,
) -> str:
    """Return the HTML page of a comparison: one file that loads nothing else.

    Args:
        comparison: of the two models.
        diagnosis: of it.
        subject: what was compared.
        origin: of the page.
        panels: name of a picture to what is shown of it; those of a few say enough, and each adds
            up to 200 kB.
    """
    shown = {
        picture.name: f"picture-{place}"
        for place, picture in enumerate(comparison.pictures)
        if picture.name in (panels or {})
    }
    anchors = [f"layer-{place + 1}" for place in range(len(comparison.layers))]
    marked = _named(comparison.layers, diagnosis)
    sections = [
        _summary(comparison, subject),
        _layers(comparison, anchors, marked),
        Section("Layers", "layers", (layer_table(comparison.layers, anchors, marked),)),
        _worst(comparison.layers, marked),
        _pictures(comparison, panels or {}, shown),
        _unmatched(comparison),
    ]
    page = Page(
        title=f"{subject.tested} against {subject.reference}",
        lead=(
            ("costs most", diagnosis.costs_most),
            ("why", diagnosis.why),
            ("what to do", diagnosis.what_to_do),
        ),
        sections=[section for section in sections if section.blocks],
        origin=origin,
    )
    return page_html(page)


def _summary(comparison: Comparison, subject: Subject) -> Section:
    """Say what was compared, and show the causes."""
    matched = len(comparison.layers)
    lone = len(comparison.only_reference), len(comparison.only_tested)
    facts = [
        ("reference", subject.reference),
        ("tested", subject.tested),
        ("images", f"{len(comparison.pictures)} of {subject.images}"),
    ]
    if subject.reference_psnr_db is not None and subject.tested_psnr_db is not None:
        drop = subject.reference_psnr_db - subject.tested_psnr_db
        facts += [
            ("PSNR of the reference", f"{decibels(subject.reference_psnr_db, 3)} dB"),
            ("PSNR of the tested model", f"{decibels(subject.tested_psnr_db, 3)} dB"),
            ("drop", f"{decibels(drop, 4)} dB"),
        ]
    facts += [
        ("tensors", f"{matched} in both, {lone[0]} and {lone[1]} in one only"),
        *subject.facts,
    ]
    blocks: list[Block] = [Facts(tuple(facts))]
    if comparison.causes is not None:
        blocks.append(causes_figure(comparison.causes))
    else:
        blocks.append(Text(("What each cause costs in dB is not known: there were no originals.",)))
    if subject.skipped:
        blocks.append(Names("Images left out", subject.skipped))
    return Section("What was compared", "summary", tuple(blocks), beside=True)


def _layers(comparison: Comparison, anchors: Sequence[str], marked: int | None) -> Section:
    """Show the graph, and beside it the curves through it."""
    costs = costs_figure(comparison.layers, anchors)
    return Section(
        "Through the network",
        "network",
        (
            network_graph(comparison, anchors, marked),
            depth_figure(comparison.layers, anchors),
            *([costs] if costs else []),
        ),
        beside=True,
    )


def _worst(layers: Sequence[LayerError], marked: int | None) -> Section:
    """Show the values and the channels of the layers that are furthest off."""
    blocks: list[Block] = [Text((_READING,))]
    for place in _by_error(layers, marked)[:_WORST]:
        layer = layers[place]
        histogram = histogram_figure(layer, f"histogram-{place}")
        blocks.append(
            Figures(
                f"{place + 1}. {layer.label}",
                _facts(layer),
                (
                    *([histogram] if histogram else []),
                    channels_figure(layer, f"channels-{place}"),
                ),
            )
        )
    return Section("The worst layers", "worst", tuple(blocks) if layers else ())


def _by_error(layers: Sequence[LayerError], marked: int | None) -> list[int]:
    """Return places of layers: the one that is named, then by cost or, without, by local SQNR."""

    def badness(place: int) -> tuple[bool, float, float]:
        layer = layers[place]
        cost = max(layer.cost.alone_db, layer.cost.recovered_db) if layer.cost else 0.0
        return place != marked, -cost, (layer.local or layer.accumulated).sqnr_db

    return sorted(range(len(layers)), key=badness)


def _named(layers: Sequence[LayerError], diagnosis: Diagnosis) -> int | None:
    """Return the place of the layer that the diagnosis names: of many, the dearest."""
    places = [place for place, layer in enumerate(layers) if layer.label == diagnosis.layer]
    named = [layers[place] for place in places]
    return places[_by_error(named, None)[0]] if places else None


def _facts(layer: LayerError) -> str:
    error = layer.accumulated
    cost = f"; alone it costs {layer.cost.alone_db:.4f} dB" if layer.cost else ""
    return (
        f"{layer.operator}; values from {amount(layer.minimum)} to {amount(layer.maximum)}, grid "
        f"from {amount(layer.grid_minimum)} to {amount(layer.grid_maximum)} in steps of "
        f"{amount(layer.scale)}; {100 * error.saturated_share:.3g} % saturated{cost}."
    )


def _pictures(
    comparison: Comparison,
    panels: Mapping[str, Panels],
    shown: Mapping[str, str],
) -> Section:
    """Show the table of pictures, and panels of some."""
    blocks: list[Block] = []
    if comparison.pictures:
        blocks.append(picture_table(comparison.pictures, shown))
    blocks += [
        picture_panels(picture, panels[picture.name], shown[picture.name])
        for picture in comparison.pictures
        if picture.name in shown
    ]
    return Section("Pictures", "pictures", tuple(blocks))


def _unmatched(comparison: Comparison) -> Section:
    """Name what could not be compared."""
    return Section(
        "Tensors of one model only",
        "unmatched",
        tuple(
            Names(title, names)
            for title, names in (
                ("Only the reference has", comparison.only_reference),
                ("Only the tested model has", comparison.only_tested),
            )
            if names
        ),
    )
