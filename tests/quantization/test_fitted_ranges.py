"""Fitted ranges have the least squared error of rounding and cutting off, and keep known grids."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qsr.calibration import collect, quantize
from qsr.errors import UsageError
from qsr.quantization.fitted_ranges import count_values
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import inspect_model


@pytest.fixture(scope="module")
def pictures(photographs):
    """Four pictures of four sizes."""
    return tuple(photographs.values())


@pytest.fixture(scope="module")
def widest(trained_xcat, photographs):
    """What an XCAT's activations span on them."""
    return collect(trained_xcat, photographs).merged()


def _span(ranges, name):
    place = ranges.tensors.index(name)
    return float(ranges.minimum[place]), float(ranges.maximum[place])


def _values(model, index, pictures):
    """All values of a tensor, as TFLite's own kernels make them."""
    interpreter = Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    (taken,) = interpreter.get_input_details()
    found = []
    for lr in pictures:
        interpreter.resize_tensor_input(taken["index"], (1, *lr.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], lr[None] / np.float32(255))
        interpreter.invoke()
        found.append(interpreter.get_tensor(index).astype(np.float64).reshape(-1))
    return np.concatenate(found)


def _error(values, low, high, cut_weight):
    """The expected squared error of a grid: rounding, by its variance, and cutting off."""
    beyond = np.maximum(values - high, 0) ** 2 + np.maximum(low - values, 0) ** 2
    return len(values) * ((high - low) / 255) ** 2 / 12 + cut_weight * beyond.sum()


@pytest.mark.parametrize("cut_weight", [0.05, 1.0, 20.0])
def test_least_error_of_all(espcn, photographs, pictures, cut_weight):
    """No other range, of thousands tried on the values themselves, has much less error.

    The last convolution of an ESPCN without a clip has values of both signs.
    """
    graph = Graph(espcn)
    free = next(one for one in graph.operators if one.kind == "CONV_2D")
    name = graph.tensors[free.outputs[0]].name
    widest = collect(espcn, photographs).merged()
    low, high = _span(widest, name)
    found = _span(count_values(espcn, widest, pictures).fitted(cut_weight), name)
    values = _values(espcn, free.outputs[0], pictures)
    shares = np.linspace(0.2, 1, 60)
    least = min(
        _error(values, low * below, high * above, cut_weight)
        for below in shares
        for above in shares
    )
    assert _error(values, *found, cut_weight) <= 1.01 * least
    assert low <= found[0] <= 0 <= found[1] <= high


def test_wider_the_more_cutting_counts(trained_xcat, widest, pictures):
    """What is cut off gets less the more it counts, down to nothing."""
    graph = Graph(trained_xcat)
    first = graph.tensors[graph.operators[0].outputs[0]].name
    tops = [
        _span(count_values(trained_xcat, widest, pictures).fitted(weight), first)[1]
        for weight in (1e-3, 1.0, 1e9)
    ]
    assert tops == sorted(tops)
    assert tops[0] < tops[2] == pytest.approx(_span(widest, first)[1])


def test_tensors_of_one_grid_have_one_range(trained_xcat, widest, pictures):
    """What is split or joined shares a range, so that the quantizer has nothing to decide."""
    fitted = count_values(trained_xcat, widest, pictures).fitted(1.0)
    graph = Graph(trained_xcat)
    moved = [one for one in graph.operators if one.kind in {"SPLIT", "SPLIT_V", "CONCATENATION"}]
    assert moved
    for operator in moved:
        tied = (*operator.inputs, *operator.outputs)
        names = [graph.tensors[index].name for index in tied]
        assert len({_span(fitted, name) for name in names if name in fitted.tensors}) == 1


def test_known_ranges_stay(trained_xcat, widest, pictures):
    """Tensors tied to the picture, and the ranges given for them, are left alone."""
    graph = Graph(trained_xcat)
    known = widest.with_known({graph.input.name: (0.0, 1.0), graph.output.name: (0.0, 1.0)})
    fitted = count_values(trained_xcat, known, pictures).fitted(1.0)
    assert fitted.tensors == known.tensors
    for name in (graph.input.name, graph.output.name):
        assert _span(fitted, name) == (0.0, 1.0)


@pytest.mark.parametrize("name", ["trained_xcat", "abpn_of_any_size"])
def test_added_with_the_pictures_step(request, photographs, pictures, name):
    """What is added to the enlarged picture has its step, so that the sum of integers is exact."""
    model = request.getfixturevalue(name)
    white = inspect_model(model).value_max
    fitted = count_values(model, collect(model, photographs).merged(), pictures).fitted(0.1)
    graph = Graph(quantize(model, fitted))
    (added,) = [one for one in graph.operators if one.kind == "ADD"]
    grids = [graph.tensors[index] for index in (*added.inputs, *added.outputs)]
    for grid in grids:
        assert float(grid.scale[0]) == pytest.approx(white / 255, rel=1e-6)
    assert sorted(int(grid.zero_point[0]) for grid in grids) == [-128, -128, 0]


def test_pictures_step_is_left_where_it_would_cut(trained_xcat, photographs, pictures):
    """What is added, and reaches far beyond half of white, keeps a grid that holds it."""
    graph = Graph(trained_xcat)
    (added,) = [one for one in graph.operators if one.kind == "ADD"]
    last = next(
        graph.producer[index]
        for index in added.inputs
        if graph.tensors[graph.producer[index].inputs[1]].shape[1] > 1
    )
    first_of_27 = np.ones(27, np.float32)
    first_of_27[0] = 40
    kernel, bias = last.inputs[1:]
    strong = graph.with_constants(
        {
            kernel: graph.constant(kernel) * first_of_27[:, None, None, None],
            bias: graph.constant(bias) * first_of_27,
        }
    )
    widest = collect(strong, photographs).merged()
    name = graph.tensors[last.outputs[0]].name
    low, high = _span(widest, name)
    assert max(-low, high) > 0.55
    found = _span(count_values(strong, widest, pictures).fitted(1.0), name)
    assert max(-found[0], found[1]) > 0.52


def test_no_image(trained_xcat, widest):
    """Without images there is nothing to count."""
    with pytest.raises(UsageError, match="no images"):
        count_values(trained_xcat, widest, [])


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_no_weight(trained_xcat, widest, pictures, weight):
    """A weight that is not positive is refused."""
    with pytest.raises(UsageError, match="positive"):
        count_values(trained_xcat, widest, pictures).fitted(weight)
