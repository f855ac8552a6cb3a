"""The networks of the paper's tables, each distinct one built once."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def built():
    """Give the model of a config: the same fresh weights each time, and biases that are not 0."""
    import tf_keras

    from qsr.models.xcat import build_xcat

    models = {}

    def build(config):
        if config not in models:
            tf_keras.utils.set_random_seed(5)
            models[config] = build_xcat(config)
            random = np.random.default_rng(5)
            for weight in models[config].trainable_weights:
                if "bias" in weight.name:
                    weight.assign(random.normal(0, 0.1, weight.shape))
        return models[config]

    return build


@pytest.fixture(scope="session")
def picture():
    """A crop of a photograph of odd, unequal sides in [0, 1]: ``(1, 7, 13, 3)`` ``float32``."""
    import skimage.data

    return skimage.data.chelsea()[None, 100:107, 120:133].astype(np.float32) / 255
