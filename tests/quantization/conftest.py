"""Small networks with anything between two convolutions."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def converted():
    """Convert ``picture -> picture`` of Keras layers, that repeat it with noise, to ``.tflite``."""
    import tf_keras

    from qsr.tflite.convert import convert_keras

    def convert(layers):
        picture = tf_keras.Input((None, None, 3))
        model = tf_keras.Model(picture, layers(picture))
        random = np.random.default_rng(8)
        for weight in model.trainable_weights:
            values = random.normal(0, 0.02, weight.shape)
            if "depthwise" in weight.name and len(weight.shape) > 1:
                values[1, 1] += 1
            elif tuple(weight.shape[:2]) == (3, 3):
                outputs = weight.shape[3]
                passed = np.eye(3, outputs) if outputs != 27 else np.tile(np.eye(3), 9)
                values[1, 1, :3] += passed
            elif "alpha" in weight.name:
                values = random.uniform(-0.2, 1.2, weight.shape)
            weight.assign(values)
        return convert_keras(model)

    return convert
