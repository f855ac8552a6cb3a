"""One operator of a model by itself, run on values that are given to it by TFLite's own kernels."""

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from qsr.errors import ModelError
from qsr.quiet import captured_stderr
from qsr.tflite.graph import Graph, Operator


class SingleOperator:
    """An operator with its stored values, ready to be run on one piece after another.

    TFLite's own kernels run it, as they run a model whose every tensor is kept.

    Args:
        graph: the model.
        operator: one of its operators.
        source: named in errors.

    Raises:
        ModelError: TFLite refuses it.
    """

    def __init__(self, graph: Graph, operator: Operator, *, source: str = "model") -> None:
        self.inputs = operator_inputs(graph, operator)
        """Numbers of the tensors that it is to be given."""
        self.outputs = operator.outputs
        """Numbers of the tensors that it makes."""
        self._what = f"{source}: {operator.kind}"
        with captured_stderr():
            try:
                self._interpreter = Interpreter(
                    model_content=single_operator(graph, operator),
                    num_threads=1,
                    experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                )
            except (RuntimeError, ValueError) as error:
                raise ModelError(
                    f"{self._what} cannot be run by itself: {_first_line(error)}"
                ) from error
        self._shapes: list[tuple[int, ...]] = []

    def run(self, values: Mapping[int, NDArray[Any]]) -> dict[int, NDArray[Any]]:
        """Run it.

        Args:
            values: number of each of its inputs to what it is given, of the tensor's type.

        Returns:
            Number of each of its outputs to a copy of what it made.

        Raises:
            ModelError: TFLite refuses the values' sizes.
        """
        interpreter = self._interpreter
        given = [values[index] for index in self.inputs]
        shapes = [one.shape for one in given]
        places = [detail["index"] for detail in interpreter.get_input_details()]
        try:
            if shapes != self._shapes:
                self._shapes = []
                with captured_stderr():
                    for place, shape in zip(places, shapes, strict=True):
                        interpreter.resize_tensor_input(place, shape)
                    interpreter.allocate_tensors()
                self._shapes = shapes
            for place, one in zip(places, given, strict=True):
                interpreter.set_tensor(place, one)
            interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self._what} cannot take {shapes}: {_first_line(error)}") from error
        results = [detail["index"] for detail in interpreter.get_output_details()]
        return {
            index: np.asarray(interpreter.get_tensor(place))
            for index, place in zip(self.outputs, results, strict=True)
        }


def operator_inputs(graph: Graph, operator: Operator) -> tuple[int, ...]:
    """Return the numbers of the tensors that an operator is given, without its stored values.

    Args:
        graph: the model.
        operator: one of its operators.
    """
    return tuple(
        index
        for index in dict.fromkeys(operator.inputs)
        if index >= 0 and not graph.tensors[index].constant
    )


def single_operator(graph: Graph, operator: Operator) -> bytes:
    """Return a model of one operator alone.

    Args:
        graph: the model that it is taken from.
        operator: one of its operators.

    Returns:
        Content of a ``.tflite`` file. Its inputs are those of :func:`operator_inputs` and its
        outputs the operator's, in their order; nothing else of the model is left.
    """
    given = operator_inputs(graph, operator)

    def reduce(flat: Any) -> None:
        main = flat.subgraphs[0]
        kept = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
        place = {index: new for new, index in enumerate(dict.fromkeys(kept))}
        place[-1] = -1
        tensors, buffers = [], [schema.BufferT()]
        for index in place:
            if index < 0:
                continue
            tensor = copy(main.tensors[index])
            tensor.buffer = len(buffers) if graph.tensors[index].constant else 0
            if tensor.buffer:
                buffers.append(flat.buffers[main.tensors[index].buffer])
            tensors.append(tensor)
        alone = main.operators[operator.index]
        flat.operatorCodes = [flat.operatorCodes[alone.opcodeIndex]]
        alone.opcodeIndex = 0
        alone.inputs = [place[index] for index in operator.inputs]
        alone.outputs = [place[index] for index in operator.outputs]
        main.tensors, main.operators, flat.buffers = tensors, [alone], buffers
        main.inputs = [place[index] for index in given]
        main.outputs = list(alone.outputs)
        flat.subgraphs = [main]
        flat.signatureDefs = flat.metadata = flat.metadataBuffer = None

    return graph.edited(reduce)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), repr(error))
