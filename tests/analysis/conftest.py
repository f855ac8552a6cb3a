"""Pictures, ranges and networks that the tests of analysis share."""

import numpy as np
import pytest
import skimage.data
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qsr import calibration as cal


@pytest.fixture(scope="session")
def pictures():
    """(name, LR, HR) of three photographs of three sizes; LR is every third pixel of HR."""
    originals = {
        "astronaut": skimage.data.astronaut()[20:140, 170:314],
        "chelsea": skimage.data.chelsea()[90:189, 110:281],
        "coffee": skimage.data.coffee()[100:244, 200:320],
    }
    return [(name, hr[1::3, 1::3].copy(), hr) for name, hr in originals.items()]


@pytest.fixture(scope="session")
def ranges(trained_xcat, pictures):
    """What the network's tensors span on those pictures."""
    return cal.collect(trained_xcat, {name: lr for name, lr, _ in pictures}).merged()


@pytest.fixture(scope="session")
def quantized(trained_xcat, ranges):
    """Make an integer model with the ranges of some tensors multiplied by a factor."""

    def quantize(factors=None, **scheme):
        wrong = {}
        for name, factor in (factors or {}).items():
            place = ranges.tensors.index(name)
            wrong[name] = (ranges.minimum[place] * factor, ranges.maximum[place] * factor)
        return cal.quantize(trained_xcat, ranges.with_known(wrong), cal.Scheme(**scheme))

    return quantize


@pytest.fixture(scope="session")
def sound(quantized):
    """The integer model as it should be, ``uint8`` at both ends."""
    return quantized()


@pytest.fixture(scope="session")
def half_xcat(trained_xcat_keras):
    """The same network as TFLite converts it to float16: all stored values have DEQUANTIZE."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(trained_xcat_keras)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


@pytest.fixture(scope="session")
def all_tensors():
    """Run a model by TFLite alone: ``(model, input) -> {tensor name: (values, scale, zero)}``."""

    def run(model, values):
        interpreter = Interpreter(
            model_content=model,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], values.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
        interpreter.invoke()
        found = {}
        for detail in interpreter.get_tensor_details():
            try:
                content = interpreter.get_tensor(detail["index"])
            except ValueError:  # what a kernel needed for itself
                continue
            found[detail["name"]] = (content, *detail["quantization"])
        return found

    return run


@pytest.fixture(scope="session")
def unlike_xcat():
    """Build other networks, in float: ``(scale, first) -> bytes``; copies, and ``first`` first."""
    import tf_keras

    from qsr.models.layers import DepthToSpace
    from qsr.tflite.convert import convert_keras

    def make(scale, first=None):
        picture = tf_keras.Input((None, None, 3))
        copies = tf_keras.layers.Conv2D(3 * scale**2, 1, name="copies")
        upscaled = DepthToSpace(scale)(copies(first(picture) if first else picture))
        copies.set_weights([np.tile(np.eye(3), scale**2)[None, None], np.zeros(3 * scale**2)])
        return convert_keras(tf_keras.Model(picture, upscaled))

    return make
