"""Cheap, unbiased estimates of a model's mean PSNR: tiles drawn from the validation images.

The mean drop of a model is, to first order, a sum over pixels: with SSE for the sum of squared
errors of an image and a reference model of about the same quality,

    drop - drop_reference = 10 / (N ln 10) * sum over images (SSE - SSE_reference) / SSE_reference

So any sample of tiles estimates it, each tile weighted by how unlikely it was to be drawn (Hansen
and Hurwitz, "On the Theory of Sampling from Finite Populations", 1943). What quantization adds to
an error e is some d that hardly depends on the picture; the squared error then changes by 2 e d, in
proportion to e. So tiles are drawn in proportion to the root of their squared error, over that of
their image: where models differ most. Two models are compared on the same tiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsr.atomic import replacing
from qsr.data.decoded import Pairs
from qsr.errors import ModelError
from qsr.metrics import RGB_SHAVE, mse
from qsr.tflite.fold import fold_copies
from qsr.tflite.runtime import ModelFacts, Runner

Image = NDArray[np.uint8]

_FIRST_RUNG = 64
_LARGEST_SHARE = 0.5
"""Screening stops where it would cost this share of measuring every image whole."""

_LEAST_TILE = 24
_SEED = 0

_ANYWHERE = 0.1
"""Share of the draws that does not look at errors: saturation may strike where there are none."""


@dataclass(frozen=True)
class Tile:
    """A part of an image, and what a model must be run on to get it right.

    Attributes:
        rows: its rows in LR pixels.
        columns: its columns.
        window_rows: rows that the model is run on: the tile and its receptive field, as far as
            the image reaches.
        window_columns: the same for columns.
    """

    rows: slice
    columns: slice
    window_rows: slice
    window_columns: slice


@dataclass(frozen=True)
class TileScreen:
    """Screens integer models on tiles; see :class:`qsr.calibration.race.Screen`.

    Attributes:
        pairs: the validation images.
        facts: what every model to be screened takes and gives.
        side: of a tile, in LR pixels.
        images: ``(tiles,)`` number of the image of each tile, in the order in which they are used.
        places: ``(tiles,)`` number of the tile in its image.
        weights: ``(tiles,)`` dB of mean drop per unit of squared error, in units of 0..255 squared.
        references: ``(tiles,)`` squared error of the reference model.
    """

    pairs: Pairs
    facts: ModelFacts
    side: int
    images: NDArray[np.int64]
    places: NDArray[np.int64]
    weights: NDArray[np.float64]
    references: NDArray[np.float64]

    @cached_property
    def identity(self) -> str:
        """SHA-256 of which tiles they are and how they count, shortened."""
        parts = (self.images, self.places, self.weights, self.references)
        content = b"".join(part.tobytes() for part in parts)
        return sha256(f"{self.side} ".encode() + content).hexdigest()[:16]

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """How many tiles each round has seen: twice as many each time."""
        counts: list[int] = []
        while (count := _FIRST_RUNG << len(counts)) <= len(self.images):
            counts.append(count)
        return tuple(counts)

    def __call__(self, model: bytes, start: int, stop: int) -> list[float]:
        """Return for each tile what its pixels add to the estimate of minus the drop, in dB.

        NaN for every tile if TFLite takes the model but cannot run it.
        """
        try:
            return self._values(Runner(fold_copies(model), self.facts), start, stop)
        except ModelError:
            return [np.nan] * (stop - start)  # ranges of a black image

    def _values(self, runner: Runner, start: int, stop: int) -> list[float]:
        values = [0.0] * (stop - start)
        tiles = [(self._tile(index), index) for index in range(start, stop)]
        # Windows of one size follow each other: TFLite plans its memory anew for each new size.
        for tile, index in sorted(tiles, key=lambda found: _window_size(found[0])):
            lr, hr = self.pairs[int(self.images[index])]
            error = tile_error(runner, lr, hr, tile)
            values[index - start] = -self.weights[index] * (error - self.references[index])
        return values

    def _tile(self, index: int) -> Tile:
        height, width = self.pairs.sizes[self.images[index]]
        halo = self.facts.receptive_radius or 0
        return tile_at(int(self.places[index]), height, width, side=self.side, halo=halo)

    def save(self, path: Path) -> None:
        """Write which tiles they are as ``.npz``, atomically."""
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            np.savez(
                file,
                side=np.array(self.side),
                images=self.images,
                places=self.places,
                weights=self.weights,
                references=self.references,
            )


def load_screen(path: Path, pairs: Pairs, facts: ModelFacts) -> TileScreen:
    """Read what :meth:`TileScreen.save` wrote; any damage raises whatever it leads to."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        names = ("images", "places", "weights", "references")
        return TileScreen(pairs, facts, int(content["side"]), *(content[name] for name in names))


def tile_side(facts: ModelFacts) -> int:
    """Return the side of a tile in LR pixels: small, yet large against its halo."""
    return max(_LEAST_TILE, 4 * (facts.receptive_radius or 0))


