"""Scores of several models on several sets, without the command line."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import skimage.metrics
from PIL import Image

from qsr.data.bundled import write_bundled
from qsr.errors import ImageError, ModelError, UsageError
from qsr.images import upscale_bicubic
from qsr.jobs.evaluate import evaluate_models, evaluate_with_costs


def test_bicubic_by_others(images, lr_and_hr):
    """Bicubic alone scores, by scikit-image's measure, what is reported, at any scale."""
    for scale in (2, 3, 4):
        (scores,) = evaluate_models(["bicubic"], [images / "validation"], scale=scale)
        (evaluation,) = scores.evaluations
        for image in evaluation.images:
            lr, hr = lr_and_hr(images / f"validation/{image.name}.png", scale)
            sr = upscale_bicubic(lr, scale)
            expected = skimage.metrics.peak_signal_noise_ratio(
                hr[1:-1, 1:-1], sr[1:-1, 1:-1], data_range=255
            )
            assert image.psnr_rgb_db == pytest.approx(expected)


def test_several(network, run, images):
    """Each model is scored on each set, and drops are measured from the first model."""
    sets = [images / "validation", images / "candidates"]
    results = evaluate_models([str(network), run.integer_model, "bicubic"], sets)
    assert [result.data for result in results] == [str(path) for path in sets]
    assert [len(result.evaluations[0].images) for result in results] == [3, 5]
    for result in results:
        first = result.evaluations[0].psnr_rgb_db
        assert result.drops_db == tuple(first - other.psnr_rgb_db for other in result.evaluations)
    assert [evaluation.quantized for evaluation in results[0].evaluations] == [False, True, False]


def test_drops(network, run, images):
    """The drop from the first model is of 8-bit pictures, image by image, the largest by name."""
    (scores,) = evaluate_models([str(network), run.integer_model, "bicubic"], [images / "scored"])
    first, *others = scores.evaluations
    none, *drops = scores.drops
    assert none is None
    for other, drop in zip(others, drops, strict=True):
        apart = {
            one.name: one.psnr_rgb_db - another.psnr_rgb_db
            for one, another in zip(first.images, other.images, strict=True)
        }
        assert drop.worst_db == max(apart.values())
        assert apart[drop.worst_image] == drop.worst_db
        assert drop.mean_db.mean == pytest.approx(scores.drop_db(other))
        assert drop.mean_db.low < drop.mean_db.mean < drop.mean_db.high
        assert drop.mean_db.items == 5
        resampled = scipy.stats.bootstrap(
            (list(apart.values()),), np.mean, method="percentile", rng=0
        ).confidence_interval
        assert drop.mean_db.low <= resampled.low  # a plain interval of so few images is too narrow
        assert drop.mean_db.high >= resampled.high


def test_costs(network, run, images, abpn, tmp_path):
    """Sizes are those of the files; what cannot run on a picture of that size has scores alone."""
    (tmp_path / "fixed.tflite").write_bytes(abpn)
    models = [str(network), run.integer_model, "bicubic", str(tmp_path / "fixed.tflite")]
    report = evaluate_with_costs(models, [images / "validation"], lr_size=(24, 32))
    assert report.sets == evaluate_models(models, [images / "validation"])
    assert [cost.model for cost in report.costs] == models
    sizes = [Path(model).stat().st_size if model != "bicubic" else None for model in models]
    assert [cost.file_bytes for cost in report.costs] == sizes
    fp32, integer, bicubic, fixed = report.costs
    assert fp32.ratio is None
    assert fp32.latency.rounds == integer.latency.rounds == 10
    assert 0 < integer.ratio.low <= integer.ratio.median <= integer.ratio.high
    assert (fp32.untimed, integer.untimed) == ("", "")
    assert (bicubic.latency, bicubic.untimed) == (None, "no model")
    assert (fixed.latency, fixed.ratio) == (None, None)
    assert fixed.untimed == "takes 48x40 pixels alone"


def test_untimed_reference(images, abpn, abpn_of_any_size, tmp_path):
    """Beside a first model without times there are times, but no ratios."""
    (tmp_path / "fixed.tflite").write_bytes(abpn)
    (tmp_path / "any.tflite").write_bytes(abpn_of_any_size)
    models = [str(tmp_path / "fixed.tflite"), str(tmp_path / "any.tflite")]
    report = evaluate_with_costs(models, [images / "validation"], lr_size=(24, 32))
    assert report.costs[1].latency is not None
    assert report.costs[1].ratio is None
    report = evaluate_with_costs(models, [images / "validation"], lr_size=(40, 48))
    assert report.costs[1].ratio is not None


