"""What networks there are, and what is known of the weights that ship."""

from dataclasses import dataclass

from qsr.models.provenance import Parameters, Provenance
from qsr.models.zoo import BICUBIC, ZOO, provenance


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A network of the zoo, or bicubic interpolation.

    Attributes:
        name: what commands call it.
        scale: upsampling factor.
        parameters: how many there are.
        provenance: where the weights that ship come from, and their scores; None if none ship.
            That of bicubic has scores alone.
    """

    name: str
    scale: int
    parameters: Parameters
    provenance: Provenance | None


def known_models() -> tuple[KnownModel, ...]:
    """Return bicubic and every network of the zoo, without loading TensorFlow.

    Where weights ship, scale and parameters are theirs, else those of the published network.

    Raises:
        ModelError: a file that says where weights come from is damaged.
    """
    models = []
    for name in (BICUBIC, *ZOO):
        known = provenance(name)
        if known is not None:
            scale, parameters = int(known.config["scale"]), known.parameters
        else:
            scale, parameters = ZOO[name].config().scale, ZOO[name].parameters
        models.append(KnownModel(name=name, scale=scale, parameters=parameters, provenance=known))
    return tuple(models)
