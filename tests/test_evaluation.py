"""Scores of models on pairs, against TFLite's interpreter and scikit-image's PSNR and SSIM."""

import pickle
from dataclasses import astuple
from itertools import groupby

import numpy as np
import pytest
import skimage.color
import skimage.data
import skimage.metrics
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from qsr.calibration import Scheme, collect, quantize
from qsr.data.decoded import decode, held
from qsr.data.pairs import find_pairs
from qsr.errors import ImageError
from qsr.evaluation import (
    Evaluation,
    ImageScore,
    PsnrScore,
    evaluate,
    evaluate_bicubic,
    folded_runner,
    score_pairs,
)
from qsr.images import downscale_bicubic, upscale_bicubic
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner, inspect_model

# Two images of one size are apart from each other.
HR = {
    "astronaut": skimage.data.astronaut()[0:60, 170:242],
    "chelsea": skimage.data.chelsea()[90:138, 110:200],
    "coffee": skimage.data.coffee()[100:160, 200:272],
    "rocket": skimage.data.rocket()[150:222, 300:360],
}
NAMES = tuple(HR)


def pairs_at(scale):
    """Make LR images."""
    return [(downscale_bicubic(hr, scale), hr) for hr in HR.values()]


def run(model, lr):
    """Run a model on bytes, as they are or as fractions of one, and give units of 0 to 255."""
    interpreter = Interpreter(model_content=model)
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, (1, *lr.shape))
    interpreter.allocate_tensors()
    is_float = interpreter.get_input_details()[0]["dtype"] == np.float32
    interpreter.set_tensor(index, lr[None].astype(np.float32) / 255 if is_float else lr[None])
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    return output * 255 if is_float else output


def psnr(a, b, shave):
    """Leave the borders out and ask scikit-image."""
    inner = (slice(shave, -shave), slice(shave, -shave))
    return skimage.metrics.peak_signal_noise_ratio(
        a[inner].astype(np.float64), b[inner].astype(np.float64), data_range=255
    )


