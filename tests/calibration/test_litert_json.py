"""Calibration results as JSON: ours are taken by LiteRT's quantizer, and its are read here."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litert_quantizer import quantizer, recipe, recipe_manager
from litert_quantizer.calibrator import CalibrationMode, Calibrator
from litert_quantizer.utils.calibration_utils import load_calibration_results

from qsr import calibration as cal
from qsr.calibration.quantize import picture_ranges
from qsr.calibration.ranges import Ranges
from qsr.errors import ModelError, StudyError
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import inspect_model

pytestmark = pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")  # its own

NETWORKS = ("trained_xcat", "espcn", "fsrcnn", "abpn")
SIZE = (40, 48)
MODES = {
    "python": CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS,
    "native": CalibrationMode.CALIBRATION_PROFILER_BASED,
}

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
spans = st.dictionaries(st.text(), st.lists(numbers, min_size=2, max_size=2).map(sorted))


@pytest.fixture(scope="module")
def images():
    """Three crops of the size that ABPN takes."""
    photograph = skimage.data.chelsea()
    height, width = SIZE
    return {
        str(top): photograph[top : top + height, 100 : 100 + width] // (1 + top // 60)
        for top in (0, 60, 120)
    }


@pytest.fixture
def calibrated_there(images, tmp_path):
    """Have LiteRT's quantizer calibrate a model on some images and write its file."""

    def calibrate(model, names, mode="python"):
        graph = Graph(model)
        (key, ends), *_ = Calibrator(model).get_signature_list().items()
        white = inspect_model(model).value_max
        samples = [
            {ends["inputs"][0]: images[name][None].astype(np.float32) * np.float32(white / 255)}
            for name in names
        ]
        recipes = recipe_manager.RecipeManager()
        recipes.load_quantization_recipe(recipe.static_wi8_ai8())
        calibrator = Calibrator(model, num_threads=1, mode=MODES[mode])
        calibrator.calibrate({key: samples}, recipes)
        path = tmp_path / f"{graph.output.name[:4]}-{mode}.json"
        calibrator.save_calibration_result(str(path))
        return path

    return calibrate


class TestTheirs:
    """Files that LiteRT's quantizer has written."""

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("network", NETWORKS)
    def test_one_image(self, *, network, mode, request, images, calibrated_there):
        """Of one image, LiteRT's ranges are ours but for the last bits of a float."""
        model = request.getfixturevalue(network)
        found = cal.read_litert_json(calibrated_there(model, ["60"], mode), model)
        ours = cal.collect(model, {"60": images["60"]}).merged()
        assert found.tensors == ours.tensors
        tolerance = 1e-6 * (ours.maximum - ours.minimum)
        assert (np.abs(found.minimum - ours.minimum) <= tolerance).all()
        assert (np.abs(found.maximum - ours.maximum) <= tolerance).all()

    @pytest.mark.parametrize("network", NETWORKS)
    def test_several_images(self, network, request, images, calibrated_there):
        """Of several, LiteRT's are a moving average of each image's ranges as we measure them."""
        model = request.getfixturevalue(network)
        found = cal.read_litert_json(calibrated_there(model, images), model)
        table = cal.collect(model, images)
        for bounds, measured in (
            (found.minimum, table.minimum),
            (found.maximum, table.maximum),
        ):
            average, *rest = measured
            for row in rest:
                average = 0.95 * average + 0.05 * row
            np.testing.assert_allclose(bounds, average, rtol=1e-5, atol=1e-6)
        merged = table.merged()
        assert (found.maximum <= merged.maximum + 1e-6).all()
        assert (found.maximum < 0.99 * merged.maximum).any()

    @pytest.mark.parametrize("network", NETWORKS)
    def test_quantized(self, *, network, request, images, calibrated_there, run_bare):
        """A model made from LiteRT's file of one image gives the picture that ours gives."""
        model = request.getfixturevalue(network)
        scheme = cal.Scheme(pin_io=False)
        theirs = cal.quantize(
            model, cal.read_litert_json(calibrated_there(model, ["0"]), model), scheme
        )
        ours = cal.quantize(model, cal.collect(model, {"0": images["0"]}).merged(), scheme)
        shown = images["120"][None]
        differences = run_bare(theirs, shown).astype(int) - run_bare(ours, shown)
        assert np.abs(differences).max() <= 1
        assert (differences != 0).mean() < 0.01

    def test_shapes(self, fsrcnn, calibrated_there):
        """What LiteRT says of tensors that hold sizes is left out, if the model is at hand."""
        path = calibrated_there(fsrcnn, ["0"])
        names = {tensor.name for tensor in Graph(fsrcnn).activations}
        assert set(cal.read_litert_json(path).tensors) > names
        assert set(cal.read_litert_json(path, fsrcnn).tensors) == names


