"""Screening on tiles: what a tile counts, that the estimate has no bias, and when it is cheap."""

from dataclasses import replace
from math import log
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import skimage.metrics

from qsr import screening
from qsr.calibration import Scheme, collect, quantize
from qsr.data.decoded import HeldPairs
from qsr.errors import ModelError
from qsr.evaluation import PsnrScore
from qsr.images import downscale_bicubic
from qsr.screening import (
    TileErrors,
    TileScreen,
    draw_screen,
    load_screen,
    tile_at,
    tile_count,
    tile_error,
    tile_side,
)
from qsr.tflite.runtime import Runner, inspect_model

# Height and width in LR pixels: no multiple of 24, a multiple, less than a window, less than a
# tile, a last tile of one row, and of one column within the shaved border.
SIZES = [(61, 53), (48, 72), (30, 26), (12, 60), (49, 24), (24, 25)]
FIRST = screening._FIRST_RUNG
NETWORKS = [("trained_xcat", 3), ("espcn", 2), ("fsrcnn", 2)]


def pairs_of(pictures, scale):
    """Make LR pictures, and cut HR to whole LR pixels."""
    cut = [hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale] for hr in pictures]
    names = tuple(str(number) for number in range(len(cut)))
    return HeldPairs(names, tuple((downscale_bicubic(hr, scale), hr) for hr in cut))


def quantized(model, photographs, names):
    """Return the integer model of some photographs' ranges."""
    table = collect(model, {name: photographs[name] for name in names})
    return quantize(model, table.merged(), Scheme())


@pytest.fixture(scope="module")
def small():
    """Crops of the sizes above: ``scale -> pairs``."""
    astronaut = skimage.data.astronaut()

    def crops(scale):
        return pairs_of([astronaut[90:, 150:][: scale * h, : scale * w] for h, w in SIZES], scale)

    return crops


@pytest.fixture(scope="module")
def large():
    """Photographs of which screening is worth while: 297 000 LR pixels at x2."""
    pictures = [skimage.data.hubble_deep_field(), skimage.data.coffee(), skimage.data.chelsea()]
    return pairs_of([picture[..., :3] for picture in pictures], 2)


@pytest.fixture(scope="module")
def models(espcn, photographs):
    """Four integer models of one network: of all photographs, and of single ones."""
    sets = [list(photographs), ["rocket"], ["coffee"], ["chelsea"]]
    return [quantized(espcn, photographs, names) for names in sets]


@pytest.fixture(scope="module")
def measured(large, models):
    """What measures tiles, and the four models' squared errors per tile."""
    facts = inspect_model(models[0])
    errors = TileErrors(large, facts, tile_side(facts))
    return errors, [errors(model) for model in models]


@pytest.fixture(scope="module")
def screen(measured):
    """The screen of the first model."""
    errors, (reference, *_) = measured
    return draw_screen(errors, reference)


class TestTiles:
    """How an image is cut."""

    def test_by_hand(self):
        """An image of 50 rows and 30 columns has six tiles of at most 24, in windows of 34."""
        cut = {"side": 24, "halo": 5}
        assert tile_count(50, 30, 24) == 6
        first, last = (tile_at(place, 50, 30, **cut) for place in (0, 5))
        assert (first.rows, first.columns) == (slice(0, 24), slice(0, 24))
        assert (first.window_rows, first.window_columns) == (slice(0, 34), slice(0, 30))
        assert (last.rows, last.columns) == (slice(48, 50), slice(24, 30))
        assert (last.window_rows, last.window_columns) == (slice(16, 50), slice(0, 30))
        middle = tile_at(2, 50, 30, **cut)
        assert (middle.rows, middle.window_rows) == (slice(24, 48), slice(16, 50))

    @pytest.mark.parametrize("halo", [0, 1, 5, 40])
    @pytest.mark.parametrize("size", [*SIZES, (1, 1), (24, 24), (47, 97)])
    def test_every_pixel_once(self, size, halo):
        """Tiles cover each pixel once; windows lie inside, are alike, and hold tile and halo."""
        covered = np.zeros(size, int)
        windows = set()
        for place in range(tile_count(*size, 24)):
            tile = tile_at(place, *size, side=24, halo=halo)
            covered[tile.rows, tile.columns] += 1
            for part, window, length in (
                (tile.rows, tile.window_rows, size[0]),
                (tile.columns, tile.window_columns, size[1]),
            ):
                assert 0 <= window.start <= max(part.start - halo, 0)
                assert min(part.stop + halo, length) <= window.stop <= length
            seen = np.zeros(size, bool)
            seen[tile.window_rows, tile.window_columns] = True
            windows.add(int(seen.sum()))
        assert (covered == 1).all()
        assert len(windows) == 1

    def test_side(self, espcn):
        """A tile is four times as wide as its halo, and at least 24 pixels."""
        facts = inspect_model(espcn)
        assert tile_side(replace(facts, receptive_radius=3)) == 24
        assert tile_side(replace(facts, receptive_radius=10)) == 40
        assert tile_side(replace(facts, receptive_radius=None)) == 24


