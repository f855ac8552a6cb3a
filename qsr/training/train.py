"""The training loop: decode, build, resume, step, checkpoint, validate, save."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from qsr.atomic import locked, replacing, sweep
from qsr.data.decoded import DecodedPairs, decode
from qsr.data.pairs import Pair, content_hash
from qsr.data.pipeline import batches_of_steps, chunks
from qsr.errors import ImageError, ModelError, StudyError
from qsr.metrics import RGB_SHAVE, counted_db, psnr_db
from qsr.models.zoo import build, save
from qsr.quiet import import_tensorflow
from qsr.training.losses import charbonnier, mse
from qsr.training.recipe import Recipe, Training
from qsr.training.schedules import warmup_then_linear

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras

STEPS_PER_CALL = 50
_CHECKPOINT_STEPS = 2000

_LOCK = ".qsr-train-lock"  # held by the training that works in the folder

_LEAST_TO_VALIDATE = 3  # LR pixels along a side, as `qsr evaluate` asks for PSNR


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Attributes:
        step: steps done.
        steps: steps in all.
        loss: mean training loss of the last steps.
        validation_psnr_db: RGB PSNR on the validation images (float output rounded to 8 bits, one
            pixel shaved, as ``qsr evaluate`` gives it), measured at the last checkpoint; None
            before the first.
        steps_per_second: since this run started.
    """

    step: int
    steps: int
    loss: float
    validation_psnr_db: float | None
    steps_per_second: float


@dataclass(frozen=True)
class TrainingResult:
    """What a training left behind.

    Attributes:
        model: path of the trained ``.keras`` file.
        steps: steps in all.
        resumed_from: the step that this run started at.
        validation_psnr_db: RGB PSNR on the validation images at the end, one pixel shaved.
        training_images: number of images trained on.
        validation_images: number of images validated on.
        seconds: time that this run took.
    """

    model: Path
    steps: int
    resumed_from: int
    validation_psnr_db: float
    training_images: int
    validation_images: int
    seconds: float


