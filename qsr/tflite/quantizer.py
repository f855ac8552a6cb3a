"""TFLite's own calibrator and quantizer, reached by the internal names that they have.

Everything here that could break with a new TensorFlow is in this file, and tests compare it with
the public ``TFLiteConverter``.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qsr.errors import ModelError
from qsr.quiet import captured_stderr, import_tensorflow


def record_ranges(
    model: bytes, inputs: Iterable[NDArray[np.float32]]
) -> dict[int, tuple[float, float]]:
    """Run TFLite's calibrator and return what it recorded.

    Args:
        model: content of a float ``.tflite`` file.
        inputs: values of its input, ``(1, h, w, 3)`` each; sizes may differ.

    Returns:
        Tensor number to (minimum, maximum) over all inputs.

    Raises:
        ModelError: the calibrator cannot run the model.
    """
    with captured_stderr():
        calibration_wrapper = _calibration_wrapper()
        try:
            calibrator = calibration_wrapper.CalibrationWrapper(model, [], [])
            for count, values in enumerate(inputs):
                if count == 0:
                    calibrator.Prepare([list(values.shape)])
                calibrator.FeedTensor([values])
            calibrated = calibrator.Calibrate()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"TFLite's calibrator cannot run the model: {error}") from error
    tensors = schema.ModelT.InitFromPackedBuf(calibrated, 0).subgraphs[0].tensors
    recorded = {}
    for index, tensor in enumerate(tensors):
        minimum = getattr(tensor.quantization, "min", None)
        if minimum is not None and len(minimum) > 0:
            recorded[index] = (float(minimum[0]), float(tensor.quantization.max[0]))
    return recorded


def quantize_calibrated(
    model: bytes,
    *,
    io_dtype: str,
    per_channel: bool,
    float_nodes: Collection[str] = (),
    source: str = "model",
) -> bytes:
    """Turn a float model that carries ranges into an integer one. Takes about 10 ms.

    Args:
        model: content of a float ``.tflite`` file with a (minimum, maximum) in each activation.
        io_dtype: ``uint8``, ``int8`` or ``float32`` at both ends.
        per_channel: one scale per output channel of a convolution, not one per kernel.
        float_nodes: what the operators that stay in float make: the names of their tensors. Those
            that only move values follow the operators around them, whether named or not.
        source: named in errors.

    Returns:
        Content of the integer ``.tflite`` file.

    Raises:
        ModelError: the quantizer refuses the model.
    """
    mlir_quantize, dtypes = _quantizer()
    with captured_stderr() as printed:
        try:
            return bytes(
                mlir_quantize(
                    model,
                    disable_per_channel=not per_channel,
                    input_data_type=dtypes[io_dtype],
                    output_data_type=dtypes[io_dtype],
                    denylisted_nodes=set(float_nodes) or None,
                )
            )
        except Exception as error:  # noqa: BLE001 (the binding raises whatever MLIR reports)
            reason = str(error)
    raise ModelError(f"{source}: TFLite's quantizer refuses it: {_reason(reason, printed.text)}")


def _calibration_wrapper() -> Any:
    """Import TensorFlow's binding of the calibrator (seconds, once per process).

    LiteRT has the same binding, but a process can hold only one of the two: with LiteRT's loaded,
    the public ``TFLiteConverter`` could not calibrate any more in the user's process.
    """
    from tensorflow.lite.python.optimize import _pywrap_tensorflow_lite_calibration_wrapper

    return _pywrap_tensorflow_lite_calibration_wrapper


def _quantizer() -> tuple[Any, dict[str, Any]]:
    """Import TensorFlow, for its quantizer alone (seconds, once per process)."""
    tf = import_tensorflow()
    from tensorflow.lite.python.convert import mlir_quantize

    return mlir_quantize, {"uint8": tf.uint8, "int8": tf.int8, "float32": tf.float32}


def _reason(raised: str, printed: str) -> str:
    """Return the first line that MLIR marks as an error, or else what was raised."""
    marked = re.search(r"error: (.+)", f"{raised}\n{printed}")
    first = (
        marked.group(1) if marked else next(iter(raised.strip().splitlines()), "no reason given")
    )
    return first.strip()