class TestErrors:
    """What a tile counts."""

    @pytest.mark.parametrize(("network", "scale"), NETWORKS)
    def test_whole_image(self, *, request, small, photographs, run_bare, network, scale):
        """The tiles of an image, each run alone, add up to scikit-image's PSNR of the whole."""
        model = quantized(request.getfixturevalue(network), photographs, photographs)
        facts = inspect_model(model)
        assert facts.scale == scale
        runner = Runner(model, facts)
        side, halo = tile_side(facts), facts.receptive_radius
        assert 0 < halo < 12
        for lr, hr in small(scale):
            size = lr.shape[:2]
            tiles = [
                tile_at(place, *size, side=side, halo=halo)
                for place in range(tile_count(*size, side))
            ]
            total = sum(tile_error(runner, lr, hr, tile) for tile in tiles)
            inner, sr = hr[1:-1, 1:-1], run_bare(model, lr[None], fast=True)[0, 1:-1, 1:-1]
            assert total == pytest.approx(
                skimage.metrics.mean_squared_error(inner, sr) * inner.size, rel=1e-12
            )
            psnr = skimage.metrics.peak_signal_noise_ratio(inner, sr, data_range=255)
            assert 10 * np.log10(255**2 * inner.size / total) == pytest.approx(psnr, abs=1e-9)

    @pytest.mark.parametrize(("network", "scale"), NETWORKS)
    def test_all_tiles(self, *, request, small, photographs, network, scale):
        """All tiles at once, of images run whole, give what each tile run alone gives."""
        model = quantized(request.getfixturevalue(network), photographs, ["rocket"])
        facts = inspect_model(model)
        runner = Runner(model, facts)
        pairs, side, halo = small(scale), tile_side(facts), facts.receptive_radius
        found = TileErrors(pairs, facts, side)(model)
        for (lr, hr), of_image in zip(pairs, found, strict=True):
            size = lr.shape[:2]
            assert of_image.shape == (tile_count(*size, side),)
            for place, error in enumerate(of_image):
                tile = tile_at(place, *size, side=side, halo=halo)
                assert error == pytest.approx(tile_error(runner, lr, hr, tile), rel=1e-12)

    def test_shaved_tile(self, small, models):
        """A tile that lies within the shaved border counts nothing."""
        facts = inspect_model(models[0])
        lr, hr = small(2)[0]
        tile = tile_at(0, *lr.shape[:2], side=24, halo=3)
        border = replace(tile, rows=slice(0, 1), columns=slice(0, 1))
        runner = Runner(models[0], replace(facts, scale=2))
        whole = tile_error(runner, lr, hr, border)
        (value,) = (hr[1:2, 1:2].astype(int) - runner.upscale(lr[:27, :27])[1:2, 1:2]) ** 2
        assert whole == value.sum()
        assert tile_error(runner, lr, hr, replace(border, rows=slice(0, 0))) == 0


class TestEstimate:
    """The screen against the truth."""

    def test_values(self, measured, models, screen):
        """A tile's value is its weight times the error saved, run alone in any part of the list."""
        _, (reference, *others) = measured
        found = [*screen(models[2], 0, 50), *screen(models[2], 50, 128)]
        for index, value in enumerate(found):
            image, place = screen.images[index], screen.places[index]
            saved = reference[image][place] - others[1][image][place]
            assert screen.references[index] == reference[image][place]
            assert value == pytest.approx(screen.weights[index] * saved, abs=1e-12)
        assert screen(models[0], 0, 128) == pytest.approx([0] * 128, abs=1e-12)

    def test_weights(self, measured, screen):
        """A weight is the dB that one unit of squared error costs, over the chance of its tile."""
        errors, (reference, *_) = measured
        counted = {}
        for index, (image, place) in enumerate(zip(screen.images, screen.places, strict=True)):
            cost = 10 / (log(10) * 3 * reference[image].sum())
            counted[image, place] = cost / screen.weights[index]
        assert len(counted) > 60
        assert all(0 < chance < 1 for chance in counted.values())
        assert sum(counted.values()) < 1
        assert len(screen.images) == errors.affordable

    @pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 3), (0, 3)])
    def test_no_bias(self, *, monkeypatch, measured, models, large, first, second):
        """Over many draws, the mean difference of two models is that of their mean PSNR."""
        errors, tables = measured
        estimates = []
        for seed in range(300):
            monkeypatch.setattr(screening, "_SEED", seed)
            drawn = draw_screen(errors, tables[0])
            # test_values: this is what the screen gives, without running the models 300 times.
            saved = np.array(
                [
                    tables[second][image][place] - tables[first][image][place]
                    for image, place in zip(drawn.images, drawn.places, strict=True)
                ]
            )
            estimates.append((drawn.weights * saved).mean())
        psnr = PsnrScore(large, errors.facts)
        reference, one, other = (np.array(psnr(models[index])) for index in (0, first, second))
        truth = (one - other).mean()
        error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
        # The logarithm's next term: ln(10) / 20 times the square of a difference in dB.
        curved = log(10) / 20 * np.mean((one - reference) ** 2 + (other - reference) ** 2)
        assert abs(truth) > 4 * error  # or else the test would tell nothing
        assert np.mean(estimates) == pytest.approx(truth, abs=4 * error + 1.2 * curved)

    def test_where_models_differ(self):
        """Nine draws in ten go where the root of the error is large in its image, one anywhere."""
        reference = [np.array([100.0, 400.0, 0.0]), np.array([900.0, 0.0])]
        errors = SimpleNamespace(pairs=None, facts=None, side=24, affordable=20_000)
        drawn = draw_screen(errors, reference)
        # Roots 10, 20, 0 over 500 and 30, 0 over 900 add up to 0.06 + 0.0333.
        chances = 0.9 * np.array([0.02, 0.04, 0, 0.1 / 3, 0]) / (0.28 / 3)
        anywhere = 1 / np.array([500, 500, 500, 900, 900])
        chances += 0.1 * anywhere / anywhere.sum()
        place = drawn.places + 3 * drawn.images
        shares = np.bincount(place, minlength=5) / 20_000
        assert shares == pytest.approx(chances, abs=0.015)
        per_error = 10 / (2 * log(10) * np.array([500, 500, 500, 900, 900]))
        assert drawn.weights == pytest.approx((per_error / np.maximum(chances, 1e-9))[place])

    def test_no_differences(self):
        """Without any error, every draw still has a weight, and every tile a chance."""
        nothing = [np.zeros(4), np.zeros(2)]
        errors = SimpleNamespace(pairs=None, facts=None, side=24, affordable=600)
        drawn = draw_screen(errors, nothing)
        assert np.isfinite(drawn.weights).all()
        assert set(zip(drawn.images.tolist(), drawn.places.tolist(), strict=True)) == {
            *((0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)),
        }


