"""Damaged files: each is refused or runs, and none brings the process down."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

from qsr import calibration as cal
from qsr.errors import ModelError
from qsr.tflite.graph import Graph, _pack
from qsr.tflite.runtime import inspect_model

SEEDS = 300


@pytest.mark.parametrize("network", ["espcn", "abpn", "integer"])
def test_any_damage(network, request, photographs, tmp_path):
    """Whatever bytes are wrong, a model is inspected or refused with ModelError, in one line."""
    if network == "integer":
        model = request.getfixturevalue("trained_xcat")
        model = cal.quantize(model, cal.collect(model, photographs).merged())
    else:
        model = request.getfixturevalue(network)
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    run = subprocess.run(  # noqa: S603 (this very file)
        [sys.executable, __file__, path, str(SEEDS)], capture_output=True, text=True, check=False
    )
    *_, last = run.stdout.splitlines()
    assert run.returncode == 0, f"ended with {run.returncode} on {last}"
    outcomes = json.loads(last)
    assert outcomes.keys() == {"taken", "refused"}
    assert min(outcomes.values()) > SEEDS / 10


@pytest.fixture(scope="module")
def integer(trained_xcat, photographs):
    """An integer XCAT."""
    return cal.quantize(trained_xcat, cal.collect(trained_xcat, photographs).merged())


def addition(flat):
    """Return the addition of an XCAT."""
    (operator,) = (
        operator
        for operator in flat.subgraphs[0].operators
        if flat.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.ADD
    )
    return operator


class TestCrashes:
    """Damage that is known to crash TFLite's interpreter or quantizer."""

    def test_tensor_that_nothing_makes(self, abpn):
        """An operator that reads a tensor which nothing makes is refused."""
        flat = schema.ModelT.InitFromPackedBuf(abpn, 0)
        subgraph = flat.subgraphs[0]
        (addition,) = [
            place
            for place, operator in enumerate(subgraph.operators)
            if flat.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.ADD
        ]
        subgraph.operators[addition] = subgraph.operators[addition - 1]
        assert_refused(_pack(flat), "cannot make tensor")
        del subgraph.operators[addition]
        assert_refused(_pack(flat), "before it is made")

    def test_zero_point_beyond_its_type(self, xcat, photographs):
        """A zero point that its type cannot hold is refused."""
        model = cal.quantize(xcat, cal.collect(xcat, photographs).merged())
        flat = schema.ModelT.InitFromPackedBuf(model, 0)
        subgraph = flat.subgraphs[0]
        subgraph.tensors[subgraph.inputs[0]].quantization.zeroPoint = [2048]
        assert_refused(_pack(flat), "a zero point beyond its type")

    @pytest.mark.parametrize("scale", [0.0, -0.1, float("nan"), float("inf"), 1e-40])
    def test_scale_that_is_no_step(self, integer, scale):
        """A scale of 0, below it, or that is no number is refused."""
        flat = schema.ModelT.InitFromPackedBuf(integer, 0)
        subgraph = flat.subgraphs[0]
        subgraph.tensors[subgraph.inputs[0]].quantization.scale = [scale]
        assert_refused(_pack(flat), "a scale")

    def test_channel_without_weights(self, integer):
        """A weight channel whose scale is 0, because all its weights are, is none of the damage."""
        flat = schema.ModelT.InitFromPackedBuf(integer, 0)
        kernel = next(
            tensor
            for tensor in flat.subgraphs[0].tensors
            if len(tensor.shape) == 4 and len(tensor.quantization.scale) > 1
        )
        kernel.quantization.scale = [0.0, *kernel.quantization.scale[1:]]
        assert inspect_model(_pack(flat)).quantized

    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("scales", [[], [0.1, 0.1]])
    def test_addition_without_a_scale(self, integer, place, scales):
        """An addition of integers, one of which has no scale, or several, is refused."""
        flat = schema.ModelT.InitFromPackedBuf(integer, 0)
        operator = addition(flat)
        tensor = flat.subgraphs[0].tensors[[*operator.inputs, *operator.outputs][place]]
        tensor.quantization.scale = scales
        tensor.quantization.zeroPoint = [0] * len(scales)
        assert_refused(_pack(flat), "without a scale")

    def test_addition_onto_a_fine_grid(self, integer):
        """An addition onto a grid a million times as fine as the coarser operand's is refused."""
        flat = schema.ModelT.InitFromPackedBuf(integer, 0)
        operator, tensors = addition(flat), flat.subgraphs[0].tensors
        coarser = max(float(tensors[index].quantization.scale[0]) for index in operator.inputs)
        made = tensors[operator.outputs[0]].quantization
        made.scale = [coarser * 2**-18]
        Graph(_pack(flat))
        made.scale = [coarser * 2**-19]
        assert_refused(_pack(flat), "far too fine")

    def test_huge_tensor(self, integer):
        """A tensor that no memory holds is refused before TFLite asks for it."""
        flat = schema.ModelT.InitFromPackedBuf(integer, 0)
        flat.subgraphs[0].tensors[-2].shape = [1, 1, 2**16, 2**16]
        assert_refused(_pack(flat), "a tensor of 4294967296 values")

    def test_absent_operand(self, espcn):
        """Biases may be absent; the kernel of a convolution may not."""
        flat = schema.ModelT.InitFromPackedBuf(espcn, 0)
        convolution = flat.subgraphs[0].operators[0]
        picture, kernel, bias = convolution.inputs
        convolution.inputs = [picture, kernel, -1]
        Graph(_pack(flat))
        convolution.inputs = [picture, -1, bias]
        assert_refused(_pack(flat), "reads tensor -1")

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("SPLIT", "splits into 0 and makes 1 tensors"),
            ("SLICE", "reads 2 tensors, too few"),
            ("STRIDED_SLICE", "reads 2 tensors, too few"),
        ],
    )
    def test_another_kind(self, integer, kind, reason):
        """An addition that has become an operator with other operands is refused."""
        flat = schema.ModelT.InitFromPackedBuf(integer, 0)
        code = flat.operatorCodes[addition(flat).opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        assert_refused(_pack(flat), reason)

    def test_operator_that_makes_nothing(self, integer):
        """An operator without a result is refused."""
        flat = schema.ModelT.InitFromPackedBuf(integer, 0)
        flat.subgraphs[0].operators[-1].outputs = []
        assert_refused(_pack(flat), "makes nothing")

    def test_name_that_is_no_text(self, integer):
        """A name that is no text, which the interpreter would read, is refused."""
        name = Graph(integer).tensors[-2].name.encode()
        assert_refused(integer.replace(name, b"\xff" + name[1:]), "codec")

    def test_metadata_without_a_buffer(self, espcn):
        """Metadata in a buffer that there is not are refused."""
        flat = schema.ModelT.InitFromPackedBuf(espcn, 0)
        flat.metadata[0].buffer = 1_000_000
        assert_refused(_pack(flat), "metadata in buffer 1000000")

    @pytest.mark.parametrize("number", [-2, 1_000_000])
    @pytest.mark.parametrize("part", ["inputs", "outputs"])
    def test_operator_on_no_tensor(self, espcn, part, number):
        """An operator on a tensor that there is not is refused."""
        flat = schema.ModelT.InitFromPackedBuf(espcn, 0)
        setattr(flat.subgraphs[0].operators[1], part, [number])
        assert_refused(_pack(flat), f"tensor {number}")

    @pytest.mark.parametrize("number", [-2, 1_000_000])
    @pytest.mark.parametrize("part", ["inputs", "outputs"])
    def test_end_that_there_is_not(self, espcn, part, number):
        """An input or output that there is not is refused."""
        flat = schema.ModelT.InitFromPackedBuf(espcn, 0)
        setattr(flat.subgraphs[0], part, [number])
        assert_refused(_pack(flat), "damaged")

    def test_values_of_another_size(self, espcn):
        """A constant with more values than its shape is refused."""
        flat = schema.ModelT.InitFromPackedBuf(espcn, 0)
        (kernel,) = [
            tensor for tensor in flat.subgraphs[0].tensors if [*tensor.shape] == [16, 5, 5, 3]
        ]
        kernel.shape = [16, 5, 5, 4]
        with pytest.raises(ModelError, match="stored values cannot be read"):
            inspect_model(_pack(flat))


def assert_refused(model, reason):
    """Check that reading a model is refused in one line with a reason."""
    with pytest.raises(ModelError, match=reason) as error:
        Graph(model, source="some.tflite")
    assert str(error.value).startswith("some.tflite: damaged .tflite model (")
    assert "\n" not in str(error.value)


def damaged(model, seed):
    """Return a model with some wrong bytes: single ones, numbers of four, or its end cut off."""
    chance = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    content = bytearray(model)
    if seed % 3 == 0:
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(8, len(content))] = chance.randrange(256)
    elif seed % 3 == 1:
        wrong = [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", bytes(4), chance.randbytes(4)]
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(2, len(content) // 4) * 4
            content[place : place + 4] = chance.choice(wrong)
    else:
        del content[chance.randrange(8, len(content)) :]
    return bytes(content)


def main():
    """Inspect damaged copies of the model in a file, and print how many were taken."""
    model, seeds = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
    outcomes = {"taken": 0, "refused": 0}
    for seed in range(seeds):
        print(f"seed {seed}", flush=True)  # noqa: T201 (the last one before a crash)
        try:
            inspect_model.__wrapped__(damaged(model, seed))
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017 (a script)
            outcomes["refused"] += 1
        else:
            outcomes["taken"] += 1
    print(json.dumps(outcomes))  # noqa: T201 (read by the test)


if __name__ == "__main__":
    main()
