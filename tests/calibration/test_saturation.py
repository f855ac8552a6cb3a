"""Counted activations, against each tensor read from TFLite's interpreter on its own."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import skimage.data
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qsr import calibration as cal
from qsr.calibration.saturation import measure_saturation
from qsr.errors import ImageError, ModelError, UsageError
from qsr.tflite import runtime
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph

SHARES = (0.02, 0.97)


@pytest.fixture(scope="session")
def activations():
    """Read every activation whole from an interpreter that keeps it: ``-> {name: values}``."""

    def read(model, values):
        interpreter = Interpreter(
            model_content=model,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        index = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(index, values.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(index, values)
        interpreter.invoke()
        return {one.name: interpreter.get_tensor(one.index) for one in Graph(model).activations}

    return read


def limits_within(tensors, shares=SHARES):
    """Return ranges that leave about these shares outside, with their ends far from any value."""
    ends = []
    for values in tensors.values():
        known = np.unique(values.astype(np.float64))
        ends.append([middle_of_gap(known, share) for share in shares])
    low, high = np.array(ends, np.float32).T
    return cal.Ranges(tuple(tensors), low, high)


def middle_of_gap(known, share):
    """Return the middle of the widest gap between neighbours around a quantile."""
    place = int(share * (len(known) - 1))
    around = known[max(place - 40, 0) : place + 40]
    if len(around) < 2:
        return float(around[0]) + (1 if share > 0.5 else -1)
    gap = int(np.argmax(np.diff(around)))
    return float(around[gap : gap + 2].mean())


def expected_counts(tensors, limits):
    """Count in float64, without any of ours: values, below, above, excess."""
    rows = []
    for values, low, high in zip(tensors.values(), limits.minimum, limits.maximum, strict=True):
        exact = values.astype(np.float64).ravel()
        beyond = exact - np.clip(exact, float(low), float(high))
        rows.append((exact.size, (beyond < 0).sum(), (beyond > 0).sum(), (beyond**2).sum()))
    return np.array(rows).T


class TestCounts:
    """What is counted."""

    @pytest.mark.parametrize("network", ["trained_xcat", "espcn", "fsrcnn"])
    def test_every_tensor(self, network, request, photographs, activations):
        """The counts are those of every activation that TFLite's own kernels give, per image."""
        model = request.getfixturevalue(network)
        tensors = {
            name: activations(model, image[None] / np.float32(255))
            for name, image in photographs.items()
        }
        limits = limits_within(tensors["coffee"])
        found = measure_saturation(model, photographs, [limits])
        assert found.images == tuple(photographs)
        assert found.tensors == tuple(tensors["coffee"])
        assert found.above.sum() > 100
        for row, name in enumerate(photographs):
            values, below, above, excess = expected_counts(tensors[name], limits)
            assert found.values[row].tolist() == values.tolist()
            # On other photographs a value may lie so near a limit that two sets of kernels differ.
            near = 0 if name == "coffee" else 2
            np.testing.assert_allclose(found.below[row, 0], below, atol=near)
            np.testing.assert_allclose(found.above[row, 0], above, atol=near)
            np.testing.assert_allclose(found.excess[row, 0], excess, rtol=1e-3, atol=1e-9)

    @pytest.mark.parametrize("network", ["trained_xcat", "espcn"])
    def test_tiled(self, network, request, monkeypatch):
        """A picture in overlapping tiles has the counts of the whole: no pixel counts twice."""
        model = request.getfixturevalue(network)
        pictures = {"chelsea": skimage.data.chelsea()[60:150, 100:170]}
        merged = cal.collect(model, pictures).merged()
        limits = cal.Ranges(merged.tensors, merged.minimum * 0.7, merged.maximum * 0.7)
        whole = measure_saturation(model, pictures, [limits])
        monkeypatch.setattr(runtime, "LARGEST_TILE", 32)
        tiled = measure_saturation(model, pictures, [limits])
        assert np.array_equal(tiled.values, whole.values)
        np.testing.assert_allclose(tiled.below, whole.below, atol=2)
        np.testing.assert_allclose(tiled.above, whole.above, atol=2)
        np.testing.assert_allclose(tiled.excess, whole.excess, rtol=1e-4, atol=1e-9)
        assert whole.above.sum() > 100

    def test_fixed_size(self, abpn, abpn_of_any_size, activations):
        """A model of one size, and of 0..255, counts what one of any size has on the whole."""
        image = skimage.data.chelsea()[60:130, 100:190]
        tensors = activations(abpn_of_any_size, image[None].astype(np.float32))
        limits = limits_within(tensors)
        renamed = cal.Ranges(
            tuple(one.name for one in Graph(abpn).activations), limits.minimum, limits.maximum
        )
        found = measure_saturation(abpn, {"chelsea": image}, [renamed])
        values, below, above, _ = expected_counts(tensors, limits)
        assert found.values[0].tolist() == values.tolist()
        np.testing.assert_allclose(found.below[0, 0], below, atol=1)
        np.testing.assert_allclose(found.above[0, 0], above, atol=1)

    def test_padding(self, abpn, photographs):
        """What fills a picture up to a model's only size is not counted."""
        small = photographs["astronaut"][:32, :30]
        limits = cal.collect(abpn, {"small": small}).merged()
        found = measure_saturation(abpn, {"small": small}, [limits])
        assert found.values[0, 0] == 32 * 30 * 3

    def test_own_ranges(self, espcn, photographs):
        """Nothing lies outside the ranges that were measured on the very images."""
        found = measure_saturation(espcn, photographs, [cal.collect(espcn, photographs).merged()])
        assert not found.below.any()
        assert not found.above.any()
        assert not found.excess.any()

    def test_open_ends(self, espcn, photographs):
        """Nothing lies beyond an infinite end, and the other end counts as before."""
        merged = cal.collect(espcn, photographs).merged()
        narrow = cal.Ranges(merged.tensors, merged.minimum / 2, merged.maximum / 2)
        infinite = np.full(len(merged.tensors), np.inf, np.float32)
        sets = [
            narrow,
            cal.Ranges(merged.tensors, -infinite, narrow.maximum),
            cal.Ranges(merged.tensors, narrow.minimum, infinite),
        ]
        found = measure_saturation(espcn, photographs, sets)
        assert found.below[:, 0].any()
        assert found.above[:, 0].any()
        assert not found.below[:, 1].any()
        assert not found.above[:, 2].any()
        assert np.array_equal(found.above[:, 1], found.above[:, 0])
        assert np.array_equal(found.below[:, 2], found.below[:, 0])

    def test_sets(self, espcn, photographs):
        """Many sets of ranges in one run count as each alone."""
        merged = cal.collect(espcn, photographs).merged()
        sets = [
            cal.Ranges(merged.tensors, merged.minimum * share, merged.maximum * share)
            for share in (1.0, 0.3, 0.8)
        ]
        together = measure_saturation(espcn, photographs, sets)
        for place, one in enumerate(sets):
            alone = measure_saturation(espcn, photographs, [one])
            assert np.array_equal(together.below[:, place], alone.below[:, 0])
            assert np.array_equal(together.above[:, place], alone.above[:, 0])
            assert np.array_equal(together.excess[:, place], alone.excess[:, 0])

    def test_some_tensors(self, espcn, photographs):
        """Tensors that are not asked for change nothing, and the order is the caller's."""
        merged = cal.collect(espcn, photographs).merged()
        half = cal.Ranges(merged.tensors, merged.minimum / 2, merged.maximum / 2)
        some = cal.Ranges(half.tensors[::-2], half.minimum[::-2], half.maximum[::-2])
        found = measure_saturation(espcn, photographs, [some])
        whole = measure_saturation(espcn, photographs, [half])
        assert np.array_equal(found.above, whole.above[..., ::-2])
        assert np.array_equal(found.values, whole.values[..., ::-2])


