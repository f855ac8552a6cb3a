"""Integer models in float arithmetic, against the float models that they were made from."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from chains import chain

from qsr import calibration as cal
from qsr.errors import ModelError
from qsr.tflite.float_view import View, float_view, float_views
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import EndGrid, Graph, end_grids
from qsr.tflite.real_values import on_grid, real_constant
from qsr.tflite.runtime import Runner, inspect_model, to_bytes

NETWORKS = ("trained_xcat", "espcn", "fsrcnn", "uneven_fsrcnn", "abpn")
SCHEMES = {
    "uint8": {},
    "float ends": {"io": "float32"},
    "per tensor": {"per_channel": False},
    "grid of the images": {"pin_io": False},
    "16 bits": {"activation_bits": 16},
}


@pytest.fixture(scope="module")
def quantized(photographs):
    """Quantize a network with the ranges of two photographs."""
    ranges = {}

    def quantize(model, **scheme):
        if model not in ranges:
            pictures = {name: photographs[name] for name in ("astronaut", "coffee")}
            ranges[model] = cal.collect(model, pictures).merged()
        return cal.quantize(model, ranges[model], cal.Scheme(**scheme))

    return quantize


@pytest.fixture(scope="module")
def picture(photographs):
    """The photograph that every network takes."""
    return photographs["astronaut"]


@pytest.fixture(scope="module")
def xcat_views(trained_xcat, quantized):
    """The integer XCAT, its float model's stored values by its tensors, and its facts."""
    graph = Graph(quantized(trained_xcat, pin_io=False))
    return graph, floats_of(trained_xcat, graph), inspect_model(trained_xcat)


def floats_of(model, graph):
    """Return the float model's stored values by the integer model's tensors of the same names."""
    theirs = Graph(model)
    by_name = {tensor.name: tensor for tensor in theirs.tensors if tensor.constant}
    return {
        tensor.index: theirs.constant(by_name[tensor.name].index)
        for tensor in graph.tensors
        if tensor.constant
        and tensor.quantized
        and tensor.name in by_name
        and by_name[tensor.name].shape == tensor.shape
    }


def grids(graph):
    """Return the numbers of all activations that are integers."""
    return frozenset(tensor.index for tensor in graph.activations if tensor.quantized)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("network", NETWORKS)
class TestWhole:
    """Nothing rounded, and everything."""

    def test_nothing(self, *, network, scheme, request, quantized, picture):
        """With nothing rounded and the float model's stored values, it is the float model."""
        model = request.getfixturevalue(network)
        facts = inspect_model(model)
        graph = Graph(quantized(model, **SCHEMES[scheme]))
        view = float_view(graph, constants=floats_of(model, graph))
        found = Runner(view, facts).upscale_unrounded(picture)
        expected = Runner(model, facts).upscale_unrounded(picture)
        np.testing.assert_allclose(found, expected, atol=255 * 1e-5)

    def test_everything(self, *, network, scheme, request, quantized, picture):
        """With everything rounded, its bytes are the integer model's, but for what kernels do.

        98 of 100 are equal, or as many as two kinds of TFLite's integer kernels agree on.
        """
        model = request.getfixturevalue(network)
        facts = inspect_model(model)
        integer = quantized(model, **SCHEMES[scheme])
        graph = Graph(integer)
        view = float_view(
            graph, rounded=grids(graph), ends=end_grids(integer), value_max=facts.value_max
        )
        found = Runner(view, facts).upscale(picture).astype(int)
        expected = Runner(integer).upscale(picture).astype(int)
        built_in = Runner(integer, keep_tensors=True).upscale(picture)
        distance, between = np.abs(found - expected), np.abs(built_in - expected)
        assert (distance == 0).mean() > min(0.98, (between == 0).mean())
        assert distance.max() <= max(2, between.max())


def test_folded_clip(trained_xcat, quantized, picture):
    """A clip that was folded away is made up for by what is cut off in the picture."""
    graph = Graph(fold_copies(quantized(trained_xcat)))
    assert "MINIMUM" not in {operator.kind for operator in graph.operators}
    view = float_view(graph, constants=floats_of(trained_xcat, graph))
    found = Runner(view, inspect_model(trained_xcat)).upscale(picture)
    np.testing.assert_array_equal(found, Runner(trained_xcat).upscale(picture))


