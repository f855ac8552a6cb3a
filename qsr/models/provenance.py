"""Where shipped weights come from: what trained them, on what, and how well they score."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from qsr.errors import ModelError

_NO_OTHER_FIELDS = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How many numbers a network is made of.

    Attributes:
        trained: those that training changes.
        frozen: those that it does not, such as XCAT's nearest-neighbour kernel.
    """

    __pydantic_config__: ClassVar = _NO_OTHER_FIELDS

    trained: int
    frozen: int = 0


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Mean PSNR on a benchmark set; 1 pixel is shaved in RGB, one scale in luminance.

    Attributes:
        psnr_y_db: of the float model, rounded to 8 bits, in luminance.
        psnr_rgb_db: the same in RGB.
        uint8_psnr_y_db: of the UINT8 model in luminance; None if it was not measured.
        uint8_psnr_rgb_db: the same in RGB.
    """

    __pydantic_config__: ClassVar = _NO_OTHER_FIELDS

    psnr_y_db: float
    psnr_rgb_db: float
    uint8_psnr_y_db: float | None = None
    uint8_psnr_rgb_db: float | None = None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What lies beside a file of weights, as JSON of the same name.

    Attributes:
        network: name in the zoo, or ``bicubic``.
        config: every field of the network's config, by name.
        parameters: how many there are.
        commands: what to run to make these weights and scores, in order.
        steps: training steps, all stages together.
        seconds: time that training took.
        training_images: data set to what it is and what its licence says.
        licence: of the weights.
        scores: benchmark set to scores.
        held_out_for_validation: training images that were left out to validate on.
        machine: what they were trained on.
    """

    __pydantic_config__: ClassVar = _NO_OTHER_FIELDS

    network: str
    config: Mapping[str, Any]
    parameters: Parameters
    commands: tuple[str, ...]
    steps: int
    seconds: float
    training_images: Mapping[str, str]
    licence: str
    scores: Mapping[str, Scores] = field(default_factory=dict)
    held_out_for_validation: int = 0
    machine: str = ""


def read_provenance(path: Path) -> Provenance:
    """Read the JSON file beside a file of weights.

    Raises:
        ModelError: it cannot be read, or a field is unknown, missing or of another type.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Provenance).validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = f"{where}: {first['msg']}" if where else first["msg"]
        raise ModelError(f"{path}: not where weights come from: {message}") from error
