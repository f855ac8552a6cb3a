"""The layers that Keras does not have, as named and serialisable classes.

Quantization-aware training annotates layers, not functions, so every operation of a network,
even pure data movement, is a layer here. All tensors are ``float32`` in NHWC order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

_serialisable = tf_keras.utils.register_keras_serializable(package="qsr")


def conv(
    channels: int,
    kernel: int,
    name: str,
    activation: str | None = None,
    *,
    initializer: Any = "glorot_uniform",
) -> tf_keras.layers.Conv2D:
    """Return a convolution that keeps height and width.

    Args:
        channels: output channels.
        kernel: side of the kernel, in pixels.
        name: name of the layer.
        activation: what is applied to the result; nothing if None.
        initializer: Keras initializer of the kernel; biases begin at 0.
    """
    return tf_keras.layers.Conv2D(
        channels,
        kernel,
        padding="same",
        activation=activation,
        kernel_initializer=initializer,
        name=name,
    )


@_serialisable
class ChannelSplit(tf_keras.layers.Layer):
    """Splits the channels in order: ``(N, H, W, sum(sizes))`` to one ``(N, H, W, size)`` each.

    Args:
        sizes: number of channels of each part, first part first.
        **options: options of every Keras layer.
    """

    def __init__(self, sizes: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.sizes = tuple(int(size) for size in sizes)

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        """Split ``inputs`` along the channels."""
        return list(tf.split(inputs, self.sizes, axis=-1))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this layer."""
        return {**super().get_config(), "sizes": self.sizes}


@_serialisable
class CrossConcatenation(tf_keras.layers.Layer):
    """Joins two tensors along the channels in swapped order (XCAT, section 3.1).

    ``(N, H, W, X)`` and ``(N, H, W, Y)`` become ``(N, H, W, Y + X)``, the second input first. With
    X = 21 and Y = 7 this is the paper's circular shift by a quarter of the channels.
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Join ``[x, y]`` as ``[y, x]``."""
        x, y = inputs
        return tf.concat([y, x], axis=-1)


@_serialisable
class NearestNeighborConv(tf_keras.layers.Layer):
    """The bias-free 1x1 convolution that, before depth-to-space, is nearest-neighbour upsampling.

    ``(N, H, W, C)`` becomes ``(N, H, W, scale * scale * C)``: output channel i copies input channel
    i mod C (XCAT, section 3.1 and figure 4). The kernel ``(1, 1, C, scale * scale * C)`` is no
    trainable weight, whatever ``trainable`` of the layer or the model says, unless
    ``trainable_kernel`` asks for the variant that the paper advises against.

    Args:
        scale: upsampling factor.
        trainable_kernel: let training change the kernel.
        **options: options of every Keras layer.
    """

    def __init__(self, scale: int, *, trainable_kernel: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale
        self.trainable_kernel = trainable_kernel

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create the copying kernel."""
        channels = int(input_shape[-1])
        kernel = np.tile(np.eye(channels, dtype=np.float32), self.scale**2)[None, None]
        self.kernel = self.add_weight(
            name="kernel",
            shape=kernel.shape,
            initializer=tf_keras.initializers.Constant(kernel),
            trainable=self.trainable_kernel,
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Copy the input channels ``scale * scale`` times."""
        return tf.nn.conv2d(inputs, self.kernel, strides=1, padding="VALID")

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this layer."""
        own = {"scale": self.scale, "trainable_kernel": self.trainable_kernel}
        return {**super().get_config(), **own}


@_serialisable
class DepthToSpace(tf_keras.layers.Layer):
    """Moves channels into space: ``(N, H, W, s*s*C)`` to ``(N, s*H, s*W, C)`` (Shi et al., 2016).

    The channel order is TensorFlow's ``(dy, dx, c)``.

    Args:
        block_size: the factor s.
        **options: options of every Keras layer.
    """

    def __init__(self, block_size: int, **options: Any) -> None:
        super().__init__(**options)
        self.block_size = block_size

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Rearrange ``inputs``."""
        return tf.nn.depth_to_space(inputs, self.block_size)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this layer."""
        return {**super().get_config(), "block_size": self.block_size}


@_serialisable
class ClippedReLU(tf_keras.layers.Layer):
    """Clips to ``[0, max_value]``; the shape stays (XLSR, Ayazoglu 2021, section 3).

    Args:
        max_value: the upper bound, in the units of the picture (1.0 for pictures in [0, 1]).
        **options: options of every Keras layer.
    """

    def __init__(self, max_value: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.max_value = float(max_value)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Clip ``inputs``."""
        return tf.nn.relu(tf.minimum(inputs, self.max_value))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this layer."""
        return {**super().get_config(), "max_value": self.max_value}
