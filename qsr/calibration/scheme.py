"""How a model is quantized."""

from dataclasses import dataclass
from typing import Literal, get_args

from qsr.errors import UsageError

IoType = Literal["uint8", "int8", "float32"]


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How a model is quantized: 8-bit weights and activations, and what is left to choose.

    Attributes:
        io: type of the model's input and output.
        per_channel: one weight scale per output channel, not one per kernel.
        pin_io: give input and output their true grid, black to white in 256 steps, whatever the
            representative images hold. False leaves both to the images, as the paper did.
    """

    io: IoType = "uint8"
    per_channel: bool = True
    pin_io: bool = True

    def __post_init__(self) -> None:
        """Reject an unknown type."""
        if self.io not in get_args(IoType):
            raise UsageError(f"io must be one of {', '.join(get_args(IoType))}, not {self.io!r}")


SCHEMES: dict[str, Scheme] = {
    "uint8": Scheme(io="uint8"),
    "int8": Scheme(io="int8"),
    "uint8-per-tensor": Scheme(io="uint8", per_channel=False),
    "int8-per-tensor": Scheme(io="int8", per_channel=False),
}


def scheme_named(name: str, *, pin_io: bool = True) -> Scheme:
    """Return the scheme that the command line calls ``name``.

    Raises:
        UsageError: no such scheme; the valid names are given.
    """
    if name not in SCHEMES:
        raise UsageError(f"no scheme named {name!r}; give one of: {', '.join(SCHEMES)}")
    scheme = SCHEMES[name]
    return Scheme(io=scheme.io, per_channel=scheme.per_channel, pin_io=pin_io)
