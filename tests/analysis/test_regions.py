"""Flat areas, texture and edges are told apart, and each gets the errors that lie in it."""

import numpy as np
import pytest
import skimage.data

from qsr.analysis.pictures import picture_error
from qsr.analysis.regions import (
    EDGE_COHERENCE,
    FLAT_STRENGTH,
    WINDOW_SIGMA,
    areas_of,
    region_errors,
)
from qsr.metrics import rgb_to_y


@pytest.fixture
def drawn():
    """A wide picture: flat on the left, a slanted edge amid it, noise on the right."""
    rows, columns = np.mgrid[:90, :240]
    picture = np.full((90, 240, 3), 60, np.uint8)
    picture[columns + rows // 3 > 110] = 180
    noise = np.random.default_rng(2).integers(100, 220, (90, 60, 1), np.uint8)
    picture[:, 180:] = noise
    return picture


def test_kinds(drawn):
    """Plain areas are flat, a drawn edge is an edge, and noise is mostly texture."""
    areas = areas_of(drawn)
    assert areas.flat[:, :60].all()
    on_edge = [(row, 110 - row // 3) for row in range(5, 85)]
    assert all(areas.edge[place] for place in on_edge)
    assert areas.texture[:, 190:230].mean() > 0.8
    assert not areas.flat[:, 190:230].any()
    total = areas.flat.astype(int) + areas.texture + areas.edge
    assert (total == 1).all()


def test_ramps():
    """Slopes are flat up to the threshold in 8-bit steps per pixel, in any direction."""
    rows, columns = np.mgrid[:60, :60]
    luma = np.diff(rgb_to_y(np.array([[0] * 3, [1] * 3])))[0]  # of one step of grey
    for slope in (1, 2, 3, 4):
        for axis in (rows, columns):
            picture = np.repeat((axis * slope).astype(np.uint8)[..., None], 3, axis=2)
            areas = areas_of(picture)
            assert areas.flat[20:40, 20:40].all() == (slope * luma < FLAT_STRENGTH)
            assert areas.edge[20:40, 20:40].all() == (slope * luma >= FLAT_STRENGTH)


def test_by_hand():
    """The kinds are those of eigenvalues that numpy finds in gradients summed by hand."""
    picture = skimage.data.astronaut()[100:160, 200:260]
    areas = areas_of(picture)
    y = rgb_to_y(picture)
    across, down = np.zeros_like(y), np.zeros_like(y)
    smoothed = y[:-2] + 2 * y[1:-1] + y[2:]
    across[1:-1, 1:-1] = (smoothed[:, 2:] - smoothed[:, :-2]) / 8
    smoothed = y[:, :-2] + 2 * y[:, 1:-1] + y[:, 2:]
    down[1:-1, 1:-1] = (smoothed[2:] - smoothed[:-2]) / 8
    offsets = np.arange(-8, 9)
    window = np.exp(-(offsets**2) / (2 * WINDOW_SIGMA**2))
    window = np.outer(window, window) / window.sum() ** 2
    seen = set()
    for row in range(10, 50, 3):
        for column in range(10, 50, 3):
            part = np.s_[row - 8 : row + 9, column - 8 : column + 9]
            gradients = np.stack([across[part].ravel(), down[part].ravel()])
            least, largest = np.sqrt(
                np.linalg.eigvalsh((gradients * window.ravel()) @ gradients.T).clip(0)
            )
            coherence = (largest - least) / (largest + least)
            kind = (
                "flat"
                if largest < FLAT_STRENGTH
                else "edge"
                if coherence >= EDGE_COHERENCE
                else "texture"
            )
            assert getattr(areas, kind)[row, column], (row, column, kind)
            seen.add(kind)
    assert seen == {"flat", "texture", "edge"}


def test_error_on_the_edge(drawn):
    """An error planted along the drawn edge alone is the edges', and not the flat areas'."""
    rows, columns = np.mgrid[:90, :240]
    planted = np.abs(columns + rows // 3 - 110) <= 1
    tested = drawn.copy()
    tested[planted] += np.uint8(10)
    regions = picture_error("edge", drawn, tested, None).regions
    pixels = regions.edge_share * planted.size
    assert regions.edge == pytest.approx(100 * planted.sum() / pixels)
    assert (regions.flat, regions.texture) == (0, 0)


def test_error_in_texture(drawn):
    """An error planted in the noise alone is the texture's most of all."""
    tested = drawn.copy()
    tested[:, 190:230] += np.uint8(10)
    regions = picture_error("texture", drawn, tested, None).regions
    assert regions.flat == 0
    assert regions.texture > 50


def test_of_the_reference(drawn):
    """What the tested model makes of an area does not change what kind it is."""
    noise = np.random.default_rng(9).integers(0, 60, drawn.shape, np.uint8)
    regions = picture_error("noisy", drawn, np.minimum(drawn, 190) + noise, None).regions
    own = picture_error("same", drawn, drawn, None).regions
    assert regions.flat_share == own.flat_share > 0.5
    assert regions.flat > 500


def test_shares():
    """Shares add up to the picture; a kind that a picture lacks has no error, not 0."""
    areas = areas_of(np.full((30, 40, 3), 7, np.uint8))
    regions = region_errors(areas, np.full((30, 40), 12, np.uint32))
    assert (regions.flat, regions.texture, regions.edge) == (4, None, None)
    assert (regions.flat_share, regions.texture_share, regions.edge_share) == (1, 0, 0)
