"""FSRCNN (Dong et al., 2016) in RGB: a narrow body, enlarged by a transposed convolution."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsr.models.sizes import RGB_CHANNELS, check_sizes

if TYPE_CHECKING:
    import tf_keras

_SLOPE = 0.25
"""Where the slopes of PReLU begin (He et al., 2015, section 2.1)."""


@dataclass(frozen=True, kw_only=True)
class FsrcnnConfig:
    """What an FSRCNN is made of; the defaults are the paper's model in RGB (24 683 parameters).

    Attributes:
        scale: upsampling factor.
        channels: width of the features, the paper's d.
        shrunk_channels: width of the body between the two 1x1 convolutions, the paper's s.
        mapping_convs: number of 3x3 convolutions in it, the paper's m.
        clipped: end in a clipped ReLU; the paper's network does not.
    """

    scale: int = 3
    channels: int = 56
    shrunk_channels: int = 12
    mapping_convs: int = 4
    clipped: bool = False

    def __post_init__(self) -> None:
        """Reject sizes that no network has."""
        smallest = {"scale": 2, "channels": 1, "shrunk_channels": 1, "mapping_convs": 0}
        check_sizes(self, smallest)


_DEFAULT = FsrcnnConfig()


def build_fsrcnn(config: FsrcnnConfig = _DEFAULT) -> "tf_keras.Model":
    """Build an FSRCNN with fresh weights.

    Kernels begin as the paper says: by the method made for PReLU (He et al., 2015, section 2.2),
    those of the transposed convolution with a standard deviation of 0.001.

    Args:
        config: what it is made of.

    Returns:
        A model from ``(N, H, W, 3)`` to ``(N, scale*H, scale*W, 3)``, ``float32`` RGB in [0, 1].
    """
    import tf_keras

    from qsr.models.layers import ClippedReLU

    picture = tf_keras.Input((None, None, RGB_CHANNELS), name="lr")
    features = _activated(picture, config.channels, 5, "first")
    features = _activated(features, config.shrunk_channels, 1, "shrink")
    for index in range(config.mapping_convs):
        features = _activated(features, config.shrunk_channels, 3, f"map{index + 1}")
    features = _activated(features, config.channels, 1, "expand")
    upscaled = tf_keras.layers.Conv2DTranspose(
        RGB_CHANNELS,
        9,
        strides=config.scale,
        padding="same",
        kernel_initializer=tf_keras.initializers.RandomNormal(stddev=0.001),
        name="output_deconv",
    )(features)
    if config.clipped:
        upscaled = ClippedReLU(name="clipped_relu")(upscaled)
    return tf_keras.Model(picture, upscaled, name="fsrcnn")


def _activated(
    features: "tf_keras.KerasTensor", channels: int, kernel: int, name: str
) -> "tf_keras.KerasTensor":
    """Convolve, and apply PReLU with one slope per channel."""
    import tf_keras

    from qsr.models.layers import conv

    scaling = tf_keras.initializers.VarianceScaling(
        2 / (1 + _SLOPE**2), "fan_in", "untruncated_normal"
    )
    features = conv(channels, kernel, f"{name}_conv", initializer=scaling)(features)
    return tf_keras.layers.PReLU(
        alpha_initializer=tf_keras.initializers.Constant(_SLOPE),
        shared_axes=[1, 2],
        name=f"{name}_prelu",
    )(features)