class TestOurs:
    """Files that we have written."""

    @given(spans)
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_round_trip(self, tmp_path, known):
        """Ranges are read back bit by bit, here and there, whatever the tensors are called."""
        path = tmp_path / "ranges.json"
        ends = np.array(list(known.values()), np.float32).reshape(-1, 2)
        ranges = Ranges(tuple(known), ends[:, 0], ends[:, 1])
        cal.write_litert_json(ranges, path)
        there, _ = load_calibration_results(str(path))
        assert tuple(there) == ranges.tensors
        if not known:
            with pytest.raises(StudyError, match="range of no tensor"):
                cal.read_litert_json(path)
            return
        for found in (cal.read_litert_json(path), from_theirs(there)):
            assert found.tensors == ranges.tensors
            assert found.minimum.tobytes() == ranges.minimum.tobytes()
            assert found.maximum.tobytes() == ranges.maximum.tobytes()

    @pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "as measured"])
    @pytest.mark.parametrize("network", NETWORKS)
    def test_scales(self, *, network, pinned, request, images, tmp_path):
        """LiteRT's quantizer gives each tensor that it quantizes the grid of our range."""
        model = request.getfixturevalue(network)
        ranges = measured(model, images, pinned=pinned)
        found = grids(quantized_there(model, ranges, tmp_path))
        expected = grids_of(Graph(model), ranges)
        assert found.keys() <= expected.keys()
        assert len(found) >= len(expected) - 4  # it leaves some in float
        for name, (scale, zero_point) in found.items():
            assert scale == pytest.approx(expected[name][0], rel=1e-6), name
            assert zero_point == expected[name][1], name

    @pytest.mark.parametrize("network", NETWORKS)
    def test_same_picture(self, *, network, request, images, tmp_path, run_bare):
        """Its integer model gives the picture of ours, but for a level where it stays in float."""
        model = request.getfixturevalue(network)
        ranges = measured(model, images, pinned=True)
        theirs = quantized_there(model, ranges, tmp_path)
        ours = cal.quantize(model, ranges, cal.Scheme(io="int8"))
        shown = (images["0"][None].astype(np.int16) - 128).astype(np.int8)
        differences = run_bare(theirs, shown).astype(int) - run_bare(ours, shown)
        if network in {"espcn", "abpn"}:
            assert not differences.any()
        else:  # its SPLIT_V and PRELU stay in float, and are rounded on other grids
            assert np.abs(differences).max() <= 1
            assert (differences != 0).mean() < 0.15

    def test_metadata(self, espcn, images, tmp_path):
        """The file says which images it comes from, and how many, as LiteRT counts samples."""
        path = tmp_path / "ranges.json"
        table = cal.collect(espcn, images)
        cal.write_litert_json(table.merged(), path, images=table.images)
        _, metadata = load_calibration_results(str(path))
        assert metadata["num_samples_calibrated"] == 3
        assert metadata["images"] == list(images)
        assert metadata["written_by"].startswith("qsr ")

    def test_calibration_goes_on(self, espcn, images, tmp_path):
        """LiteRT's calibrator takes our file to start from."""
        path = tmp_path / "ranges.json"
        cal.write_litert_json(cal.collect(espcn, images).merged(), path, images=tuple(images))
        calibrator = Calibrator(espcn, num_threads=1, mode=MODES["native"])
        calibrator.load_model_qsvs(str(path))
        assert calibrator.get_model_qsvs().keys() == {
            tensor.name for tensor in Graph(espcn).activations
        }

    def test_not_written(self, tmp_path):
        """A range that is none is named, and the file that was there stays."""
        path = tmp_path / "ranges.json"
        path.write_text("kept")
        for minimum, maximum in ((np.nan, 1.0), (0.0, np.inf), (1.0, 0.0)):
            ends = np.array([[0.0, 1.0], [minimum, maximum]], np.float32)
            with pytest.raises(
                StudyError, match=r"ranges\.json: the range of conv, .* is no range"
            ):
                cal.write_litert_json(Ranges(("in", "conv"), ends[:, 0], ends[:, 1]), path)
        assert path.read_text() == "kept"
        assert list(tmp_path.iterdir()) == [path]

    def test_no_place(self, tmp_path):
        """A folder that is not there is named."""
        ends = np.zeros(1, np.float32)
        with pytest.raises(StudyError, match="cannot be written: No such file"):
            cal.write_litert_json(Ranges(("in",), ends, ends), tmp_path / "missing" / "a.json")


