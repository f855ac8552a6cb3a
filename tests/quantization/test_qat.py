"""A quantization-aware model computes what its integer model does, and exports what was trained."""

import numpy as np
import pytest

from qsr.calibration import collect, quantize
from qsr.models.zoo import load, pretrained_path
from qsr.quantization.shared_grids import picture_addends, shared_grids
from qsr.tflite.convert import convert_keras
from qsr.tflite.float_view import float_view
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner


@pytest.fixture(scope="module")
def aware_model():
    """``(float model, ranges) -> QuantizationAwareModel``."""
    from qsr.quantization.qat import quantization_aware_model

    return quantization_aware_model


@pytest.mark.parametrize("name", ["trained_xcat", "espcn", "fsrcnn"])
def test_rounds_as_the_integer_model_does(request, aware_model, photographs, name):
    """Its picture is that of TFLite's own QUANTIZE and DEQUANTIZE after every float operator.

    But for what the integer model's rounding of weights does: it is nearer by far than the float
    model's picture.
    """
    model = request.getfixturevalue(name)
    ranges = collect(model, photographs).merged()
    aware = aware_model(model, ranges)
    rounded, real = Runner(with_float_weights(model, quantize(model, ranges))), Runner(model)
    for lr in photographs.values():
        wanted = rounded.upscale(lr).astype(float)
        simulated = aware.keras(lr[None] / np.float32(255)).numpy()[0] * 255
        error = np.abs(wanted - real.upscale(lr)).mean()
        assert np.abs(simulated - wanted).mean() < 0.2 * error


def with_float_weights(model, integer):
    """Return an integer model as a float one that rounds all activations, but no weight."""
    graphs = Graph(model), Graph(integer)
    kinds = {"CONV_2D", "TRANSPOSE_CONV", "PRELU"}
    theirs, ours = ([one for one in graph.operators if one.kind in kinds] for graph in graphs)
    weights = {
        index: graphs[0].constant(twin)
        for operator, other in zip(ours, theirs, strict=True)
        for index, twin in zip(operator.inputs, other.inputs, strict=True)
        if graphs[1].tensors[index].constant and graphs[0].tensors[twin].dtype == "float32"
    }
    activations = [tensor.index for tensor in graphs[1].activations if tensor.quantized]
    return float_view(graphs[1], constants=weights, rounded=activations)


@pytest.mark.parametrize("name", ["trained_xcat", "espcn", "fsrcnn"])
def test_untrained_export(request, aware_model, photographs, name):
    """Without a step of training, weights, ranges and the integer model are what they were."""
    model = request.getfixturevalue(name)
    ranges = collect(model, photographs).merged()
    exported, found = aware_model(model, ranges).exported()
    assert Graph(exported).model == Graph(model).with_constants({})
    assert quantize(exported, found) == quantize(Graph(model).with_constants({}), ranges)


@pytest.mark.parametrize("name", ["espcn", "fsrcnn"])
def test_steps_bring_rounded_activations_closer(aware_model, photographs, name):
    """Trained against the float model, the exported model comes closer to it in all but weights."""
    model = convert_keras(load(pretrained_path(name)))
    ranges = collect(model, photographs).merged()
    aware = aware_model(model, ranges)
    wanted = pictures_of(model, photographs)
    train(aware.keras, photographs, wanted, rounds=50)
    exported, found = aware.exported()
    before = with_float_weights(model, quantize(model, ranges))
    after = with_float_weights(exported, quantize(exported, found))
    assert error(after, wanted, photographs) < 0.9 * error(before, wanted, photographs)


@pytest.mark.parametrize("name", ["xcat", "xlsr"])
def test_trained_model_is_the_exported_one(aware_model, photographs, name):
    """After training, too, the exported integer model rounds activations as the trained one does.

    In both networks TFLite gives what several convolutions make one grid.
    """
    model = convert_keras(load(pretrained_path(name)))
    ranges = collect(model, photographs).merged()
    aware = aware_model(model, ranges)
    ends = [weight for weight in aware.keras.trainable_weights if "range_" in weight.name]
    moved = sum(
        (end != 0.0)
        for grid in aware.grids
        if not grid.fixed
        for end in (grid.minimum, grid.maximum)
    )
    assert len(ends) == moved  # each end of each grid once
    train(aware.keras, photographs, pictures_of(model, photographs), rounds=15)
    exported, found = aware.exported()
    rounded = Runner(with_float_weights(exported, quantize(exported, found)))
    real = Runner(exported)
    for lr in photographs.values():
        wanted = rounded.upscale(lr).astype(float)
        simulated = aware.keras(lr[None] / np.float32(255)).numpy()[0] * 255
        error = np.abs(wanted - real.upscale(lr)).mean()
        assert np.abs(simulated - wanted).mean() < 0.2 * error


