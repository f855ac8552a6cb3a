"""Integer models: the grids of the picture's tensors, what a scheme changes, what is refused."""

import json

import numpy as np
import pytest
import skimage.data
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from qsr import calibration as cal
from qsr.calibration.quantize import check_quantizable, picture_ranges
from qsr.calibration.ranges import Ranges
from qsr.calibration.scheme import SCHEMES, scheme_named
from qsr.errors import ModelError, UsageError
from qsr.tflite import graph as graph_module
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph, _pack

BYTE = np.float32(1 / 255)


@pytest.fixture(scope="module")
def merged(photographs):
    """The ranges of a model on one dark photograph, which reaches neither black nor white."""

    def ranges(model):
        return cal.collect(model, {"rocket": photographs["rocket"]}).merged()

    return ranges


class TestPinned:
    """Grids that are known without any image."""

    @pytest.mark.parametrize("io", ["uint8", "int8"])
    def test_output_with_a_grid_of_its_own(self, io):
        """A network that ends in an operator whose grid TFLite fixes is refused, if pinned."""
        model = ending_in_sigmoid()
        table = cal.collect(model, {"chelsea": skimage.data.chelsea()[90:120, 110:150]})
        with pytest.raises(ModelError, match="gives the output of LOGISTIC a grid of its own"):
            cal.quantize(model, table.merged(), cal.Scheme(io=io))
        assert cal.quantize(model, table.merged(), cal.Scheme(io=io, pin_io=False))

    @pytest.mark.parametrize(("io", "zero_point"), [("uint8", 0), ("int8", -128)])
    @pytest.mark.parametrize(
        ("network", "scale"),
        [("xcat", BYTE), ("trained_xcat", BYTE), ("espcn", BYTE), ("fsrcnn", BYTE), ("abpn", 1.0)],
    )
    def test_ends(self, *, network, scale, io, zero_point, request, merged):
        """Byte b means b/255 of white at both ends, exactly, whatever the images hold."""
        model = request.getfixturevalue(network)
        integer = cal.quantize(model, merged(model), cal.Scheme(io=io))
        ends = details(integer)["ends"]
        assert [end["dtype"] for end in ends] == [np.dtype(io).type] * 2
        assert [grid(end) for end in ends] == [(scale, zero_point)] * 2

    def test_float_ends(self, trained_xcat, merged):
        """With float ends, the integer tensors next to them have the picture's grid."""
        model = trained_xcat
        integer = cal.quantize(model, merged(model), cal.Scheme(io="float32"))
        found = details(integer)
        assert [end["dtype"] for end in found["ends"]] == [np.float32] * 2
        grids = [grid(tensor) for tensor in found["activations"] if tensor["dtype"] == np.int8]
        assert grids.count((BYTE, -128)) >= 4  # both ends, ADD and DEPTH_TO_SPACE

    def test_not_pinned(self, trained_xcat, merged):
        """Without pinning, both ends have the grid of what the image holds."""
        ranges = merged(trained_xcat)
        integer = cal.quantize(trained_xcat, ranges, cal.Scheme(pin_io=False))
        for end, column in zip(details(integer)["ends"], (0, -1), strict=True):
            span = max(ranges.maximum[column], 0) - min(ranges.minimum[column], 0)
            assert grid(end)[0] == pytest.approx(span / 255, rel=1e-6)
            assert grid(end)[0] < 0.8 * BYTE

    @pytest.mark.parametrize(
        ("network", "tied"),
        [
            ("espcn", ["/last_conv/", "StatefulPartitionedCall"]),
            ("trained_xcat", ["anchor/add", "DepthToSpace", "Minimum", "StatefulPartitionedCall"]),
        ],
    )
    def test_tensors_tied_to_the_output(self, network, tied, request, merged):
        """What DEPTH_TO_SPACE and the clip read has the output's grid: nothing is rounded twice."""
        model = request.getfixturevalue(network)
        names = [name for name in merged(model).tensors if any(part in name for part in tied)]
        assert len(names) == len(tied)
        integer = cal.quantize(model, merged(model), cal.Scheme(io="int8"))
        for name in names:
            (tensor,) = [one for one in details(integer)["activations"] if one["name"] == name]
            assert grid(tensor) == (BYTE, -128)

    @pytest.mark.parametrize("network", ["xcat", "trained_xcat"])
    def test_frozen_convolution(self, network, request, merged):
        """XCAT's copy of the input picture has the picture's grid, so it copies bytes exactly."""
        model = request.getfixturevalue(network)
        integer = cal.quantize(model, merged(model), cal.Scheme(io="int8"))
        (copy,) = [
            tensor
            for tensor in details(integer)["activations"]
            if "nearest_neighbor" in tensor["name"]
        ]
        assert grid(copy) == (BYTE, -128)

    def test_other_tensors(self, trained_xcat, merged):
        """Pinning changes no tensor but those that hold the picture."""
        ranges = merged(trained_xcat)
        pinned, free = (
            {
                tensor["name"]: grid(tensor)
                for tensor in details(
                    cal.quantize(
                        trained_xcat, ranges, cal.Scheme(io="int8", per_channel=False, pin_io=pin)
                    )
                )["activations"]
            }
            for pin in (True, False)
        )
        picture = ("default_lr", "nearest", "anchor", "Depth", "Minimum", "StatefulPartitioned")
        changed = {name for name in pinned if pinned[name] != free[name]}
        assert changed == {name for name in pinned if any(part in name for part in picture)}


