"""Calibration of TFLite models: ranges measured once per image, integer models in milliseconds.

This room stands alone: it needs neither TensorFlow nor Keras until a float model is quantized.

    from qsr import calibration as cal

    table = cal.collect(model, images)
    integer = cal.quantize(model, table.merged(["a", "b"]), cal.Scheme(io="uint8"))
    study = cal.search(model, table, score, strategy=cal.Linear(), journal=path, executor=pool)
"""

from qsr.calibration.bootstrap import Interval
from qsr.calibration.collect import ImageSource, collect
from qsr.calibration.litert_json import read_litert_json, write_litert_json
from qsr.calibration.proposal import Proposal
from qsr.calibration.quantize import quantize
from qsr.calibration.race import Race
from qsr.calibration.ranges import Ranges, RangeTable
from qsr.calibration.scheme import Scheme
from qsr.calibration.search import search
from qsr.calibration.strategies.all_images import AllImages
from qsr.calibration.strategies.base import Strategy
from qsr.calibration.strategies.coverage import Coverage
from qsr.calibration.strategies.greedy import Greedy
from qsr.calibration.strategies.linear import Linear
from qsr.calibration.strategies.random_subsets import RandomSubsets
from qsr.calibration.strategies.range_statistics import RangeStatistics
from qsr.calibration.strategies.tuning import Tuned
from qsr.calibration.study import Confirmation, Study, Trial

__all__ = [
    "AllImages",
    "Confirmation",
    "Coverage",
    "Greedy",
    "ImageSource",
    "Interval",
    "Linear",
    "Proposal",
    "Race",
    "RandomSubsets",
    "RangeStatistics",
    "RangeTable",
    "Ranges",
    "Scheme",
    "Strategy",
    "Study",
    "Trial",
    "Tuned",
    "collect",
    "quantize",
    "read_litert_json",
    "search",
    "write_litert_json",
]