def train(
    recipe: Recipe,
    training_pairs: Sequence[Pair],
    validation_pairs: Sequence[Pair],
    out: Path,
    *,
    checkpoint_steps: int | None = None,
    on_decode: Callable[[int, int], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train the network of a recipe, or go on where an earlier run was stopped.

    ``out`` holds ``recipe.json`` (what is trained), ``checkpoints/``, ``log.jsonl`` (one line per
    checkpoint), ``decoded/`` (images decoded once; safe to delete) and, at the end,
    ``model.keras``. A run that is killed loses the steps since its last checkpoint and nothing
    else: the network and the log end up as those of a run that was not. The folder is locked while
    a training works in it (see :func:`qsr.atomic.locked`).

    Args:
        recipe: what to train.
        training_pairs: images to cut patches from.
        validation_pairs: images that PSNR is measured on, whole, at each checkpoint.
        out: run folder; created if missing.
        checkpoint_steps: steps between checkpoints, rounded up to a multiple of 50; if None, 2000
            or an epoch, whichever is less.
        on_decode: called with (done, total) while images are decoded.
        on_progress: called every 50 steps.

    Returns:
        Paths and numbers of the finished training.

    Raises:
        ImageError: an image is too small, of another scale than the network, or cannot be decoded.
        ModelError: loss or weights are no longer finite, or the network cannot be written; the last
            good checkpoint stays.
        StudyError: ``out`` belongs to another recipe or other images, another training works in it,
            or a checkpoint or the log cannot be written; the last good checkpoint stays.
    """
    started = perf_counter()
    with _claimed(out, _described(recipe, training_pairs, validation_pairs)):
        training_images = decode(training_pairs, out / "decoded/training", on_progress=on_decode)
        validation_images = decode(validation_pairs, out / "decoded/validation")
        patch = recipe.training.lr_patch_px
        _check_images(training_images, recipe, patch, "a training patch (training.lr_patch_px)")
        _check_images(validation_images, recipe, _LEAST_TO_VALIDATE, "validation")
        model, first_step, psnr = _trained(
            recipe,
            training_images,
            validation_images,
            out,
            checkpoint_steps=checkpoint_steps
            or min(_CHECKPOINT_STEPS, recipe.training.steps_per_epoch),
            on_progress=on_progress,
        )
        path = out / "model.keras"
        save(model, path)
    return TrainingResult(
        model=path,
        steps=recipe.training.steps,
        resumed_from=first_step,
        validation_psnr_db=psnr,
        training_images=len(training_images),
        validation_images=len(validation_images),
        seconds=perf_counter() - started,
    )


def _trained(
    recipe: Recipe,
    training_images: DecodedPairs,
    validation_images: DecodedPairs,
    out: Path,
    *,
    checkpoint_steps: int,
    on_progress: Callable[[Progress], None] | None,
) -> tuple["tf_keras.Model", int, float]:
    """Return the trained network, the step that training went on from, and the last PSNR."""
    tf = import_tensorflow()
    import tf_keras

    tf_keras.utils.set_random_seed(recipe.training.seed)
    model = build(recipe.network, recipe.model)
    optimizer = _optimizer(recipe.training)
    optimizer.build(model.trainable_variables)
    step_variable = tf.Variable(0, dtype=tf.int64, name="step")
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=step_variable)
    manager = tf.train.CheckpointManager(checkpoint, str(out / "checkpoints"), max_to_keep=3)
    manager.restore_or_initialize()
    first_step = saved_step = int(step_variable.numpy())
    _cut_log(out, first_step)

    run_steps = _compiled_steps(model, optimizer, _loss(recipe.training))
    total = recipe.training.steps
    psnr = _validate(model, validation_images) if first_step == total else None
    losses: list[float] = []
    loop_started = perf_counter()
    for done, batches in _batches(training_images, recipe, first_step):
        loss = float(run_steps(*batches))
        losses.append(loss)
        checkpoint_due = done - saved_step >= checkpoint_steps or done == total
        if not np.isfinite(loss) or (checkpoint_due and not _finite(model)):
            kept = manager.latest_checkpoint or "none yet"
            raise ModelError(
                f"training broke down by step {done} (loss {loss}); the last good checkpoint is "
                f"kept ({kept}); lower training.peak_rate and start in a new folder"
            )
        if checkpoint_due:
            psnr = _validate(model, validation_images)
            _log(out, {"step": done, "loss": float(np.mean(losses)), "validation_psnr_db": psnr})
            step_variable.assign(done)
            with _written(f"{out / 'checkpoints'}: checkpoint"):
                manager.save(done)
            saved_step = done
            losses.clear()
        if on_progress is not None:
            speed = (done - first_step) / (perf_counter() - loop_started)
            on_progress(Progress(done, total, loss, psnr, speed))

    assert psnr is not None  # noqa: S101 (the last step always validates)
    return model, first_step, psnr


def hold_out(pairs: Sequence[Pair], *, most: int = 10) -> tuple[list[Pair], list[Pair]]:
    """Take every so-many-th pair out for validation: one in ten, at most ``most``.

    Returns:
        The pairs to train on and the pairs to validate on; no pair is in both.

    Raises:
        ImageError: fewer than two pairs.
    """
    if len(pairs) < 2:  # noqa: PLR2004
        raise ImageError(
            f"training needs at least two images, one of them to validate on; there is {len(pairs)}"
        )
    count = max(1, min(most, len(pairs) // 10))
    held = {round((index + 0.5) * len(pairs) / count - 0.5) for index in range(count)}
    kept = [pair for index, pair in enumerate(pairs) if index not in held]
    return kept, [pairs[index] for index in sorted(held)]


def _batches(
    images: DecodedPairs, recipe: Recipe, first_step: int
) -> Iterator[tuple[int, tuple[Any, Any, Any]]]:
    """Draw batches in a thread ahead of training; yields (steps done, stacked batches)."""
    from concurrent.futures import ThreadPoolExecutor

    training = recipe.training

    def draw(steps: range) -> tuple[int, tuple[Any, Any, Any]]:
        batches = batches_of_steps(
            images,
            steps,
            seed=training.seed,
            batch_size=training.batch_size,
            lr_size=training.lr_patch_px,
            augmentation=recipe.augmentation,
        )
        return steps.stop, (batches.lr, batches.hr, batches.intensity)

    with ThreadPoolExecutor(max_workers=1) as thread:
        ahead = None
        for steps in chunks(first_step, training.steps, STEPS_PER_CALL):
            drawn, ahead = ahead, thread.submit(draw, steps)
            if drawn is not None:
                yield drawn.result()
        if ahead is not None:
            yield ahead.result()


def _compiled_steps(
    model: "tf_keras.Model",
    optimizer: "tf_keras.optimizers.Optimizer",
    loss_of: Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"],
) -> Callable[..., "tf.Tensor"]:
    """Return a function that trains on stacked batches in one graph and returns the mean loss."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def run_steps(lr: "tf.Tensor", hr: "tf.Tensor", intensity: "tf.Tensor") -> "tf.Tensor":
        steps = tf.shape(lr)[0]
        total = tf.constant(0.0)
        for index in tf.range(steps):
            factor = intensity[index][:, None, None, None] / 255.0
            target = tf.cast(hr[index], tf.float32) * factor
            with tf.GradientTape() as tape:
                predicted = model(tf.cast(lr[index], tf.float32) * factor, training=True)
                loss = loss_of(target, predicted)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            total += loss
        return total / tf.cast(steps, tf.float32)

    compiled: Callable[..., tf.Tensor] = run_steps
    return compiled


def _optimizer(training: Training) -> "tf_keras.optimizers.Optimizer":
    """Return Adam with the recipe's learning rate of each epoch."""
    import tensorflow as tf
    import tf_keras

    rates = tf.constant(
        warmup_then_linear(
            epochs=training.epochs,
            warmup_epochs=training.warmup_epochs,
            initial=training.initial_rate,
            peak=training.peak_rate,
            final=training.final_rate,
        )
    )

    class RateOfEpoch(tf_keras.optimizers.schedules.LearningRateSchedule):
        """The rate of the epoch that a step lies in."""

        def __call__(self, step: "tf.Tensor") -> "tf.Tensor":
            epoch = tf.minimum(tf.cast(step, tf.int64) // training.steps_per_epoch, len(rates) - 1)
            return tf.gather(rates, epoch)

    return tf_keras.optimizers.Adam(
        RateOfEpoch(),
        beta_1=training.adam_beta_1,
        beta_2=training.adam_beta_2,
        epsilon=training.adam_epsilon,
        jit_compile=False,  # measured slower on CPU with it
    )


def _loss(training: Training) -> Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]:
    """Return the recipe's loss as a function of target and prediction."""
    if training.loss == "mse":
        return mse
    return lambda hr, sr: charbonnier(hr, sr, epsilon=training.charbonnier_epsilon)


def _validate(model: "tf_keras.Model", images: DecodedPairs) -> float:
    """Return the mean RGB PSNR in dB over whole images, rounded to 8 bits, one pixel shaved."""
    scores = []
    for lr, hr in images:
        sr = model(lr[None].astype(np.float32) / 255.0, training=False).numpy()[0]
        rounded = np.rint(np.clip(sr, 0.0, 1.0) * 255.0).astype(np.uint8)
        scores.append(counted_db(psnr_db(rounded, hr, shave=RGB_SHAVE)))
    return float(np.mean(scores))


def _finite(model: "tf_keras.Model") -> bool:
    """Whether no weight is NaN or infinite: a last step can ruin them after its own loss."""
    return all(np.isfinite(weights).all() for weights in model.get_weights())


def _check_images(images: DecodedPairs, recipe: Recipe, least: int, purpose: str) -> None:
    """Raise ImageError for images of another scale than the network, or one that is too small."""
    if images.scale != recipe.model.scale:
        raise ImageError(
            f"the images are for x{images.scale} and the network is for x{recipe.model.scale}; "
            "set model.scale, or give other images"
        )
    for name, (height, width) in zip(images.names, images.sizes, strict=True):
        if min(height, width) < least:
            raise ImageError(
                f"{name}: its LR image is {width}x{height} pixels, and {purpose} needs {least} "
                "along each side; remove it"
            )


def _described(
    recipe: Recipe, training_pairs: Sequence[Pair], validation_pairs: Sequence[Pair]
) -> dict[str, Any]:
    """Say what a training is of, as JSON gives it back."""
    described: dict[str, Any] = json.loads(
        json.dumps(
            {
                "recipe": asdict(recipe),
                "training_images": _contents(training_pairs),
                "validation_images": _contents(validation_pairs),
            }
        )
    )
    return described


@contextmanager
def _claimed(out: Path, described: dict[str, Any]) -> Iterator[None]:
    """Hold ``out`` for one training: the one that is described there, or a new one."""
    lock, description = out / _LOCK, out / "recipe.json"
    with ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            if any(out.iterdir()) and not (lock.exists() or description.exists()):
                raise StudyError(f"{out}: not empty, and no training of qsr; give another --out")
            held.enter_context(locked(lock))
        except BlockingIOError as error:
            raise StudyError(
                f"{out}: another training is working in it; wait for it, or give another --out"
            ) from error
        except OSError as error:
            raise StudyError(f"{out}: cannot be made a run folder: {error.strerror}") from error
        sweep(out)
        _describe(description, described)
        yield


def _describe(path: Path, described: dict[str, Any]) -> None:
    """Write down what is trained, or check that it is what an earlier run wrote down."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        with _written(f"{path}:"), replacing(path) as unfinished:
            unfinished.write_text(json.dumps(described, indent=2))
        return
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: not readable: {error}") from error
    if not isinstance(found, dict):
        raise StudyError(f"{path}: no description of a training; give another --out")
    for part, wanted in described.items():
        if found.get(part) != wanted:
            other = "another recipe" if part == "recipe" else f"other {part.replace('_', ' ')}"
            raise StudyError(f"{path.parent}: holds a training with {other}; give another --out")


@contextmanager
def _written(what: str) -> Iterator[None]:
    """Turn what the system or TensorFlow raises when it cannot write into StudyError."""
    tf = import_tensorflow()

    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
        raise StudyError(
            f"{what} cannot be written ({' '.join(str(reason).split())}); make room and run the "
            "same command again"
        ) from error


def _contents(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Name the pairs and what their files hold, so that only the same images are gone on with."""
    return [
        {
            "name": pair.name,
            "hr_sha256": content_hash(pair.hr_path),
            "lr_sha256": None if pair.lr_path is None else content_hash(pair.lr_path),
        }
        for pair in pairs
    ]


def _cut_log(out: Path, step: int) -> None:
    """Drop from the log what an earlier run did after its last checkpoint, or wrote in part."""
    path = out / "log.jsonl"
    if not path.exists():
        return
    kept = [line for line in path.read_text().splitlines() if _logged_step(line) <= step]
    with _written(f"{path}:"), replacing(path) as unfinished:
        unfinished.write_text("".join(f"{line}\n" for line in kept))


def _logged_step(line: str) -> float:
    """Return the step of a line of the log; infinity for a torn one."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return np.inf


def _log(out: Path, line: dict[str, Any]) -> None:
    """Append one line to the training's log."""
    path = out / "log.jsonl"
    with _written(f"{path}:"), path.open("a") as log:
        log.write(json.dumps(line) + "\n")
