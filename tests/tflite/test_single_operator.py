"""Operators by themselves, against the models that they are taken from."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from chains import chain

from qsr import calibration as cal
from qsr.errors import ModelError
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner
from qsr.tflite.single_operator import SingleOperator, operator_inputs, single_operator

NETWORKS = ("trained_xcat", "espcn", "fsrcnn", "abpn_of_any_size")


@pytest.fixture(scope="module", params=NETWORKS)
def integer(request, photographs):
    """A network of ``uint8`` ends."""
    model = request.getfixturevalue(request.param)
    ranges = cal.collect(model, {"astronaut": photographs["astronaut"]}).merged()
    return cal.quantize(model, ranges)


def test_as_in_model(integer, photographs):
    """Fed what the model fed it, each operator makes what it made there, to the byte."""
    graph = Graph(integer)
    runner = Runner(integer, keep_tensors=True)
    singles = [SingleOperator(graph, operator) for operator in graph.operators]
    for name in ("chelsea", "coffee", "coffee"):  # sizes change, and stay
        runner.run(photographs[name])
        for single in singles:
            given = {index: runner.tensor(index).copy() for index in single.inputs}
            made = single.run(given)
            assert tuple(made) == single.outputs
            for index, values in made.items():
                np.testing.assert_array_equal(values, runner.tensor(index))


def test_nothing_else(integer):
    """Of the model nothing is left but the operator, what it reads and what it makes."""
    graph = Graph(integer)
    operator = graph.operators[2]
    model = single_operator(graph, operator)
    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    names = [detail["name"] for detail in interpreter.get_tensor_details()]
    touched = [*operator.inputs, *operator.outputs]
    assert sorted(names) == sorted({graph.tensors[index].name for index in touched})
    assert len(model) < len(integer)


def test_same_input_twice():
    """An operator that reads one tensor twice is given it once."""
    graph = Graph(chain(["ADD"], [(1 / 255, -128)] * 3))
    add = graph.operators[-1]
    assert operator_inputs(graph, add) == (1,)
    made = SingleOperator(graph, add).run({1: np.full((1, 2, 2, 1), -118, np.int8)})
    np.testing.assert_array_equal(made[2], np.full((1, 2, 2, 1), -108, np.int8))


def test_wrong_size(integer):
    """Values of an impossible size are refused in one line, and the next ones still run."""
    graph = Graph(integer)
    operator = next(one for one in graph.operators if one.kind == "CONV_2D")
    single = SingleOperator(graph, operator, source="my.tflite")
    (index,) = single.inputs
    channels = graph.tensors[index].shape[-1]
    with pytest.raises(ModelError, match=r"^my\.tflite: CONV_2D cannot take \[\(1, 4, 4, ") as told:
        single.run({index: np.zeros((1, 4, 4, channels + 1), np.int8)})
    assert "\n" not in str(told.value)
    made = single.run({index: np.zeros((1, 4, 4, channels), np.int8)})
    assert made[operator.outputs[0]].shape[:3] == (1, 4, 4)


def test_unknown_operator(integer):
    """An operator that TFLite does not know is refused by its name."""
    graph = Graph(integer)

    def spoil(flat):
        flat.operatorCodes[0].builtinCode = 32
        flat.operatorCodes[0].deprecatedBuiltinCode = 32
        flat.operatorCodes[0].customCode = b"Unheard"

    spoiled = Graph(graph.edited(spoil))
    operator = next(one for one in spoiled.operators if one.kind == "CUSTOM")
    with pytest.raises(ModelError, match="CUSTOM cannot"):
        SingleOperator(spoiled, operator).run(
            {index: np.zeros((1, 4, 4, 3), np.int8) for index in operator.inputs}
        )
