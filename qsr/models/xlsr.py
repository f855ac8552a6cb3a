"""XLSR (Ayazoglu, 2021): grouped convolutions, a short cut from the input, and a clipped ReLU."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsr.models.sizes import RGB_CHANNELS, check_sizes, output_channels

if TYPE_CHECKING:
    import tf_keras

_GROUPS = 4
_GROUP_CHANNELS = 8
_CHANNELS = _GROUPS * _GROUP_CHANNELS
_SHORTCUT_CHANNELS = 16
_VARIANCE = 0.1 * 2
"""Kernels begin with the variance 0.1 * 2 / fan_out: so small that 8 bits hold them well."""


@dataclass(frozen=True, kw_only=True)
class XlsrConfig:
    """What an XLSR is made of; the defaults are the paper's model (21 947 parameters).

    Attributes:
        scale: upsampling factor.
        blocks: number of GBlocks.
        clipped: end in a clipped ReLU.
    """

    scale: int = 3
    blocks: int = 3
    clipped: bool = True

    def __post_init__(self) -> None:
        """Reject sizes that no network has."""
        check_sizes(self, {"scale": 2, "blocks": 0})


_DEFAULT = XlsrConfig()


def build_xlsr(config: XlsrConfig = _DEFAULT) -> "tf_keras.Model":
    """Build an XLSR with fresh weights.

    Args:
        config: what it is made of.

    Returns:
        A model from ``(N, H, W, 3)`` to ``(N, scale*H, scale*W, 3)``, ``float32`` RGB in [0, 1].
    """
    import tf_keras

    from qsr.models.layers import ClippedReLU, DepthToSpace

    picture = tf_keras.Input((None, None, RGB_CHANNELS), name="lr")
    features = _grouped_conv([picture] * _GROUPS, "first")
    features = _conv(_CHANNELS, 1, "first_mix")(features)
    for index in range(config.blocks):
        features = _block(features, f"block{index + 1}")
    shortcut = _conv(_SHORTCUT_CHANNELS, 3, "shortcut_conv")(picture)
    features = tf_keras.layers.Concatenate(name="shortcut")([features, shortcut])
    features = _conv(_CHANNELS, 1, "last_mix", "relu")(features)
    residual = _conv(output_channels(config.scale), 3, "output_conv")(features)
    upscaled = DepthToSpace(config.scale, name="depth_to_space")(residual)
    if config.clipped:
        upscaled = ClippedReLU(name="clipped_relu")(upscaled)
    return tf_keras.Model(picture, upscaled, name="xlsr")


def _block(features: "tf_keras.KerasTensor", name: str) -> "tf_keras.KerasTensor":
    """One GBlock: a grouped 3x3 convolution, ReLU, and a linear 1x1 over all channels."""
    from qsr.models.layers import ChannelSplit

    parts = ChannelSplit([_GROUP_CHANNELS] * _GROUPS, name=f"{name}_split")(features)
    return _conv(_CHANNELS, 1, f"{name}_mix")(_grouped_conv(parts, name))


def _grouped_conv(parts: "list[tf_keras.KerasTensor]", name: str) -> "tf_keras.KerasTensor":
    """Convolve each part on its own and join the results.

    One grouped convolution would be the same, but TensorFlow has no gradient of it on CPUs.
    """
    import tf_keras

    convolved = [
        _conv(_GROUP_CHANNELS, 3, f"{name}_conv{index + 1}", "relu")(part)
        for index, part in enumerate(parts)
    ]
    return tf_keras.layers.Concatenate(name=f"{name}_concat")(convolved)


def _conv(
    channels: int, kernel: int, name: str, activation: str | None = None
) -> "tf_keras.layers.Conv2D":
    """Return a convolution that begins with XLSR's small weights."""
    import tf_keras

    from qsr.models.layers import conv

    small = tf_keras.initializers.VarianceScaling(_VARIANCE, "fan_out", "untruncated_normal")
    return conv(channels, kernel, name, activation, initializer=small)
