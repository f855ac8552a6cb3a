"""Quantization-aware training: from a float network and a recipe to an integer model."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np

from qsr.calibration import Ranges, quantize, write_litert_json
from qsr.data.bundled import write_bundled
from qsr.data.layouts import has_split
from qsr.errors import ImageError, ModelError, UsageError
from qsr.evaluation import PsnrScore
from qsr.jobs.images import LEAST_LR_TO_SCORE, check_there, usable_for_training
from qsr.jobs.progress import Progress, silent
from qsr.jobs.qat_start import (
    FloatNetwork,
    check_integer,
    check_start,
    load_network,
    measured_start,
    middles_of,
)
from qsr.jobs.run_folder import RUNS, RunFolder
from qsr.jobs.steps import ROUNDED, Judges, Step, judged
from qsr.quantization.weight_rounding import round_weights
from qsr.quiet import import_tensorflow
from qsr.tflite.files import write_model
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Image, inspect_model
from qsr.training.images import ListedImages, TrainingImages, claimed_images
from qsr.training.recipe import Recipe, smoke_size
from qsr.training.recipe_files import load_recipe
from qsr.training.run_folder import check_folder, described
from qsr.training.steps import distribution
from qsr.training.train import Progress as TrainingProgress
from qsr.training.train import Trainee, train_network

__all__ = ["TrainingProgress", "qat_from_recipe"]

STEPS = 4000
RATE = 1e-4
HR_WEIGHT = 0.2

_EPOCHS = 20  # of the learning rate: one of warm-up, then down to a hundredth
_RATE_FALL = 100.0
_SMOKE_STEPS = 40


@dataclass(frozen=True)
class QatReport:
    """What quantization-aware training made, measured on whole validation images.

    PSNR is over RGB, of 8-bit pictures, one pixel shaved.

    Attributes:
        recipe: name of the recipe.
        float_model: path of the float network that training started from.
        ptq_model: path of its integer model with the ranges that training started from, weights
            rounded as those of ``qat_model``; of a search, its own integer model.
        qat_model: path of the integer model that was trained.
        model: path of the better of the two on the validation images.
        trained_float_model: path of the float network after training.
        trained_network: path of the same as a ``.keras`` file; None if the float model came from
            elsewhere, and its tensors have names of their own.
        steps: steps of training.
        resumed_from: the step that this run started at.
        best_step: the step that the kept weights are of: the best on the validation images, before
            weights were rounded.
        equalized: whether the network's channels were equalized first.
        equalization_gain_db: by how much closer the equalized network's integer model comes to the
            float network's pictures, as PSNR; None if no layer can be equalized, or if training
            started from a search.
        fp32_psnr_db: of the float network at first, rounded to 8 bits.
        rounding: what rounding the trained weights for what layers give gave over rounding each to
            the nearest, on the validation images; kept unless it hurts.
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
    trained_network: Path | None
    steps: int
    resumed_from: int
    best_step: int
    equalized: bool
    equalization_gain_db: float | None
    rounding: Step
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
    hr_weight: float = HR_WEIGHT,
    keep_clip: bool = False,
    smoke: bool = False,
    skip_bad_images: bool = False,
    on_progress: Progress = silent,
    on_steps: Callable[[TrainingProgress], None] | None = None,
) -> QatReport:
    """Fine-tune a float network with the errors that 8 bits make, and export the integer model.

    Loss, batches and augmentation are those of the recipe's last stage. The target is what the
    float network makes of a patch, moved a little towards the HR patch: so the error of 8 bits is
    not drowned in what the network misses of the HR image, which is larger by far. Ranges start
    from those of a search, and stay, or from what is measured on the training images, and are
    trained; input and output keep the grid of a picture. Stopped at any time, the same call goes
    on.

    Activations are rounded in training, weights are not: they are rounded after it, for what layers
    give (:mod:`qsr.quantization.weight_rounding`), which leaves less error than training does that
    meets a new grid of weights in every step.

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
        hr_weight: how far the target is moved from the float network's picture to the HR image: 0
            trains the error of 8 bits alone, 1 trains the network on as well.
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
    if not 0 <= hr_weight <= 1:
        raise UsageError(f"--hr-weight must be from 0 to 1, not {hr_weight}")
    if not data and not smoke:
        raise UsageError("give at least one folder of images with --data")
    check_start(loaded, weights, run)
    check_there([*data, *validation])
    out = out or RUNS / f"qat-{loaded.name}"
    network = load_network(loaded, weights, run)
    description = described(tuning, 1, None) | {
        "start": {**network.identity, "hr_weight": hr_weight}
    }
    check_folder(out, description)
    with TemporaryDirectory(prefix="qsr-") as scratch:
        if not data:
            data, validation = ([side] for side in write_bundled(Path(scratch)))
        found = partial(usable_for_training, skip_bad=skip_bad_images, on_progress=on_progress)
        scale, patch = loaded.model.scale, tuning.training.lr_patch_px
        training_pairs = found(data, scale, patch, "train")
        validation = validation or [folder for folder in data if has_split(folder, "valid")]
        validation_pairs = (
            found(validation, scale, LEAST_LR_TO_SCORE, "valid") if validation else ()
        )
        bad: list[ImageError] = []
        with claimed_images(
            ListedImages(training_pairs, (), validation_pairs),
            tuning,
            out,
            description,
            on_bad=bad.append if skip_bad_images else None,
            on_decode=lambda done, total: on_progress(
                "decode images", done, total, f"{len(bad)} left out" if bad else ""
            ),
        ) as images:
            return _trained(
                tuning,
                network,
                images,
                out,
                hr_weight=hr_weight,
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
    if not (isfinite(rate) and rate / _RATE_FALL > 0):
        raise UsageError(f"--rate must be above 0 and finite, not {rate}")
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


def _trained(
    tuning: Recipe,
    network: FloatNetwork,
    images: TrainingImages,
    out: Path,
    *,
    hr_weight: float,
    keep_clip: bool,
    on_progress: Progress,
    on_steps: Callable[[TrainingProgress], None] | None,
) -> QatReport:
    """Measure, train, and write down models and ranges."""
    import_tensorflow()
    from qsr.quantization.qat import load_weights, quantization_aware_model, save_weights
    from qsr.quantization.trainable import trainable_model

    least = inspect_model(network.model, source=network.source).smallest_side
    pictures = middles_of(images.training, least)
    if not pictures:
        raise ImageError(
            f"no training image has {least} LR pixels a side, which {network.source} needs to be "
            "measured; give larger ones"
        )
    start = measured_start(network, images.training, out / "start", on_progress)
    strategy = distribution(None, tuning.training.batch_size)
    with strategy.scope():
        aware = quantization_aware_model(
            start.model, start.ranges, train_ranges=network.ranges is None
        )
    trainee = Trainee(
        network=aware.keras,
        strategy=strategy,
        save=save_weights,
        suffix=".npz",
        teacher=None if hr_weight == 1 else lambda: trainable_model(Graph(start.model)).keras,
        hr_weight=hr_weight,
    )
    result = train_network(trainee, tuning, images, out, on_progress=on_steps)
    load_weights(aware.keras, result.best_model)
    trained, ranges = aware.exported()
    score = PsnrScore(images.validation)
    judges = Judges(score, None, value=fmean)
    ptq = network.integer or _integer(start.model, start.ranges, pictures, judges)[0]
    on_progress("round weights", 1, 2)
    qat, rounding = _integer(trained, ranges, pictures, judges)
    on_progress("round weights", 2, 2)
    check_integer(qat, tuning.name)
    folder = RunFolder(out)
    contents = [network.model, *(one if keep_clip else fold_copies(one) for one in (ptq, qat))]
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
        trained_network=_kept_network(tuning, trained, out / "model_qat.keras"),
        steps=result.steps,
        resumed_from=result.resumed_from,
        best_step=result.best_step,
        equalized=start.model != network.model,
        equalization_gain_db=None if start.equalization is None else start.equalization.gain_db,
        rounding=rounding,
        fp32_psnr_db=fp32,
        ptq_psnr_db=before,
        qat_psnr_db=after,
        validation_images=len(images.validation),
        seconds=result.seconds,
    )


def _integer(
    model: bytes, ranges: Ranges, pictures: Sequence[Image], judges: Judges
) -> tuple[bytes, Step]:
    """Quantize a float model, and round its weights for what layers give unless that hurts."""
    plain = quantize(model, ranges)
    rounded = None
    with suppress(ModelError):
        rounded = round_weights(model, plain, pictures)
    step = judged(ROUNDED, plain, rounded, judges)
    return (rounded if step.kept and rounded is not None else plain), step


def _kept_network(tuning: Recipe, trained: bytes, path: Path) -> Path | None:
    """Write the trained float network as a ``.keras`` file, which can be trained on."""
    from qsr.models.zoo import build, save
    from qsr.quantization.trained_weights import take_weights

    network = build(tuning.network, tuning.model)
    if not take_weights(network, trained):
        return None
    save(network, path)
    return path