def test_no_times(network, images):
    """Without a size no times are taken, and that is the reason that is given."""
    report = evaluate_with_costs([str(network)], [images / "validation"], lr_size=None)
    (cost,) = report.costs
    assert (cost.latency, cost.untimed) == (None, "not asked for")
    assert cost.file_bytes == network.stat().st_size
    with pytest.raises(UsageError, match="a picture of 0x8 pixels has no times"):
        evaluate_with_costs([str(network)], [images / "validation"], lr_size=(8, 0))


def test_validation_split(images, tmp_path):
    """Of a folder that has a training and a validation split, as DIV2K, the latter is scored."""
    for split, source in (("train", "candidates"), ("valid", "validation")):
        for path in (images / source).iterdir():
            hr = Image.open(path).crop((0, 0, 48, 48))
            for folder, image in (("HR", hr), ("LR_bicubic/X3", hr.resize((16, 16)))):
                (tmp_path / f"DIV2K_{split}_{folder}").mkdir(parents=True, exist_ok=True)
                image.save(tmp_path / f"DIV2K_{split}_{folder}" / f"{path.stem}.png")
    (result,) = evaluate_models(["bicubic"], [tmp_path])
    names = sorted(path.stem for path in (images / "validation").iterdir())
    assert [image.name for image in result.evaluations[0].images] == names


def test_bundled(network, tmp_path):
    """Without data, the bundled photographs are evaluated on, and called so."""
    (result,) = evaluate_models([str(network)])
    assert result.data == "bundled photographs"
    names = [path.stem for path in sorted(write_bundled(tmp_path)[1].iterdir())]
    assert [image.name for image in result.evaluations[0].images] == names


def test_skipped(network, images, tmp_path):
    """Unusable images are left out on request, and named."""
    (tmp_path / "bad.png").write_bytes(b"no image")
    Image.open(images / "validation/coffee.png").save(tmp_path / "good.png")
    (result,) = evaluate_models([str(network)], [tmp_path], skip_bad_images=True)
    assert [image.name for image in result.evaluations[0].images] == ["good"]
    (line,) = result.skipped
    assert line.startswith(str(tmp_path / "bad.png"))


@pytest.mark.parametrize("scale", [0, -1, 17])
def test_scale(images, scale):
    """A factor that nothing can be enlarged by is refused."""
    with pytest.raises(UsageError, match=f"--scale must be 1 to 16, not {scale}"):
        evaluate_models(["bicubic"], [images / "validation"], scale=scale)


def test_scales_of_models(network, espcn, images, tmp_path):
    """Models of different scales are both named."""
    (tmp_path / "espcn.tflite").write_bytes(espcn)
    with pytest.raises(ModelError, match=r"network.tflite enlarges x3 and .*espcn.tflite x2"):
        evaluate_models([str(network), str(tmp_path / "espcn.tflite")], [images / "validation"])


@pytest.mark.parametrize(("scale", "least"), [(2, 8), (3, 6), (4, 5)])
def test_smallest(images, tmp_path, scale, least):
    """The smallest image that can be scored is scored, and a smaller one refused beforehand."""
    original = Image.open(images / "validation/coffee.png")
    side = least * scale
    original.crop((0, 0, side, side)).save(tmp_path / "image.png")
    evaluate_models(["bicubic"], [tmp_path], scale=scale)
    original.crop((0, 0, side, side - scale)).save(tmp_path / "image.png")
    with pytest.raises(ImageError, match=f"each side needs at least {least}"):
        evaluate_models(["bicubic"], [tmp_path], scale=scale)


@pytest.mark.parametrize(
    ("folder", "message"),
    [("missing", "missing: no such file or folder"), (".", "no images in this folder")],
)
def test_no_images(tmp_path, monkeypatch, folder, message):
    """A folder that is missing, or without images, is named before any model is loaded."""
    monkeypatch.setattr("qsr.jobs.evaluate.load_any", None)
    with pytest.raises(ImageError, match=message):
        evaluate_models(["xcat"], [tmp_path / folder])
