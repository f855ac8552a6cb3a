"""The recipes behind the rows of the tables."""

from dataclasses import replace

import pytest

from qsr.models.xcat import XcatConfig
from qsr.tables.paper import NUMBERS, claims, paper_table
from qsr.training.recipe_files import load_recipe, shipped_recipes

ROWS = [row for number in NUMBERS for row in paper_table(number).rows if row.recipe is not None]
XCAT_ROWS = [row for row in ROWS if row.network == "xcat"]
PAPER = load_recipe("xcat_x3")


@pytest.mark.parametrize("row", [*ROWS, *claims()], ids=lambda row: row.recipe)
def test_ships(row):
    """A row's recipe ships, and is of its network."""
    assert row.recipe in shipped_recipes()
    assert load_recipe(row.recipe).network == row.network


def test_no_more():
    """Every XCAT recipe that ships is of a row or tests a claim."""
    named = {row.recipe for row in [*ROWS, *claims()]}
    assert {name for name in shipped_recipes() if name.startswith("xcat")} <= named


@pytest.mark.parametrize("row", XCAT_ROWS, ids=lambda row: row.recipe)
def test_only_model(row):
    """A row's recipe differs from the paper's in the network alone, and row A's in its stages."""
    recipe = load_recipe(row.recipe)
    stages = PAPER.stages[:1] if row.name == "A" else PAPER.stages
    assert recipe == replace(PAPER, name=row.recipe, model=recipe.model, stages=stages)


@pytest.mark.parametrize("row", paper_table(3).rows, ids=lambda row: row.name)
def test_table_3(row):
    """A row of Table 3 is trained as the network that its name describes."""
    split, blocks, mixing = row.name.split(", ")
    x, y = map(int, split.split("/"))
    wanted = XcatConfig(
        x_channels=x, y_channels=y, blocks=int(blocks.removeprefix("m=")), mixing=mixing
    )
    assert load_recipe(row.recipe).model == wanted


def test_letters():
    """Row A to M of Table 1 is trained by the recipe of its letter."""
    rows = {row.name: row.recipe for row in paper_table(1).rows}
    assert rows.pop("XCAT") == "xcat_x3"
    assert rows == {letter: f"xcat_{letter.lower()}_x3" for letter in "ABCDEFGHIJKLM"}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "xcat_without_intensity_x3",
            replace(PAPER, augmentation=replace(PAPER.augmentation, intensities=(1.0,))),
        ),
        ("xcat_without_clipped_relu_x3", replace(PAPER, model=XcatConfig(clipped=False))),
        ("xcat_without_frozen_anchor_x3", replace(PAPER, model=XcatConfig(trainable_anchor=True))),
    ],
)
def test_claim(name, wanted):
    """A recipe that tests a claim lacks that one thing."""
    assert load_recipe(name) == replace(wanted, name=name)
