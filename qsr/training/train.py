"""The training loop: decode, build, resume, step, checkpoint, validate, save, stage after stage."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from qsr.data.decoded import DecodedPairs
from qsr.data.pairs import Pair
from qsr.data.pipeline import Batches, batches_of_steps, chunks
from qsr.errors import ImageError, ModelError, StudyError, UsageError
from qsr.metrics import RGB_SHAVE, counted_db, psnr_db
from qsr.models.weights import load_weights_into
from qsr.models.zoo import build, save
from qsr.quiet import import_tensorflow
from qsr.training.images import ListedImages, TrainingImages, claimed_images
from qsr.training.log import TrainingLog
from qsr.training.recipe import Recipe
from qsr.training.revival import revive_dead_channels
from qsr.training.run_folder import described, written
from qsr.training.steps import (
    compiled_steps,
    distribution,
    in_precision,
    learning_rates,
    loss_of,
    new_optimizer,
)

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras
    from numpy.typing import NDArray

_BEST = "best"
STEPS_PER_CALL = 50
_CHECKPOINT_STEPS = 2000


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Attributes:
        step: steps done, counted from the start of the first stage of the recipe.
        steps: steps in all.
        stage: number of the stage, from 1.
        loss: mean training loss of the last steps.
        validation_psnr_db: RGB PSNR on the validation images (float output rounded to 8 bits, one
            pixel shaved, as ``qsr evaluate`` gives it), measured at the last checkpoint; None
            before the first.
        steps_per_second: since this run began the stage.
    """

    step: int
    steps: int
    stage: int
    loss: float
    validation_psnr_db: float | None
    steps_per_second: float


@dataclass(frozen=True)
class TrainingResult:
    """What a training left behind.

    Attributes:
        model: path of the trained ``.keras`` file: the weights after the last step.
        best_model: path of the weights with the highest validation PSNR of all checkpoints.
        steps: steps in all.
        resumed_from: the step that this run started at.
        validation_psnr_db: RGB PSNR on the validation images at the end, one pixel shaved.
        best_validation_psnr_db: the same of ``best_model``.
        best_step: the step that ``best_model`` was saved at.
        training_images: number of images trained on, added ones too.
        validation_images: number of images validated on.
        seconds: time that all runs of this training took, up to their last checkpoints.
    """

    model: Path
    best_model: Path
    steps: int
    resumed_from: int
    validation_psnr_db: float
    best_validation_psnr_db: float
    best_step: int
    training_images: int
    validation_images: int
    seconds: float


@dataclass(frozen=True)
class Trainee:
    """A network to train, and how to go about it.

    Attributes:
        network: with the weights to start from, made in the scope of ``strategy``.
        strategy: shares each batch among devices.
        save: writes the network, or its weights, to a file.
        suffix: of the names of such files.
        teacher: makes a network whose pictures are the targets; None for HR.
        hr_weight: with a teacher, how far targets are moved from its pictures towards HR: 0 to 1.
    """

    network: "tf_keras.Model"
    strategy: "tf.distribute.Strategy"
    save: "Callable[[tf_keras.Model, Path], None]"
    suffix: str
    teacher: "Callable[[], tf_keras.Model] | None" = None
    hr_weight: float = 0.0


