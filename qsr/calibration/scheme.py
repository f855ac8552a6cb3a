"""How a model is quantized."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from qsr.errors import UsageError

IoType = Literal["uint8", "int8", "float32"]
ActivationBits = Literal[8, 16]


@dataclass(frozen=True, kw_only=True, repr=False)
class Scheme:
    """How a model is quantized: with weights of 8 bits, and what is left to choose.

    Attributes:
        io: type of the model's input and output.
        per_channel: one weight scale per output channel, not one per kernel.
        pin_io: give input and output their true grid, black to white in 256 steps, whatever the
            representative images hold. False leaves both to the images, as the paper did.
        activation_bits: 8, or 16 inside the network, between ends of 8; see
            :mod:`qsr.tflite.sixteen_bits`.
        float_layers: layers or tensors that stay in float, as names or patterns; see
            :func:`qsr.calibration.float_layers.float_operators`.
    """

    io: IoType = "uint8"
    per_channel: bool = True
    pin_io: bool = True
    activation_bits: ActivationBits = 8
    float_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject what there is not."""
        if self.io not in get_args(IoType):
            raise UsageError(f"io must be one of {', '.join(get_args(IoType))}, not {self.io!r}")
        if self.activation_bits not in get_args(ActivationBits):
            raise UsageError(f"activation_bits must be 8 or 16, not {self.activation_bits!r}")
        if self.activation_bits != 8 and self.io == "float32":  # noqa: PLR2004
            raise UsageError("activations of 16 bits lie between ends of uint8 or int8")

    def described(self) -> dict[str, Any]:
        """Return what tells schemes apart, for JSON.

        What a scheme could not have at first is left out at its default: journals and run folders
        of before are known again.
        """
        known: dict[str, Any] = {
            "io": self.io,
            "per_channel": self.per_channel,
            "pin_io": self.pin_io,
        }
        if self.activation_bits != 8:  # noqa: PLR2004
            known["activation_bits"] = self.activation_bits
        if self.float_layers:
            known["float_layers"] = list(self.float_layers)
        return known

    def __repr__(self) -> str:
        """Return the scheme as it is written in Python."""
        fields = (f"{name}={value!r}" for name, value in self.described().items())
        return f"Scheme({', '.join(fields)})"


SCHEMES: dict[str, Scheme] = {
    "uint8": Scheme(io="uint8"),
    "int8": Scheme(io="int8"),
    "uint8-per-tensor": Scheme(io="uint8", per_channel=False),
    "int8-per-tensor": Scheme(io="int8", per_channel=False),
    "uint8-16x8": Scheme(io="uint8", activation_bits=16),
    "int8-16x8": Scheme(io="int8", activation_bits=16),
}


def scheme_named(name: str, *, pin_io: bool = True, float_layers: tuple[str, ...] = ()) -> Scheme:
    """Return the scheme that the command line calls ``name``.

    Args:
        name: one of :data:`SCHEMES`.
        pin_io: as in :class:`Scheme`.
        float_layers: as in :class:`Scheme`.

    Raises:
        UsageError: no such scheme; the valid names are given.
    """
    if name not in SCHEMES:
        raise UsageError(f"no scheme named {name!r}; give one of: {', '.join(SCHEMES)}")
    return replace(SCHEMES[name], pin_io=pin_io, float_layers=float_layers)
