"""One integer model from images chosen by hand, without the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qsr import calibration as cal
from qsr.calibration.quantize import picture_ranges
from qsr.errors import ImageError, ModelError, StudyError, UsageError
from qsr.images import downscale_bicubic
from qsr.jobs.quantize import quantize_model
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import Graph


@pytest.fixture
def candidates(images):
    """The paths of the candidate images, by name."""
    return {path.stem: path for path in (images / "candidates").iterdir()}


class TestModel:
    """What is made."""

    def test_as_the_converter(
        self, *, network, candidates, trained_xcat_keras, lr_and_hr, run_bare, tmp_path
    ):
        """With the converter's reader and ends from the images, it is the public converter's."""
        import tensorflow as tf

        chosen = [candidates["chelsea"], candidates["rocket"]]
        lr = [lr_and_hr(path)[0] for path in chosen]
        converter = tf.lite.TFLiteConverter.from_keras_model(trained_xcat_keras)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [picture[None].astype(np.float32) / 255] for picture in lr
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
        with pytest.warns(UserWarning, match="Statistics for quantized inputs"):
            expected = converter.convert()
        out = tmp_path / "integer.tflite"
        quantize_model(str(network), chosen, out, reader="converter", pin_io=False)
        shown = lr_and_hr(candidates["coffee"])[0][None]
        assert np.array_equal(run_bare(out.read_bytes(), shown), run_bare(expected, shown))

    @pytest.mark.parametrize("scheme", ["uint8", "int8"])
    def test_name(self, scheme, network, images, tmp_path, monkeypatch):
        """Without a name of the user's, the model is named after its scheme."""
        monkeypatch.chdir(tmp_path)
        report = quantize_model(str(network), [images / "candidates"], scheme=scheme)
        assert report.integer_model == f"model_{scheme}.tflite"
        assert [path.name for path in tmp_path.iterdir()] == [f"model_{scheme}.tflite"]

    def test_as_the_search(self, run, network, candidates, tmp_path):
        """From the images that the search has chosen, it is the model of the search."""
        out = tmp_path / "integer.tflite"
        chosen = [candidates[name] for name in run.chosen.images]
        report = quantize_model(str(network), chosen, out)
        assert out.read_bytes() == Path(run.integer_model).read_bytes()
        assert (report.images, report.integer_bytes) == (run.chosen.images, out.stat().st_size)
        assert report.float_bytes == network.stat().st_size

    def test_lr_as_it_is(self, network, candidates, lr_and_hr, tmp_path):
        """Images that are LR already are fed as they are."""
        lr, _ = lr_and_hr(candidates["rocket"])
        Image.fromarray(lr).save(tmp_path / "rocket.png")
        quantize_model(str(network), [candidates["rocket"]], tmp_path / "hr.tflite")
        quantize_model(
            str(network), [tmp_path / "rocket.png"], tmp_path / "lr.tflite", images_are_lr=True
        )
        assert (tmp_path / "lr.tflite").read_bytes() == (tmp_path / "hr.tflite").read_bytes()

    def test_files_and_folders(self, network, images, candidates, trained_xcat, tmp_path):
        """Photographs and folders of them count alike, and all of them."""
        out = tmp_path / "integer.tflite"
        extra = candidates["coffee"]
        report = quantize_model(str(network), [images / "validation", extra], out)
        assert len(report.images) == 4
        pictures = {
            str(path): downscale_bicubic(np.asarray(Image.open(path)), 3)
            for path in (extra, *(images / "validation").iterdir())
        }
        assert out.read_bytes() == fold_copies(
            cal.quantize(trained_xcat, cal.collect(trained_xcat, pictures).merged())
        )

    def test_modes(self, network, images, tmp_path):
        """Grey, palette, transparent, CMYK and 16-bit images simply work."""
        folder = tmp_path / "modes"
        folder.mkdir()
        colour = Image.open(images / "candidates/coffee.png")
        for mode in ("1", "L", "LA", "P", "RGBA"):
            colour.convert(mode).save(folder / f"{mode}.png")
        colour.convert("CMYK").save(folder / "cmyk.tif")
        deep = np.asarray(colour.convert("L")).astype(np.uint16) * 257
        Image.fromarray(deep).save(folder / "deep.png")
        report = quantize_model(str(network), [folder], tmp_path / "integer.tflite")
        assert len(report.images) == 7