def tile_count(height: int, width: int, side: int) -> int:
    """Return the number of tiles of an image: rows of tiles times columns of tiles."""
    return -(-height // side) * -(-width // side)


def tile_at(place: int, height: int, width: int, *, side: int, halo: int) -> Tile:
    """Return one of the tiles that an image is cut into, row by row.

    Args:
        place: number of the tile.
        height: of the LR image, in pixels.
        width: the same.
        side: of a tile; those at the bottom and at the right may be smaller.
        halo: LR pixels around its own that an output pixel depends on.

    Returns:
        The tile. The windows of an image are of one size, for TFLite's sake.
    """
    row, column = divmod(place, -(-width // side))
    rows, window_rows = _cut(row * side, height, side, halo)
    columns, window_columns = _cut(column * side, width, side, halo)
    return Tile(rows, columns, window_rows, window_columns)


def tile_error(runner: Runner, lr: Image, hr: Image, tile: Tile) -> float:
    """Return the sum of squared errors of a model on a tile, as PSNR in RGB counts them.

    Args:
        runner: the model.
        lr: ``(h, w, 3)`` ``uint8``.
        hr: ``(scale*h, scale*w, 3)`` ``uint8``.
        tile: of that image.

    Returns:
        In units of 0..255 squared; 0 for a tile within the shaved border.
    """
    scale = runner.facts.scale
    window = runner.upscale(lr[tile.window_rows, tile.window_columns])
    rows = _shaved(tile.rows, scale, hr.shape[0])
    columns = _shaved(tile.columns, scale, hr.shape[1])
    top, left = tile.window_rows.start * scale, tile.window_columns.start * scale
    part = window[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return mse(part, hr[rows, columns]) * part.size if part.size else 0.0


@dataclass(frozen=True)
class TileErrors:
    """Measures a model's squared error on every tile of every image; travels to workers.

    Attributes:
        pairs: the validation images.
        facts: what every model takes and gives.
        side: of a tile, in LR pixels.
    """

    pairs: Pairs
    facts: ModelFacts
    side: int

    def __call__(self, model: bytes) -> list[NDArray[np.float64]]:
        """Return ``(tiles,)`` per image, in units of 0..255 squared.

        Raises:
            ModelError: TFLite cannot run the model.
        """
        runner = Runner(fold_copies(model), self.facts)
        return [self._of(runner.upscale(lr), hr) for lr, hr in self.pairs]

    @property
    def affordable(self) -> int:
        """How many tiles screening may use and stay cheap; 0 if there is no cheap way."""
        halo = self.facts.receptive_radius
        if halo is None or self.facts.fixed_size is not None:
            return 0
        pixels = sum(height * width for height, width in self.pairs.sizes)
        most = int(_LARGEST_SHARE * pixels / (self.side + 2 * halo) ** 2)
        return 0 if most < _FIRST_RUNG else _FIRST_RUNG << (most // _FIRST_RUNG).bit_length() - 1

    def _of(self, picture: Image, hr: Image) -> NDArray[np.float64]:
        scale = self.facts.scale
        height, width = picture.shape[0] // scale, picture.shape[1] // scale
        errors = []
        for place in range(tile_count(height, width, self.side)):
            tile = tile_at(place, height, width, side=self.side, halo=0)
            rows = _shaved(tile.rows, scale, hr.shape[0])
            columns = _shaved(tile.columns, scale, hr.shape[1])
            part = hr[rows, columns]
            errors.append(mse(picture[rows, columns], part) * part.size if part.size else 0.0)
        return np.array(errors)


def draw_screen(errors: TileErrors, reference: Sequence[NDArray[np.float64]]) -> TileScreen:
    """Draw the tiles that models are screened on.

    Args:
        errors: what measured ``reference``.
        reference: squared errors per tile of a usual integer model, for each image.

    Returns:
        The screen, of as many tiles as are affordable.
    """
    sums = np.array([image.sum() for image in reference])
    counts = np.array([len(image) for image in reference])
    of_image = np.repeat(np.arange(len(counts)), counts)
    places = np.concatenate([np.arange(count) for count in counts])
    per_error = 10 / (len(counts) * log(10) * np.maximum(sums, 1.0))[of_image]
    squared = np.concatenate(list(reference))
    chance = (1 - _ANYWHERE) * _normalised(np.sqrt(squared) * per_error)
    chance += _ANYWHERE * _normalised(per_error)
    drawn = np.random.default_rng(_SEED).choice(len(chance), size=errors.affordable, p=chance)
    return TileScreen(
        errors.pairs,
        errors.facts,
        errors.side,
        images=of_image[drawn],
        places=places[drawn],
        weights=per_error[drawn] / chance[drawn],
        references=squared[drawn],
    )


def _normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values that sum to 1; all alike if they are 0."""
    total = values.sum()
    return values / total if total > 0 else np.full(values.size, 1 / values.size)


def _cut(start: int, length: int, side: int, halo: int) -> tuple[slice, slice]:
    """Return the tile that begins at ``start``, and the window that it needs."""
    window = min(length, side + 2 * halo)
    first = min(max(start - halo, 0), length - window)
    return slice(start, min(start + side, length)), slice(first, first + window)


def _window_size(tile: Tile) -> tuple[int, int]:
    rows, columns = tile.window_rows, tile.window_columns
    return rows.stop - rows.start, columns.stop - columns.start


def _shaved(part: slice, scale: int, length: int) -> slice:
    """Return a slice of LR pixels in HR pixels, without the border that PSNR leaves out."""
    return slice(max(part.start * scale, RGB_SHAVE), min(part.stop * scale, length - RGB_SHAVE))
