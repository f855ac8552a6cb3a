"""Models made from merged ranges, against the public ``TFLiteConverter`` on the same images."""

import warnings

import numpy as np
import pytest
import skimage.data
from ai_edge_litert import schema_py_generated as schema

from qsr import calibration as cal

SETS = {
    "one": ("coffee",),
    "several": ("astronaut", "astronaut_dark", "astronaut_flat"),
    "mixed sizes": ("rocket", "astronaut", "chelsea"),
}


@pytest.fixture(scope="module")
def images(photographs):
    """The photographs, and variants of one of them in its own size."""
    astronaut = photographs["astronaut"]
    return {
        **photographs,
        "astronaut_dark": astronaut // 3,
        "astronaut_flat": np.full_like(astronaut, 90),
    }


@pytest.fixture(scope="module")
def convert_publicly():
    """Quantize a Keras model as TensorFlow documents it."""
    import tensorflow as tf

    def convert(keras_model, images, *, io, per_channel, white=1.0):
        converter = tf.lite.TFLiteConverter.from_keras_model(keras_model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [image[None].astype(np.float32) / np.float32(255.0 / white)] for image in images
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, io)
        converter._experimental_disable_per_channel = not per_channel
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of statistics that it then measures
            return converter.convert()

    return convert


def test_fresh_xcat(xcat_keras, xcat, images, convert_publicly, run_bare):
    """An XCAT with biases of zero becomes the converter's own integer model."""
    names = SETS["mixed sizes"]
    fresh = convert_publicly(
        xcat_keras, [images[name] for name in names], io="uint8", per_channel=True
    )
    table = cal.collect(xcat, images, reader="converter")
    ours = cal.quantize(xcat, table.merged(names), cal.Scheme(pin_io=False))
    assert_same_model(ours, fresh)
    assert_same_pictures(ours, fresh, images.values(), run_bare)


@pytest.mark.parametrize("per_channel", [True, False], ids=["per-channel", "per-tensor"])
@pytest.mark.parametrize("io", ["uint8", "int8"])
@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_trained_xcat(
    *, names, io, per_channel, trained_xcat_keras, trained_xcat, images, convert_publicly, run_bare
):
    """A trained XCAT becomes the converter's own integer model, whatever the images and scheme."""
    fresh = convert_publicly(
        trained_xcat_keras, [images[name] for name in names], io=io, per_channel=per_channel
    )
    table = cal.collect(trained_xcat, images, reader="converter")
    scheme = cal.Scheme(io=io, per_channel=per_channel, pin_io=False)
    ours = cal.quantize(trained_xcat, table.merged(names), scheme)
    assert_same_model(ours, fresh)
    assert_same_pictures(ours, fresh, images.values(), run_bare)


@pytest.mark.parametrize("per_channel", [True, False], ids=["per-channel", "per-tensor"])
@pytest.mark.parametrize("io", ["uint8", "int8"])
@pytest.mark.parametrize("network", ["espcn", "fsrcnn"])
def test_foreign_network(*, network, io, per_channel, request, images, convert_publicly, run_bare):
    """Networks of other projects, fed images of mixed sizes, become the converter's own models."""
    keras_model, model = (request.getfixturevalue(name) for name in (f"{network}_keras", network))
    names = SETS["mixed sizes"]
    fresh = convert_publicly(
        keras_model, [images[name] for name in names], io=io, per_channel=per_channel
    )
    table = cal.collect(model, images, reader="converter")
    scheme = cal.Scheme(io=io, per_channel=per_channel, pin_io=False)
    ours = cal.quantize(model, table.merged(names), scheme)
    assert_same_model(ours, fresh)
    assert_same_pictures(ours, fresh, images.values(), run_bare)


@pytest.mark.parametrize("io", ["uint8", "int8"])
def test_network_of_one_size(io, abpn_keras, abpn, convert_publicly, run_bare):
    """A network of one input size that works in 0..255 becomes the converter's own model."""
    photograph = skimage.data.chelsea()
    images = {f"{top}": photograph[top : top + 40, 100:148] for top in (0, 60, 120)}
    fresh = convert_publicly(
        abpn_keras, list(images.values()), io=io, per_channel=True, white=255.0
    )
    table = cal.collect(abpn, images, reader="converter")
    ours = cal.quantize(abpn, table.merged(), cal.Scheme(io=io, pin_io=False))
    assert_same_model(ours, fresh)
    assert_same_pictures(ours, fresh, images.values(), run_bare)


def test_one_image_more_changes_the_model(
    trained_xcat_keras, trained_xcat, images, convert_publicly
):
    """The comparison of models sees a single other scale, so it can fail."""
    names = SETS["mixed sizes"]
    fresh = convert_publicly(
        trained_xcat_keras, [images[name] for name in names], io="uint8", per_channel=True
    )
    table = cal.collect(trained_xcat, images, reader="converter")
    other = cal.quantize(trained_xcat, table.merged(), cal.Scheme(pin_io=False))
    assert plain(other) != plain(fresh)


def assert_same_model(ours, theirs):
    """Compare every tensor, constant, scale, zero point and operator of two files."""
    assert plain(ours) == plain(theirs)


def assert_same_pictures(ours, theirs, images, run_bare):
    """Compare every byte of the two models' results."""
    for image in images:
        values = image[None]
        if plain(theirs)["types"] == {schema.TensorType.INT8}:
            values = (values.astype(np.int16) - 128).astype(np.int8)
        np.testing.assert_array_equal(run_bare(ours, values), run_bare(theirs, values))


def plain(model):
    """Return all of a model but its metadata and description, as plain values."""
    flat = schema.ModelT.InitFromPackedBuf(model, 0)
    (subgraph,) = flat.subgraphs
    ends = {subgraph.tensors[index].type for index in (*subgraph.inputs, *subgraph.outputs)}
    constants = [flat.buffers[tensor.buffer].data for tensor in subgraph.tensors]
    for tensor in subgraph.tensors:
        tensor.buffer = None  # the number of the buffer; its content is compared
    return {
        "types": ends,
        "constants": [None if data is None else bytes(data) for data in constants],
        "operator codes": [_plain(code) for code in flat.operatorCodes],
        "subgraph": _plain(subgraph),
    }


def _plain(value):
    """Turn objects of the flatbuffer schema into dictionaries, and vectors into lists."""
    if isinstance(value, np.ndarray | list):
        return [_plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return {name: _plain(part) for name, part in vars(value).items()}
    return value
