"""Models of 16-bit activations, against LiteRT's quantizer alone and against 8 bits."""

import warnings

import numpy as np
import pytest
from litert_quantizer import quantizer, recipe

from qsr import calibration as cal
from qsr.calibration.float_layers import operators_in_float
from qsr.calibration.quantize import picture_ranges
from qsr.errors import ModelError, UsageError
from qsr.metrics import psnr_db
from qsr.tflite import sixteen_bits
from qsr.tflite.fold import fold
from qsr.tflite.graph import Graph, end_grids
from qsr.tflite.runtime import Runner, inspect_model, to_bytes

NETWORKS = ("trained_xcat", "espcn", "fsrcnn", "abpn_of_any_size")


@pytest.fixture(scope="module")
def made(photographs):
    """Quantize a network with the ranges of all photographs: ``made(model, io=...)``."""

    def make(model, *, bits=16, **settings):
        ranges = cal.collect(model, photographs).merged()
        return cal.quantize(model, ranges, cal.Scheme(activation_bits=bits, **settings))

    return make


@pytest.fixture(scope="module")
def made_there(photographs):
    """Quantize a network by LiteRT's quantizer alone, with the same ranges."""

    def make(model):
        known = picture_ranges(Graph(model))
        ranges = cal.collect(model, photographs).merged().with_known(known)
        measured = {
            name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
            for name, low, high in zip(ranges.tensors, ranges.minimum, ranges.maximum, strict=True)
        }
        there = quantizer.Quantizer(bytearray(model), recipe.static_wi8_ai16())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it keeps all tensors
            return bytes(there.quantize(measured, enable_progress_report=False).quantized_model)

    return make


class TestPictures:
    """What the models give."""

    @pytest.mark.parametrize("network", NETWORKS)
    def test_as_litert(self, *, network, request, made, made_there, photographs, run_bare):
        """The bytes are those that LiteRT's own 16-bit model gives, but for a few, off by one."""
        model = request.getfixturevalue(network)
        theirs, ours = made_there(model), made(model)
        white = inspect_model(model).value_max
        for picture in photographs.values():
            scale = Graph(theirs).input.scale[0] / white
            fed = np.rint(picture[None] / 255 / scale).clip(max=32767).astype(np.int16)
            found = run_bare(theirs, fed)[0] * (Graph(theirs).output.scale[0] / white)
            expected = to_bytes(found.astype(np.float32) * 255)
            difference = run_bare(ours, picture[None])[0].astype(int) - expected
            assert np.abs(difference).max() <= 1
            assert (difference != 0).mean() < 0.01

    @pytest.mark.parametrize("network", NETWORKS)
    def test_closer_than_8_bits(self, network, request, made, photographs):
        """They lie closer to the float model's pictures than those of 8-bit activations."""
        model = request.getfixturevalue(network)
        wanted = Runner(model)
        eight, sixteen = (Runner(made(model, bits=bits)) for bits in (8, 16))
        before, after = (
            [psnr_db(runner.upscale(one), wanted.upscale(one)) for one in photographs.values()]
            for runner in (eight, sixteen)
        )
        assert np.mean(after) > np.mean(before) + 0.1

    @pytest.mark.parametrize("network", ["trained_xcat", "espcn"])
    def test_types_of_ends(self, network, request, made, photographs, run_bare):
        """An int8 model gives what a uint8 model does, shifted."""
        model = request.getfixturevalue(network)
        unsigned, signed = (made(model, io=io) for io in ("uint8", "int8"))
        picture = photographs["coffee"][None]
        shifted = (picture.astype(np.int16) - 128).astype(np.int8)
        np.testing.assert_array_equal(
            run_bare(signed, shifted).astype(np.int16) + 128, run_bare(unsigned, picture)
        )

    def test_clip(self, trained_xcat, made, photographs, run_bare):
        """The clip copies bytes in 8 bits: without it the picture is the same."""
        model = made(trained_xcat)
        folded = fold(model)
        assert folded.removed == ("MINIMUM", "RELU")
        for picture in photographs.values():
            np.testing.assert_array_equal(
                run_bare(folded.model, picture[None]), run_bare(model, picture[None])
            )


