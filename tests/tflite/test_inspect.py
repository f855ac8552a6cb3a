"""What is found out about a model by reading it and running it on a test picture."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qsr import calibration as cal
from qsr.errors import ModelError
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph, _pack
from qsr.tflite.runtime import ModelFacts, inspect_model


def enlarged(picture, block=2):
    """Nearest neighbour."""
    import tensorflow as tf

    return tf.nn.depth_to_space(tf.concat([picture] * block**2, axis=-1), block)


def resized(picture, numerator, denominator=1):
    """Nearest neighbour by any factor."""
    import tensorflow as tf

    size = tf.shape(picture)[1:3] * numerator // denominator
    return tf.image.resize(picture, size, "nearest")


class TestFacts:
    """Models that can be used."""

    @pytest.mark.parametrize(
        ("network", "facts"),
        [
            ("xcat", ModelFacts(3, None, 1.0, "float32", "float32", False, 5)),
            ("trained_xcat", ModelFacts(3, None, 1.0, "float32", "float32", False, 5)),
            ("espcn", ModelFacts(2, None, 1.0, "float32", "float32", False, 3)),
            ("fsrcnn", ModelFacts(2, None, 1.0, "float32", "float32", False, 3)),
            ("abpn", ModelFacts(3, (40, 48), 255.0, "float32", "float32", False, 2)),
            ("abpn_of_any_size", ModelFacts(3, None, 255.0, "float32", "float32", False, 2)),
        ],
    )
    def test_float(self, network, facts, request):
        """The scale, only size, range of values and reach of a float model are found."""
        assert inspect_model(request.getfixturevalue(network)) == facts

    @pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
    @pytest.mark.parametrize(
        ("network", "scale", "size", "radius"), [("xcat", 3, None, 5), ("abpn", 3, (40, 48), 2)]
    )
    def test_integer(self, *, network, scale, size, radius, io, request, photographs):
        """An integer model is known as one, and by the type of its ends."""
        model = request.getfixturevalue(network)
        ranges = cal.collect(model, photographs).merged()
        white = 255.0 if (network, io) == ("abpn", "float32") else 1.0
        assert inspect_model(cal.quantize(model, ranges, cal.Scheme(io=io))) == ModelFacts(
            scale, size, white, io, io, True, radius
        )

    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_scale(self, scale):
        """Every integer scale is found."""
        assert inspect_model(keras(lambda picture: resized(picture, scale))).scale == scale

    def test_not_finite_in_the_other_range(self):
        """A model of 0..1 that gives NaN when fed 0..255 is one of 0..1."""
        import tensorflow as tf

        model = keras(lambda picture: enlarged(picture + 1e-3 * tf.sqrt(2.0 - picture)))
        assert inspect_model(model).value_max == 1.0

    def test_smallest_side(self, xcat):
        """Below the receptive field's side a picture is all border."""
        assert inspect_model(xcat).smallest_side == 11

    def test_even_sizes(self):
        """A model that does not take the smallest sizes is inspected all the same."""
        import tensorflow as tf

        model = keras(
            lambda picture: (
                enlarged(picture)
                + 1e-3
                * tf.nn.depth_to_space(tf.concat([tf.nn.space_to_depth(picture, 2)] * 4, -1), 4)
            )
        )
        assert inspect_model(model).scale == 2


