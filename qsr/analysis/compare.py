"""Compares a tested model with its reference: every tensor that both have, and the pictures.

from qsr.analysis import compare

comparison = compare(float_model, integer_model, [("butterfly", lr, hr), ("bird", lr, None)])

Pictures are measured one by one, and what is measured adds up: so they can be measured anywhere, in
any order, and give the same result.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsr.analysis.accumulated import accumulated_sums
from qsr.analysis.attribution import Attribution
from qsr.analysis.comparable import check_comparable
from qsr.analysis.local import LocalErrors
from qsr.analysis.matching import Match
from qsr.analysis.pair import ModelPair
from qsr.analysis.pictures import picture_error
from qsr.analysis.records import (
    CauseCosts,
    Comparison,
    LayerCost,
    LayerError,
    PictureError,
    StoredError,
)
from qsr.analysis.stored import stored_errors
from qsr.analysis.sums import ErrorSums, added
from qsr.errors import ImageError, ModelError
from qsr.tflite.io_grid import ranges_tied_to_output
from qsr.tflite.runtime import Runner

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Measured:
    """What one picture adds.

    Attributes:
        accumulated: number of a tested tensor to its error, all layers before it quantized as well.
        local: the same for each layer alone.
        psnrs: of each variant that costs are made of, in dB; None without an original.
        picture: by both models.
    """

    accumulated: Mapping[int, ErrorSums]
    local: Mapping[int, ErrorSums]
    psnrs: NDArray[np.float64] | None
    picture: PictureError


class Instruments:
    """Two models ready to be measured on one picture after another.

    Args:
        reference: content of a ``.tflite`` model, float or integer.
        tested: content of the integer model.
        reference_source: what errors call the reference.
        tested_source: what errors call the tested model.

    Raises:
        ModelError: a model cannot be run, or the two are not of one network; see
            :class:`qsr.analysis.pair.ModelPair`.
    """

    def __init__(
        self, reference: bytes, tested: bytes, *, reference_source: str, tested_source: str
    ) -> None:
        self.pair = ModelPair(
            reference, tested, reference_source=reference_source, tested_source=tested_source
        )
        check_comparable(self.pair)
        self.attribution = Attribution(self.pair)
        self._local = LocalErrors(self.pair)
        self._runners = (
            Runner(reference, source=reference_source),
            Runner(tested, source=tested_source),
        )

    @property
    def scale(self) -> int:
        """HR size over LR size."""
        return self._runners[0].facts.scale

    @property
    def smallest_side(self) -> int:
        """The side in LR pixels below which a picture is all border, for either model."""
        return max(runner.facts.smallest_side for runner in self._runners)

    def pictures(self, lr: Image) -> tuple[Image, Image]:
        """Return what both models make of a picture, as they are used: bytes in, bytes out.

        Args:
            lr: ``(h, w, 3)`` ``uint8`` RGB.

        Returns:
            The reference's picture and the tested model's, ``(scale*h, scale*w, 3)`` ``uint8``.
        """
        reference, tested = self._runners
        return reference.upscale(lr), tested.upscale(lr)

    def measure(self, name: str, lr: Image, hr: Image | None) -> Measured:
        """Measure one picture.

        Args:
            name: of the picture.
            lr: ``(h, w, 3)`` ``uint8`` RGB.
            hr: ``(scale*h, scale*w, 3)`` ``uint8`` RGB, or None.

        Raises:
            ImageError: the original is of another size.
            ModelError: a model refuses the picture, or gives values that are not finite.
        """
        _check_hr(name, lr, hr, self.scale)
        try:
            parts = [
                (accumulated_sums(window, self.pair.alignment), self._local.sums(window))
                for window in self.pair.windows(lr)
            ]
        except ModelError as error:
            raise ModelError(f"{error} (picture {name})") from error
        return Measured(
            added(accumulated for accumulated, _ in parts),
            added(local for _, local in parts),
            None if hr is None else self.attribution.psnrs(lr, hr),
            picture_error(name, *self.pictures(lr), hr),
        )

    def comparison(self, measured: Iterable[Measured]) -> Comparison:
        """Add up what was measured; one picture is held at a time.

        Args:
            measured: of each picture, in the order in which they are to be shown.

        Raises:
            ModelError: there is none.
        """
        accumulated: Mapping[int, ErrorSums] = {}
        local: Mapping[int, ErrorSums] = {}
        psnrs: list[NDArray[np.float64]] = []
        pictures: list[PictureError] = []
        for one in measured:
            accumulated = added([accumulated, one.accumulated])
            local = added([local, one.local])
            psnrs += [] if one.psnrs is None else [one.psnrs]
            pictures.append(one.picture)
        if not pictures:
            raise ModelError("no pictures to compare the models on; give at least one")
        causes: CauseCosts | None = None
        costs: Mapping[int, LayerCost] = {}
        if psnrs:
            causes, costs = self.attribution.costs(np.mean(psnrs, axis=0))
        stored = stored_errors(self.pair)
        alignment = self.pair.alignment
        tied = ranges_tied_to_output(self.pair.reference_graph)
        after = _after(self.pair)
        return Comparison(
            layers=tuple(
                _layer(
                    match,
                    accumulated[match.tested.index],
                    local.get(match.tested.index),
                    after=after[match.reference.index],
                    tied=match.reference.index in tied,
                    stored=stored.get(match.tested.index),
                    cost=costs.get(match.tested.index),
                )
                for match in alignment.matches
            ),
            only_reference=alignment.only_reference,
            only_tested=alignment.only_tested,
            causes=causes,
            pictures=tuple(pictures),
            reference_quantized=self.pair.reference_facts.quantized,
            value_max=self.attribution.value_max,
        )


def compare(
    reference: bytes,
    tested: bytes,
    images: Iterable[tuple[str, Image, Image | None]],
    *,
    reference_source: str = "fp32",
    tested_source: str = "int8",
    on_image: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare an integer model with the model that it was made from, or with another of its kind.

    An integer model is fed raw bytes, as on a phone; its input tensor stands for what its own scale
    makes of them. So an input grid that is not black to white in 256 steps shows as an error of the
    input: every picture is read darker or brighter than it is.

    Every picture is counted once: the overlap of the pieces that a large picture is run in, and
    the padding of a fixed input size, are left out of every tensor whose height and width are a
    multiple of the piece's.

    Args:
        reference: content of a ``.tflite`` model, float or integer.
        tested: content of an integer model.
        images: (name, LR, HR or None), ``(h, w, 3)`` and ``(scale*h, scale*w, 3)`` ``uint8`` RGB;
            of any sizes, streamed.
        reference_source: what errors call the reference.
        tested_source: what errors call the tested model.
        on_image: called with the number of images compared so far after each.

    Returns:
        One record per tensor and per image.

    Raises:
        ModelError: a model cannot be run; the tested one is float; they differ in scale or input
            size, or have no tensor in common; the reference gives values that are not finite; or
            there is no image.
        ImageError: an HR image is not ``scale`` times its LR image.
    """
    instruments = Instruments(
        reference, tested, reference_source=reference_source, tested_source=tested_source
    )

    def measured() -> Iterator[Measured]:
        for done, (name, lr, hr) in enumerate(images, start=1):
            yield instruments.measure(name, lr, hr)
            if on_image is not None:
                on_image(done)

    return instruments.comparison(measured())


