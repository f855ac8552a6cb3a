"""What is checked: a model, and what is measured on it with images."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qsr.calibration.collect import collect
from qsr.calibration.quantize import picture_ranges, quantize
from qsr.calibration.ranges import Ranges
from qsr.calibration.scheme import Scheme
from qsr.checks.picture_grid import Image, picture_grid
from qsr.checks.tensor_values import TensorValues, measure_tensors
from qsr.errors import ModelError
from qsr.metrics import RGB_SHAVE, counted_db, psnr_db
from qsr.targets.tables import Target
from qsr.tflite.graph import Graph, end_grids
from qsr.tflite.runtime import ModelFacts, Runner, inspect_model

_FREE = Scheme(io="uint8", pin_io=False)
"""Ranges are used as they are given, those of input and output too."""


@dataclass(frozen=True)
class Picture:
    """An image to measure on.

    Attributes:
        name: of the image.
        lr: ``(h, w, 3)`` ``uint8`` RGB, fed to the model.
        hr: ``(scale*h, scale*w, 3)`` ``uint8`` RGB, the original.
    """

    name: str
    lr: Image
    hr: Image


@dataclass(frozen=True)
class TrainableKernel:
    """A kernel that copies the picture and that training may change.

    Attributes:
        layer: name of its Keras layer.
        parameters: how many numbers it has.
    """

    layer: str
    parameters: int


@dataclass(frozen=True)
class Subject:
    """A model to check.

    Attributes:
        model: content of the ``.tflite`` file.
        source: named in errors.
        pictures: images to measure on; none, and nothing is measured.
        target: hardware that it is to run on; None for any.
        trainable: kernels that copy the picture and that training may change, as the Keras model
            says.
    """

    model: bytes
    source: str = "model"
    pictures: tuple[Picture, ...] = ()
    target: Target | None = None
    trainable: tuple[TrainableKernel, ...] = ()

    @cached_property
    def graph(self) -> Graph:
        """The model, read."""
        return Graph(self.model, source=self.source)

    @cached_property
    def facts(self) -> ModelFacts:
        """What it takes and gives."""
        return inspect_model(self.model, source=self.source)

    @property
    def quantized(self) -> bool:
        """Whether it is an integer model."""
        return self.facts.quantized

    @cached_property
    def values(self) -> Mapping[int, TensorValues]:
        """Tensor number to what the activation holds on the pictures; empty without any."""
        if not self.pictures:
            return {}
        runner = Runner(self.model, self.facts, keep_tensors=True, source=self.source)
        return measure_tensors(runner, self.graph, [picture.lr for picture in self.pictures])

    @cached_property
    def image_ranges(self) -> Ranges:
        """The true ranges of a float model on the pictures together."""
        named = {picture.name: picture.lr for picture in self.pictures}
        return collect(self.model, named, source=self.source).merged()

    @cached_property
    def known_ranges(self) -> dict[str, tuple[float, float]]:
        """The ranges of a float model that follow from the picture's at both ends."""
        return picture_ranges(self.graph, source=self.source)

    @cached_property
    def refusal(self) -> str | None:
        """Why a float model cannot be quantized; None if it can be. Needs pictures."""
        try:
            self._quantize(self.image_ranges)
        except ModelError as error:
            return str(error).removeprefix(f"{self.source}: ")
        return None

    @property
    def simulates(self) -> bool:
        """Whether costs can be measured by quantizing: a float model, with pictures."""
        return bool(self.pictures) and not self.quantized and self.refusal is None

    @cached_property
    def true_psnr_db(self) -> float:
        """PSNR in dB of the integer model of true ranges; needs :attr:`simulates`."""
        return self.quantized_psnr_db()

    def quantized_psnr_db(
        self, changed: Mapping[str, tuple[float, float]] | None = None, *, shown_raw: bool = False
    ) -> float:
        """Quantize a float model and measure it; needs :attr:`simulates`.

        Args:
            changed: tensor name to another range than its true one.
            shown_raw: take the bytes as a phone does, whatever the grids are.

        Returns:
            PSNR in dB, as :meth:`psnr_db`.
        """
        ranges = self.image_ranges.with_known(self.known_ranges)
        return self.psnr_db(self._quantize(ranges.with_known(changed or {})), shown_raw=shown_raw)

    def psnr_db(self, model: bytes, *, shown_raw: bool = False) -> float:
        """Measure a model on the pictures.

        Args:
            model: content of a ``.tflite`` file.
            shown_raw: feed and show the bytes of an integer model as they are, as a phone does, not
                what its grids make of them.

        Returns:
            Mean PSNR in dB against the originals: RGB, 8 bits, 1 pixel shaved off each border.
        """
        return self.ends_psnr_db(model, raw_input=shown_raw, raw_output=shown_raw)

    def ends_psnr_db(self, model: bytes, *, raw_input: bool, raw_output: bool) -> float:
        """Measure as :meth:`psnr_db`, with each end taken raw or through its grid."""
        first, last = (picture_grid(end) for end in end_grids(model))
        runner = Runner(model, source=self.source)
        scores = []
        for picture in self.pictures:
            fed = picture.lr if raw_input or first is None else first.encode(picture.lr)
            found = runner.upscale(fed)
            shown = found if raw_output or last is None else last.decode(found)
            scores.append(counted_db(psnr_db(shown, picture.hr, shave=RGB_SHAVE)))
        return float(np.mean(scores))

    def _quantize(self, ranges: Ranges) -> bytes:
        return quantize(self.model, ranges, _FREE, source=self.source)