class TestRefused:
    """Models that cannot be used, each with one line that says why."""

    @pytest.mark.parametrize(
        "content", [b"", b"TFL3", b"\x89PNG\r\n\x1a\n" + bytes(100), b"x" * 99]
    )
    def test_another_file(self, content):
        """A file of another kind is refused as one."""
        assert "not a .tflite model" in refused(content)

    @pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
    def test_truncated(self, xcat, share):
        """A truncated file is refused."""
        refused(xcat[: max(8, int(len(xcat) * share))])

    def test_nothing_after_the_mark(self):
        """A file of nothing but the mark of the format is refused."""
        assert "damaged" in refused(b"\x1c\x00\x00\x00TFL3" + bytes(200))

    def test_two_inputs(self):
        """A model of two pictures is refused with their number."""
        import tf_keras

        pictures = [tf_keras.Input((None, None, 3)) for _ in range(2)]
        model = convert_keras(tf_keras.Model(pictures, enlarged(pictures[0] + pictures[1])))
        assert "this one has 2 and 1" in refused(model)

    def test_two_outputs(self):
        """A model that gives two pictures is refused with their number."""
        import tf_keras

        picture = tf_keras.Input((None, None, 3))
        model = convert_keras(tf_keras.Model(picture, [enlarged(picture), picture * 2.0]))
        assert "this one has 1 and 2" in refused(model)

    def test_one_channel(self):
        """A model of grey pictures is refused with its shape."""
        assert "its input has the shape (-1, -1, -1, 1)" in refused(keras(enlarged, channels=1))

    def test_four_channels_out(self):
        """A model that gives another number of channels is refused with its shape."""
        import tensorflow as tf

        model = keras(lambda picture: tf.concat([enlarged(picture)] * 2, axis=-1)[..., :4])
        assert "its output has the shape (-1, -1, -1, 4)" in refused(model)

    def test_no_picture(self):
        """A model of vectors is refused with its shape."""
        import tf_keras

        vector = tf_keras.Input((3,))
        model = convert_keras(tf_keras.Model(vector, tf_keras.layers.Dense(3)(vector)))
        assert "its input has the shape (-1, 3)" in refused(model)

    def test_type(self):
        """A model of another type of numbers is refused with it."""
        import tensorflow as tf

        model = keras(lambda picture: enlarged(tf.cast(picture, tf.float32)), dtype="int32")
        assert "its input is int32" in refused(model)

    @pytest.mark.parametrize(
        ("numerator", "denominator", "sizes"),
        [(3, 2, "48x48 pixels into 72x72"), (1, 2, "48x48 pixels into 24x24")],
    )
    def test_scale(self, numerator, denominator, sizes):
        """A scale that is no integer is refused with both sizes."""
        model = keras(lambda picture: resized(picture, numerator, denominator))
        assert sizes in refused(model)

    def test_same_size(self):
        """A model that does not enlarge is refused."""
        assert "of the size that it takes" in refused(keras(lambda picture: 1.0 * picture))

    def test_one_axis(self):
        """A scale of one axis alone is refused with both sizes."""
        import tensorflow as tf

        model = keras(lambda picture: tf.repeat(picture, 2, axis=2))
        assert "48x48 pixels into 96x48" in refused(model)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_weights_that_are_not_finite(self, value, espcn):
        """Weights that are not finite are counted, and the tensor is named."""
        flat = schema.ModelT.InitFromPackedBuf(espcn, 0)
        (kernel,) = [tensor for tensor in Graph(espcn).tensors if tensor.shape == (16, 5, 5, 3)]
        buffer = flat.buffers[flat.subgraphs[0].tensors[kernel.index].buffer]
        values = np.array(buffer.data, np.uint8).view(np.float32)
        values[[0, 7, 100, 1199]] = value
        buffer.data = values.view(np.uint8)
        error = refused(_pack(flat))
        assert f"4 of 1200 values of {kernel.name} are NaN or infinite" in error

    def test_float16_weights_that_are_not_finite(self, espcn_keras):
        """Weights of half precision that are not finite are counted too."""
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_keras_model(espcn_keras)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        model = converter.convert()
        assert inspect_model(model).value_max == 1.0
        flat = schema.ModelT.InitFromPackedBuf(model, 0)
        halves = [tensor for tensor in Graph(model).tensors if tensor.dtype == "float16"]
        (kernel,) = [tensor for tensor in halves if tensor.shape == (16, 5, 5, 3)]
        buffer = flat.buffers[flat.subgraphs[0].tensors[kernel.index].buffer]
        values = np.array(buffer.data, np.uint8).view(np.float16)
        values[[3, 5]] = np.nan
        buffer.data = values.view(np.uint8)
        assert f"2 of 1200 values of {kernel.name} are NaN" in refused(_pack(flat))

    @pytest.mark.parametrize("network", ["xcat_keras", "trained_xcat_keras", "espcn_keras"])
    def test_signed_pictures(self, network, request):
        """A network of pictures in -1..1 is refused as one, clipped at its end or not."""
        network = request.getfixturevalue(network)
        error = refused(keras(lambda picture: network((picture + 1) / 2) * 2 - 1))
        assert "works on pictures in -1..1 (" in error
        assert "0..1 or 0..255" in error

    def test_signed_pictures_by_tanh(self):
        """A network that ends in a tanh, and gives pictures in -1..1 back, is refused."""
        import tensorflow as tf

        error = refused(keras(lambda picture: enlarged(tf.tanh(1.2 * picture))))
        assert "works on pictures in -1..1 (" in error

    def test_nothing_like_the_picture(self):
        """A model that does not give the picture back is refused with how far off it is."""
        error = refused(keras(lambda picture: enlarged(1.0 - picture)))
        assert "does not give a picture back, whether fed 0..1 (" in error
        assert "dB)" in error

    @pytest.mark.parametrize("function", ["sqrt", "log"])
    def test_values_that_are_not_finite(self, function):
        """A model that gives NaN, or infinity, everywhere is refused."""
        import tensorflow as tf

        below = {"sqrt": -1.0, "log": 0.0}[function]
        model = keras(
            lambda picture: enlarged(getattr(tf.math, function)(tf.minimum(picture, below)))
        )
        assert "values that are not finite" in refused(model)


def refused(model):
    """Return the one line with which a model is refused, without its name."""
    with pytest.raises(ModelError) as error:
        inspect_model(model, source="some.tflite")
    line = str(error.value)
    assert line.startswith("some.tflite: ")
    assert "\n" not in line
    return line.removeprefix("some.tflite: ")


def keras(function, *, channels=3, dtype=None):
    """Return a function from picture to picture as a float model."""
    import tf_keras

    picture = tf_keras.Input((None, None, channels), dtype=dtype)
    return convert_keras(tf_keras.Model(picture, function(picture)))


@pytest.mark.parametrize(("white", "clip"), [(1.0, False), (255.0, True)])
def test_white_where_both_ranges_explain(white, clip):
    """A network without biases is one of 0..1, unless it clips to 255."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    features = tf_keras.layers.Conv2D(12, 1, use_bias=False)(picture)
    larger = tf.nn.depth_to_space(features, 2)
    model = tf_keras.Model(picture, tf.minimum(larger, 255.0) if clip else larger)
    model.set_weights([np.tile(np.eye(3), (1, 4))[None, None]])
    assert inspect_model(convert_keras(model)).value_max == white
