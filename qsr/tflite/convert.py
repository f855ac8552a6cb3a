"""Keras models and SavedModels to float ``.tflite`` models."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from qsr.errors import ModelError
from qsr.quiet import captured_stderr, import_tensorflow


def convert_keras(model: Any, *, source: str = "model") -> bytes:
    """Convert a Keras model, of Keras 2 or 3, to a float ``.tflite`` model.

    Args:
        model: the Keras model.
        source: named in errors.

    Returns:
        Content of the ``.tflite`` file.

    Raises:
        ModelError: TensorFlow cannot convert it.
    """
    tf = import_tensorflow()
    # Keras 3 tells on standard output where it keeps the SavedModel that it converts from.
    with captured_stderr(), redirect_stdout(io.StringIO()):
        try:
            return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        except Exception as error:  # the converter raises whatever its passes raise
            raise _refused(source, error) from error


def convert_saved_model(folder: Path, *, source: str | None = None) -> bytes:
    """Convert a SavedModel to a float ``.tflite`` model.

    Args:
        folder: the SavedModel.
        source: named in errors; the folder if None.

    Returns:
        Content of the ``.tflite`` file.

    Raises:
        ModelError: TensorFlow cannot convert it.
    """
    tf = import_tensorflow()
    with captured_stderr():
        try:
            converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
            return bytes(converter.convert())
        except Exception as error:  # the converter raises whatever MLIR reports
            raise _refused(source or str(folder), error) from error


def _refused(source: str, error: Exception) -> ModelError:
    reason = next(iter(str(error).strip().splitlines()), repr(error))
    return ModelError(f"{source}: TensorFlow cannot convert it to .tflite: {reason}")