class TestHow:
    """Where and how images are counted."""

    def test_executor(self, espcn, photographs):
        """Threads, and functions that load images, give the same in the order of the images."""
        merged = cal.collect(espcn, photographs).merged()
        half = cal.Ranges(merged.tensors, merged.minimum / 2, merged.maximum / 2)
        expected = measure_saturation(espcn, photographs, [half])
        seen = []
        with ThreadPoolExecutor(3) as pool:
            found = measure_saturation(
                espcn,
                ((name, partial(np.copy, image)) for name, image in photographs.items()),
                [half],
                executor=pool,
                on_image=seen.append,
            )
        assert found.images == expected.images
        assert np.array_equal(found.above, expected.above)
        assert np.array_equal(found.excess, expected.excess)
        assert seen == [1, 2, 3, 4]

    def test_path(self, espcn, photographs, tmp_path):
        """A model is taken as a path too, which errors name."""
        (tmp_path / "model.tflite").write_bytes(espcn)
        limits = cal.Ranges(("nothing",), np.zeros(1, np.float32), np.zeros(1, np.float32))
        with pytest.raises(ModelError, match=r"model.tflite: no tensor named nothing"):
            measure_saturation(tmp_path / "model.tflite", photographs, [limits])


class TestRefused:
    """What cannot be counted."""

    @pytest.fixture
    def limits(self, espcn, photographs):
        """Ranges that fit."""
        return cal.collect(espcn, photographs).merged()

    def test_arguments(self, espcn, photographs, limits):
        """No image, a name twice, no ranges and ranges of different tensors are named."""
        twice = [("a", photographs["coffee"]), ("a", photographs["rocket"])]
        fewer = cal.Ranges(limits.tensors[:1], limits.minimum[:1], limits.maximum[:1])
        for images, sets, named in (
            ({}, [limits], "no images"),
            (twice, [limits], "two images named a"),
            (photographs, [], "no ranges"),
            (photographs, [limits, fewer], "different tensors"),
        ):
            with pytest.raises(UsageError, match=named):
                measure_saturation(espcn, images, sets)

    def test_image(self, espcn, photographs, limits):
        """An image that is none is named."""
        with pytest.raises(ImageError, match=r"grey: images are \(h, w, 3\) uint8 RGB"):
            measure_saturation(espcn, {"grey": photographs["coffee"][..., 0]}, [limits])

    def test_integer_model(self, espcn, photographs, limits):
        """An integer model is refused."""
        with pytest.raises(ModelError, match="already quantized"):
            measure_saturation(cal.quantize(espcn, limits), photographs, [limits])

    def test_not_finite(self):
        """A model that gives NaN on an image is refused, and the image is named."""
        import tensorflow as tf
        import tf_keras

        picture = tf_keras.Input((None, None, 3))
        spoilt = picture + 0 * tf.math.log(tf.nn.relu(picture - 0.1))
        upscaled = tf.nn.depth_to_space(tf.concat([spoilt] * 4, axis=-1), 2)
        model = convert_keras(tf_keras.Model(picture, upscaled))
        bright = np.full((20, 20, 3), 100, np.uint8)
        dark = bright.copy()
        dark[3, 4] = 0
        limits = cal.collect(model, {"bright": bright}).merged()
        with pytest.raises(ModelError, match="not finite on the image dark"):
            measure_saturation(model, {"bright": bright, "dark": dark}, [limits])