class TestNotMeasured:
    """Ranges without those of the picture, which are known."""

    @pytest.mark.parametrize("name", SCHEMES)
    @pytest.mark.parametrize("network", ["trained_xcat", "espcn", "fsrcnn", "abpn"])
    def test_pinned(self, network, name, request, photographs, merged):
        """With the ends pinned, the same integer model is made as if every tensor was measured."""
        model = request.getfixturevalue(network)
        images = {"rocket": photographs["rocket"]}
        table = cal.collect(model, images, known=picture_ranges(Graph(model)))
        scheme = scheme_named(name)
        assert cal.quantize(model, table.merged(), scheme) == cal.quantize(
            model, merged(model), scheme
        )

    def test_not_pinned(self, trained_xcat, photographs):
        """Without pinning, it is said that they were not measured, and what to do."""
        known = picture_ranges(Graph(trained_xcat))
        table = cal.collect(trained_xcat, photographs, known=known)
        error = refused(trained_xcat, table.merged(), cal.Scheme(pin_io=False))
        assert f"{len(known)} tensors were not measured, such as serving_default_lr:0" in error
        assert "only if the grids of input and output are pinned" in error


class TestScheme:
    """What can be chosen."""

    @pytest.mark.parametrize("per_channel", [True, False])
    def test_scales_of_a_kernel(self, per_channel, trained_xcat, merged):
        """A kernel has one scale per output channel, or one alone."""
        scheme = cal.Scheme(per_channel=per_channel)
        integer = cal.quantize(trained_xcat, merged(trained_xcat), scheme)
        kernels = details(integer)["kernels"]
        counts = [len(kernel["quantization_parameters"]["scales"]) for kernel in kernels]
        expected = [kernel["shape"][0] if per_channel else 1 for kernel in kernels]
        assert counts == expected
        assert len(counts) == 5

    def test_from_a_file(self, espcn, merged, tmp_path):
        """A path gives the same model as the file's content."""
        path = tmp_path / "espcn.tflite"
        path.write_bytes(espcn)
        assert cal.quantize(path, merged(espcn)) == cal.quantize(espcn, merged(espcn))

    def test_repeatable(self, espcn, merged):
        """The same ranges give the same bytes."""
        assert cal.quantize(espcn, merged(espcn)) == cal.quantize(espcn, merged(espcn))

    def test_read_once(self, trained_xcat, merged, monkeypatch):
        """The trials of a search read the float model's file once, and leave no trace in it."""
        ranges = merged(trained_xcat)
        first = cal.quantize(trained_xcat, ranges)
        other = ranges.with_known(dict.fromkeys(ranges.tensors, (-9.0, 9.0)))
        monkeypatch.setattr(graph_module, "_parse", lambda *_: pytest.fail("read again"))
        assert cal.quantize(trained_xcat, other) != first
        assert cal.quantize(trained_xcat, ranges) == first

    def test_unknown_type(self):
        """An unknown type is refused, and the known ones are given."""
        with pytest.raises(UsageError, match=r"uint8, int8, float32, not 'int16'"):
            cal.Scheme(io="int16")

    @pytest.mark.parametrize(
        ("settings", "named"),
        [
            ({"activation_bits": 4}, "8 or 16, not 4"),
            ({"activation_bits": 16, "io": "float32"}, "between ends of uint8 or int8"),
        ],
    )
    def test_activation_bits(self, settings, named):
        """Activations have 8 bits, or 16 between ends of 8."""
        with pytest.raises(UsageError, match=named):
            cal.Scheme(**settings)

    def test_described(self):
        """A scheme of before is written down as before, so that its studies are known again."""
        assert cal.Scheme().described() == {"io": "uint8", "per_channel": True, "pin_io": True}
        assert repr(cal.Scheme()) == "Scheme(io='uint8', per_channel=True, pin_io=True)"

    @pytest.mark.parametrize(
        "scheme",
        [*SCHEMES.values(), cal.Scheme(activation_bits=16, float_layers=("a", "b"), pin_io=False)],
    )
    def test_described_whole(self, scheme):
        """What is written down of a scheme is all of it, and stays what it is as JSON."""
        read = json.loads(json.dumps(scheme.described()))
        assert read == scheme.described()
        kept = tuple(read.pop("float_layers", ()))
        assert cal.Scheme(**read, float_layers=kept) == scheme
        assert eval(repr(scheme), {"Scheme": cal.Scheme}).described() == scheme.described()  # noqa: S307

    @pytest.mark.parametrize("pin_io", [True, False])
    @pytest.mark.parametrize("name", SCHEMES)
    def test_named(self, name, pin_io):
        """A scheme found by its name is what the name says."""
        scheme = scheme_named(name, pin_io=pin_io)
        io, *rest = name.split("-", 1)
        assert scheme.io == io
        assert scheme.per_channel == (rest != ["per-tensor"])
        assert scheme.activation_bits == (16 if rest == ["16x8"] else 8)
        assert scheme.pin_io == pin_io

    def test_unknown_name(self):
        """An unknown scheme is refused, and the known ones are given."""
        with pytest.raises(UsageError, match="'float16'; give one of: uint8, int8, uint8-per"):
            scheme_named("float16")


