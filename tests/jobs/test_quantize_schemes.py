"""Integer models of several schemes, and what is kept if it helps."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from qsr import calibration as cal
from qsr.data.decoded import decode
from qsr.data.pairs import find_pairs
from qsr.errors import ImageError, UsageError
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.quantize import quantize_model, quantize_schemes
from qsr.jobs.quantize_steps import Measured, Sources, make
from qsr.jobs.quantize_validation import Validation, ValidationSet, divided
from qsr.jobs.steps import Judges
from qsr.quantization.bias_correction import correct_biases
from qsr.quantization.equalize import equalize
from qsr.tflite.fold import fold_copies
from qsr.tflite.runtime import Runner

TINY = (24, 32)
THREE = ("uint8", "int8-per-tensor", "uint8-16x8")


class TestSideBySide:
    """What is made, and how it compares."""

    @pytest.fixture(scope="class")
    @staticmethod
    def folder(tmp_path_factory):
        """The folder of the models."""
        return tmp_path_factory.mktemp("schemes")

    @pytest.fixture(scope="class")
    @staticmethod
    def report(folder, network, images):
        """Three schemes, compared on three images."""
        return quantize_schemes(
            str(network),
            [images / "candidates"],
            folder,
            schemes=THREE,
            data=[images / "validation"],
            lr_size=TINY,
        )

    def test_models(self, report, folder, network, images, tmp_path):
        """Each model is the one that its scheme gives alone."""
        assert sorted(path.name for path in folder.iterdir()) == [
            *("model_int8-per-tensor.tflite", "model_uint8-16x8.tflite", "model_uint8.tflite")
        ]
        for scheme, one in zip(THREE, report.quantized, strict=True):
            assert (one.scheme, one.integer_model) == (
                scheme,
                str(folder / f"model_{scheme}.tflite"),
            )
            alone = tmp_path / f"{scheme}.tflite"
            quantize_model(str(network), [images / "candidates"], alone, scheme=scheme)
            assert (folder / f"model_{scheme}.tflite").read_bytes() == alone.read_bytes()
            assert one.integer_bytes == alone.stat().st_size

    def test_scores(self, report, folder, network, images):
        """Drops and scores are those of qsr evaluate."""
        paths = [str(network), *(str(folder / f"model_{scheme}.tflite") for scheme in THREE)]
        (expected,) = evaluate_models(paths, [images / "validation"])
        (found,) = report.comparison.sets
        assert [one.model for one in found.evaluations] == [f"{network} (FP32)", *THREE]
        assert found.drops == expected.drops
        assert [one.images for one in found.evaluations] == [
            one.images for one in expected.evaluations
        ]

    def test_costs(self, report, folder, network):
        """Sizes are those of the files, and all are timed in turns with the float model."""
        costs = report.comparison.costs
        assert [cost.model for cost in costs] == [f"{network} (FP32)", *THREE]
        assert [cost.file_bytes for cost in costs] == [
            network.stat().st_size,
            *((folder / f"model_{scheme}.tflite").stat().st_size for scheme in THREE),
        ]
        assert all(cost.latency is not None for cost in costs)
        assert [cost.ratio is None for cost in costs] == [True, False, False, False]
        assert report.comparison.lr_size == TINY

    def test_removed(self, report):
        """What copied bytes is removed of each, and nothing is left in float."""
        assert {one.removed for one in report.quantized} == {("MINIMUM", "RELU")}
        assert {one.in_float for one in report.quantized} == {()}

    def test_without_images(self, network, images, tmp_path):
        """Without validation images there are sizes and times, and no scores."""
        report = quantize_schemes(
            *(str(network), [images / "candidates"], tmp_path),
            schemes=("uint8", "int8"),
            lr_size=TINY,
        )
        assert report.comparison.sets == ()
        assert len(report.comparison.costs) == 3

    def test_one(self, network, images, tmp_path):
        """One scheme without validation images is not compared; with them it is."""
        arguments = (str(network), [images / "candidates"], tmp_path / "one.tflite")
        assert quantize_schemes(*arguments, schemes=["int8"]).comparison is None
        report = quantize_schemes(
            *arguments, schemes=["int8"], data=[images / "validation"], lr_size=TINY
        )
        assert len(report.comparison.sets[0].evaluations) == 2

    def test_one_size(self, abpn, images, tmp_path):
        """A network that takes one size alone is timed on that."""
        (tmp_path / "abpn.tflite").write_bytes(abpn)
        report = quantize_schemes(
            *(str(tmp_path / "abpn.tflite"), [images / "candidates"], tmp_path),
            schemes=("uint8", "int8"),
        )
        assert report.comparison.lr_size == (40, 48)
        assert all(cost.latency for cost in report.comparison.costs)

    def test_ranges(self, report, network, images, tmp_path):
        """Ranges measured once serve all schemes, and can be saved and read for them."""
        saved = tmp_path / "ranges.json"
        quantize_schemes(
            *(str(network), [images / "candidates"], tmp_path),
            schemes=("uint8", "int8"),
            save_ranges=saved,
            lr_size=TINY,
        )
        again = tmp_path / "again"
        again.mkdir()
        made = quantize_schemes(
            str(network),
            out=again,
            schemes=THREE,
            ranges=saved,
            data=[images / "validation"],
            lr_size=TINY,
        )
        for one, other in zip(made.quantized, report.quantized, strict=True):
            assert Path(one.integer_model).read_bytes() == Path(other.integer_model).read_bytes()


class TestHeldOut:
    """Validation images that are representative too."""

    def test_left_out(self, network, images, tmp_path):
        """They are left out of the comparison, found by their pixels, and named."""
        folder = tmp_path / "validation"
        shutil.copytree(images / "validation", folder)
        shutil.copy(images / "candidates/rocket.png", folder / "renamed.png")
        report = quantize_schemes(
            *(str(network), [images / "candidates"], tmp_path / "one.tflite"),
            schemes=["uint8"],
            data=[folder],
            lr_size=TINY,
        )
        (scores,) = report.comparison.sets
        assert scores.skipped == ("renamed: a representative image too",)
        assert len(scores.evaluations[0].images) == 3

    def test_none_left(self, network, images, tmp_path):
        """If none is left, nothing is made."""
        with pytest.raises(UsageError, match="every image of it is representative too"):
            quantize_schemes(
                *(str(network), [images / "candidates"], tmp_path / "one.tflite"),
                schemes=["uint8"],
                data=[images / "candidates"],
            )
        assert not list(tmp_path.iterdir())


class TestSteps:
    """Equalization and bias correction are kept only if they help."""

    @pytest.fixture(scope="class")
    @staticmethod
    def sources(uneven_fsrcnn, photographs):
        """What models of an FSRCNN with uneven channels are made of."""
        rescaled = equalize(uneven_fsrcnn, photographs.values())
        plain, other = (
            Measured(model, cal.collect(model, photographs).merged())
            for model in (uneven_fsrcnn, rescaled)
        )
        return Sources(plain, other, tuple(photographs.values()))

    @staticmethod
    def made(sources, judges, **settings):
        """Make the uint8 model."""
        asked = {"equalized": False, "biases_corrected": False, "keep_clip": False}
        return make(
            *(sources, cal.Scheme()),
            **asked | settings,
            judges=judges,
            source="network",
        )

    @pytest.mark.parametrize(
        ("gains", "kept"),
        [
            ((0.25, 0.375, 0.125, 0.25), True),
            ((0.0, 0.0, 0.0, 0.0), False),
            ((-0.25, -0.375, -0.125, -0.25), False),
            ((3.0, -0.25, -0.25, 0.0), False),  # on the mean, by a single image
            ((0.25,), False),
        ],
    )
    @pytest.mark.parametrize("step", ["equalized", "biases_corrected"])
    def test_alone(self, step, gains, kept, sources):
        """A step is kept if the mean grows by more than chance; what it gave is said either way."""
        before = self.made(sources, None).model
        done = self.made(sources, None, **{step: True})
        assert [(one.choosing_gain_db, one.kept) for one in done.steps] == [(None, True)]
        assert done.model != before
        scores = {before: [30.0] * len(gains), done.model: [30.0 + gain for gain in gains]}
        seen = self.made(sources, Judges(scores.__getitem__, None), **{step: True})
        (one,) = seen.steps
        assert (one.choosing_gain_db, one.gain_db, one.kept) == (np.mean(gains), None, kept)
        assert seen.model == (done.model if kept else before)

    @pytest.mark.parametrize("gain", [0.25, -0.25])
    def test_confirmed(self, gain, sources):
        """The images that choose decide, whatever the others say; both gains are told."""
        before, after = (
            self.made(sources, None, biases_corrected=asked).model for asked in (False, True)
        )
        choosing = {before: [30.0] * 5, after: [30.0 + gain] * 5}
        confirming = {before: [30.0, 31.0, 29.0], after: [30.0 - gain, 31.0 - 2 * gain, 29.0]}
        judges = Judges(choosing.__getitem__, confirming.__getitem__)
        made = self.made(sources, judges, biases_corrected=True)
        (step,) = made.steps
        assert made.model == (after if gain > 0 else before)
        assert step.gain_db.mean == pytest.approx(-gain)
        assert step.gain_db.items == 3

    @pytest.mark.parametrize(("equalizing", "correcting"), [(1, 1), (1, -1), (-1, 1), (-1, -1)])
    def test_both(self, equalizing, correcting, sources):
        """Biases are corrected of what equalization has left."""
        before = self.made(sources, None).model
        equalized = self.made(sources, None, equalized=True).model
        chosen = equalized if equalizing > 0 else before
        base = (sources.equalized if equalizing > 0 else sources.plain).model
        corrected = correct_biases(base, chosen, sources.pictures)
        scores = {before: [30.0] * 5, equalized: [30.0 + equalizing] * 5}
        scores[corrected] = [scores[chosen][0] + correcting] * 5
        judges = Judges(scores.__getitem__, None)
        seen = self.made(sources, judges, equalized=True, biases_corrected=True)
        assert [step.kept for step in seen.steps] == [equalizing > 0, correcting > 0]
        assert [step.choosing_gain_db for step in seen.steps] == [equalizing, correcting]
        assert seen.model == (corrected if correcting > 0 else chosen)

    def test_nothing_to_do(self, sources):
        """A network that cannot be equalized is left as it is."""
        alone = Sources(sources.plain, None, sources.pictures)
        seen = self.made(alone, None, equalized=True)
        assert [(one.choosing_gain_db, one.kept) for one in seen.steps] == [(None, False)]
        assert seen.model == self.made(alone, None).model

    def test_measured(self, uneven_fsrcnn, images, tmp_path):
        """One part of the validation images chooses, and the other is what is reported.

        The gain on either is the difference of the models' scores on those images, as qsr evaluate
        has them, and no image is in both.
        """
        model = tmp_path / "uneven.tflite"
        model.write_bytes(uneven_fsrcnn)
        outs, reports = {}, {}
        for equalized in (False, True):
            outs[equalized] = tmp_path / f"{equalized}.tflite"
            reports[equalized] = quantize_schemes(
                *(str(model), [images / "candidates"], outs[equalized]),
                schemes=["uint8"],
                data=[images / "scored"],
                equalized=equalized,
                lr_size=TINY,
            )
        report = reports[True]
        (step,) = report.quantized[0].steps
        assert step.kept
        assert report.quantized[0].equalized
        (whole,) = evaluate_models([str(path) for path in outs.values()], [images / "scored"])
        before, after = (
            {one.name: one.psnr_rgb_db for one in evaluation.images}
            for evaluation in whole.evaluations
        )
        (scores,) = report.comparison.sets
        reported = {one.name for one in scores.evaluations[1].images}
        chose = before.keys() - reported
        assert (report.confirmed, report.choosing_images) == (True, 3)
        assert (len(reported), len(chose)) == (2, 3)
        for names, gain in ((chose, step.choosing_gain_db), (reported, step.gain_db.mean)):
            assert gain == pytest.approx(np.mean([after[name] - before[name] for name in names]))
            assert gain > 0.1
        assert (reports[False].confirmed, reports[False].choosing_images) == (False, 0)
        assert len(reports[False].comparison.sets[0].evaluations[1].images) == 5

    def test_too_few(self, uneven_fsrcnn, images, tmp_path):
        """Two images are too few to divide: both choose, both are reported, and that is said."""
        model, data = tmp_path / "uneven.tflite", tmp_path / "data"
        model.write_bytes(uneven_fsrcnn)
        data.mkdir()
        for name in ("chelsea", "coffee"):
            shutil.copy(images / f"validation/{name}.png", data)
        report = quantize_schemes(
            *(str(model), [images / "candidates"], tmp_path / "one.tflite"),
            schemes=["uint8"],
            data=[data],
            biases_corrected=True,
            lr_size=TINY,
        )
        (step,) = report.quantized[0].steps
        assert (report.confirmed, report.choosing_images, step.gain_db) == (False, 2, None)
        assert step.choosing_gain_db is not None
        assert len(report.comparison.sets[0].evaluations[0].images) == 2

    def test_divided(self, images, tmp_path, halves):
        """An image that lies in two folders never chooses if it is reported in one of them."""
        choosing, confirming = halves(images / "scored")
        twice = set(choosing[:2])
        folders = [tmp_path / "first", tmp_path / "second"]
        for folder, names in zip(folders, ({*choosing, *confirming}, twice), strict=True):
            folder.mkdir()
            for name in names:
                shutil.copy(images / f"scored/{name}.png", folder)
        sets = [
            ValidationSet(
                str(folder), decode(find_pairs(folder, 3), tmp_path / f"{folder.name}-"), ()
            )
            for folder in folders
        ]
        found = divided(sets)
        assert found.divided
        reported = [set(one.pairs.names) for one in found.sets]
        assert reported == [twice | set(confirming), twice]
        (chose,) = found.choosing
        assert chose.pairs.names == (choosing[2],)
        assert divided(sets[1:]) == Validation(tuple(sets[1:]), tuple(sets[1:]))

    @pytest.mark.parametrize("network", ["uneven_fsrcnn", "espcn"])
    def test_16_bits(self, network, request, photographs):
        """Biases of 16-bit models, which are stored in 64 bits, are corrected too."""
        model, pictures = request.getfixturevalue(network), tuple(photographs.values())
        ranges = cal.collect(model, photographs).merged()
        integer = cal.quantize(model, ranges, cal.Scheme(activation_bits=16, per_channel=False))
        corrected = correct_biases(model, integer, pictures)
        wanted, before, after = (mean_of(one, pictures) for one in (model, integer, corrected))
        assert np.abs(after - wanted).max() < np.abs(before - wanted).max() / 4


class TestSettings:
    """What is asked for."""

    def test_new_folder(self, network, images, tmp_path):
        """With several schemes a missing folder is made, and may hold the ranges too."""
        folder = tmp_path / "new/models"
        quantize_schemes(
            *(str(network), [images / "candidates"], folder),
            schemes=("uint8", "int8"),
            save_ranges=folder / "ranges.json",
            lr_size=TINY,
        )
        assert sorted(path.name for path in folder.iterdir()) == [
            *("model_int8.tflite", "model_uint8.tflite", "ranges.json")
        ]

    def test_input_size(self, network, images, tmp_path):
        """A model for one size gives the bytes that the other does, and is timed on that size."""
        free, fixed = tmp_path / "free.tflite", tmp_path / "fixed.tflite"
        quantize_model(str(network), [images / "candidates"], free)
        report = quantize_schemes(
            *(str(network), [images / "candidates"], fixed),
            schemes=["uint8"],
            data=[images / "validation"],
            input_size=(20, 24),
        )
        assert report.quantized[0].input_size == report.comparison.lr_size == (20, 24)
        (expected,) = evaluate_models([str(network), str(free)], [images / "validation"])
        assert report.comparison.sets[0].drops == expected.drops
        assert report.comparison.costs[1].file_bytes == fixed.stat().st_size
        assert fixed.stat().st_size != free.stat().st_size
        (details,) = Interpreter(str(fixed)).get_input_details()
        assert details["shape_signature"].tolist() == [1, 20, 24, 3]
        runs = [Runner(path.read_bytes()) for path in (free, fixed)]
        lr = find_pairs(images / "validation", 3)[0].load_lr()[:20, :20]
        lr = np.concatenate([lr, lr[:, :4]], axis=1)
        np.testing.assert_array_equal(*(run.upscale(lr) for run in runs))

    def test_wrong_input_size(self, abpn, network, images, tmp_path, progress):
        """A size that the model cannot have is told before any image is looked at."""
        (tmp_path / "abpn.tflite").write_bytes(abpn)
        for model, size, why in (
            (tmp_path / "abpn.tflite", (20, 24), "takes 48x40 pixels alone, not 24x20"),
            (network, (3, 300), "an input of 300x3 pixels is all border"),
        ):
            with pytest.raises(UsageError, match=why):
                quantize_model(
                    *(str(model), [images / "candidates"], tmp_path / "one.tflite"),
                    input_size=size,
                    on_progress=progress,
                )
        assert progress.stages == []

    def test_keep_clip(self, network, images, tmp_path):
        """The clip stays on request; without it no byte of the picture changes."""
        kept, folded = tmp_path / "kept.tflite", tmp_path / "folded.tflite"
        report = quantize_model(str(network), [images / "candidates"], kept, keep_clip=True)
        assert report.removed == ()
        quantize_model(str(network), [images / "candidates"], folded)
        assert kept.read_bytes() != folded.read_bytes()
        assert fold_copies(kept.read_bytes()) == folded.read_bytes()

    def test_float_layers(self, network, images, tmp_path):
        """Layers that are named stay in float, and are told."""
        report = quantize_model(
            *(str(network), [images / "candidates"], tmp_path / "some.tflite"),
            float_layers=["last_conv", "block1_?"],
        )
        assert report.in_float == ("CONV_2D block1_x", "CONV_2D block1_y", "CONV_2D last_conv")

    def test_unknown_layer(self, network, images, tmp_path, progress):
        """A layer that is none is named before any image is looked at."""
        with pytest.raises(UsageError, match="no layer or tensor 'last'; did you mean"):
            quantize_model(
                *(str(network), [images / "candidates"], tmp_path / "some.tflite"),
                float_layers=["last"],
                on_progress=progress,
            )
        assert progress.stages == []

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"schemes": ()}, "at least one --scheme"),
            ({"schemes": ("uint8", "int8", "uint8")}, "uint8 was given more than once"),
            ({"schemes": ("uint8", "uint9")}, "no scheme named 'uint9'"),
            ({"out": "models.tflite"}, "give -o the name of a folder"),
            ({"out": "file"}, "give -o the name of a folder"),
            ({"out": "file/models"}, "file is no folder"),
            ({"lr_size": (0, 32)}, "32x0 pixels has no times"),
        ],
    )
    def test_refused(self, *, given, named, network, images, tmp_path, monkeypatch):
        """Requests that cannot be met are refused before the model is even loaded."""
        monkeypatch.setattr("qsr.jobs.quantize.load_float", None)
        (tmp_path / "file").touch()
        asked = {"schemes": ("uint8", "int8"), "out": ".", "lr_size": TINY} | given
        with pytest.raises(UsageError, match=named):
            quantize_schemes(
                *(str(network), [images / "candidates"], tmp_path / asked.pop("out")), **asked
            )

    def test_package_missing(self, network, images, tmp_path, monkeypatch):
        """That 16 bits need a package is said before the model is even loaded."""
        monkeypatch.setattr("qsr.jobs.quantize.load_float", None)
        monkeypatch.setattr("qsr.tflite.sixteen_bits.find_spec", lambda _: None)
        with pytest.raises(UsageError, match="pip install"):
            quantize_model(
                *(str(network), [images / "candidates"], tmp_path / "made.tflite"),
                scheme="uint8-16x8",
            )

    def test_no_such_data(self, network, images, tmp_path, monkeypatch):
        """A folder of validation images that is not there is named at once."""
        monkeypatch.setattr("qsr.jobs.quantize.load_float", None)
        with pytest.raises(ImageError, match="nowhere"):
            quantize_schemes(
                *(str(network), [images / "candidates"], tmp_path / "made.tflite"),
                schemes=["uint8"],
                data=[tmp_path / "nowhere"],
            )

    def test_bad_validation_image(self, network, images, tmp_path):
        """An unusable validation image is left out on request, and named."""
        folder = tmp_path / "validation"
        shutil.copytree(images / "validation", folder)
        (folder / "bad.png").write_bytes(b"no image")
        arguments = (str(network), [images / "candidates"], tmp_path / "made.tflite")
        settings = {"schemes": ["uint8"], "data": [folder], "lr_size": TINY}
        with pytest.raises(ImageError, match=r"bad\.png"):
            quantize_schemes(*arguments, **settings)
        report = quantize_schemes(*arguments, **settings, skip_bad_images=True)
        (line,) = report.comparison.sets[0].skipped
        assert "bad.png" in line


def mean_of(model, pictures):
    """Return the mean of each colour over all pixels of what a model gives, within 0..255."""
    runner = Runner(model)
    shown = [runner.upscale_unrounded(one).clip(0, 255).reshape(-1, 3) for one in pictures]
    return np.concatenate(shown).mean(axis=0, dtype=np.float64)