def train(
    recipe: Recipe,
    training_pairs: Sequence[Pair],
    validation_pairs: Sequence[Pair],
    out: Path,
    *,
    added_pairs: Sequence[Pair] = (),
    weights: Path | None = None,
    first_stage: int = 1,
    devices: Sequence[str] | None = None,
    checkpoint_steps: int | None = None,
    decoded: Path | None = None,
    on_bad: Callable[[ImageError], None] | None = None,
    on_decode: Callable[[int, int], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train the network of a recipe, or go on where an earlier run was stopped.

    ``out`` holds ``recipe.json`` (what is trained), ``checkpoints/``, ``log.jsonl`` (one line per
    checkpoint), ``tensorboard/`` (the same, for TensorBoard), ``decoded/`` (images decoded once;
    safe to delete), ``best.keras``, the network at the end of each stage but the last as
    ``stage1.keras`` and so on, and, at the end, ``model.keras``. A run that is killed loses the
    steps since its last checkpoint and nothing else: the network and the log end up as those of a
    run that was not. The folder is locked while a training works in it (see
    :func:`qsr.atomic.locked`).

    Stages differ in loss, rates and images. To train the first alone, and the second later from
    its network with ``weights`` and ``first_stage=2``, gives what training both at once gives.

    Args:
        recipe: what to train.
        training_pairs: images to cut patches from.
        validation_pairs: images that PSNR is measured on, whole, at each checkpoint; if empty, some
            of ``training_pairs`` are held out (:func:`qsr.training.images.hold_out`).
        out: run folder; created if missing.
        added_pairs: images that stages with ``added_data`` cut patches from as well.
        weights: ``.keras`` file of the same network to start from; fresh weights if None.
        first_stage: the stage to start with, counted from 1.
        devices: names of the devices that share each batch, such as ``GPU:0``; if None, all GPUs,
            or what TensorFlow picks if there is at most one.
        checkpoint_steps: steps between checkpoints, rounded up to a multiple of 50; if None, 2000
            or an epoch, whichever is less.
        decoded: folder for the decoded images in place of that in ``out``. Trainings one after the
            other may share it: images that one decoded are not decoded again for the next.
        on_bad: told of an image that cannot be decoded, which is left out; None stops at the first.
        on_decode: called with (done, total) while images are decoded.
        on_progress: called every 50 steps.

    Returns:
        Paths and numbers of the finished training.

    Raises:
        ImageError: an image is too small, of another scale than the network, cannot be decoded, or
            would be both trained on and validated on.
        ModelError: loss or weights are no longer finite, ``weights`` are of another network, or the
            network cannot be written; the last good checkpoint stays.
        StudyError: ``out`` belongs to another recipe or other images, another training works in it,
            or a checkpoint or the log cannot be written; the last good checkpoint stays.
        UsageError: the recipe has no such stage, a later one has no ``weights`` to start from, or
            the devices cannot share a batch equally.
    """
    check_start(recipe, weights, first_stage)
    import_tensorflow()
    strategy = distribution(devices, recipe.training.batch_size)
    with strategy.scope():
        trainee = Trainee(_new_network(recipe, weights), strategy, save, ".keras")
    listed = ListedImages(training_pairs, added_pairs, validation_pairs)
    with claimed_images(
        listed,
        recipe,
        out,
        described(recipe, first_stage, weights),
        decoded=decoded,
        on_bad=on_bad,
        on_decode=on_decode,
    ) as images:
        return train_network(
            trainee,
            recipe,
            images,
            out,
            first_stage=first_stage,
            checkpoint_steps=checkpoint_steps,
            on_progress=on_progress,
        )


def train_network(
    trainee: Trainee,
    recipe: Recipe,
    images: TrainingImages,
    out: Path,
    *,
    first_stage: int = 1,
    checkpoint_steps: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train any network, or go on from the last checkpoint, as :func:`train` does.

    Args:
        trainee: the network.
        recipe: how to train it; what network it is for plays no part.
        images: what :func:`qsr.training.images.claimed_images` gave for ``out``.
        out: run folder, held by the caller.
        first_stage: as there.
        checkpoint_steps: as there.
        on_progress: as there.

    Raises:
        ModelError: as there.
        StudyError: as there.
    """
    every = checkpoint_steps or min(_CHECKPOINT_STEPS, recipe.training.steps_per_epoch)
    run = _Run(recipe, images, out, trainee, every, on_progress or (lambda _: None))
    return _run(run, first_stage)


def check_start(recipe: Recipe, weights: Path | None, first_stage: int) -> None:
    """Check where a training is to start, without loading anything.

    Raises:
        ModelError: ``weights`` is no file.
        UsageError: the recipe has no such stage, or a later one has no weights to start from.
    """
    if not 1 <= first_stage <= len(recipe.stages):
        raise UsageError(
            f"the recipe has {len(recipe.stages)} stages; there is no stage {first_stage}"
        )
    if first_stage > 1 and weights is None:
        raise UsageError(
            f"stage {first_stage} starts from the network of the stage before; give it with "
            f"--weights stage{first_stage - 1}.keras"
        )
    if weights is not None and weights.is_dir():
        raise ModelError(f"{weights}: a folder; give a .keras file, such as model.keras in it")
    if weights is not None and not weights.exists():
        raise ModelError(f"{weights}: no such file")


@dataclass(frozen=True)
class _Run:
    """What the stages of a training share."""

    recipe: Recipe
    images: TrainingImages
    out: Path
    trainee: Trainee
    checkpoint_steps: int
    on_progress: Callable[[Progress], None]

    def path(self, name: str) -> Path:
        """Return where weights of that name are kept."""
        return self.out / f"{name}{self.trainee.suffix}"

    def save(self, name: str) -> Path:
        """Write the network's weights of now under a name, and return the path."""
        self.trainee.save(self.trainee.network, self.path(name))
        return self.path(name)


def _new_network(recipe: Recipe, weights: Path | None) -> "tf_keras.Model":
    """Build the network of a recipe, with fresh weights or those of a file."""
    import tf_keras

    tf_keras.utils.set_random_seed(recipe.training.seed)
    model = build(recipe.network, recipe.model)
    if weights is not None:
        load_weights_into(model, weights)
    return model


def _run(run: _Run, first_stage: int) -> TrainingResult:
    """Train what is left of all stages, from the weights of the network or of a checkpoint."""
    recipe = run.recipe
    ends = recipe.stage_ends
    resumed_from = max(_restored_step(run), ends[first_stage - 1] - recipe.training.steps)
    log = TrainingLog(run.out, resumed_from)
    if resumed_from == recipe.steps and not log.lines:
        raise StudyError(f"{run.out}: its log.jsonl is gone; give another --out")
    if log.lines and log.best is log.last:  # killed before it was saved
        run.save(_BEST)
    done = resumed_from
    for number in range(first_stage, len(recipe.stages) + 1):
        end = ends[number - 1]
        if done < end:
            _train_stage(run, log, number, range(done, end))
            done = end
        if done == end and number < len(recipe.stages):
            run.save(f"stage{number}")
    return TrainingResult(
        model=run.save("model"),
        best_model=run.path(_BEST),
        steps=recipe.steps,
        resumed_from=resumed_from,
        validation_psnr_db=log.last["validation_psnr_db"],
        best_validation_psnr_db=log.best["validation_psnr_db"],
        best_step=log.best["step"],
        training_images=len(run.images.all),
        validation_images=len(run.images.validation),
        seconds=log.seconds,
    )


def _restored_step(run: _Run) -> int:
    """Give the network the weights of the last checkpoint; return its step, 0 if there is none."""
    import tensorflow as tf

    step = tf.Variable(0, dtype=tf.int64)
    latest = tf.train.latest_checkpoint(str(run.out / "checkpoints"))
    if latest is not None:
        status = tf.train.Checkpoint(model=run.trainee.network, step=step).restore(latest)
        status.assert_existing_objects_matched().expect_partial()
    return int(step)


def _train_stage(run: _Run, log: TrainingLog, number: int, steps: range) -> None:
    """Train the network for ``steps``, the rest of a stage or the whole of it."""
    import tensorflow as tf

    recipe, stage = run.recipe, run.recipe.stages[number - 1]
    model, strategy = run.trainee.network, run.trainee.strategy
    images = run.images.all if stage.added_data else run.images.training
    stage_start = steps.stop - recipe.training.steps
    revived = 0
    if stage.revive_dead_channels and steps.start == stage_start:
        revived = _revive(model, images, recipe, steps)
    with strategy.scope():
        network = in_precision(model, stage)
        optimizer = new_optimizer(recipe.training, stage)
        optimizer.build(network.trainable_variables)
    step_variable = tf.Variable(steps.start, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(model=network, optimizer=optimizer, step=step_variable)
    manager = tf.train.CheckpointManager(checkpoint, str(run.out / "checkpoints"), max_to_keep=3)
    if steps.start > stage_start:
        checkpoint.restore(manager.latest_checkpoint).assert_existing_objects_matched()
    with strategy.scope():
        teacher = run.trainee.teacher() if run.trainee.teacher else None
    run_steps = compiled_steps(
        network, optimizer, loss_of(stage), strategy, teacher, hr_weight=run.trainee.hr_weight
    )
    rates = learning_rates(recipe.training, stage)
    started, saved_step = perf_counter(), steps.start
    losses: list[float] = []
    for drawn, batches in _batches(images, recipe, steps):
        new_losses = run_steps(batches.lr, batches.hr, batches.intensity).numpy()
        losses.extend(new_losses)
        done = drawn.stop
        due = done - saved_step >= run.checkpoint_steps or done == steps.stop
        _check_finite(number, drawn, new_losses, network if due else None, manager)
        if due:
            model.set_weights(network.get_weights())
            psnr = _validate(model, run.images.validation)
            if not np.isfinite(psnr):
                raise _broken_down(number, done, "the network's output is not finite", manager)
            log.add(
                step=done,
                stage=number,
                loss=float(np.mean(losses)),
                learning_rate=float(
                    rates[(done - 1 - stage_start) // recipe.training.steps_per_epoch]
                ),
                validation_psnr_db=psnr,
                revived_channels=revived,
            )
            revived = 0
            step_variable.assign(done)
            with written(f"{run.out / 'checkpoints'}: checkpoint"):
                manager.save(done)
            if log.best is log.last:
                run.save(_BEST)
            saved_step = done
            losses.clear()
        run.on_progress(
            Progress(
                done,
                recipe.steps,
                number,
                float(np.mean(new_losses)),
                log.last["validation_psnr_db"] if log.lines else None,
                (done - steps.start) / (perf_counter() - started),
            )
        )


def _revive(model: "tf_keras.Model", images: DecodedPairs, recipe: Recipe, steps: range) -> int:
    """Revive the channels that the first patches of a stage leave silent; return how many."""
    patches = _drawn(images, recipe, steps[:STEPS_PER_CALL]).lr
    seed = recipe.training.seed
    revived = revive_dead_channels(model, patches.reshape(-1, *patches.shape[2:]), seed=seed)
    return sum(len(channels) for channels in revived.values())


def _batches(images: DecodedPairs, recipe: Recipe, steps: range) -> Iterator[tuple[range, Batches]]:
    """Draw batches in a thread ahead of training; yields the steps that they are for, and them."""
    from concurrent.futures import ThreadPoolExecutor

    def draw(some: range) -> tuple[range, Batches]:
        return some, _drawn(images, recipe, some)

    with ThreadPoolExecutor(max_workers=1) as thread:
        ahead = None
        for some in chunks(steps.start, steps.stop, STEPS_PER_CALL):
            drawn, ahead = ahead, thread.submit(draw, some)
            if drawn is not None:
                yield drawn.result()
        if ahead is not None:
            yield ahead.result()


def _drawn(images: DecodedPairs, recipe: Recipe, steps: range) -> Batches:
    """Draw the batches of some steps."""
    return batches_of_steps(
        images,
        steps,
        seed=recipe.training.seed,
        batch_size=recipe.training.batch_size,
        lr_size=recipe.training.lr_patch_px,
        augmentation=recipe.augmentation,
    )


def _check_finite(
    stage: int,
    steps: range,
    losses: "NDArray[np.float32]",
    network: "tf_keras.Model | None",
    manager: "tf.train.CheckpointManager",
) -> None:
    """Raise ModelError for a loss, or a weight of ``network``, that is NaN or infinite.

    Weights are looked at as well, because a last step can ruin them after its own loss.
    """
    broken = np.flatnonzero(~np.isfinite(losses))
    if len(broken):
        step = steps.start + int(broken[0]) + 1
        raise _broken_down(stage, step, f"the loss is {losses[broken[0]]}", manager)
    if network is not None and (names := _not_finite(network)):
        raise _broken_down(stage, steps.stop, f"weights of {names[0]} are not finite", manager)


def _broken_down(
    stage: int, step: int, what: str, manager: "tf.train.CheckpointManager"
) -> ModelError:
    kept = manager.latest_checkpoint or "none yet"
    return ModelError(
        f"training broke down in stage {stage} at step {step}: {what}; the last good checkpoint is "
        f"kept ({kept}); lower stages.{stage}.peak_rate and start in a new folder"
    )


def _not_finite(model: "tf_keras.Model") -> list[str]:
    """Name the weights that hold NaN or infinity."""
    return [weight.name for weight in model.weights if not np.isfinite(weight.numpy()).all()]


def _validate(model: "tf_keras.Model", images: DecodedPairs) -> float:
    """Return the mean RGB PSNR in dB over whole images, rounded to 8 bits, one pixel shaved.

    NaN if the network's output is not finite.
    """
    scores = []
    for lr, hr in images:
        sr = model(lr[None].astype(np.float32) / 255.0, training=False).numpy()[0]
        if not np.isfinite(sr).all():
            return np.nan
        rounded = np.rint(np.clip(sr, 0.0, 1.0) * 255.0).astype(np.uint8)
        scores.append(counted_db(psnr_db(rounded, hr, shave=RGB_SHAVE)))
    return float(np.mean(scores))
