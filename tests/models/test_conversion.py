"""Every variant as a float .tflite file."""

from dataclasses import replace

import numpy as np
import pytest
from table_configs import VARIANTS

from qsr.tflite.convert import convert_keras

DEEPEST = "xcat_21_7_m12_cross"
# Conversion takes seconds per network and grows with its depth, so that all but the deepest have
# at most two blocks here: one that reads the first convolution, one that reads another block.
CONFIGS = {
    replace(config, blocks=min(config.blocks, 2)): name
    for name, config in reversed(VARIANTS.items())
} | {VARIANTS[DEEPEST]: DEEPEST}


@pytest.mark.parametrize("config", CONFIGS, ids=CONFIGS.values())
def test_float_model(built, picture, run_bare, config):
    """The float .tflite file computes what the Keras model does, at a size chosen later."""
    model = built(config)
    expected = np.asarray(model(picture))
    assert expected.std() > 0.05
    assert np.abs(run_bare(convert_keras(model), picture) - expected).max() < 1e-5