def _check_hr(name: str, lr: Image, hr: Image | None, scale: int) -> None:
    """Check the size of an original, before time is spent on its image."""
    if hr is not None and hr.shape[:2] != (lr.shape[0] * scale, lr.shape[1] * scale):
        raise ImageError(
            f"{name}: HR is {hr.shape[1]}x{hr.shape[0]} and LR {lr.shape[1]}x{lr.shape[0]} "
            f"pixels, but the models enlarge x{scale}"
        )


def _after(pair: ModelPair) -> dict[int, tuple[str, ...]]:
    """Return the names of the nearest matched tensors that each of the reference is made of."""
    graph = pair.reference_graph
    matched = {match.reference.index: match.reference.name for match in pair.alignment.matches}
    nearest: dict[int, tuple[str, ...]] = {graph.input_index: ()}
    for operator in graph.operators:
        names = dict.fromkeys(
            name
            for index in operator.inputs
            for name in ((matched[index],) if index in matched else nearest.get(index, ()))
        )
        nearest.update(dict.fromkeys(operator.outputs, tuple(names)))
    return nearest


def _layer(
    match: Match,
    accumulated: ErrorSums,
    local: ErrorSums | None,
    *,
    after: tuple[str, ...],
    tied: bool,
    stored: StoredError | None,
    cost: LayerCost | None,
) -> LayerError:
    """Return the record of one tensor."""
    grid = match.grid
    return LayerError(
        name=match.reference.name,
        tested_name=match.tested.name,
        how=match.how,
        operator=match.operator,
        after=after,
        scale=grid.scale,
        zero_point=grid.zero_point,
        grid_minimum=grid.minimum,
        grid_maximum=grid.maximum,
        minimum=accumulated.minimum,
        maximum=accumulated.maximum,
        tied_to_output=tied,
        accumulated=accumulated.tensor_error,
        local=None if local is None else local.tensor_error,
        stored=stored,
        cost=cost,
        histogram=accumulated.histogram,
    )
