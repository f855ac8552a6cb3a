"""What a user may call a model, turned into ``.tflite`` bytes."""

from pathlib import Path

from qsr.calibration.collect import check_float
from qsr.errors import ModelError
from qsr.models.zoo import ZOO, load, pretrained_path
from qsr.tflite.convert import convert_keras, convert_saved_model
from qsr.tflite.files import read_model

KERAS_SUFFIXES = {".keras", ".h5", ".hdf5"}
"""Of the files that Keras writes."""


def load_float(model: str) -> bytes:
    """Return a float ``.tflite`` model.

    Args:
        model: a name from the zoo (its shipped weights), or the path of a ``.keras`` or ``.h5``
            file, a SavedModel folder, or a float ``.tflite`` file.

    Raises:
        ModelError: missing, not readable, not convertible, quantized already, or no
            super-resolution model.
    """
    content = load_any(model)
    check_float(content, source=model)
    return content


def load_any(model: str) -> bytes:
    """Return a ``.tflite`` model, float or integer; see :func:`load_float` for what is taken.

    Raises:
        ModelError: missing, not readable or not convertible.
    """
    if model in ZOO:
        return convert_keras(load(pretrained_path(model)), source=model)
    path = Path(model)
    if not path.exists():
        raise ModelError(
            f"{model}: no such file, and no network of that name; give a .tflite, .keras or .h5 "
            f"file, a SavedModel folder, or one of: {', '.join(ZOO)}"
        )
    if path.is_dir():
        if not (path / "saved_model.pb").exists():
            raise ModelError(
                f"{model}: a folder without saved_model.pb, so no SavedModel; give folders of "
                "images with an option, one each"
            )
        return convert_saved_model(path)
    if path.suffix.lower() in KERAS_SUFFIXES:
        return convert_keras(load(path), source=model)
    return read_model(path)[0]


def short_name(model: str) -> str:
    """Return what a run folder calls a model: its name in the zoo, or its file's stem."""
    return model if model in ZOO else Path(model).stem
