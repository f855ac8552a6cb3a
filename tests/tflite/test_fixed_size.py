"""Integer models for one input size."""

import numpy as np
import pytest
import skimage.data
from ai_edge_litert.interpreter import Interpreter

from qsr import calibration as cal
from qsr.errors import UsageError
from qsr.tflite.fixed_size import with_input_size
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import inspect_model

SIZE = (40, 48)


@pytest.fixture(scope="module")
def integer(photographs):
    """Quantize a float model: ``integer(model, io="uint8")``."""

    def make(model, io="uint8"):
        return cal.quantize(model, cal.collect(model, photographs).merged(), cal.Scheme(io=io))

    return make


def kinds(model):
    """Return the kinds of a model's operators, in order."""
    return [operator.kind for operator in Graph(model).operators]


def made_shapes(model):
    """Return the shapes of what the operators make, in order."""
    graph = Graph(model)
    return [graph.tensors[index].shape for one in graph.operators for index in one.outputs]


@pytest.mark.parametrize("network", ["trained_xcat", "fsrcnn", "espcn"])
@pytest.mark.parametrize("io", ["uint8", "int8"])
def test_same_bytes(network, io, integer, run_bare, request):
    """On that size it gives the bytes of the model for any; all shapes are written down."""
    free = integer(request.getfixturevalue(network), io)
    fixed = with_input_size(free, SIZE)
    assert inspect_model(fixed).fixed_size == SIZE
    picture = skimage.data.coffee()[: SIZE[0], : SIZE[1]][None]
    picture = picture if io == "uint8" else (picture ^ np.uint8(128)).view(np.int8)
    np.testing.assert_array_equal(run_bare(fixed, picture), run_bare(free, picture))
    interpreter = Interpreter(model_content=fixed)
    interpreter.allocate_tensors()
    for detail in interpreter.get_tensor_details():
        assert -1 not in detail["shape_signature"]
    assert all(len(shape) in {0, 1, 4} and -1 not in shape for shape in made_shapes(fixed))


def test_as_converted(abpn, abpn_of_any_size, integer):
    """It is what the converter makes of the same network built for that size."""
    fixed, built = with_input_size(integer(abpn_of_any_size), SIZE), integer(abpn)
    assert kinds(fixed) == kinds(built)
    assert made_shapes(fixed) == made_shapes(built)
    assert Graph(fixed).input.shape == Graph(built).input.shape == (1, *SIZE, 3)


def test_sizes_are_stored(fsrcnn, integer):
    """What computed the size of a transposed convolution is gone: the size is stored."""
    free = integer(fsrcnn)
    fixed = with_input_size(free, SIZE)
    assert {"SHAPE", "STRIDED_SLICE", "PACK", "MUL"} <= set(kinds(free))
    assert kinds(fixed) == [
        kind for kind in kinds(free) if kind not in {"SHAPE", "STRIDED_SLICE", "PACK", "MUL"}
    ]
    graph = Graph(fixed)
    (last,) = [one for one in graph.operators if one.kind == "TRANSPOSE_CONV"]
    assert graph.constant(last.inputs[0]).tolist() == [1, 80, 96, 3]


def test_fixed_already(abpn, integer):
    """A model that takes that size alone is left as it is; of another it is refused."""
    model = integer(abpn)
    assert with_input_size(model, SIZE) == model
    with pytest.raises(UsageError, match="takes 48x40 pixels alone, not 64x40"):
        with_input_size(model, (40, 64))


def test_too_small(trained_xcat, integer):
    """A picture smaller than what an output pixel sees is refused, with the smallest side."""
    model = integer(trained_xcat)
    side = inspect_model(model).smallest_side
    with pytest.raises(UsageError, match=f"48x{side - 1} pixels is all border; give {side} or"):
        with_input_size(model, (side - 1, 48))
    assert inspect_model(with_input_size(model, (side, 48))).fixed_size == (side, 48)
