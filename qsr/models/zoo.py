"""The table of networks: name, builder, config and, where they ship, pretrained weights."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsr.atomic import replacing
from qsr.errors import ModelError, UsageError
from qsr.models.abpn import AbpnConfig, build_abpn
from qsr.models.espcn import EspcnConfig, build_espcn
from qsr.models.fsrcnn import FsrcnnConfig, build_fsrcnn
from qsr.models.provenance import Parameters, Provenance, read_provenance
from qsr.models.xcat import XcatConfig, build_xcat
from qsr.models.xlsr import XlsrConfig, build_xlsr
from qsr.quiet import import_tensorflow

if TYPE_CHECKING:
    import tf_keras


BICUBIC = "bicubic"
"""The name that stands for MATLAB-compatible bicubic upscaling in place of a model."""

_HDF5_MARK = b"\x89HDF\r\n\x1a\n"
_PRETRAINED = Path(str(files("qsr.models"))) / "pretrained"


@dataclass(frozen=True, kw_only=True)
class Network:
    """One row of the zoo.

    Attributes:
        name: what the command line calls it.
        config: type of its config; ``config()`` is the published network.
        build: makes the Keras model of a config.
        parameters: of the published network.
    """

    name: str
    config: type
    build: Callable[[Any], "tf_keras.Model"]
    parameters: Parameters

    @property
    def pretrained(self) -> str:
        """File name of the weights that ship, if they do: those for x3."""
        return f"{self.name}_x3.keras"


ZOO: dict[str, Network] = {
    network.name: network
    for network in (
        Network(
            name="xcat",
            config=XcatConfig,
            build=build_xcat,
            parameters=Parameters(trained=16_519, frozen=81),
        ),
        Network(
            name="xlsr",
            config=XlsrConfig,
            build=build_xlsr,
            parameters=Parameters(trained=21_947),
        ),
        Network(
            name="abpn",
            config=AbpnConfig,
            build=build_abpn,
            parameters=Parameters(trained=42_539),
        ),
        Network(
            name="fsrcnn",
            config=FsrcnnConfig,
            build=build_fsrcnn,
            parameters=Parameters(trained=24_683),
        ),
        Network(
            name="espcn",
            config=EspcnConfig,
            build=build_espcn,
            parameters=Parameters(trained=31_131),
        ),
    )
}


def build(name: str, config: Any = None) -> "tf_keras.Model":
    """Build a network with fresh weights.

    Args:
        name: a key of :data:`ZOO`.
        config: its config; the published network if None.

    Raises:
        UsageError: no network of that name.
    """
    network = _find(name)
    return network.build(config if config is not None else network.config())


def pretrained_path(name: str) -> Path:
    """Return the path of the weights that ship with qsr, a ``.keras`` file.

    Raises:
        UsageError: no network of that name, or none of its weights ship.
    """
    path = _PRETRAINED / _find(name).pretrained
    if not path.exists():
        raise UsageError(f"no weights of {name} ship with qsr; train it and give the .keras file")
    return path


def provenance(name: str) -> Provenance | None:
    """Return where the weights that ship come from; None if none do.

    Bicubic interpolation has no weights, but scores.

    Args:
        name: a key of :data:`ZOO`, or ``bicubic``.

    Raises:
        ModelError: the weights ship without a word on where they come from, or with wrong ones.
        UsageError: no network of that name.
    """
    if name == BICUBIC:
        return read_provenance(_PRETRAINED / "bicubic_x3.json")
    path = _PRETRAINED / _find(name).pretrained
    return read_provenance(path.with_suffix(".json")) if path.exists() else None


def load(path: Path) -> Any:
    """Load a Keras model: a ``.keras`` or ``.h5`` file written by Keras 2 or Keras 3.

    Args:
        path: the file.

    Returns:
        A model of Keras 2 if Keras 2 can read it, else of Keras 3.

    Raises:
        ModelError: it is missing, or neither can read it.
    """
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    _check_keras_file(path)
    import_tensorflow()
    import keras
    import tf_keras

    import qsr.models.layers  # noqa: F401 (registers the layers' names)

    reasons = []
    for version, library in (("Keras 2", tf_keras), ("Keras 3", keras)):
        try:
            return library.models.load_model(path, compile=False)
        except Exception as error:  # noqa: BLE001 (Keras raises whatever its readers raise)
            first = next(iter(str(error).strip().splitlines()), repr(error))
            reasons.append(f"{version}: {first}")
    raise ModelError(
        f"{path}: cannot be loaded; if it has layers of your own, convert it to "
        f".tflite where they are defined ({'; '.join(reasons)})"
    )


def save(model: "tf_keras.Model", path: Path) -> None:
    """Write a model as a ``.keras`` file, atomically.

    Raises:
        ModelError: the file cannot be written.
    """
    try:
        with replacing(path) as unfinished:
            model.save(unfinished)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written: {error}") from error


def _check_keras_file(path: Path) -> None:
    """Raise ModelError for a file that no Keras wrote: its own words for that mislead."""
    try:
        with path.open("rb") as file:
            hdf5 = file.read(len(_HDF5_MARK)) == _HDF5_MARK
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if not hdf5 and not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: damaged, or no Keras model; save or copy it again")


def _find(name: str) -> Network:
    """Return the row of the zoo with that name."""
    if name not in ZOO:
        raise UsageError(f"no network named {name!r}; give one of: {', '.join(ZOO)}")
    return ZOO[name]
