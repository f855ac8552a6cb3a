"""ESPCN (Shi et al., 2016) in RGB: three convolutions and depth-to-space."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qsr.models.sizes import RGB_CHANNELS, check_sizes, output_channels

if TYPE_CHECKING:
    import tf_keras


@dataclass(frozen=True, kw_only=True)
class EspcnConfig:
    """What an ESPCN is made of; the defaults are the paper's model in RGB (31 131 parameters).

    Attributes:
        scale: upsampling factor.
        activation: after the first two convolutions; the paper's is ``tanh``, that of many
            implementations ``relu``.
        clipped: end in a clipped ReLU; the paper's network does not.
    """

    scale: int = 3
    activation: Literal["tanh", "relu"] = "tanh"
    clipped: bool = False

    def __post_init__(self) -> None:
        """Reject sizes that no network has."""
        check_sizes(self, {"scale": 2})


_DEFAULT = EspcnConfig()


def build_espcn(config: EspcnConfig = _DEFAULT) -> "tf_keras.Model":
    """Build an ESPCN with fresh weights.

    Args:
        config: what it is made of.

    Returns:
        A model from ``(N, H, W, 3)`` to ``(N, scale*H, scale*W, 3)``, ``float32`` RGB in [0, 1].
    """
    import tf_keras

    from qsr.models.layers import ClippedReLU, DepthToSpace, conv

    picture = tf_keras.Input((None, None, RGB_CHANNELS), name="lr")
    features = conv(64, 5, "first_conv", config.activation)(picture)
    features = conv(32, 3, "last_conv", config.activation)(features)
    features = conv(output_channels(config.scale), 3, "output_conv")(features)
    upscaled = DepthToSpace(config.scale, name="depth_to_space")(features)
    if config.clipped:
        upscaled = ClippedReLU(name="clipped_relu")(upscaled)
    return tf_keras.Model(picture, upscaled, name="espcn")
