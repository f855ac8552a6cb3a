"""Quantization-aware training: from a float network and a recipe to an integer model."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from qsr.calibration import Ranges, Scheme, collect, quantize, read_litert_json, write_litert_json
from qsr.calibration.provenance import model_hash
from qsr.data.bundled import write_bundled
from qsr.data.decoded import decode
from qsr.data.layouts import Split, has_split
from qsr.data.pairs import Pair, find_all_pairs
from qsr.errors import ModelError, StudyError, UsageError
from qsr.evaluation import PsnrScore
from qsr.jobs.equalization import equalized_if_better, middles
from qsr.jobs.images import LEAST_LR_TO_SCORE, check_there, usable_for_training
from qsr.jobs.progress import Progress, silent
from qsr.jobs.run_folder import RUNS, RunFolder
from qsr.models.zoo import ZOO, pretrained_path
from qsr.quiet import import_tensorflow
from qsr.tflite.files import read_model, write_model
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import inspect_model
from qsr.training.images import ListedImages
from qsr.training.recipe import Recipe, smoke_size
from qsr.training.recipe_files import load_recipe
from qsr.training.train import Progress as TrainingProgress
from qsr.training.train import Trainee, train

__all__ = ["TrainingProgress", "qat_from_recipe"]

Target = Literal["float", "hr"]

STEPS = 4000
RATE = 2e-4

_EPOCHS = 20  # of the learning rate: one of warm-up, then down to a hundredth
_RATE_FALL = 100.0
_SMOKE_STEPS = 40
_CONVOLUTIONS = {"CONV_2D", "TRANSPOSE_CONV"}


@dataclass(frozen=True)
class QatReport:
    """What quantization-aware training made, measured on whole validation images.

    PSNR is over RGB, of 8-bit pictures, one pixel shaved.

    Attributes:
        recipe: name of the recipe.
        float_model: path of the float network that training started from.
        ptq_model: path of its integer model with the ranges that training started from.
        qat_model: path of the integer model that was trained.
        model: path of the better of the two on the validation images.
        trained_float_model: path of the float network after training.
        steps: steps of training.
        resumed_from: the step that this run started at.
        best_step: the step that the kept weights are of.
        equalized: whether the network's channels were equalized first.
        fp32_psnr_db: of the float network at first, rounded to 8 bits.
        ptq_psnr_db: of ``ptq_model``.
        qat_psnr_db: of ``qat_model``. The validation images chose the step that it is of.
        validation_images: number of images.
        seconds: time of training, in all runs.
    """

    recipe: str
    float_model: Path
    ptq_model: Path
    qat_model: Path
    model: Path
    trained_float_model: Path
    steps: int
    resumed_from: int
    best_step: int
    equalized: bool
    fp32_psnr_db: float
    ptq_psnr_db: float
    qat_psnr_db: float
    validation_images: int
    seconds: float


def qat_from_recipe(
    recipe: str,
    data: Sequence[Path] = (),
    *,
    validation: Sequence[Path] = (),
    weights: Path | None = None,
    run: Path | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    steps: int = STEPS,
    rate: float = RATE,
    target: Target = "float",
    keep_clip: bool = False,
    smoke: bool = False,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
    on_steps: Callable[[TrainingProgress], None] | None = None,
) -> QatReport:
    """Fine-tune a float network with the errors that 8 bits make, and export the integer model.

    Loss, batches and augmentation are those of the recipe's last stage. The target is by default
    what the float network makes of a patch: so the error of 8 bits alone is trained away, and is
    not drowned in what the network misses of the HR image, which is larger by far. Ranges start
    from those of a search, or from what is measured on the training images; input and output keep
    the grid of a picture. Stopped at any time, the same call goes on.

    Args:
        recipe: name of a shipped recipe, or the path of a ``.toml`` file.
        data: folders of photographs or of LR/HR images; may be empty only with ``smoke``.
        validation: the same, to validate on; if empty, the validation images that ``data`` itself
            has (DIV2K), or else some training images, held out.
        weights: ``.keras`` file of the recipe's network; the weights that ship if None.
        run: run folder of ``search-repdata``, whose float model and chosen ranges to start from.
        out: run folder; ``runs/qat-<recipe>`` if None.
        overrides: ``section.field=value`` of the recipe.
        steps: steps of training.
        rate: highest learning rate.
        target: what the integer model is brought closer to: ``float``, the pictures that the float
            network makes, or ``hr``, the HR images.
        keep_clip: leave operators that are proved to copy bytes in the integer models.
        smoke: shorten everything to some seconds, to see that it works.
        skip_bad_images: leave unusable and too small images out instead of stopping.
        on_progress: called while images are checked, measured and decoded.
        on_steps: called every 50 steps.

    Raises:
        ImageError: a folder or an image is unusable.
        ModelError: the float network is unusable, has an operator that cannot be trained through,
            or training broke down.
        StudyError: a folder belongs to something else, or has no result of a search.
        UsageError: the recipe is wrong, no data is given, no weights ship for its network, or
            ``run`` searched for another network.
    """
    loaded = load_recipe(recipe, overrides)
    if smoke:
        loaded, steps = smoke_size(loaded), _SMOKE_STEPS
    tuning = fine_tuning(loaded, steps=steps, rate=rate)
    if not data and not smoke:
        raise UsageError("give at least one folder of images with --data")
    _check_start(loaded, weights, run)
    check_there([*data, *validation])
    out = out or RUNS / f"qat-{loaded.name}"
    with TemporaryDirectory(prefix="qsr-") as scratch:
        if not data:
            data, validation = ([side] for side in write_bundled(Path(scratch)))

        def checked(folders: Sequence[Path], least_lr: int, split: Split) -> Sequence[Pair]:
            found = find_all_pairs(folders, loaded.model.scale, split)
            return usable_for_training(
                found, least_lr, skip_bad=skip_bad_images, decoded=True, on_progress=on_progress
            )

        training = checked(data, tuning.training.lr_patch_px, "train")
        validation = validation or [folder for folder in data if has_split(folder, "valid")]
        validated = checked(validation, LEAST_LR_TO_SCORE, "valid") if validation else ()
        images = ListedImages(training, (), validated).with_validation()
        start = _start(loaded, weights, run, images.training, on_progress)
        return _trained(
            tuning,
            images,
            start,
            out,
            target=target,
            keep_clip=keep_clip,
            on_progress=on_progress,
            on_steps=on_steps,
        )


def fine_tuning(recipe: Recipe, *, steps: int, rate: float) -> Recipe:
    """Return the recipe of a short training with the loss and the batches of a recipe's last stage.

    The learning rate rises from a tenth in the first of twenty epochs, and falls to a hundredth.

    Args:
        recipe: of the float network.
        steps: of training, rounded to whole epochs.
        rate: highest learning rate.

    Raises:
        UsageError: too few steps, or no rate.
    """
    if steps < _EPOCHS:
        raise UsageError(f"--steps must be at least {_EPOCHS}, not {steps}")
    training = replace(
        recipe.training,
        epochs=_EPOCHS,
        steps_per_epoch=round(steps / _EPOCHS),
        schedule="warmup_then_linear",
        warmup_epochs=1,
        final_rate=rate / _RATE_FALL,
    )
    last = replace(
        recipe.stages[-1],
        initial_rate=rate / 10,
        peak_rate=rate,
        added_data=False,
        precision="float32",
    )
    return replace(recipe, name=f"{recipe.name}-qat", training=training, stages=(last,))


@dataclass(frozen=True)
class _Start:
    """What training starts from.

    Attributes:
        original: content of the float ``.tflite`` model.
        model: the same, equalized if that pays.
        ranges: of the activations of ``model``.
    """

    original: bytes
    model: bytes
    ranges: Ranges

    @property
    def identity(self) -> dict[str, str]:
        """What tells it from others."""
        ends = np.stack([self.ranges.minimum, self.ranges.maximum]).tobytes()
        return {
            "float model": model_hash(self.model),
            "ranges": hashlib.sha256(ends).hexdigest(),
        }


def _check_start(recipe: Recipe, weights: Path | None, run: Path | None) -> None:
    """Check what training is to start from, without loading anything."""
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


def _start(
    recipe: Recipe,
    weights: Path | None,
    run: Path | None,
    training: Sequence[Pair],
    on_progress: Progress,
) -> _Start:
    """Load the float network, equalize it if that pays, and measure its ranges."""
    if run is not None:
        folder = RunFolder(run)
        model, source = read_model(folder.float_model)
        _check_network(model, recipe, source)
        return _Start(model, model, read_litert_json(folder.chosen_ranges, model, source=source))
    path = weights or pretrained_path(recipe.network)
    original, source = _converted(recipe, path), str(path)
    least = inspect_model(original, source=source).smallest_side
    found = equalized_if_better(original, training, Scheme(), least_side=least, source=source)
    pictures = {str(index): lr for index, lr in enumerate(middles(training, least))}
    table = collect(
        found.model,
        pictures,
        on_image=lambda done: on_progress("measure ranges", done, len(pictures)),
        source=source,
    )
    return _Start(original, found.model, table.merged())


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


def _converted(recipe: Recipe, weights: Path) -> bytes:
    """Return the recipe's network with weights of a file as a float ``.tflite`` model."""
    import_tensorflow()
    from qsr.models.weights import load_weights_into
    from qsr.models.zoo import build
    from qsr.tflite.convert import convert_keras

    network = build(recipe.network, recipe.model)
    load_weights_into(network, weights)
    return convert_keras(network, source=str(weights))


