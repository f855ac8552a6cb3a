"""Where an integer model differs from the model that it was made from: where, why and what to do.

from qsr.analysis import compare, diagnose

comparison = compare(float_model, integer_model, [("butterfly", lr, hr), ("bird", lr, None)])
print(diagnose(comparison, reference="fp32.tflite").why)
"""

from qsr.analysis.compare import compare
from qsr.analysis.diagnosis import diagnose
from qsr.analysis.records import Comparison, Diagnosis, LayerError, PictureError

__all__ = ["Comparison", "Diagnosis", "LayerError", "PictureError", "compare", "diagnose"]