def test_float_layer(trained_xcat, quantized, picture):
    """Operators that compute in float within an integer model stay as they are."""
    integer = quantized(trained_xcat, float_layers=("block1_x", "output_conv"))
    graph = Graph(integer)
    facts = inspect_model(trained_xcat)
    view = float_view(graph, constants=floats_of(trained_xcat, graph))
    np.testing.assert_allclose(
        Runner(view, facts).upscale_unrounded(picture),
        Runner(trained_xcat).upscale_unrounded(picture),
        atol=255 * 1e-5,
    )
    view = float_view(graph, rounded=grids(graph), ends=end_grids(integer))
    found = Runner(view, facts).upscale(picture)
    assert (found == Runner(integer).upscale(picture)).mean() > 0.99


class TestParts:
    """One thing of the integer model at a time."""

    def test_stored(self, xcat_views):
        """What is not replaced has the value that its integers stand for."""
        graph, floats, _ = xcat_views
        kernel = next(index for index in floats if graph.tensors[index].scale.size == 28)
        view = Graph(float_view(graph, constants={kernel: floats[kernel]}))
        stored = {tensor.name: tensor for tensor in view.tensors if tensor.constant}
        for index in floats:
            tensor = graph.tensors[index]
            along = (-1, *[1] * (len(tensor.shape) - 1)) if tensor.shape else ()
            scale, zero = tensor.scale.reshape(along), tensor.zero_point.reshape(along)
            expected = floats[index] if index == kernel else (graph.constant(index) - zero) * scale
            twin = stored[tensor.name]
            assert twin.dtype == "float32"
            np.testing.assert_allclose(view.constant(twin.index), expected, rtol=1e-6)

    def test_one_rounded(self, xcat_views, picture):
        """A rounded activation is at the nearest value of its grid, and within its ends."""
        graph, floats, facts = xcat_views
        output = graph.output
        plain = Runner(float_view(graph, constants=floats), facts).upscale_unrounded(picture) / 255
        view = float_view(graph, constants=floats, rounded={output.index})
        found = Runner(view, facts).upscale_unrounded(picture) / 255
        scale, zero = float(output.scale[0]), int(output.zero_point[0])
        expected = (np.clip(np.rint(plain / scale) + zero, 0, 255) - zero) * scale
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.abs(found - plain).max() > scale / 4

    def test_one_saturated(self, xcat_views, picture):
        """A saturated activation is cut off at the ends of its grid, and otherwise as it was."""
        graph, floats, facts = xcat_views
        output = graph.output
        graph = Graph(graph.with_grids({output.index: (0.5 / 255, 51)}))
        plain = Runner(float_view(graph, constants=floats), facts).upscale_unrounded(picture) / 255
        view = float_view(graph, constants=floats, saturated={output.index})
        found = Runner(view, facts).upscale_unrounded(picture) / 255
        low, high = ((end - 51) * 0.5 / 255 for end in (0, 255))
        np.testing.assert_allclose(found, np.clip(plain, low, high), atol=1e-6)
        assert plain.max() > high

    def test_ends(self, xcat_views, picture):
        """With the grids of both ends, bytes stand for what these say."""
        graph, floats, facts = xcat_views
        ends = EndGrid("uint8", 1.25 / 255, 10), EndGrid("int8", 0.5 / 255, -120)
        view = float_view(graph, constants=floats, ends=ends)
        found = Runner(view, facts).upscale_unrounded(picture)
        plain = float_view(graph, constants=floats)
        runner = Runner(plain, facts)
        runner.run(picture)
        read = (picture[None].astype(np.float32) - 10) * np.float32(1.25 / 255)
        runner._interpreter.set_tensor(runner._input, read)
        runner._interpreter.invoke()
        expected = runner.tensor(runner._output)[0] / (0.5 / 255) + 8
        np.testing.assert_allclose(found, expected, atol=1e-2)


def test_biases_without_scale(xcat_views, picture):
    """Biases count as kernels count them, whatever scale is written beside them, or none."""
    graph, _, facts = xcat_views
    biases = [one.inputs[2] for one in graph.operators if one.kind == "CONV_2D"]

    def forget(flat):
        for index in biases:
            flat.subgraphs[0].tensors[index].quantization = None

    bare = Graph(graph.edited(forget))
    found = Runner(float_view(bare), facts).upscale_unrounded(picture)
    expected = Runner(float_view(graph), facts).upscale_unrounded(picture)
    np.testing.assert_allclose(found, expected, atol=1e-3)