class TestRanges:
    """Ranges measured before, as a calibration result, in place of images."""

    @pytest.mark.parametrize("pin_io", [True, False])
    @pytest.mark.parametrize("reader", ["exact", "converter"])
    def test_saved(self, *, network, candidates, tmp_path, reader, pin_io):
        """The ranges that a model saved give the same model again, byte by byte."""
        first, again = tmp_path / "first.tflite", tmp_path / "again.tflite"
        saved = tmp_path / "ranges.json"
        chosen = [candidates["rocket"], candidates["coffee"]]
        made = quantize_model(
            str(network), chosen, first, save_ranges=saved, reader=reader, pin_io=pin_io
        )
        assert (made.ranges, made.saved_ranges) == (None, str(saved))
        report = quantize_model(str(network), out=again, ranges=saved, pin_io=pin_io)
        assert (report.ranges, report.saved_ranges) == (str(saved), None)
        assert (report.images, report.skipped) == ((), ())
        assert again.read_bytes() == first.read_bytes()

    def test_what_is_saved(self, network, candidates, trained_xcat, lr_and_hr, tmp_path):
        """What is saved is what the model is made with: merged ranges, known ends put in."""
        chosen = [candidates["rocket"], candidates["coffee"]]
        table = cal.collect(trained_xcat, {path.stem: lr_and_hr(path)[0] for path in chosen})
        merged = table.merged()
        for pin_io, expected in (
            (True, merged.with_known(picture_ranges(Graph(trained_xcat)))),
            (False, merged),
        ):
            saved = tmp_path / "ranges.json"
            out = tmp_path / "integer.tflite"
            quantize_model(str(network), chosen, out, save_ranges=saved, pin_io=pin_io)
            found = cal.read_litert_json(saved)
            assert found.tensors == expected.tensors
            assert found.minimum.tobytes() == expected.minimum.tobytes()
            assert found.maximum.tobytes() == expected.maximum.tobytes()
        assert json.loads(saved.read_text())["metadata"]["images"] == ["rocket", "coffee"]

    def test_saved_again(self, network, candidates, tmp_path):
        """Ranges that were read can be saved with the ends pinned."""
        raw, pinned, again = (tmp_path / f"{name}.json" for name in ("raw", "pinned", "again"))
        out = tmp_path / "integer.tflite"
        images = [candidates["rocket"]]
        quantize_model(str(network), images, out, save_ranges=pinned)
        quantize_model(str(network), images, out, save_ranges=raw, pin_io=False)
        quantize_model(str(network), out=out, ranges=raw, save_ranges=again)
        spans = [json.loads(path.read_text())["model_qsvs"] for path in (raw, pinned, again)]
        assert spans[0] != spans[1] == spans[2]

    def test_another_model(self, nearest_neighbour, network, candidates, tmp_path):
        """Ranges of another model are refused, and no model is made."""
        saved = tmp_path / "ranges.json"
        quantize_model(
            str(network), [candidates["rocket"]], tmp_path / "integer.tflite", save_ranges=saved
        )
        out = tmp_path / "other.tflite"
        with pytest.raises(StudyError, match=r"ranges\.json: calibration result of another model"):
            quantize_model(str(nearest_neighbour), out=out, ranges=saved)
        assert not out.exists()

    def test_too_few(self, network, candidates, tmp_path):
        """A tensor without a range is named."""
        saved, out = tmp_path / "ranges.json", tmp_path / "integer.tflite"
        quantize_model(str(network), [candidates["rocket"]], out, save_ranges=saved)
        out.unlink()
        content = json.loads(saved.read_text())
        name = next(name for name in content["model_qsvs"] if "block1_x" in name)
        del content["model_qsvs"][name]
        saved.write_text(json.dumps(content))
        with pytest.raises(ModelError, match=r"no range for 1 tensors, such as .*block1_x"):
            quantize_model(str(network), out=out, ranges=saved)
        assert not out.exists()

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"ranges": "ranges.json"}, "not both"),
            ({"repdata": (), "ranges": "ranges.json", "reader": "converter"}, "--reader"),
            ({"repdata": (), "ranges": "ranges.json", "images_are_lr": True}, "--lr"),
            ({"repdata": (), "ranges": "ranges.json", "skip_bad_images": True}, "--skip-bad"),
            (
                {"repdata": (), "ranges": "ranges.json", "save_ranges": "./ranges.json"},
                "is what --ranges reads",
            ),
            ({"save_ranges": "ranges.png"}, "ends in .json"),
            ({"save_ranges": "folder.json"}, "a folder"),
            ({"save_ranges": "missing/ranges.json"}, "no folder .*; make it first, or give an"),
        ],
    )
    def test_options(self, *, network, candidates, tmp_path, monkeypatch, options, named):
        """Options that do not fit together are named before the model is even loaded."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder.json").mkdir()
        (tmp_path / "ranges.json").write_text("{}")
        monkeypatch.setattr("qsr.jobs.quantize.load_float", None)
        given = {
            name: Path(value) if isinstance(value, str) and "ranges" in name else value
            for name, value in options.items()
        }
        with pytest.raises(UsageError, match=named):
            quantize_model(str(network), **{"repdata": [candidates["coffee"]], **given})


class TestRefused:
    """Requests that cannot be met leave no file, and touch none."""

    def test_itself(self, network, candidates, monkeypatch):
        """The float model is never replaced by its integer model, however it is named."""
        before = network.read_bytes()
        monkeypatch.chdir(network.parent)
        for out in (network, network.parent / ".." / network.parent.name / network.name):
            with pytest.raises(UsageError, match="is the float model itself"):
                quantize_model("network.tflite", [candidates["coffee"]], out)
        assert network.read_bytes() == before

    @pytest.mark.parametrize(
        ("out", "named"),
        [
            ("missing/integer.tflite", "no folder .*missing"),
            ("folder.tflite", "a folder"),
            ("integer.bin", "ends in .tflite"),
        ],
    )
    def test_out(self, *, network, candidates, tmp_path, monkeypatch, out, named):
        """A place that cannot be written to is named before the model is even loaded."""
        (tmp_path / "folder.tflite").mkdir()
        monkeypatch.setattr("qsr.jobs.quantize.load_float", None)
        with pytest.raises(UsageError, match=named):
            quantize_model(str(network), [candidates["coffee"]], tmp_path / out)

    def test_quantized(self, run, candidates, tmp_path):
        """An integer model cannot be quantized once more."""
        with pytest.raises(ModelError, match=r"already quantized.*give the float model"):
            quantize_model(run.integer_model, [candidates["coffee"]], tmp_path / "twice.tflite")

    def test_cannot_run(self, xcat, black, tmp_path):
        """An integer model that TFLite cannot run is not written."""
        (tmp_path / "xcat.tflite").write_bytes(xcat)
        Image.fromarray(black).save(tmp_path / "black.png")
        out = tmp_path / "integer.tflite"
        with pytest.raises(ModelError, match=r"integer.tflite: TFLite cannot run it"):
            quantize_model(str(tmp_path / "xcat.tflite"), [tmp_path / "black.png"], out)
        assert not out.exists()

    def test_no_images(self, network, tmp_path):
        """At least one image is asked for."""
        with pytest.raises(UsageError, match=r"at least one representative image.*or measured"):
            quantize_model(str(network), out=tmp_path / "integer.tflite")

    def test_twice(self, network, images, candidates, tmp_path):
        """An image that is given twice is named."""
        with pytest.raises(ImageError, match="coffee: given more than once"):
            quantize_model(
                str(network),
                [images / "candidates", candidates["coffee"]],
                tmp_path / "integer.tflite",
            )
