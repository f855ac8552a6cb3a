"""``qsr models``."""

from typing import TYPE_CHECKING

import typer

from qsr.cli.options import Json
from qsr.cli.output import print_json, print_table

if TYPE_CHECKING:
    from qsr.jobs.models_table import KnownModel

_SECONDS_PER_MINUTE = 60
_MINUTES_PER_HOUR = 60
_LEAST_HOURS = 2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(models)


def models(json: Json = False) -> None:
    """List the networks: parameters, scores, and how the weights that ship were trained.

    Scores are of the float model's 8-bit picture and, after a slash, of the UINT8 model's.
    """
    from qsr.jobs.models_table import known_models

    known = known_models()
    if json:
        print_json(known)
        return
    sets = list(
        dict.fromkeys(name for one in known if one.provenance for name in one.provenance.scores)
    )
    print_table(
        "PSNR in luminance (dB), FP32 or FP32/UINT8",
        ["model", "scale", "parameters", *sets, "training"],
        [
            [
                one.name,
                f"x{one.scale}",
                _parameters(one),
                *(_score(one, name) for name in sets),
                _training(one),
            ]
            for one in known
        ],
    )


def _parameters(model: "KnownModel") -> str:
    frozen = f" + {model.parameters.frozen} frozen" if model.parameters.frozen else ""
    return f"{model.parameters.trained}{frozen}"


def _score(model: "KnownModel", name: str) -> str:
    if model.provenance is None or name not in model.provenance.scores:
        return ""
    scores = model.provenance.scores[name]
    uint8 = "" if scores.uint8_psnr_y_db is None else f"/{scores.uint8_psnr_y_db:.2f}"
    return f"{scores.psnr_y_db:.2f}{uint8}"


def _training(model: "KnownModel") -> str:
    if model.provenance is None:
        return "not shipped"
    if not model.provenance.steps:
        return ""
    minutes = model.provenance.seconds / _SECONDS_PER_MINUTE
    hours = minutes / _MINUTES_PER_HOUR
    took = f"{hours:.1f} h" if hours >= _LEAST_HOURS else f"{minutes:.0f} min"
    return f"{model.provenance.steps} steps, {took}"