class TestTogether:
    """Several views in one model."""

    def test_as_alone(self, xcat_views, picture):
        """Each picture is the one of the view alone, clipped and rounded."""
        graph, floats, facts = xcat_views
        every, one = grids(graph), graph.operators[3].outputs[0]
        kernel = graph.operators[3].inputs[1]
        views = [
            View(),
            View(rounded=frozenset({one})),
            View(saturated=every),
            View(stored=frozenset({kernel})),
            View(stored=frozenset(floats), rounded=every, ends=end_grids(graph.model)),
        ]
        together = float_views(graph, views, constants=floats, as_bytes=True)
        runner = Runner(together.model, facts)
        runner.run(picture)
        for view, output in zip(views, together.outputs, strict=True):
            kept = {index: floats[index] for index in floats if index not in view.stored}
            alone = float_view(
                graph,
                constants=kept,
                rounded=view.rounded,
                saturated=view.saturated,
                ends=view.ends,
            )
            expected = to_bytes(Runner(alone, facts).upscale_unrounded(picture))
            found = runner.tensor(output)[0]
            assert found.dtype == np.uint8
            assert (found == expected).mean() > 0.999

    def test_equal_views(self, xcat_views):
        """Views that are equal share an output, and what views have in common is there once."""
        graph, floats, _ = xcat_views
        exact = next(  # the frozen convolution that copies pixels
            index
            for index in floats
            if np.allclose(real_constant(graph, index), floats[index], rtol=1e-6)
            and floats[index].any()
        )
        last = graph.operators[-2].outputs[0]
        views = [View(), View(stored=frozenset({exact})), View(rounded=frozenset({last}))]
        made = float_views(graph, views, constants=floats)
        assert made.outputs[0] == made.outputs[1] != made.outputs[2]
        main = made.model
        alone = float_view(graph, constants=floats)
        extra = len(_operators(main)) - len(_operators(alone))
        assert 2 <= extra <= 4  # QUANTIZE, DEQUANTIZE, and what follows

    def test_clipped(self, xcat_views, picture):
        """Bounds given for an activation cut it off in every view."""
        graph, floats, facts = xcat_views
        made = float_views(
            graph, [View()], constants=floats, clipped={graph.output_index: (0.25, 0.5)}
        )
        found = Runner(made.model, facts).upscale_unrounded(picture)
        plain = Runner(float_view(graph, constants=floats), facts).upscale_unrounded(picture)
        np.testing.assert_allclose(found, np.clip(plain, 0.25 * 255, 0.5 * 255), atol=1e-3)

    def test_activations(self, trained_xcat, xcat_views, picture):
        """Activations that are asked for are outputs: those of the float model."""
        graph, floats, facts = xcat_views
        names = {tensor.name: tensor.index for tensor in Graph(trained_xcat).activations}
        shared = [
            tensor for tensor in graph.activations if tensor.name in names and tensor.quantized
        ]
        shared = [one for one in shared if one.index not in {graph.input_index, graph.output_index}]
        made = float_views(graph, [View()], constants=floats, also=[one.index for one in shared])
        runner = Runner(made.model, facts)
        theirs = Runner(trained_xcat, facts, keep_tensors=True)
        runner.run(picture)
        theirs.run(picture)
        assert len(shared) > 8
        for one in shared:
            found = runner.tensor(made.activations[0][one.index])
            np.testing.assert_allclose(found, theirs.tensor(names[one.name]), atol=1e-5)


def test_wrong_shape(xcat_views):
    """Values of another shape than the tensor's are refused, and both shapes named."""
    graph, floats, _ = xcat_views
    with pytest.raises(ValueError, match=r"\(3,\) in place of \("):
        float_view(graph, constants={next(iter(floats)): np.zeros(3, np.float32)})


def test_unreadable(xcat_views):
    """Stored values that are too few for their shape are refused."""
    graph, _, _ = xcat_views
    index = graph.operators[3].inputs[1]

    def cut(flat):
        buffer = flat.buffers[flat.subgraphs[0].tensors[index].buffer]
        buffer.data = buffer.data[:-1]

    damaged = Graph(graph.edited(cut))
    with pytest.raises(ModelError, match="stored values cannot be read"):
        float_view(damaged)


def test_on_grid():
    """Rounding halves goes away from 0, and ends are kept: by hand, for one grid."""
    graph = Graph(chain(["RELU"], [(0.5, 10)] * 3))
    values = np.array([0.2, 0.25, -0.25, 0.75, 100, -100], np.float32)
    np.testing.assert_array_equal(on_grid(values, graph.input), [10, 11, 9, 12, 127, -128])


def _operators(model):
    return schema.ModelT.InitFromPackedBuf(model, 0).subgraphs[0].operators