class TestScreen:
    """A screen as a race uses it."""

    def test_kept(self, screen, tmp_path, models):
        """What is saved and loaded is the same screen, and gives the same values."""
        screen.save(tmp_path / "screen.npz")
        again = load_screen(tmp_path / "screen.npz", screen.pairs, screen.facts)
        assert again.identity == screen.identity
        assert again.rungs == screen.rungs
        assert again(models[1], 3, 9) == screen(models[1], 3, 9)
        assert [path.name for path in tmp_path.iterdir()] == ["screen.npz"]

    def test_identity(self, screen):
        """Other tiles, weights or references have another name."""
        others = [
            replace(screen, side=25),
            *(
                replace(screen, **{name: getattr(screen, name)[::-1].copy()})
                for name in ("images", "places", "weights", "references")
            ),
        ]
        assert len({screen.identity, *(other.identity for other in others)}) == 6

    def test_same_draw(self, measured, screen):
        """The same measurements give the same tiles."""
        errors, (reference, *_) = measured
        assert draw_screen(errors, reference).identity == screen.identity

    @pytest.mark.parametrize(
        ("tiles", "rungs"),
        [
            *((0, ()), (FIRST - 1, ()), (FIRST, (FIRST,)), (2 * FIRST - 1, (FIRST,))),
            (4 * FIRST, (FIRST, 2 * FIRST, 4 * FIRST)),
        ],
    )
    def test_rungs(self, tiles, rungs):
        """Each round sees twice as many tiles as the one before, to the last."""
        each = np.zeros(tiles)
        assert TileScreen(None, None, 24, each, each, each, each).rungs == rungs

    def test_cannot_run(self, xcat, screen, photographs):
        """A model that TFLite makes but cannot run gets NaN for every tile."""
        black = {"black": np.zeros_like(photographs["coffee"])}
        model = quantized(xcat, black, black)
        with pytest.raises(ModelError):
            inspect_model(model)
        assert np.isnan(screen(model, 5, 12)).tolist() == [True] * 7


class TestAffordable:
    """How many tiles are cheap."""

    def test_share(self, measured):
        """They cost at most half of all pixels: the first round's, doubled as often as it can."""
        errors, _ = measured
        window = (24 + 2 * errors.facts.receptive_radius) ** 2
        pixels = sum(height * width for height, width in errors.pairs.sizes)
        assert errors.affordable in {FIRST, 2 * FIRST}
        assert errors.affordable * window <= pixels / 2 < 2 * errors.affordable * window
        twice = replace(errors, pairs=errors.pairs.at([0, 1, 2, 0, 1, 2]))
        assert twice.affordable == 2 * errors.affordable

    @pytest.mark.parametrize(
        "change", [{"receptive_radius": None}, {"fixed_size": (40, 48)}], ids=str
    )
    def test_cannot_be_cut(self, measured, change):
        """A model that sees the whole image, or takes one size alone, is not screened."""
        errors, _ = measured
        assert replace(errors, facts=replace(errors.facts, **change)).affordable == 0

    def test_few_small_images(self, measured, small):
        """Where measuring every image whole is cheap already, there is nothing to gain."""
        errors, _ = measured
        assert replace(errors, pairs=small(2)).affordable == 0