class TestRead:
    """Files made by hand."""

    @pytest.mark.parametrize("wrapped", [True, False])
    def test_both_forms(self, tmp_path, wrapped):
        """The tensors stand on their own, or beside metadata."""
        path = tmp_path / "ranges.json"
        entries = {"in": {"min": 0, "max": 1.5}, "out": {"min": [[-2.0]], "max": [[3]]}}
        path.write_text(json.dumps({"model_qsvs": entries} if wrapped else entries))
        found = cal.read_litert_json(str(path))
        assert found.tensors == ("in", "out")
        assert found.minimum.tolist() == [0.0, -2.0]
        assert found.maximum.tolist() == [1.5, 3.0]
        assert found.minimum.dtype == found.maximum.dtype == np.float32

    def test_per_channel(self, tmp_path):
        """Bounds per channel become those of the tensor; other statistics are passed over."""
        path = tmp_path / "ranges.json"
        entry = {"min": [[[[1.0, -4.0, 0.0]]]], "max": [2.0, 0.5], "hessian": [[1.0]]}
        path.write_text(json.dumps({"model_qsvs": {"conv": entry}}))
        found = cal.read_litert_json(path)
        assert (found.minimum.tolist(), found.maximum.tolist()) == ([-4.0], [2.0])

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("", "no calibration result"),
            ("{", "no calibration result"),
            ("[" * 100_000, "no calibration result"),
            ("[1, 2]", "no calibration result"),
            ("3", "no calibration result"),
            ('{"model": "xcat", "psnr_db": 27.1}', "no calibration result"),
            ('{"model_qsvs": null}', "no calibration result"),
            ('{"training": {"steps": 3}, "data": {}}', "no calibration result"),
            ('{"in": {"min": 0, "max": 1}, "conv": 3}', "no calibration result"),
            ("{}", "range of no tensor"),
            ('{"model_qsvs": {}, "metadata": {}}', "range of no tensor"),
            ('{"in": {"min": 0, "max": 1}, "conv": {}}', "conv has no min and no max"),
            ('{"in": {"min": 0}}', "in has no max"),
            ('{"in": {"max": 0}}', "in has no min"),
            ('{"in": {"min": 0, "max": "1"}}', "a bound of in is no number"),
            ('{"in": {"min": null, "max": 1}}', "a bound of in is no number"),
            ('{"in": {"min": true, "max": 1}}', "a bound of in is no number"),
            ('{"in": {"min": [], "max": 1}}', "a bound of in is no number"),
            ('{"in": {"min": [0, [1]], "max": 1}}', "a bound of in is no number"),
            ('{"in": {"min": {"a": 1}, "max": 1}}', "a bound of in is no number"),
            (f'{{"in": {{"min": 0, "max": {10**400}}}}}', "a bound of in is no number"),
            ('{"in": {"min": NaN, "max": 1}}', "the range of in, nan to 1.0, is no range"),
            ('{"in": {"min": [0, NaN], "max": 1}}', "the range of in, nan to 1.0, is no range"),
            ('{"in": {"min": 0, "max": Infinity}}', "the range of in, 0.0 to inf, is no range"),
            ('{"in": {"min": 0, "max": 1e300}}', "the range of in, 0.0 to inf, is no range"),
            ('{"in": {"min": 2, "max": 1}}', "the range of in, 2.0 to 1.0, is no range"),
        ],
    )
    def test_refused(self, tmp_path, text, named):
        """What is no calibration result is refused in one line that names the file."""
        path = tmp_path / "ranges.json"
        path.write_text(text)
        assert named in refused(path)

    def test_bytes(self, tmp_path):
        """A file that is no text is refused."""
        path = tmp_path / "ranges.json"
        path.write_bytes(b"\x89PNG\r\n\xff")
        assert "no calibration result" in refused(path)

    def test_missing(self, tmp_path):
        """A missing file is named, and a folder too."""
        assert "no such file" in refused(tmp_path / "nowhere.json")
        assert "Is a directory" in refused(tmp_path)


