"""ABPN (Du et al., 2021): plain 3x3 convolutions that learn what the repeated input lacks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsr.models.sizes import RGB_CHANNELS, check_sizes, output_channels

if TYPE_CHECKING:
    import tf_keras


@dataclass(frozen=True, kw_only=True)
class AbpnConfig:
    """What an ABPN is made of; the defaults are the paper's model (42 539 parameters).

    Attributes:
        scale: upsampling factor.
        blocks: number of convolutions between the first and the last two.
        channels: width of the body.
        clipped: end in a clipped ReLU.
    """

    scale: int = 3
    blocks: int = 4
    channels: int = 28
    clipped: bool = True

    def __post_init__(self) -> None:
        """Reject sizes that no network has."""
        check_sizes(self, {"scale": 2, "blocks": 0, "channels": 1})


_DEFAULT = AbpnConfig()


def build_abpn(config: AbpnConfig = _DEFAULT) -> "tf_keras.Model":
    """Build an ABPN with fresh weights.

    The authors' network takes pictures of 0..255, this one of 0..1 as all do here: the same
    function, but for the size of the weights.

    Args:
        config: what it is made of.

    Returns:
        A model from ``(N, H, W, 3)`` to ``(N, scale*H, scale*W, 3)``, ``float32`` RGB in [0, 1].
    """
    import tf_keras

    from qsr.models.layers import ClippedReLU, DepthToSpace, conv

    picture = tf_keras.Input((None, None, RGB_CHANNELS), name="lr")
    features = conv(config.channels, 3, "first_conv", "relu")(picture)
    for index in range(config.blocks):
        features = conv(config.channels, 3, f"conv{index + 1}", "relu")(features)
    channels = output_channels(config.scale)
    features = conv(channels, 3, "last_conv", "relu")(features)
    residual = conv(channels, 3, "output_conv")(features)
    # Depth-to-space orders channels as (dy, dx, colour): copies of RGB are the nearest neighbour.
    copies = tf_keras.layers.Concatenate(name="nearest_neighbor")([picture] * config.scale**2)
    summed = tf_keras.layers.Add(name="anchor")([residual, copies])
    upscaled = DepthToSpace(config.scale, name="depth_to_space")(summed)
    if config.clipped:
        upscaled = ClippedReLU(name="clipped_relu")(upscaled)
    return tf_keras.Model(picture, upscaled, name="abpn")
