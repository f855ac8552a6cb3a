"""Where an integer model differs from the float model that it was made from, layer by layer.

from qsr.analysis import compare

comparison = compare(float_model, integer_model, [("butterfly", lr, hr), ("bird", lr, None)])
"""

from qsr.analysis.compare import Comparison, ImageComparison, LayerError, compare

__all__ = ["Comparison", "ImageComparison", "LayerError", "compare"]