class TestRefused:
    """What cannot be quantized, each with one line that says why."""

    @pytest.mark.parametrize("pin_io", [True, False])
    def test_tensor_without_a_range(self, trained_xcat, merged, pin_io):
        """A tensor without a range is named."""
        whole = merged(trained_xcat)
        place = next(i for i, name in enumerate(whole.tensors) if "block1_x" in name)
        ranges = Ranges(
            whole.tensors[:place] + whole.tensors[place + 1 :],
            np.delete(whole.minimum, place),
            np.delete(whole.maximum, place),
        )
        error = refused(trained_xcat, ranges, cal.Scheme(pin_io=pin_io))
        assert "no range for 1 tensors" in error
        assert whole.tensors[place] in error

    @pytest.mark.parametrize(
        ("minimum", "maximum"),
        [(np.nan, 1.0), (0.0, np.nan), (-np.inf, 1.0), (0.0, np.inf), (0.5, 0.25)],
    )
    def test_range_that_is_none(self, trained_xcat, merged, minimum, maximum):
        """A range that is not finite, or upside down, is named."""
        whole = merged(trained_xcat)
        name = next(name for name in whole.tensors if "block1_x" in name)
        error = refused(trained_xcat, whole.with_known({name: (minimum, maximum)}))
        assert name in error
        assert "is no range" in error

    @pytest.mark.parametrize("pin_io", [True, False])
    @pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
    def test_quantized_model(self, trained_xcat, merged, io, pin_io):
        """A model that is quantized already is refused by that name."""
        ranges = merged(trained_xcat)
        integer = cal.quantize(trained_xcat, ranges, cal.Scheme(io=io))
        assert "already quantized" in refused(integer, ranges, cal.Scheme(pin_io=pin_io))

    def test_another_model(self, trained_xcat, espcn, merged):
        """Ranges of another model are refused."""
        assert "this very model" in refused(espcn, merged(trained_xcat))

    def test_missing_file(self, espcn, merged, tmp_path):
        """A missing file is named."""
        assert "nowhere.tflite: no such file" in refused(tmp_path / "nowhere.tflite", merged(espcn))

    def test_refused_by_tflite(self, abpn, merged):
        """What TFLite's quantizer has against a model is said in one line."""
        error = refused(unquantizable(abpn), merged(abpn))
        assert "TFLite's quantizer refuses it: " in error
        assert "1x40x99x27" in error

    def test_source(self, espcn, trained_xcat, merged):
        """Errors call a model what the caller calls it."""
        with pytest.raises(ModelError, match=r"^some\.tflite: no range"):
            cal.quantize(espcn, merged(trained_xcat), source="some.tflite")


