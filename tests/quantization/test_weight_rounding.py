"""Weights are rounded for what layers give: closer to the float model, and nothing else changes."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qsr.calibration import Scheme, collect, quantize
from qsr.errors import ModelError, UsageError
from qsr.quantization.weight_rounding import round_weights
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner, inspect_model

SCHEMES = {
    "uint8": Scheme(),
    "int8, per tensor": Scheme(io="int8", per_channel=False),
    "float32": Scheme(io="float32"),
}


@pytest.fixture(scope="module")
def pictures(photographs):
    """Four pictures of four sizes: few enough pixels that all are fitted."""
    return tuple(photographs.values())


@pytest.fixture(scope="module", params=SCHEMES)
def integer(request, trained_xcat, photographs):
    """An XCAT's integer model, of each kind."""
    return quantize(
        trained_xcat, collect(trained_xcat, photographs).merged(), SCHEMES[request.param]
    )


@pytest.fixture(scope="module")
def rounded(trained_xcat, integer, pictures):
    """The same, with its weights rounded."""
    return round_weights(trained_xcat, integer, pictures)


def _tensors(model, lr, white):
    """Every tensor of a model on a picture, as TFLite's own kernels make them."""
    interpreter = Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    (taken,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(taken["index"], (1, *lr.shape))
    interpreter.allocate_tensors()
    fed = {"uint8": lr, "int8": (lr.astype(np.int16) - 128).astype(np.int8)}
    name = np.dtype(taken["dtype"]).name
    interpreter.set_tensor(taken["index"], fed.get(name, lr * np.float32(white / 255))[None])
    interpreter.invoke()
    return interpreter.get_tensor


def _layers(graph):
    return [step for step in graph.operators if step.kind in {"CONV_2D", "DEPTHWISE_CONV_2D"}]


def _before_activation(graph, step, values):
    """A layer's real output before its activation, by TensorFlow's convolution in float64."""
    import tensorflow as tf

    data, kernel, bias = (graph.tensors[index] for index in (*step.inputs, -1)[:3])
    weights, read = graph.constant(kernel.index).astype(np.float64), values.astype(np.float64)
    biases = graph.constant(bias.index).astype(np.float64) if step.inputs[2:] != (-1,) else 0.0
    depthwise = step.kind == "DEPTHWISE_CONV_2D"
    if kernel.quantized:
        read = (read - data.zero_point[0]) * data.scale[0]
        weights = weights * kernel.scale.reshape((1, 1, 1, -1) if depthwise else (-1, 1, 1, 1))
        biases = biases * bias.scale
    padding = "SAME" if step.options.padding == schema.Padding.SAME else "VALID"
    if depthwise:
        shaped = weights.transpose(1, 2, 3, 0)
        return tf.nn.depthwise_conv2d(read, shaped, [1] * 4, padding).numpy() + biases
    groups = read.shape[3] // weights.shape[3]
    made = [
        tf.nn.conv2d(part, kernels.transpose(1, 2, 3, 0), 1, padding).numpy()
        for part, kernels in zip(
            np.split(read, groups, axis=3), np.split(weights, groups), strict=True
        )
    ]
    return np.concatenate(made, axis=3) + biases


def _differences(float_model, models, inputs_of, pictures):
    """By place of a layer: of each model, ``(pixels, out)`` what it makes less what it should.

    All read what they would in the model ``inputs_of``.
    """
    float_graph, graphs = Graph(float_model), [Graph(model) for model in models]
    found = {step.index: [[] for _ in models] for step in _layers(graphs[0])}
    white = inspect_model(float_model).value_max
    for lr in pictures:
        wanted, values = (_tensors(one, lr, white) for one in (float_model, inputs_of))
        for twin, step in zip(_layers(float_graph), _layers(graphs[0]), strict=True):
            target = _before_activation(float_graph, twin, wanted(twin.inputs[0]))
            for rows, graph in zip(found[step.index], graphs, strict=True):
                made = _before_activation(graph, step, values(step.inputs[0]))
                rows.append((made - target).reshape(-1, made.shape[-1]))
    return {
        place: [np.concatenate(rows) for rows in of_models] for place, of_models in found.items()
    }


def test_no_channel_of_any_layer_is_worse(trained_xcat, integer, rounded, pictures):
    """On the pictures, each channel's squared error is at most what the weights it had make."""
    found = _differences(trained_xcat, (integer, rounded), rounded, pictures)
    ratios = []
    for old, new in found.values():
        before, after = ((rows**2).sum(axis=0) for rows in (old, new))
        assert (after <= before * (1 + 1e-3)).all()
        ratios.append(after.sum() / before.sum() if before.any() else 1.0)
    assert np.mean(ratios) < 0.6
    assert min(ratios) < 0.05  # the first layer, whose inputs are exact


def test_a_few_pixels_are_enough(trained_xcat, photographs):
    """Fitted on fewer pixels than weights, no channel is worse on them either."""
    integer = quantize(trained_xcat, collect(trained_xcat, photographs).merged())
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
        rounded = round_weights(trained_xcat, integer, [noise])
        for old, new in _differences(trained_xcat, (integer, rounded), rounded, [noise]).values():
            assert ((new**2).sum(axis=0) <= (old**2).sum(axis=0) * (1 + 1e-3)).all()


def test_biases_follow(trained_xcat, rounded, pictures):
    """No channel's mean is off by more than half a step of its bias."""
    graph = Graph(rounded)
    found = _differences(trained_xcat, (rounded,), rounded, pictures)
    for step in _layers(graph):
        (rows,) = found[step.index]
        half = graph.tensors[step.inputs[2]].scale / 2
        assert (np.abs(rows.mean(axis=0)) <= half + 1e-4).all()


def test_picture_comes_closer(trained_xcat, integer, rounded, pictures):
    """The integer model's pictures are nearer to the float model's, also on another picture."""
    import skimage.data

    other = np.ascontiguousarray(skimage.data.cat()[60:108, 150:200])
    for lr in (*pictures, other):
        wanted = Runner(trained_xcat).upscale_unrounded(lr)
        old, new = (
            ((Runner(one).upscale_unrounded(lr) - wanted) ** 2).mean() for one in (integer, rounded)
        )
        assert new < old


def test_weights_and_biases_alone_change(integer, rounded):
    """Operators, grids and types stay, so the model is as integer as it was."""
    before, after = Graph(integer), Graph(rounded)
    assert [(one.kind, one.inputs) for one in before.operators] == [
        (one.kind, one.inputs) for one in after.operators
    ]
    changed = set()
    for old, new in zip(before.tensors, after.tensors, strict=True):
        assert (old.name, old.dtype, old.shape) == (new.name, new.dtype, new.shape)
        np.testing.assert_array_equal(old.scale, new.scale)
        np.testing.assert_array_equal(old.zero_point, new.zero_point)
        if (
            old.constant
            and before.constant(old.index).tobytes()
            != (stored := after.constant(new.index)).tobytes()
        ):
            changed.add(old.index)
            assert old.dtype != "int8" or stored.min() >= -127
    kernels = {step.inputs[1] for step in _layers(before)}
    assert changed >= kernels - set(_anchor(before).inputs)
    assert changed <= {index for step in _layers(before) for index in step.inputs[1:]}


def _anchor(graph):
    """The frozen nearest-neighbour convolution."""
    return next(
        step for step in _layers(graph) if graph.tensors[step.inputs[1]].shape == (27, 1, 1, 3)
    )


def test_frozen_kernel_stays(integer, rounded):
    """The nearest-neighbour kernel and its bias are what they were, bit by bit."""
    before, after = Graph(integer), Graph(rounded)
    for index in _anchor(before).inputs[1:]:
        assert before.constant(index).tobytes() == after.constant(index).tobytes()


def _shown(picture):
    """A picture enlarged by one convolution."""
    import tensorflow as tf
    import tf_keras

    features = tf_keras.layers.Conv2D(27, 3, padding="same")(picture)
    return tf.nn.depth_to_space(features, 3)


def test_weights_on_the_grid_stay(converted, photographs, pictures):
    """A float layer whose weights and biases are grid values already is left alone."""
    model = converted(_shown)
    integer = quantize(model, collect(model, photographs).merged())
    graph, float_graph = Graph(integer), Graph(model)
    (step,), (twin,) = _layers(graph), _layers(float_graph)
    values = {}
    for index, true in zip(step.inputs[1:], twin.inputs[1:], strict=True):
        scale = graph.tensors[index].scale
        shaped = scale.reshape(-1, *[1] * (len(graph.tensors[index].shape) - 1))
        values[true] = (graph.constant(index) * shaped).astype(np.float32)
    exact = float_graph.with_constants(values)
    assert round_weights(exact, integer, pictures) == integer
    assert round_weights(model, integer, pictures) != integer


def test_makes_up_for_its_inputs(converted, photographs, pictures):
    """Where a layer reads everything half as bright again, its weights take that back."""
    model = converted(_shown)
    ranges = collect(model, photographs).merged()
    white = inspect_model(model).value_max
    brighter = ranges.with_known({Graph(model).input.name: (0.0, 1.5 * white)})
    integer = quantize(model, brighter, Scheme(pin_io=False))
    rounded = round_weights(model, integer, pictures)
    ((old, new),) = _differences(model, (integer, rounded), rounded, pictures).values()
    assert (new**2).sum() < 0.01 * (old**2).sum()


def test_frozen_kernel_stays_where_it_reads_too_bright(trained_xcat, photographs, pictures):
    """A convolution that copies channels is never changed, whatever it reads."""
    ranges = collect(trained_xcat, photographs).merged()
    brighter = ranges.with_known({Graph(trained_xcat).input.name: (0.0, 1.5)})
    integer = quantize(trained_xcat, brighter, Scheme(pin_io=False))
    before, after = Graph(integer), Graph(round_weights(trained_xcat, integer, pictures))
    for index in _anchor(before).inputs[1:]:
        assert before.constant(index).tobytes() == after.constant(index).tobytes()


def test_what_no_picture_shows_stays(converted, photographs):
    """Fitted on black alone, weights stay, even those of a network that was trained on since."""
    model = converted(_shown)
    integer = quantize(model, collect(model, photographs).merged())
    graph = Graph(model)
    (kernel, _) = _layers(graph)[0].inputs[1:]
    trained = graph.with_constants({kernel: graph.constant(kernel) * np.float32(0.8)})
    black = np.zeros((9, 12, 3), np.uint8)
    assert round_weights(trained, integer, [black]) == integer


def _of_other_kinds(picture):
    """A depthwise convolution, one in groups, and one without padding and bias."""
    import tensorflow as tf
    import tf_keras

    keras = tf_keras.layers
    features = keras.DepthwiseConv2D((3, 5), padding="same", activation="relu")(picture)
    grouped = keras.Conv2D(12, (1, 5), padding="same", groups=3)(picture)
    features = keras.ZeroPadding2D(1)(tf.concat([features, grouped], axis=-1))
    features = keras.Conv2D(27, 3, padding="valid", use_bias=False)(features)
    return tf.nn.depth_to_space(features, 3)


def test_other_convolutions(converted, photographs, pictures):
    """Depthwise convolutions, and those without padding or bias, are rounded too."""
    model = converted(_of_other_kinds)
    integer = quantize(model, collect(model, photographs).merged())
    rounded = round_weights(model, integer, pictures)
    before, after = Graph(integer), Graph(rounded)
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D")
    kernels = [step.inputs[1] for step in before.operators if step.kind in kinds]
    assert sorted(before.tensors[kernel].shape for kernel in kernels) == [
        (1, 3, 5, 3),
        (12, 1, 5, 1),
        (27, 3, 3, 15),
    ]
    for kernel in kernels:
        changes = before.constant(kernel).astype(int) - after.constant(kernel)
        assert changes.any()
    wanted = [Runner(model).upscale_unrounded(lr) for lr in pictures]
    old, new = (
        sum(
            ((Runner(one).upscale_unrounded(lr) - true) ** 2).sum()
            for lr, true in zip(pictures, wanted, strict=True)
        )
        for one in (integer, rounded)
    )
    assert new < 0.2 * old
    for before, after in _differences(model, (integer, rounded), rounded, pictures).values():
        assert ((after**2).sum(axis=0) <= (before**2).sum(axis=0) * (1 + 1e-3)).all()
        assert (after**2).sum() < 0.9 * (before**2).sum()


def test_same_every_time(trained_xcat, integer, rounded, pictures):
    """The same models and pictures give the same bytes."""
    assert round_weights(trained_xcat, integer, pictures) == rounded


def test_rounded_again_and_again(trained_xcat, rounded, pictures):
    """A rounded model can be rounded again, and is left alone where nothing is gained."""
    again = round_weights(trained_xcat, rounded, pictures)
    assert Graph(again).operators[0].kind == Graph(rounded).operators[0].kind
    wanted = [Runner(trained_xcat).upscale_unrounded(lr) for lr in pictures]
    errors = [
        np.mean(
            [
                ((Runner(one).upscale_unrounded(lr) - true) ** 2).mean()
                for lr, true in zip(pictures, wanted, strict=True)
            ]
        )
        for one in (rounded, again)
    ]
    assert errors[1] < errors[0] * 1.05


def test_one_input_size(abpn, photographs):
    """A model that takes one size alone is fitted on pieces of that size."""
    integer = quantize(abpn, collect(abpn, photographs).merged())
    rounded = round_weights(abpn, integer, tuple(photographs.values()))
    lr = photographs["astronaut"]
    wanted = Runner(abpn).upscale_unrounded(lr)
    old, new = (
        ((Runner(one).upscale_unrounded(lr) - wanted) ** 2).mean() for one in (integer, rounded)
    )
    assert new < old


def test_no_image(trained_xcat, integer):
    """Without images there is nothing to fit."""
    with pytest.raises(UsageError, match="no images"):
        round_weights(trained_xcat, integer, [])


def test_models_of_two_networks(espcn, integer, pictures):
    """An integer model of another network is refused in one line."""
    with pytest.raises(ModelError, match="other convolutions") as raised:
        round_weights(espcn, integer, pictures)
    assert "\n" not in str(raised.value)
