"""Two models run side by side on the same pieces of a picture, every tensor of both to be read."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.grid import grid_of, has_grid
from qsr.analysis.matching import Alignment, align
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import ModelFacts, Runner, Window, inspect_model

Image = NDArray[np.uint8]


class ModelPair:
    """A tested model and its reference.

    Whether they can be compared is what :func:`qsr.analysis.comparable.check_comparable` checks.

    Args:
        reference: content of a float or integer ``.tflite`` model.
        tested: content of an integer ``.tflite`` model.
        reference_source: what errors call the reference.
        tested_source: what they call the tested model.

    Raises:
        ModelError: one of them cannot be run, or is no super-resolution model.
    """

    def __init__(
        self,
        reference: bytes,
        tested: bytes,
        *,
        reference_source: str = "reference",
        tested_source: str = "tested model",
    ) -> None:
        self.reference_source = reference_source
        self.tested_source = tested_source
        self.reference_facts = inspect_model(reference, source=reference_source)
        self.tested_facts = inspect_model(tested, source=tested_source)
        self.reference_graph = Graph(reference, source=reference_source)
        self.tested_graph = Graph(tested, source=tested_source)

    @property
    def facts(self) -> tuple[ModelFacts, ModelFacts]:
        """What the reference and the tested model take and give."""
        return self.reference_facts, self.tested_facts

    @cached_property
    def alignment(self) -> Alignment:
        """Which tensor of one is which of the other."""
        return align(self.reference_graph, self.tested_graph)

    def windows(self, lr: Image) -> Iterator["PairWindow"]:
        """Run both models piece by piece; a window is of use until the next is asked for.

        Args:
            lr: ``(h, w, 3)`` ``uint8`` RGB.

        Yields:
            One window for each piece; both models are run in the same pieces.

        Raises:
            ModelError: a model refuses the picture.
        """
        reference, tested = self._runners
        for window, _ in zip(reference.windows(lr), tested.windows(lr), strict=True):
            yield PairWindow(self, reference, tested, window)

    @cached_property
    def _runners(self) -> tuple[Runner, Runner]:
        """Runners of the reference and the tested model that cut pictures into the same pieces."""
        radius = _larger_radius(self.reference_facts, self.tested_facts)
        return (
            Runner(
                self.reference_graph.model,
                replace(self.reference_facts, receptive_radius=radius),
                keep_tensors=True,
                source=self.reference_source,
            ),
            Runner(
                self.tested_graph.model,
                replace(self.tested_facts, receptive_radius=radius),
                keep_tensors=True,
                source=self.tested_source,
            ),
        )


@dataclass(frozen=True)
class PairWindow:
    """A piece of a picture that both models have just been run on.

    What is handed out are copies: a run fails while a view of a tensor is held.

    Attributes:
        pair: the models.
        reference_runner: has run the reference.
        tested_runner: has run the tested model.
        window: where the piece lies in the picture, and what of it no other piece covers better.
    """

    pair: ModelPair
    reference_runner: Runner
    tested_runner: Runner
    window: Window

    def reference(self, index: int) -> NDArray[np.float32]:
        """Return the real values of a tensor of the reference on the whole piece.

        Args:
            index: the tensor's number; one of ``float32``, or of integers with one scale.
        """
        tensor = self.pair.reference_graph.tensors[index]
        values = self.reference_runner.tensor(index)
        if has_grid(tensor):
            return grid_of(tensor).real(values)
        return np.array(values, np.float32)

    def tested(self, index: int) -> NDArray[Any]:
        """Return a tensor of the tested model on the whole piece, as it is stored.

        Args:
            index: the tensor's number.
        """
        return np.array(self.tested_runner.tensor(index))

    def kept(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what no other piece covers better, so that each pixel of a picture counts once.

        Args:
            values: of a tensor on the whole piece. One whose height and width are no multiple of
                the piece's comes whole.
        """
        return self.window.kept_of(values, self._piece_size)

    @property
    def _piece_size(self) -> tuple[int, int]:
        """Height and width of what both models were fed, in pixels."""
        _, height, width, _ = self.reference_runner.tensor(
            self.pair.reference_graph.input_index
        ).shape
        return height, width


def _larger_radius(first: ModelFacts, second: ModelFacts) -> int | None:
    """Return how far an output pixel of either model sees; None if one sees everything."""
    radii = (first.receptive_radius, second.receptive_radius)
    if radii[0] is None or radii[1] is None:
        return None
    return max(radii[0], radii[1])
