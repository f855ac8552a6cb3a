"""What quantization-aware training starts from: a float network, and the ranges of its tensors."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qsr.calibration import Ranges, Scheme, collect, read_litert_json, write_litert_json
from qsr.calibration.provenance import model_hash
from qsr.data.decoded import DecodedPairs
from qsr.errors import ModelError, StudyError, UsageError
from qsr.jobs.equalization import (
    Equalization,
    equalized_before,
    equalized_if_better,
    keep_equalization,
    middles,
)
from qsr.jobs.progress import Progress
from qsr.jobs.run_folder import RunFolder, notes_in_run
from qsr.models.zoo import ZOO, pretrained_path
from qsr.quantization.shared_grids import picture_addends
from qsr.quiet import import_tensorflow
from qsr.tflite.files import read_model
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Image, inspect_model
from qsr.training.recipe import Recipe

_CONVOLUTIONS = {"CONV_2D", "TRANSPOSE_CONV"}


@dataclass(frozen=True)
class FloatNetwork:
    """A float network, before any image is looked at.

    Attributes:
        model: content of the float ``.tflite`` model.
        ranges: of its activations, as a search chose them; None if they are to be measured.
        source: named in errors.
        integer: content of the search's integer model with ``uint8`` at both ends, refined or not;
            None if there is none.
    """

    model: bytes
    ranges: Ranges | None
    source: str
    integer: bytes | None = None

    @property
    def identity(self) -> dict[str, str]:
        """What tells it from others."""
        ranges = "measured"
        if self.ranges is not None:
            ends = np.stack([self.ranges.minimum, self.ranges.maximum]).tobytes()
            ranges = hashlib.sha256(ends).hexdigest()
        return {"float model": model_hash(self.model), "ranges": ranges}


@dataclass(frozen=True)
class Start:
    """What training starts from.

    Attributes:
        model: content of the float ``.tflite`` model, equalized if that pays.
        ranges: of its activations.
        equalization: what equalizing gave; None for a model of a search, which is as it was found.
    """

    model: bytes
    ranges: Ranges
    equalization: Equalization | None


@dataclass(frozen=True)
class _DecodedImage:
    """One of the decoded pairs, as equalization takes it."""

    pairs: DecodedPairs
    index: int

    def load_lr(self) -> Image:
        """Return the LR picture."""
        lr: Image = self.pairs[self.index][0]
        return lr


def check_start(recipe: Recipe, weights: Path | None, run: Path | None) -> None:
    """Check what training is to start from, without loading anything.

    Args:
        recipe: of the network.
        weights: ``.keras`` file; the weights that ship if None.
        run: run folder of a search, in their place.

    Raises:
        ModelError: there is no such file.
        StudyError: the folder has no result of a search.
        UsageError: both are given, or no weights ship for the network.
    """
    if run is not None and weights is not None:
        raise UsageError("--run has its own float model; leave out --weights")
    if run is not None:
        folder = RunFolder(run)
        for path in (folder.float_model, folder.chosen_ranges):
            if not path.exists():
                raise StudyError(
                    f"{path}: missing; give the folder of a finished qsr search-repdata"
                )
        return
    if weights is not None and not weights.is_file():
        raise ModelError(f"{weights}: no such file; give a .keras file, such as model.keras")
    if weights is None and recipe.model != ZOO[recipe.network].config():
        raise UsageError(
            f"no weights ship for the {recipe.network} of this recipe; give those of your own "
            "training with --weights"
        )


def load_network(recipe: Recipe, weights: Path | None, run: Path | None) -> FloatNetwork:
    """Load the float network that training starts from; arguments as :func:`check_start`.

    Raises:
        ModelError: the weights are unusable, or of another network.
        StudyError: the ranges of the search are unusable.
        UsageError: the run is of another network, or of one with split channels.
    """
    if run is not None:
        folder = RunFolder(run)
        model, source = read_model(folder.float_model)
        split = notes_in_run(folder.splitting)
        if split.get("added") and split.get("model") == model_hash(model):
            raise UsageError(
                f"{run}: its network has copies of channels, and is trained without; give a run "
                "that was made without --split-channels"
            )
        _check_network(model, recipe, source)
        ranges = read_litert_json(folder.chosen_ranges, model, source=source)
        path = folder.integer_model("uint8")
        integer = read_model(path)[0] if path.exists() else None
        if integer is not None:
            check_integer(integer, str(path))
        return FloatNetwork(model, ranges, source, integer)
    path = weights or pretrained_path(recipe.network)
    return FloatNetwork(_converted(recipe, path), None, str(path))


def check_integer(model: bytes, source: str) -> None:
    """Raise ModelError if anything of a model with bytes at both ends is computed in float."""
    graph = Graph(model, source=source)
    left = [tensor.name for tensor in graph.tensors if tensor.dtype.startswith("float")]
    if left or {graph.input.dtype, graph.output.dtype} != {"uint8"}:
        raise ModelError(f"{source}: not fully integer; in float are {', '.join(left[:3])}")


def measured_start(
    network: FloatNetwork, images: DecodedPairs, out: Path, on_progress: Progress
) -> Start:
    """Equalize a network if that pays, and measure its ranges, unless that was done before.

    Args:
        network: the network.
        images: to measure on.
        out: folder that what was found is kept in, so that it is found once. It is laid out as the
            run folder of a search: a model, and its ranges.
        on_progress: called while ranges are measured.

    Raises:
        ModelError: the network cannot be run or quantized.
        StudyError: what was found cannot be written.
    """
    if network.ranges is not None:
        return Start(network.model, network.ranges, None)
    folder = RunFolder(out)
    kept = equalized_before(folder, network.model)
    if kept is not None and folder.chosen_ranges.exists():
        ranges = read_litert_json(folder.chosen_ranges, kept.model, source=network.source)
        return Start(kept.model, ranges, kept)
    least = inspect_model(network.model, source=network.source).smallest_side
    found = equalized_if_better(
        network.model, _candidates(images), Scheme(), least_side=least, source=network.source
    )
    ranges = _measured(found.model, middles_of(images, least), network.source, on_progress)
    _keep(folder, network.model, found, ranges)
    return Start(found.model, ranges, found)


def middles_of(images: DecodedPairs, least_side: int) -> tuple[Image, ...]:
    """Return the middles of LR pictures spread over decoded images: enough to measure layers on.

    Args:
        images: the images.
        least_side: smaller pictures, in LR pixels, are passed over.
    """
    return middles(_candidates(images), least_side)


def _candidates(images: DecodedPairs) -> list[_DecodedImage]:
    return [_DecodedImage(images, index) for index in range(len(images))]


def _measured(
    model: bytes, pictures: Sequence[Image], source: str, on_progress: Progress
) -> Ranges:
    """Return a model's ranges on pictures; what is added to a picture gets the picture's step.

    Not if it reaches more than twice as far as that step allows: then too much were cut off.
    """
    table = collect(
        model,
        {str(index): lr for index, lr in enumerate(pictures)},
        on_image=lambda done: on_progress("measure ranges", done, len(pictures)),
        source=source,
    )
    ranges = table.merged()
    span_of = dict(
        zip(ranges.tensors, zip(ranges.minimum, ranges.maximum, strict=True), strict=True)
    )
    return ranges.with_known(
        {
            name: (low, high)
            for name, (low, high) in picture_addends(Graph(model, source=source)).items()
            if name in span_of and 2 * low <= span_of[name][0] and span_of[name][1] <= 2 * high
        }
    )


def _keep(folder: RunFolder, original: bytes, found: Equalization, ranges: Ranges) -> None:
    """Write down what was found; the ranges last, as they say that all is there."""
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.chosen_ranges.unlink(missing_ok=True)
    except OSError as error:
        raise StudyError(f"{folder.path}: cannot be written ({error.strerror})") from error
    keep_equalization(folder, original, found)
    write_litert_json(ranges, folder.chosen_ranges)


def _check_network(model: bytes, recipe: Recipe, source: str) -> None:
    """Raise UsageError if a model has not the kernels of the recipe's network."""
    import_tensorflow()
    from qsr.models.zoo import build
    from qsr.tflite.convert import convert_keras

    wanted = convert_keras(build(recipe.network, recipe.model))
    found, expected = (
        [
            graph.tensors[operator.inputs[1]].shape
            for operator in graph.operators
            if operator.kind in _CONVOLUTIONS
        ]
        for graph in (Graph(model, source=source), Graph(wanted))
    )
    if found != expected:
        raise UsageError(f"{source}: not the {recipe.network} of {recipe.name}; give its own --run")
    if (white := inspect_model(model, source=source).value_max) != 1:
        raise UsageError(f"{source}: takes pictures of 0 to {white:g}; only 0 to 1 can be trained")


def _converted(recipe: Recipe, weights: Path) -> bytes:
    """Return the recipe's network with weights of a file as a float ``.tflite`` model."""
    import_tensorflow()
    from qsr.models.weights import load_weights_into
    from qsr.models.zoo import build
    from qsr.tflite.convert import convert_keras

    network = build(recipe.network, recipe.model)
    load_weights_into(network, weights)
    return convert_keras(network, source=str(weights))