def scores(output, hr, name, scale):
    """Score one output in units of 0 to 255, as a phone shows it and as it is."""
    sr = np.round(np.clip(output, 0, 255)).astype(np.uint8)
    sr_y, hr_y = (skimage.color.rgb2ycbcr(image)[..., 0] for image in (sr, hr))
    similarity = skimage.metrics.structural_similarity(
        sr_y[scale:-scale, scale:-scale],
        hr_y[scale:-scale, scale:-scale],
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    psnr_y = psnr(sr_y, hr_y, scale)
    return ImageScore(name, psnr(sr, hr, 1), psnr_y, similarity, psnr(output, hr, 1))


def assert_close(found, expected):
    """Compare scores per image: names and order exactly, numbers to the noise of summing."""
    assert [image.name for image in found] == [image.name for image in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert astuple(ours)[1:] == pytest.approx(astuple(theirs)[1:], abs=1e-6)


@pytest.fixture(scope="module")
def integer(xcat):
    """Quantize the network to uint8."""
    ranges = collect(xcat, ((name, lr) for name, (lr, _) in zip(NAMES, pairs_at(3), strict=True)))
    return quantize(xcat, ranges.merged(), Scheme(io="uint8"))


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    """Decode the pairs from files."""
    folder = tmp_path_factory.mktemp("validation")
    for name, hr in HR.items():
        Image.fromarray(hr).save(folder / f"{name}.png")
    return decode(find_pairs(folder, 3), folder / "decoded")


class TestEvaluate:
    """Scores per image, and their means."""

    @pytest.mark.parametrize(("fixture", "scale"), [("xcat", 3), ("espcn", 2), ("fsrcnn", 2)])
    def test_float(self, request, fixture, scale):
        """A float model's scores are scikit-image's of its output, rounded and not."""
        model = request.getfixturevalue(fixture)
        evaluation = evaluate(model, pairs_at(scale), name="m", names=NAMES)
        expected = [
            scores(run(model, lr), hr, name, scale)
            for name, (lr, hr) in zip(NAMES, pairs_at(scale), strict=True)
        ]
        assert not evaluation.quantized
        assert evaluation.model == "m"
        assert_close(evaluation.images, expected)

    def test_rounding(self, xcat):
        """Rounding changes the score of a float model that clips, by some thousandths of a dB."""
        for image in evaluate(xcat, pairs_at(3), name="m", names=NAMES).images:
            assert 0 < abs(image.psnr_rgb_db - image.psnr_rgb_unrounded_db) < 0.02

    def test_integer(self, integer):
        """An integer model's scores are scikit-image's of its bytes, which need no rounding."""
        evaluation = evaluate(integer, pairs_at(3), name="m", names=NAMES)
        expected = [
            scores(run(integer, lr), hr, name, 3)
            for name, (lr, hr) in zip(NAMES, pairs_at(3), strict=True)
        ]
        assert evaluation.quantized
        assert_close(evaluation.images, expected)
        for image in evaluation.images:
            assert image.psnr_rgb_db == image.psnr_rgb_unrounded_db

    def test_bicubic(self):
        """Bicubic is scored as a model is."""
        evaluation = evaluate_bicubic(pairs_at(3), scale=3, names=NAMES)
        expected = [
            scores(upscale_bicubic(lr, 3), hr, name, 3)
            for name, (lr, hr) in zip(NAMES, pairs_at(3), strict=True)
        ]
        assert not evaluation.quantized
        assert evaluation.model == "bicubic"
        assert_close(evaluation.images, expected)

    def test_means(self):
        """The scores of a set are means over its images, of decibels, not of errors."""
        evaluation = Evaluation(
            "m",
            quantized=False,
            images=(ImageScore("a", 20, 30, 0.5, 21), ImageScore("b", *[40] * 4)),
        )
        assert evaluation.psnr_rgb_db == 30
        assert evaluation.psnr_y_db == 35
        assert evaluation.ssim_y == 20.25
        assert evaluation.psnr_rgb_unrounded_db == 30.5

    def test_progress(self, integer):
        """Progress is reported after each image."""
        calls = []
        options = {"names": NAMES, "on_progress": lambda *now: calls.append(now)}
        evaluate(integer, pairs_at(3), name="m", **options)
        assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def test_other_scale(self, xcat):
        """Pairs of another scale are an error that names the image, both sizes and the scale."""
        with pytest.raises(
            ImageError, match=r"astronaut: HR is 72x60 and LR 36x30 pixels, but the model .* x3"
        ):
            evaluate(xcat, pairs_at(2), name="the model", names=NAMES)
        with pytest.raises(ImageError, match=r"HR is 72x60 and LR 24x20 .* bicubic enlarges x2"):
            evaluate_bicubic(pairs_at(3), scale=2, names=NAMES)

    @pytest.mark.parametrize("cut", [np.s_[:-1], np.s_[:, :-1]])
    def test_other_size(self, xcat, cut):
        """An HR image with a row or column too few is an error, not a score of something else."""
        (lr, hr), *_ = pairs_at(3)
        with pytest.raises(ImageError, match="a: HR is"):
            evaluate(xcat, [(lr, hr[cut])], name="m", names=["a"])

    def test_too_small(self, xcat):
        """An image of which shaving leaves too little for SSIM is an error that names it."""
        hr = np.zeros((15, 60, 3), np.uint8)
        with pytest.raises(ImageError, match=r"tiny: too small to be scored: SSIM needs 11 pixels"):
            evaluate(xcat, [(hr[::3, ::3], hr)], name="m", names=["tiny"])


class TestScorePairs:
    """Some measures of some pictures."""

    def test_asked_alone(self):
        """Only what is asked for is measured, so pictures too small for SSIM get their PSNR."""
        hr = HR["coffee"][:15]
        found = score_pairs(
            lambda lr: upscale_bicubic(lr, 3),
            [(downscale_bicubic(hr, 3), hr)],
            ["psnr_y_db", "psnr_rgb_db"],
            scale=3,
            names=["tiny"],
        )
        sr = upscale_bicubic(downscale_bicubic(hr, 3), 3)
        sr_y, hr_y = (skimage.color.rgb2ycbcr(image)[..., 0] for image in (sr, hr))
        assert found == {
            "psnr_y_db": [pytest.approx(psnr(sr_y, hr_y, 3), abs=1e-6)],
            "psnr_rgb_db": [pytest.approx(psnr(sr, hr, 1), abs=1e-6)],
        }

    def test_folded(self, integer, xcat):
        """An integer model is run without what copies bytes, and a float model as it is."""
        for model, fewer in ((integer, True), (xcat, False)):
            run_whole, whole = (
                len(one._interpreter._get_ops_details())
                for one in (folded_runner(model), Runner(model))
            )
            assert (run_whole < whole) == fewer

    def test_facts(self, integer):
        """Facts that are given are taken: the model is not looked at again."""
        facts = inspect_model(integer)
        assert folded_runner(integer, facts).facts is facts


class TestPsnrScore:
    """The score of a search."""

    @pytest.mark.parametrize("fixture", ["integer", "xcat"])
    def test_same_as_evaluate(self, request, decoded, fixture):
        """It gives the RGB PSNR of evaluate to the last bit, in the order of the pairs."""
        model = request.getfixturevalue(fixture)
        found = PsnrScore(decoded)(model)
        images = evaluate(model, decoded, name="m", names=NAMES).images
        assert found == [image.psnr_rgb_db for image in images]
        assert len(set(found)) == 4
        assert found == pytest.approx(
            [scores(run(model, lr), hr, "", 3).psnr_rgb_db for lr, hr in pairs_at(3)], abs=1e-6
        )

    def test_facts(self, decoded, integer):
        """With facts given, a model is not inspected, and the scores are the same."""
        facts = inspect_model(integer)
        inspect_model.cache_clear()
        assert PsnrScore(decoded, facts)(integer) == PsnrScore(decoded)(integer)

    def test_travels(self, decoded, integer):
        """Pickled, after it was used, it is small, and gives the same scores when unpickled."""
        score = PsnrScore(decoded, inspect_model(integer))
        expected = score(integer)
        sent = pickle.dumps(score)
        assert len(sent) < 1500
        assert pickle.loads(sent)(integer) == expected  # noqa: S301

    @pytest.mark.parametrize("fixture", ["integer", "xcat"])
    def test_held(self, request, decoded, fixture):
        """Pairs in memory get the scores of those in the file, whatever their order."""
        model = request.getfixturevalue(fixture)
        expected = PsnrScore(decoded)(model)
        assert PsnrScore(held(decoded))(model) == expected
        for order in ([3, 1, 0, 2], [2, 2, 1]):
            scores_there = [expected[index] for index in order]
            assert PsnrScore(held(decoded).at(order))(model) == scores_there
            assert PsnrScore(decoded.at(order))(model) == scores_there

    def test_sizes_together(self, decoded, integer, monkeypatch):
        """Pictures of one size are run one after the other, so that memory is planned once each."""
        sizes = []
        upscale = Runner.upscale

        def noted(runner, lr):
            sizes.append(lr.shape[:2])
            return upscale(runner, lr)

        monkeypatch.setattr(Runner, "upscale", noted)
        PsnrScore(decoded, inspect_model(integer))(integer)
        assert len(sizes) == 4
        assert [size for size, _ in groupby(sizes)] == sorted(set(sizes))
        assert len(set(sizes)) < 4

    def test_folded(self, decoded, integer, run_bare):
        """Operators that are skipped change no score: TFLite's own kernels run the model whole."""
        assert len(Graph(fold_copies(integer)).operators) < len(Graph(integer).operators)
        expected = [
            psnr(run_bare(integer, lr[None], fast=True)[0], hr, 1) for lr, hr in pairs_at(3)
        ]
        assert PsnrScore(decoded)(integer) == pytest.approx(expected, abs=1e-9)

    def test_slice(self, decoded, integer):
        """On some of the pairs it gives the scores of those."""
        assert PsnrScore(decoded[1:3])(integer) == PsnrScore(decoded)(integer)[1:3]

    def test_other_scale(self, decoded, espcn):
        """A model of another scale is an error that names the image and both sizes."""
        with pytest.raises(ImageError, match=r"astronaut: HR is 72x60 and LR 24x20 .* x2"):
            PsnrScore(decoded)(espcn)
