"""The error that each layer makes by itself, whatever the layers before it did."""

from typing import Any

from numpy.typing import NDArray

from qsr.analysis.grid import has_grid
from qsr.analysis.layers import results
from qsr.analysis.pair import ModelPair, PairWindow
from qsr.analysis.sums import ErrorSums, error_sums
from qsr.tflite.graph import Operator
from qsr.tflite.real_values import on_grid
from qsr.tflite.single_operator import SingleOperator, operator_inputs

_MOST_KEPT_PIXELS = 256 * 256
"""Of larger pieces, no operator keeps its memory until the next piece."""


class LocalErrors:
    """Runs each operator of the tested model alone, on the reference's values.

    Its inputs are what the reference has there, rounded to the tensors' grids; its kernels are
    TFLite's own, as in :class:`~qsr.analysis.pair.ModelPair`. What it makes is compared with what
    the reference has there. So an operator that only moves values shows their rounding and nothing
    else.

    Args:
        pair: the two models.
    """

    def __init__(self, pair: ModelPair) -> None:
        self._pair = pair
        alignment, graph = pair.alignment, pair.tested_graph
        self._layers = []
        for operator in graph.operators:
            made = results(graph, alignment, operator)
            if made and all(self._known(index) for index in operator_inputs(graph, operator)):
                self._layers.append((operator, made))
        self._kept: dict[int, SingleOperator] = {}

    def sums(self, window: PairWindow) -> dict[int, ErrorSums]:
        """Return the errors on one piece of a picture, where no other piece covers better.

        Args:
            window: the piece, run by both models.

        Returns:
            Number of the tested model's tensor to the sums of its error. Left out are the input,
            and the results of operators that read what was not matched.

        Raises:
            ModelError: TFLite refuses to run an operator by itself.
        """
        found = {}
        for operator, made in self._layers:
            single = self._single(operator, window)
            outputs = single.run({index: self._given(window, index) for index in single.inputs})
            for result in made:
                match, integers = result.match, outputs[result.output]
                for conversion in result.conversions:
                    converted = self._single(conversion, window).run(
                        {conversion.inputs[0]: integers}
                    )
                    integers = converted[conversion.outputs[0]]
                values = window.kept(window.reference(match.reference.index))
                found[match.tested.index] = error_sums(values, window.kept(integers), match.grid)
        return found

    def _known(self, index: int) -> bool:
        """Whether it can be told what a tensor should hold."""
        tensor = self._pair.tested_graph.tensors[index]
        if not has_grid(tensor) and tensor.dtype != "float32":
            return True  # a size, which both models compute alike
        return self._pair.alignment.reference_of(index) is not None

    def _given(self, window: PairWindow, index: int) -> NDArray[Any]:
        """Return what the reference has for a tensor, on the tensor's grid."""
        tensor = self._pair.tested_graph.tensors[index]
        reference = self._pair.alignment.reference_of(index)
        if reference is None:
            return window.tested(index)
        values = window.reference(reference)
        return on_grid(values, tensor) if has_grid(tensor) else values

    def _single(self, operator: Operator, window: PairWindow) -> SingleOperator:
        """Return the operator ready to run."""
        single = self._kept.get(operator.index)
        if single is None:
            single = SingleOperator(
                self._pair.tested_graph, operator, source=self._pair.tested_source
            )
            rows, columns = window.window.rows, window.window.columns
            if (rows.stop - rows.start) * (columns.stop - columns.start) <= _MOST_KEPT_PIXELS:
                self._kept[operator.index] = single
        return single