class TestModel:
    """Ranges and the model that they are for."""

    @pytest.mark.parametrize("left", ["DepthToSpace", "Minimum"])
    def test_rearranged(self, left, trained_xcat, images, tmp_path):
        """A result of DEPTH_TO_SPACE without a range has its operand's; others stay without."""
        path = tmp_path / "ranges.json"
        whole = cal.collect(trained_xcat, images).merged()
        write_some(whole, path, lambda name: left not in name)
        assert len(cal.read_litert_json(path).tensors) == len(whole.tensors) - 1
        found = cal.read_litert_json(path, trained_xcat)
        if left == "DepthToSpace":
            assert found.tensors == whole.tensors
            assert found.minimum.tobytes() == whole.minimum.tobytes()
            assert found.maximum.tobytes() == whole.maximum.tobytes()
        else:
            with pytest.raises(ModelError, match=r"1 tensors.*clipped_relu/Minimum"):
                cal.quantize(trained_xcat, found, cal.Scheme(pin_io=False))

    def test_operand(self, espcn, images, tmp_path):
        """An operand of DEPTH_TO_SPACE without a range has the result's."""
        path = tmp_path / "ranges.json"
        whole = cal.collect(espcn, images).merged()
        write_some(whole, path, lambda name: "last_conv" not in name)
        found = cal.read_litert_json(path, espcn)
        assert found.tensors == whole.tensors
        assert found.maximum.tobytes() == whole.maximum.tobytes()

    def test_order(self, espcn, images, tmp_path):
        """Ranges come in the order of the model, not of the file; a path will do for either."""
        whole = cal.collect(espcn, images).merged()
        back = Ranges(whole.tensors[::-1], whole.minimum[::-1], whole.maximum[::-1])
        cal.write_litert_json(back, tmp_path / "ranges.json")
        (tmp_path / "espcn.tflite").write_bytes(espcn)
        found = cal.read_litert_json(tmp_path / "ranges.json", tmp_path / "espcn.tflite")
        assert found.tensors == whole.tensors
        assert found.minimum.tobytes() == whole.minimum.tobytes()

    def test_another_model(self, espcn, trained_xcat, images, tmp_path):
        """Ranges of another model are refused: the file, the model and a tensor are named."""
        path = tmp_path / "ranges.json"
        cal.write_litert_json(cal.collect(espcn, images).merged(), path)
        with pytest.raises(StudyError) as error:
            cal.read_litert_json(path, trained_xcat, source="net.tflite")
        assert str(error.value).startswith(f"{path}: calibration result of another model: net.tfl")
        assert "/BiasAdd" in str(error.value)
        assert str(error.value).endswith(", nor 3 others of the file")

    def test_missing_model(self, espcn, images, tmp_path):
        """A missing model is named."""
        path = tmp_path / "ranges.json"
        cal.write_litert_json(cal.collect(espcn, images).merged(), path)
        with pytest.raises(ModelError, match=r"nowhere\.tflite: no such file"):
            cal.read_litert_json(path, tmp_path / "nowhere.tflite")


def refused(path):
    """Return the one line with which a file is refused; it begins with the file's name."""
    with pytest.raises(StudyError) as error:
        cal.read_litert_json(path)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


def from_theirs(qsvs):
    """Return what LiteRT's reader gives as ranges."""
    ends = {
        name: [qsv[side].astype(np.float32) for side in ("min", "max")]
        for name, qsv in qsvs.items()
    }
    bounds = np.array(list(ends.values())).reshape(-1, 2)
    return Ranges(tuple(ends), bounds[:, 0], bounds[:, 1])


def write_some(ranges, path, keep):
    """Write the ranges of the tensors whose names are to be kept."""
    kept = [place for place, name in enumerate(ranges.tensors) if keep(name)]
    names = tuple(ranges.tensors[place] for place in kept)
    cal.write_litert_json(Ranges(names, ranges.minimum[kept], ranges.maximum[kept]), path)


def measured(model, images, *, pinned):
    """Return the merged ranges of two images, with those of the picture put in if pinned."""
    ranges = cal.collect(model, {name: images[name] for name in ("60", "120")}).merged()
    return ranges.with_known(picture_ranges(Graph(model)) if pinned else {})


def quantized_there(model, ranges, tmp_path):
    """Write ranges, and return the integer model that LiteRT's quantizer makes from the file."""
    path = Path(tmp_path) / "ranges.json"
    cal.write_litert_json(ranges, path)
    results, _ = load_calibration_results(str(path))
    made = quantizer.Quantizer(bytearray(model), recipe.static_wi8_ai8()).quantize(
        results, enable_progress_report=False
    )
    return bytes(made.quantized_model)


def grids(integer):
    """Return the (scale, zero point) of each activation that holds int8."""
    suffix = "_quantized"  # what LiteRT's quantizer calls the result of a QUANTIZE that it adds
    return {
        tensor.name.removesuffix(suffix): (float(tensor.scale[0]), int(tensor.zero_point[0]))
        for tensor in Graph(integer).activations
        if tensor.dtype == "int8"
    }


def grids_of(graph, ranges):
    """Return the int8 (scale, zero point) that ranges imply, by TFLite's quantization spec."""
    ends = dict(zip(ranges.tensors, zip(ranges.minimum, ranges.maximum, strict=True), strict=True))
    for operator in graph.operators:
        if operator.kind == "CONCATENATION":  # its operands share the grid of its result
            result = ends[graph.tensors[operator.outputs[0]].name]
            ends.update({graph.tensors[index].name: result for index in operator.inputs})
    found = {}
    for name, (minimum, maximum) in ends.items():
        lowest, highest = min(float(minimum), 0.0), max(float(maximum), 0.0)
        scale = (highest - lowest) / 255
        found[name] = (scale, round(-128 - lowest / scale))
    for operator in graph.operators:
        if operator.kind == "TANH":  # its grid is fixed
            found[graph.tensors[operator.outputs[0]].name] = (1 / 128, 0)
    return found
