"""XCAT (Ayazoglu and Bilecen, 2022); its config spans every variant of Tables 1 and 3."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qsr.models.sizes import RGB_CHANNELS, check_sizes, output_channels

if TYPE_CHECKING:
    import tf_keras

_SMALLEST = {
    "scale": 2,
    "blocks": 0,
    "x_channels": 1,
    "y_channels": 1,
    "x_kernel": 1,
    "y_kernel": 1,
}


@dataclass(frozen=True, kw_only=True)
class XcatConfig:
    """What an XCAT is made of; the defaults are the paper's model (16 519 + 81 parameters).

    Attributes:
        scale: upsampling factor.
        blocks: number of HXBlocks, the paper's m.
        x_channels: channels of the first part of the split, the paper's X.
        y_channels: channels of the second part, the paper's Y.
        x_kernel: kernel size of the convolution on X, in pixels.
        y_kernel: kernel size of the convolution on Y, in pixels.
        mixing: how a block joins its two parts: ``cross`` swaps them, ``straight`` keeps their
            order (Table 3), ``conv1x1`` keeps it and adds a linear 1x1 convolution over all
            channels, as the GBlock of XLSR does (Table 1, B and C).
        block: ``hx``, or ``conv3x3`` for one 3x3 convolution in place of each HXBlock (Table 1, D).
        last_conv_kernel: kernel size in pixels of the convolution after the last block; 0 leaves
            it out (Table 1, F to M).
        anchor: ``add`` adds the nearest-neighbour picture after the last convolution; ``concat``
            joins it to the features before that convolution (Table 1, M).
        trainable_anchor: let training change the nearest-neighbour kernel; section 3.1 advises
            against it.
        clipped: end in a clipped ReLU (section 3.2).
    """

    scale: int = 3
    blocks: int = 2
    x_channels: int = 21
    y_channels: int = 7
    x_kernel: int = 1
    y_kernel: int = 3
    mixing: Literal["cross", "straight", "conv1x1"] = "cross"
    block: Literal["hx", "conv3x3"] = "hx"
    last_conv_kernel: Literal[0, 1, 3] = 3
    anchor: Literal["add", "concat"] = "add"
    trainable_anchor: bool = False
    clipped: bool = True

    def __post_init__(self) -> None:
        """Reject sizes that no network has."""
        check_sizes(self, _SMALLEST)

    @property
    def channels(self) -> int:
        """Width of the body, X + Y."""
        return self.x_channels + self.y_channels


_DEFAULT = XcatConfig()


def build_xcat(config: XcatConfig = _DEFAULT) -> "tf_keras.Model":
    """Build an XCAT with fresh weights.

    Args:
        config: what it is made of.

    Returns:
        A model from ``(N, H, W, 3)`` to ``(N, scale*H, scale*W, 3)``, ``float32`` RGB in [0, 1].
    """
    import tf_keras

    from qsr.models.layers import ClippedReLU, DepthToSpace, NearestNeighborConv, conv

    picture = tf_keras.Input((None, None, RGB_CHANNELS), name="lr")
    features = conv(config.channels, 3, "first_conv", "relu")(picture)
    for index in range(config.blocks):
        features = _block(features, config, f"block{index + 1}")
    if config.last_conv_kernel:
        features = conv(config.channels, config.last_conv_kernel, "last_conv", "relu")(features)
    anchor = NearestNeighborConv(
        config.scale, trainable_kernel=config.trainable_anchor, name="nearest_neighbor"
    )(picture)
    if config.anchor == "concat":
        features = tf_keras.layers.Concatenate(name="anchor")([features, anchor])
    residual = conv(output_channels(config.scale), 3, "output_conv")(features)
    if config.anchor == "add":
        residual = tf_keras.layers.Add(name="anchor")([residual, anchor])
    upscaled = DepthToSpace(config.scale, name="depth_to_space")(residual)
    if config.clipped:
        upscaled = ClippedReLU(name="clipped_relu")(upscaled)
    return tf_keras.Model(picture, upscaled, name="xcat")


def _block(
    features: "tf_keras.KerasTensor", config: XcatConfig, name: str
) -> "tf_keras.KerasTensor":
    """One HXBlock (figure 2), or what a variant puts in its place."""
    import tf_keras

    from qsr.models.layers import ChannelSplit, CrossConcatenation, conv

    if config.block == "conv3x3":
        return conv(config.channels, 3, f"{name}_conv", "relu")(features)
    sizes = (config.x_channels, config.y_channels)
    x, y = ChannelSplit(sizes, name=f"{name}_split")(features)
    x = conv(config.x_channels, config.x_kernel, f"{name}_x", "relu")(x)
    y = conv(config.y_channels, config.y_kernel, f"{name}_y", "relu")(y)
    if config.mixing == "cross":
        return CrossConcatenation(name=f"{name}_cross")([x, y])
    joined = tf_keras.layers.Concatenate(name=f"{name}_concat")([x, y])
    if config.mixing == "straight":
        return joined
    return conv(config.channels, 1, f"{name}_mix")(joined)