def test_what_is_known_stays(trained_xcat, aware_model, photographs):
    """Training leaves the frozen kernel as it is, and the grids of input and output."""
    ranges = collect(trained_xcat, photographs).merged()
    aware = aware_model(trained_xcat, ranges)
    frozen = [weight.numpy() for weight in aware.keras.non_trainable_weights]
    trained = [weight.numpy() for weight in aware.keras.trainable_weights]
    train(aware.keras, photographs, pictures_of(trained_xcat, photographs), rounds=2)
    before = quantize(trained_xcat, ranges)
    after = quantize(*aware.exported())
    for weight, value in zip(aware.keras.trainable_weights, trained, strict=True):
        assert np.any(weight != value), weight.name
    for weight, value in zip(aware.keras.non_trainable_weights, frozen, strict=True):
        if "optimizer_step" not in weight.name:
            np.testing.assert_array_equal(weight, value)
    old, new = Graph(before), Graph(after)
    for one, other in ((old.input, new.input), (old.output, new.output)):
        assert (one.scale, one.zero_point) == (other.scale, other.zero_point)


@pytest.mark.parametrize("train_ranges", [True, False])
def test_addend_of_the_picture_stays(trained_xcat, aware_model, photographs, train_ranges):
    """The range of what is added to the picture is not trained; the others are, if asked for."""
    ranges = collect(trained_xcat, photographs).merged()
    aware = aware_model(trained_xcat, ranges, train_ranges=train_ranges)
    train(aware.keras, photographs, pictures_of(trained_xcat, photographs), rounds=2)
    _, found = aware.exported()
    before, after = (
        {
            grid.tensors: (grid.minimum, grid.maximum)
            for grid in shared_grids(Graph(trained_xcat), some)
            if not grid.fixed
        }
        for some in (ranges, found)
    )
    (addend,) = picture_addends(Graph(trained_xcat))
    for tensors, span in before.items():
        stays = addend in tensors or not train_ranges
        assert (after[tensors] == span) == stays


def test_ranges_that_stay_are_quantized_as_given(trained_xcat, aware_model, photographs):
    """A search may move the range of one tensor of a grid alone; its integer grids stay, and count.

    The range of the first convolution, which a split passes on, is made narrower.
    """
    graph = Graph(trained_xcat)
    ranges = collect(trained_xcat, photographs).merged()
    name = graph.tensors[graph.operators[0].outputs[0]].name
    top = float(ranges.maximum[ranges.tensors.index(name)])
    moved = ranges.with_known({name: (0.0, 0.85 * top)})
    aware = aware_model(trained_xcat, moved, train_ranges=False)
    integer = Graph(quantize(*aware.exported()))
    before = Graph(quantize(trained_xcat, moved))
    for one, other in zip(integer.activations, before.activations, strict=True):
        assert (one.scale, one.zero_point) == (other.scale, other.zero_point)
    steps = {tensor.name: float(tensor.scale[0]) for tensor in before.activations}
    assert steps[name] == pytest.approx(0.85 * top / 255, rel=1e-5)
    for grid in aware.grids:
        for tensor in steps.keys() & set(grid.tensors):
            assert grid.maximum - grid.minimum == pytest.approx(255 * steps[tensor], rel=1e-5)


def pictures_of(model, photographs):
    """What a model makes of photographs, in 0..1."""
    runner = Runner(model)
    return {name: runner.upscale_unrounded(lr) / 255 for name, lr in photographs.items()}


def train(keras, photographs, wanted, *, rounds):
    """Bring the pictures of a model closer to those that are wanted."""
    import tensorflow as tf
    import tf_keras

    optimizer = tf_keras.optimizers.Adam(1e-4)
    for _ in range(rounds):
        for name, lr in photographs.items():
            with tf.GradientTape() as tape:
                sr = keras(lr[None] / np.float32(255), training=True)[0]
                loss = tf.reduce_mean(tf.square(sr - wanted[name]))
            gradients = tape.gradient(loss, keras.trainable_weights)
            optimizer.apply_gradients(zip(gradients, keras.trainable_weights, strict=True))


def error(integer, wanted, photographs):
    """Mean squared difference of an integer model's pictures from those that are wanted."""
    runner = Runner(integer)
    return np.mean(
        [
            np.square(runner.upscale(photographs[name]) / 255 - picture).mean()
            for name, picture in wanted.items()
        ]
    )


def test_gradient_of_a_range():
    """Rounding errors move the scale, what is cut off moves its end: a case by hand.

    In -1..1.55 the scale is 0.01 and the zero point 100. 0.123 is rounded to 0.12, -2 is cut off
    below, 3 above.
    """
    import tensorflow as tf

    from qsr.quantization.fake_quantization import fake_quantize

    values, low, high = tf.constant([0.123, -2.0, 3.0]), tf.constant(-1.0), tf.constant(1.55)
    with tf.GradientTape() as tape:
        tape.watch([values, low, high])
        rounded = fake_quantize(values, low, high)
    gradients = tape.gradient(rounded, [values, low, high])
    np.testing.assert_allclose(rounded, [0.12, -1.0, 1.55], atol=1e-6)
    np.testing.assert_array_equal(gradients[0], [1, 0, 0])
    share = (0.12 - 0.123) / 2.55
    np.testing.assert_allclose(gradients[1:], [1 - share, 1 + share], rtol=1e-4)