class TestCheckQuantizable:
    """Whether TFLite quantizes a model, found out without images."""

    @pytest.mark.parametrize("network", ["xcat", "trained_xcat", "espcn", "fsrcnn", "abpn"])
    @pytest.mark.parametrize("name", ["uint8", "int8-per-tensor"])
    def test_sound(self, network, name, request):
        """A network that can be quantized passes."""
        check_quantizable(request.getfixturevalue(network), scheme_named(name, pin_io=True))

    def test_refused_by_tflite(self, abpn):
        """A model that TFLite refuses is refused in the words of the later refusal."""
        with pytest.raises(ModelError, match=r"^some\.tflite: TFLite's quantizer refuses it: "):
            check_quantizable(unquantizable(abpn), source="some.tflite")


def unquantizable(abpn):
    """Return a network that can be run, but whose stored shapes TFLite's quantizer refuses."""
    flat = schema.ModelT.InitFromPackedBuf(abpn, 0)
    (addition,) = [one for one in Graph(abpn).operators if one.kind == "ADD"]
    flat.subgraphs[0].tensors[addition.outputs[0]].shape = [1, 40, 99, 27]
    return _pack(flat)


def refused(model, ranges, scheme=None):
    """Return the one line with which a model or its ranges are refused."""
    with pytest.raises(ModelError) as error:
        cal.quantize(model, ranges, scheme)
    assert "\n" not in str(error.value)
    return str(error.value)


def details(model):
    """Return what the interpreter says of a model's ends, its activations and 3x3 kernels."""
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    tensors = interpreter.get_tensor_details()
    return {
        "ends": [interpreter.get_input_details()[0], interpreter.get_output_details()[0]],
        "kernels": [
            tensor
            for tensor in tensors
            if tensor["dtype"] == np.int8 and (tensor["shape_signature"] > 1).sum() == 4
        ],
        "activations": [tensor for tensor in tensors if -1 in tensor["shape_signature"]],
    }


def grid(tensor):
    """Return the (scale, zero point) of a tensor."""
    return tensor["quantization"]


def ending_in_sigmoid():
    """Return a x2 network that gives the picture back through a sigmoid, nearly."""
    import tensorflow as tf
    import tf_keras

    picture = tf_keras.Input((None, None, 3))
    repeated = tf.nn.depth_to_space(tf.concat([picture] * 4, axis=-1), 2)
    return convert_keras(tf_keras.Model(picture, tf.math.sigmoid(5.0 * (repeated - 0.5))))