class TestForm:
    """What the models are made of."""

    @pytest.mark.parametrize("network", ["trained_xcat", "espcn", "abpn_of_any_size"])
    def test_fully_integer(self, network, request, made):
        """Nothing computes in float; what is not moved at the end has 16 bits inside."""
        graph = Graph(made(request.getfixturevalue(network)))
        assert operators_in_float(graph) == ()
        inner = {
            graph.tensors[operator.outputs[0]].dtype
            for operator in graph.operators
            if operator.kind in {"CONV_2D", "ADD", "TANH", "SLICE", "CONCATENATION"}
        }
        assert inner == {"int16"}
        assert not any(
            tensor.zero_point.any() for tensor in graph.tensors if tensor.dtype == "int16"
        )

    def test_unknown_operators(self, fsrcnn, made):
        """What LiteRT's quantizer does not know stays in float, between integers."""
        graph = Graph(made(fsrcnn))
        assert {operator.kind for operator in operators_in_float(graph)} == {"PRELU"}
        assert {"CONV_2D", "TRANSPOSE_CONV", "DEQUANTIZE"} <= {one.kind for one in graph.operators}

    @pytest.mark.parametrize(("io", "black"), [("uint8", 0), ("int8", -128)])
    @pytest.mark.parametrize("network", NETWORKS)
    def test_ends(self, *, network, io, black, request, made):
        """Byte b means b/255 of white at both ends, and the signature names them."""
        model = request.getfixturevalue(network)
        integer = made(model, io=io)
        for end in end_grids(integer):
            white = inspect_model(model).value_max
            assert (end.dtype, end.scale) == (io, pytest.approx(white / 255, rel=1e-6))
            assert end.zero_point == black
        assert ends_of_signature(integer) == [
            (Graph(integer).input_index, Graph(model).input.name),
            (Graph(integer).output_index, Graph(model).output.name),
        ]

    def test_not_pinned(self, trained_xcat, made, photographs):
        """Without pinning, the ends have the grids of what the images hold."""
        ranges = cal.collect(trained_xcat, photographs).merged()
        for end, column in zip(end_grids(made(trained_xcat, pin_io=False)), (0, -1), strict=True):
            low, high = min(ranges.minimum[column], 0), max(ranges.maximum[column], 0)
            assert end.scale == pytest.approx((high - low) / 255, rel=1e-5)
            assert end.zero_point == round(-low / end.scale)

    @pytest.mark.parametrize("per_channel", [True, False])
    def test_scales_of_a_kernel(self, per_channel, trained_xcat, made):
        """A kernel has one scale per output channel, or one alone."""
        graph = Graph(made(trained_xcat, per_channel=per_channel))
        kernels = [
            graph.tensors[operator.inputs[1]]
            for operator in graph.operators
            if operator.kind == "CONV_2D"
        ]
        assert {kernel.dtype for kernel in kernels} == {"int8"}
        for kernel in kernels:
            assert kernel.scale.size == (kernel.shape[0] if per_channel else 1)

    def test_named_layers(self, trained_xcat, made):
        """Layers that are named stay in float, with their weights as they were."""
        graph, original = (
            Graph(made(trained_xcat, float_layers=("last_conv",))),
            Graph(trained_xcat),
        )
        (kept,) = operators_in_float(graph)
        kernel = graph.tensors[kept.inputs[1]]
        (twin,) = [tensor for tensor in original.tensors if tensor.name == kernel.name]
        np.testing.assert_array_equal(graph.constant(kernel.index), original.constant(twin.index))

    @pytest.mark.parametrize("layer", ["clipped_relu", "output_conv", "anchor"])
    def test_named_at_the_end(self, layer, trained_xcat, made, photographs):
        """Layers at the end can stay in float too, and the picture stays what it is."""
        integer = made(trained_xcat, float_layers=(layer,))
        assert operators_in_float(Graph(integer))
        picture = photographs["coffee"]
        shown, wanted = (Runner(model).upscale(picture) for model in (integer, trained_xcat))
        assert psnr_db(shown, wanted) > 40


class TestRefused:
    """What cannot be made."""

    def test_not_installed(self, trained_xcat, made, monkeypatch):
        """Without the optional package it is said what to install."""
        monkeypatch.setattr(sixteen_bits, "find_spec", lambda _: None)
        with pytest.raises(UsageError, match=r"pip install 'qsr\[litert\]'"):
            made(trained_xcat)

    def test_refused_there(self, trained_xcat, made, monkeypatch):
        """What LiteRT's quantizer has against a model is said in one line."""

        def refuse(*_, **__):
            raise ValueError("no such thing\nat all")

        monkeypatch.setattr(quantizer.Quantizer, "quantize", refuse)
        with pytest.raises(
            ModelError, match=r"model: LiteRT's quantizer refuses it: no such thing$"
        ):
            made(trained_xcat)


def ends_of_signature(model):
    """Return tensor number and the tensor's name of the signature's input and output."""
    from ai_edge_litert import schema_py_generated as schema

    flat = schema.ModelT.InitFromPackedBuf(model, 0)
    (signature,) = flat.signatureDefs
    ends = [*signature.inputs, *signature.outputs]
    names = [flat.subgraphs[0].tensors[end.tensorIndex].name.decode() for end in ends]
    return [(end.tensorIndex, name) for end, name in zip(ends, names, strict=True)]
