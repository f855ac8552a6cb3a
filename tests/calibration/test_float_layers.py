"""Layers that stay in float, by their names, against TensorFlow's public QuantizationDebugger."""

import warnings

import numpy as np
import pytest

from qsr import calibration as cal
from qsr.calibration.float_layers import float_operators, layer_name, operators_in_float
from qsr.errors import ModelError, UsageError
from qsr.metrics import psnr_db
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner


@pytest.fixture(scope="module")
def made(trained_xcat, photographs):
    """Quantize the XCAT with some layers in float."""
    ranges = cal.collect(trained_xcat, photographs).merged()

    def make(*layers, **settings):
        return cal.quantize(trained_xcat, ranges, cal.Scheme(float_layers=layers, **settings))

    return make


class TestNames:
    """Which operators a name stands for."""

    @pytest.mark.parametrize(
        ("pattern", "layers"),
        [
            ("last_conv", ["last_conv"]),
            ("block1_?", ["block1_x", "block1_y"]),
            ("block[12]_x", ["block1_x", "block2_x"]),
            ("xcat/anchor/add", ["anchor"]),
            ("*last_conv/BiasAdd/ReadVariableOp1", ["last_conv"]),
            ("xcat/last_conv/Conv2D", ["last_conv"]),
            ("xcat/clipped_relu/Minimum/y", ["clipped_relu"]),
            ("StatefulPartitionedCall:0", ["StatefulPartitionedCall:0"]),
        ],
    )
    def test_meant(self, pattern, layers, trained_xcat):
        """Layers, tensors, stored weights and patterns of them are found."""
        graph = Graph(trained_xcat)
        found = float_operators(graph, [pattern])
        assert [layer_name(graph, operator) for operator in found] == layers

    def test_several(self, trained_xcat):
        """Several names stand for all of theirs, once each, in the order of execution."""
        graph = Graph(trained_xcat)
        found = float_operators(graph, ["last_conv", "block1*", "last_*", "block1_x"])
        layers = [layer_name(graph, operator) for operator in found]
        assert layers == ["block1_split", "block1_x", "block1_y", "block1_cross", "last_conv"]

    @pytest.mark.parametrize(
        ("wrong", "close"),
        [("lastconv", "last_conv"), ("block1_z", "block1_[xy]"), ("ancho", "anchor")],
    )
    def test_close(self, wrong, close, trained_xcat):
        """A name that is none is refused, and close ones are given."""
        message = f"network: no layer or tensor '{wrong}'; did you mean .*{close}"
        with pytest.raises(UsageError, match=message):
            float_operators(Graph(trained_xcat), ["last_conv", wrong], source="network")

    def test_none_close(self, trained_xcat):
        """If no name is close, the layers are listed."""
        with pytest.raises(UsageError, match=r"there are first_conv, block1_split, .* others$"):
            float_operators(Graph(trained_xcat), ["???!"])


class TestModels:
    """What becomes of the layers."""

    @pytest.mark.parametrize("layer", ["first_conv", "last_conv", "anchor"])
    def test_as_the_debugger(
        self, *, layer, trained_xcat_keras, trained_xcat, photographs, run_bare
    ):
        """A model with one layer in float is the one that the public debugger makes."""
        import tensorflow as tf

        picture = photographs["coffee"]
        converter = tf.lite.TFLiteConverter.from_keras_model(trained_xcat_keras)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        fed = picture[None].astype(np.float32) / 255
        converter.representative_dataset = lambda: [[fed]]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        graph = Graph(trained_xcat)
        (operator,) = float_operators(graph, [layer])
        options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=[graph.tensors[operator.outputs[0]].name]
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf.lite.Interpreter is to be removed
            debugger = tf.lite.experimental.QuantizationDebugger(
                converter=converter, debug_dataset=lambda: [[fed]], debug_options=options
            )
            expected = bytes(debugger.get_nondebug_quantized_model())
        ranges = cal.collect(trained_xcat, {"coffee": picture}, reader="converter").merged()
        scheme = cal.Scheme(io="float32", pin_io=False, float_layers=(layer,))
        ours = cal.quantize(trained_xcat, ranges, scheme)
        assert kinds(ours) == kinds(expected)
        np.testing.assert_array_equal(run_bare(ours, fed), run_bare(expected, fed))

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("layers", [("last_conv",), ("block1_x", "last_conv", "output_conv")])
    def test_weights(self, layers, bits, made, trained_xcat):
        """The layers compute in float with the weights as they were, and no others do."""
        graph, original = Graph(made(*layers, activation_bits=bits)), Graph(trained_xcat)
        kept = operators_in_float(graph)
        assert [layer_name(graph, operator) for operator in kept] == list(layers)
        weights = {tensor.name: original.constant(tensor.index) for tensor in stored(original)}
        for operator in kept:
            kernel = graph.tensors[operator.inputs[1]]
            np.testing.assert_array_equal(graph.constant(kernel.index), weights[kernel.name])

    @pytest.mark.parametrize("bits", [8, 16])
    def test_all(self, bits, made, trained_xcat, photographs):
        """With every layer in float, the picture is the float model's but for a last rounding."""
        integer = made("*", activation_bits=bits)
        for picture in photographs.values():
            shown, wanted = (Runner(model).upscale(picture) for model in (integer, trained_xcat))
            assert np.abs(shown.astype(int) - wanted).max() <= 1
            assert psnr_db(shown, wanted) > 60

    def test_better(self, made, trained_xcat, photographs):
        """The more layers stay in float, the closer the picture is to the float model's."""
        wanted = Runner(trained_xcat)
        scores = []
        for layers in ((), ("last_conv",), ("*_conv", "block*")):
            runner = Runner(made(*layers))
            scores.append(
                np.mean(
                    [
                        psnr_db(runner.upscale(one), wanted.upscale(one))
                        for one in photographs.values()
                    ]
                )
            )
        assert scores[0] < scores[1] < scores[2]

    def test_moves(self, made):
        """A layer that only moves values, and so has the type of its neighbours, is refused."""
        with pytest.raises(ModelError, match="'depth_to_space' stands for DEPTH_TO_SPACE alone"):
            made("last_conv", "depth_to_space")

    def test_moves_in_16_bits(self, made):
        """LiteRT's quantizer lets such a layer stay in float."""
        graph = Graph(made("depth_to_space", activation_bits=16))
        assert [operator.kind for operator in operators_in_float(graph)] == ["DEPTH_TO_SPACE"]

    def test_unknown(self, made):
        """A name that is none is refused before anything is made."""
        with pytest.raises(UsageError, match="did you mean last_conv"):
            made("last_con")


def stored(graph):
    """Return the tensors that hold stored real numbers."""
    return [tensor for tensor in graph.tensors if tensor.constant and tensor.dtype == "float32"]


def kinds(model):
    """Return kinds and types of a model's operators."""
    graph = Graph(model)
    return [(one.kind, graph.tensors[one.outputs[0]].dtype) for one in graph.operators]
