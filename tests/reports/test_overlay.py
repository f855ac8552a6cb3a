"""Node data for Model Explorer."""

import json
from dataclasses import replace
from math import isfinite
from pathlib import Path

import pytest

from qsr.reports import overlays
from qsr.reports import rendering as rendering_module
from qsr.reports.levels import LEVELS, level_of

NODE_DATA_FIELDS = {
    *("name", "results", "thresholds", "gradient", "hideInAggregatedStatsTable"),
    *("hideInChildrenStatsTable", "hideAggregatedStats"),
}
"""Of ``NodeDataProviderGraphData`` in Model Explorer's common/types.ts."""


@pytest.fixture(scope="module")
def found(comparison):
    """Every measurement, as a JSON reader that knows no infinity has it."""

    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(json.dumps(overlays(comparison)), parse_constant=refuse)


def test_schema(found):
    """Each file has the fields of Model Explorer's node data, in its forms."""
    assert len(found) == 4
    for name, data in found.items():
        assert set(data) <= NODE_DATA_FIELDS
        assert data["name"] == name
        assert all(
            {"value"} <= set(one) <= {"value", "bgColor"} for one in data["results"].values()
        )
        limits = [one["value"] for one in data.get("thresholds", [])]
        assert limits == sorted(limits)
        stops = [one["stop"] for one in data.get("gradient", [])]
        assert stops in ([], [0, 1])
        assert ("thresholds" in data) != ("gradient" in data)


def test_values(found, comparison):
    """Nodes have the errors of their layers, by the names of the tested model's tensors."""
    results = found["accumulated SQNR (dB)"]["results"]
    for layer in comparison.layers:
        value = results[layer.tested_name]["value"]
        if isfinite(layer.accumulated.sqnr_db):
            assert value == pytest.approx(layer.accumulated.sqnr_db, abs=1e-6)
        else:
            assert value in {"no error", "no signal"}
    assert "renamed/<i>" in results


def test_by_names_of_the_reference(comparison):
    """For the reference's graph, nodes are found by its own names."""
    results = overlays(comparison, model="reference")["local SQNR (dB)"]["results"]
    assert set(results) == {layer.name for layer in comparison.layers if layer.local}


def test_not_measured(comparison):
    """A measurement that no layer has is no file."""
    bare = replace(comparison, layers=tuple(replace(one, cost=None) for one in comparison.layers))
    assert list(overlays(bare)) == ["accumulated SQNR (dB)", "local SQNR (dB)"]


@pytest.mark.parametrize("sqnr_db", [-3.0, 24.9, 25.1, 34.0, 44.9, 45.1, 99.0])
def test_colours_are_those_of_the_page(found, sqnr_db):
    """By Model Explorer's rule, the first threshold not below the value, colours are the page's."""
    thresholds = found["accumulated SQNR (dB)"]["thresholds"]
    colour = next(one["bgColor"] for one in thresholds if sqnr_db <= one["value"])
    assert colour == level_of(sqnr_db).colour


def test_colours_of_the_style_sheet():
    """The style sheet has the same colours."""
    style = (Path(rendering_module.__file__).parent / "templates/page.css").read_text()
    light = style[: style.index("@media")]
    for level in LEVELS:
        assert f"--{level.name}: {level.colour};" in light