def _trained(
    tuning: Recipe,
    images: ListedImages,
    start: _Start,
    out: Path,
    *,
    target: Target,
    keep_clip: bool,
    on_progress: Progress,
    on_steps: Callable[[TrainingProgress], None] | None,
) -> QatReport:
    """Train, and write down models and ranges."""
    import_tensorflow()
    from qsr.quantization.qat import load_weights, quantization_aware_model, save_weights
    from qsr.quantization.trainable import trainable_model

    result = train(
        tuning,
        images.training,
        images.validation,
        out,
        trainee=Trainee(
            build=lambda: quantization_aware_model(start.model, start.ranges).keras,
            save=save_weights,
            suffix=".npz",
            identity={**start.identity, "target": target},
            teacher=None if target == "hr" else lambda: trainable_model(Graph(start.model)).keras,
        ),
        on_decode=lambda done, total: on_progress("decode images", done, total),
        on_progress=on_steps,
    )
    aware = quantization_aware_model(start.model, start.ranges)
    load_weights(aware.keras, result.best_model)
    trained, ranges = aware.exported()
    ptq, qat = quantize(start.model, start.ranges), quantize(trained, ranges)
    _check_integer(qat, tuning.name)
    folder = RunFolder(out)
    contents = [start.original, *(one if keep_clip else fold_copies(one) for one in (ptq, qat))]
    score = PsnrScore(decode(images.validation, out / "decoded"))
    fp32, before, after = (float(np.mean(score(content))) for content in contents)
    paths = (
        folder.float_model,
        out / "model_ptq_uint8.tflite",
        out / "model_qat_uint8.tflite",
        out / "model_qat_fp32.tflite",
        folder.integer_model("uint8"),
    )
    best = contents[2] if after > before else contents[1]
    for path, content in zip(paths, [*contents, trained, best], strict=True):
        write_model(path, content)
    write_litert_json(ranges if after > before else start.ranges, folder.chosen_ranges)
    return QatReport(
        recipe=tuning.name.removesuffix("-qat"),
        float_model=paths[0],
        ptq_model=paths[1],
        qat_model=paths[2],
        model=paths[4],
        trained_float_model=paths[3],
        steps=result.steps,
        resumed_from=result.resumed_from,
        best_step=result.best_step,
        equalized=start.model != start.original,
        fp32_psnr_db=fp32,
        ptq_psnr_db=before,
        qat_psnr_db=after,
        validation_images=len(images.validation),
        seconds=result.seconds,
    )


def _check_integer(model: bytes, source: str) -> None:
    """Raise ModelError if anything of an integer model is computed in float."""
    graph = Graph(model, source=source)
    left = [tensor.name for tensor in graph.tensors if tensor.dtype.startswith("float")]
    if left or {graph.input.dtype, graph.output.dtype} != {"uint8"}:
        raise ModelError(f"{source}: not fully integer; in float are {', '.join(left[:3])}")
