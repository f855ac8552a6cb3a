"""Training steps: many in one compiled call, on one device or several."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qsr.errors import UsageError
from qsr.training.losses import charbonnier, mae, mse
from qsr.training.recipe import Stage, Training
from qsr.training.schedules import halving, warmup_then_linear

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras
    from numpy.typing import NDArray

Loss = Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]

_EXACT_TYPES = ("DepthToSpace", "ClippedReLU")
_EXACT_NAMES = ("nearest_neighbor", "anchor")  # the picture, and what joins it to the features


def distribution(devices: Sequence[str] | None, batch_size: int) -> "tf.distribute.Strategy":
    """Return how to spread a batch over devices: all GPUs if there are several.

    Args:
        devices: names such as ``GPU:0``; None takes as many GPUs as can share a batch equally, or
            what TensorFlow picks if there is at most one.
        batch_size: patches per step, which the devices share equally.

    Raises:
        UsageError: the named devices cannot share a batch equally.
    """
    import tensorflow as tf

    if devices is None:
        found = [device.name for device in tf.config.list_logical_devices("GPU")]
        counts = [count for count in range(1, len(found) + 1) if batch_size % count == 0]
        devices = found[: max(counts, default=0)]
        if len(devices) < 2:  # noqa: PLR2004
            return tf.distribute.get_strategy()
    if not devices or batch_size % len(devices):
        raise UsageError(
            f"training.batch_size ({batch_size}) must be divisible by the number of devices "
            f"({len(devices)})"
        )
    return tf.distribute.MirroredStrategy(list(devices))


def learning_rates(training: Training, stage: Stage) -> "NDArray[Any]":
    """Return the learning rate of each epoch of a stage, ``(epochs,)`` ``float32``."""
    if training.schedule == "halving":
        return halving(
            epochs=training.epochs,
            initial=stage.peak_rate,
            halving_epochs=training.halving_epochs,
        )
    return warmup_then_linear(
        epochs=training.epochs,
        warmup_epochs=training.warmup_epochs,
        initial=stage.initial_rate,
        peak=stage.peak_rate,
        final=training.final_rate,
    )


def new_optimizer(training: Training, stage: Stage) -> "tf_keras.optimizers.Optimizer":
    """Return Adam with the learning rate of each epoch of a stage."""
    import tensorflow as tf
    import tf_keras

    rates = tf.constant(learning_rates(training, stage))

    class RateOfEpoch(tf_keras.optimizers.schedules.LearningRateSchedule):
        """The rate of the epoch that a step of the stage lies in."""

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


def loss_of(stage: Stage) -> Loss:
    """Return a stage's loss as a function of target and prediction."""
    if stage.loss == "mse":
        return lambda hr, sr: mse(hr, sr, luminance_weight=stage.luminance_weight)
    if stage.loss == "mae":
        return mae
    return lambda hr, sr: charbonnier(hr, sr, epsilon=stage.charbonnier_epsilon)


def in_precision(model: "tf_keras.Model", stage: Stage) -> "tf_keras.Model":
    """Return the network that a stage trains: ``model`` itself, or a copy that computes otherwise.

    Args:
        model: the network in ``float32``.
        stage: says what convolutions compute in.

    Returns:
        ``model``, or a network with copies of its weights, in ``float32`` too, whose layers compute
        in ``bfloat16``. What makes the picture itself does not, as ``bfloat16`` has but 8 bits: the
        addition of the anchor or, without one, the last convolution, and all that follows.
    """
    import tf_keras

    if stage.precision == "float32":
        return model

    exact = [
        layer
        for layer in model.layers
        if type(layer).__name__ in _EXACT_TYPES or layer.name in _EXACT_NAMES
    ]
    if not any(isinstance(layer, tf_keras.layers.Add) for layer in exact):
        exact += [layer for layer in model.layers if isinstance(layer, tf_keras.layers.Conv2D)][-1:]

    def copied(layer: "tf_keras.layers.Layer") -> "tf_keras.layers.Layer":
        config = layer.get_config()
        if layer not in exact:
            config["dtype"] = "mixed_bfloat16"
        return type(layer).from_config(config)

    twin = tf_keras.models.clone_model(model, clone_function=copied)
    twin.set_weights(model.get_weights())
    return twin


def compiled_steps(
    model: "tf_keras.Model",
    optimizer: "tf_keras.optimizers.Optimizer",
    loss: Loss,
    strategy: "tf.distribute.Strategy",
    teacher: "tf_keras.Model | None" = None,
    *,
    hr_weight: float = 0.0,
) -> Callable[..., "tf.Tensor"]:
    """Return a function that trains on stacked batches in one graph.

    The target is the HR patch, or what ``teacher`` makes of the LR patch, moved towards HR by
    ``hr_weight``, 0 to 1.

    It takes ``lr``, ``hr`` and ``intensity`` of :class:`qsr.data.pipeline.Batches`, and returns the
    loss before each step, ``(steps,)`` ``float32``.
    """
    import tensorflow as tf

    replicas = strategy.num_replicas_in_sync

    def step(lr: "tf.Tensor", hr: "tf.Tensor", intensity: "tf.Tensor") -> "tf.Tensor":
        factor = intensity[:, None, None, None] / 255.0
        picture = tf.cast(lr, tf.float32) * factor
        target = tf.cast(hr, tf.float32) * factor
        if teacher is not None:
            made = teacher(picture)
            target = made + hr_weight * (target - made)
        with tf.GradientTape() as tape:
            predicted = tf.cast(model(picture, training=True), tf.float32)
            mean = loss(target, predicted)
            share = mean / replicas  # apply_gradients adds the gradients of all devices
        gradients = tape.gradient(share, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return mean

    def of_device(
        context: "tf.distribute.ReplicaContext", batch: tuple["tf.Tensor", ...]
    ) -> tuple["tf.Tensor", ...]:
        own = slice(context.replica_id_in_sync_group, None, replicas)
        return tuple(part[own] for part in batch)

    @tf.function(reduce_retracing=True)
    def run_steps(lr: "tf.Tensor", hr: "tf.Tensor", intensity: "tf.Tensor") -> "tf.Tensor":
        steps = tf.shape(lr)[0]
        losses = tf.TensorArray(tf.float32, steps)
        for index in tf.range(steps):
            batch = lr[index], hr[index], intensity[index]
            if replicas > 1:
                parts = strategy.experimental_distribute_values_from_function(
                    lambda context: of_device(context, batch)  # noqa: B023 (called at once)
                )
                mean = strategy.reduce("MEAN", strategy.run(step, args=parts), axis=None)
            else:
                mean = step(*batch)
            losses = losses.write(index, mean)
        return losses.stack()

    compiled: Callable[..., tf.Tensor] = run_steps
    return compiled
