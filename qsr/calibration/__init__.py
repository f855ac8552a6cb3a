"""Calibration of TFLite models: ranges measured once per image, integer models in milliseconds.

This room stands alone: it needs neither TensorFlow nor Keras until a float model is quantized.

    from qsr import calibration as cal

    table = cal.collect(model, images)
    integer = cal.quantize(model, table.merged(["a", "b"]), cal.Scheme(io="uint8"))
    study = cal.search(model, table, score, strategy=cal.Linear(), journal=path, executor=pool)
"""

from qsr.calibration.collect import collect
from qsr.calibration.quantize import quantize
from qsr.calibration.ranges import Ranges, RangeTable
from qsr.calibration.scheme import Scheme
from qsr.calibration.search import search
from qsr.calibration.strategies.linear import Linear
from qsr.calibration.study import Study, Trial

__all__ = [
    "Linear",
    "RangeTable",
    "Ranges",
    "Scheme",
    "Study",
    "Trial",
    "collect",
    "quantize",
    "search",
]
