"""A ``.tflite`` file read, edited and written back, against the interpreter's view of it."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qsr import calibration as cal
from qsr.errors import ModelError
from qsr.tflite.graph import Graph, _pack

NETWORKS = ["trained_xcat", "espcn", "fsrcnn", "abpn", "integer"]


@pytest.fixture(scope="module")
def integer(trained_xcat, photographs):
    """A quantized XCAT."""
    return cal.quantize(trained_xcat, cal.collect(trained_xcat, photographs).merged())


@pytest.mark.parametrize("network", NETWORKS)
def test_tensors(network, request):
    """Tensors have the names, types, shapes, scales and zero points that the interpreter tells."""
    model = request.getfixturevalue(network)
    graph = Graph(model)
    interpreter = Interpreter(model_content=model)
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    for tensor in graph.tensors:
        detail = details[tensor.index]
        assert tensor.name == detail["name"]
        assert tensor.dtype == np.dtype(detail["dtype"]).name
        if tensor.constant:
            assert tensor.shape == tuple(detail["shape"])
        else:
            assert tensor.shape == tuple(detail["shape_signature"])
        parameters = detail["quantization_parameters"]
        np.testing.assert_array_equal(tensor.scale, parameters["scales"])
        np.testing.assert_array_equal(tensor.zero_point, parameters["zero_points"])
        assert tensor.quantized == (len(parameters["scales"]) > 0)
    assert graph.input.index == interpreter.get_input_details()[0]["index"]
    assert graph.output.index == interpreter.get_output_details()[0]["index"]


@pytest.mark.parametrize("network", NETWORKS)
def test_operators(network, request):
    """Operators are those that the interpreter runs, in its order and on its tensors."""
    model = request.getfixturevalue(network)
    found = [(one.kind, one.inputs, one.outputs) for one in Graph(model).operators]
    details = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )._get_ops_details()
    expected = [
        (detail["op_name"], tuple(detail["inputs"]), tuple(detail["outputs"])) for detail in details
    ]
    assert found == expected


@pytest.mark.parametrize("network", ["trained_xcat", "espcn", "fsrcnn", "abpn"])
def test_activations(network, request):
    """Activations are the input and all real numbers that operators give; no weights, no sizes."""
    graph = Graph(request.getfixturevalue(network))
    produced = [index for operator in graph.operators for index in operator.outputs]
    expected = [
        index for index in [graph.input_index, *produced] if graph.tensors[index].dtype == "float32"
    ]
    assert sorted(tensor.index for tensor in graph.activations) == sorted(expected)
    assert len({tensor.name for tensor in graph.activations}) == len(expected)


def test_constants(trained_xcat_keras, trained_xcat):
    """Constants hold the weights that the Keras model has."""
    graph = Graph(trained_xcat)
    stored = [
        graph.constant(tensor.index)
        for tensor in graph.tensors
        if tensor.constant and tensor.dtype == "float32"
    ]
    for layer in trained_xcat_keras.layers:
        for weight in layer.get_weights():
            turned = weight.transpose(3, 0, 1, 2) if weight.ndim == 4 else weight
            assert any(np.array_equal(turned, one) for one in stored), layer.name


def test_neighbours(trained_xcat):
    """Producer and consumers of a tensor are the operators that make and read it."""
    graph = Graph(trained_xcat)
    for tensor in graph.tensors:
        makers = [one for one in graph.operators if tensor.index in one.outputs]
        known = graph.producer.get(tensor.index)
        assert makers == ([] if known is None else [known])
        readers = tuple(one for one in graph.operators if tensor.index in one.inputs)
        assert graph.consumers[tensor.index] == readers


def test_a_tensor_read_twice_by_one_operator(abpn):
    """An operator that reads a tensor several times is one consumer of it."""
    graph = Graph(abpn)
    (joins,) = [one for one in graph.operators if one.kind == "CONCATENATION"]
    assert joins.inputs == (graph.input_index,) * 9
    assert graph.consumers[graph.input_index].count(joins) == 1


def test_repeated_names(espcn):
    """Tensors of one name are told apart by their numbers; other names stay."""
    flat = schema.ModelT.InitFromPackedBuf(espcn, 0)
    for index in (5, 6):
        flat.subgraphs[0].tensors[index].name = b"twin"
    names = [tensor.name for tensor in Graph(_pack(flat)).tensors]
    assert names[5:7] == ["twin#5", "twin#6"]
    before = [tensor.name for tensor in Graph(espcn).tensors]
    assert names[:5] + names[7:] == before[:5] + before[7:]


def test_no_constant(espcn):
    """The values of a tensor that is not constant are refused by its name."""
    graph = Graph(espcn)
    with pytest.raises(ModelError, match=r"serving_default.*: no constant"):
        graph.constant(graph.input_index)


def test_with_ranges(espcn, photographs, run_bare):
    """Ranges are in the named tensors and nowhere else, and the model gives the same picture."""
    graph = Graph(espcn)
    changed = graph.with_ranges({graph.output_index: (-0.25, 1.5), 5: (0, 2)})
    flat = schema.ModelT.InitFromPackedBuf(changed, 0)
    found = {
        index: (*tensor.quantization.min, *tensor.quantization.max)
        for index, tensor in enumerate(flat.subgraphs[0].tensors)
        if getattr(tensor.quantization, "min", None) is not None
    }
    assert found == {graph.output_index: (-0.25, 1.5), 5: (0.0, 2.0)}
    values = photographs["rocket"][None] / np.float32(255)
    np.testing.assert_array_equal(run_bare(changed, values), run_bare(espcn, values))
    assert graph.with_ranges({}) == Graph(graph.with_ranges({})).with_ranges({})


def test_with_ranges_changes_nothing_else(espcn):
    """Ranges written once are neither in the graph nor in what it writes next."""
    graph = Graph(espcn)
    untouched = graph.with_ranges({})
    written = graph.with_ranges({5: (0, 2)})
    assert graph.with_ranges({6: (0, 2)}) == Graph(espcn).with_ranges({6: (0, 2)})
    assert graph.with_ranges({5: (0, 2)}) == written != untouched
    assert graph.with_ranges({}) == untouched


def stored(model):
    """Return every constant tensor as the interpreter reads it, by its number."""
    interpreter = Interpreter(model_content=model)
    return {
        tensor.index: interpreter.get_tensor(tensor.index)
        for tensor in Graph(model).tensors
        if tensor.constant
    }


@pytest.mark.parametrize("network", NETWORKS)
def test_with_constants(network, request, photographs):
    """New values are in the named tensors and nowhere else, and the model computes with them."""
    graph = Graph(request.getfixturevalue(network))
    (kernel, bias) = next(one for one in graph.operators if one.kind == "CONV_2D").inputs[1:3]
    values = {index: graph.constant(index)[::-1] // 2 for index in (kernel, bias)}
    changed = graph.with_constants(values)
    for index, found in stored(changed).items():
        expected = values.get(index, graph.constant(index))
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)
        assert found.dtype == expected.dtype
    assert len(Graph(changed).operators) == len(graph.operators)
    (before,), (after,) = (
        run_keeping(model, photographs["rocket"], [graph.output_index])[0]
        for model in (graph.model, changed)
    )
    assert not np.array_equal(before, after)
    back = Graph(changed).with_constants({index: graph.constant(index) for index in values})
    ((again,), _) = run_keeping(back, photographs["rocket"], [graph.output_index])
    np.testing.assert_array_equal(again, before)


def test_with_constants_changes_nothing_else(trained_xcat):
    """Values written once are neither in the graph nor in what it writes next."""
    graph = Graph(trained_xcat)
    bias = next(one for one in graph.operators if one.kind == "CONV_2D").inputs[2]
    before = graph.constant(bias).copy()
    graph.with_constants({bias: before + 1})
    np.testing.assert_array_equal(graph.constant(bias), before)
    np.testing.assert_array_equal(stored(graph.with_constants({}))[bias], before)


@pytest.fixture
def shared(espcn):
    """A model in which two constants of one shape share what is stored: ``(graph, one, other)``."""
    flat = schema.ModelT.InitFromPackedBuf(espcn, 0)
    graph = Graph(espcn)
    one = next(step for step in graph.operators if step.kind == "CONV_2D").inputs[2]
    tensors = flat.subgraphs[0].tensors
    twin = schema.TensorT()
    twin.__dict__ |= tensors[one].__dict__ | {"name": b"twin"}
    tensors.append(twin)
    return Graph(_pack(flat)), one, len(tensors) - 1


@pytest.mark.parametrize("changed", [[0], [1], [0, 1]])
def test_with_shared_constants(shared, changed):
    """A constant that shares what is stored with another is changed alone, and in the copy only."""
    graph, *twins = shared
    before = graph.constant(twins[0])
    values = {twins[place]: before + 1 + place for place in changed}
    after = Graph(graph.with_constants(values))
    for index in twins:
        np.testing.assert_array_equal(after.constant(index), values.get(index, before))
        untouched = Graph(graph.with_constants({}))
        np.testing.assert_array_equal(untouched.constant(index), before)


@pytest.mark.parametrize(
    "wrong",
    [lambda values: values[:-1], lambda values: values[None], lambda values: values.astype("f8")],
)
def test_constants_of_another_kind(espcn, wrong):
    """Values of another shape or type are refused by the tensor's name."""
    graph = Graph(espcn)
    bias = next(one for one in graph.operators if one.kind == "CONV_2D").inputs[2]
    with pytest.raises(ValueError, match="in place of float32") as caught:
        graph.with_constants({bias: wrong(graph.constant(bias))})
    assert graph.tensors[bias].name in str(caught.value)


@pytest.mark.parametrize("network", NETWORKS)
def test_pruned(network, request, photographs):
    """A pruned model gives its tensors as they are, and runs nothing that they do not need."""
    model = request.getfixturevalue(network)
    graph = Graph(model)
    middle = graph.operators[len(graph.operators) // 2]
    wanted = (*middle.outputs, graph.operators[0].outputs[0])
    expected, kinds = run_keeping(model, photographs["astronaut"], wanted)
    found, pruned_kinds = run_keeping(graph.pruned(wanted), photographs["astronaut"], wanted)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert set(pruned_kinds) <= set(kinds)
    needed = set(wanted)
    for operator in reversed(graph.operators):
        if needed & set(operator.outputs):
            needed |= set(operator.inputs)
    assert len(pruned_kinds) == sum(bool(needed & set(one.outputs)) for one in graph.operators)
    assert len(pruned_kinds) < len(kinds)


def test_pruned_outputs(trained_xcat):
    """The outputs of a pruned model are the tensors asked for, under their numbers."""
    graph = Graph(trained_xcat)
    wanted = [graph.operators[4].outputs[0], graph.operators[1].outputs[1]]
    pruned = graph.pruned(wanted)
    interpreter = Interpreter(model_content=pruned)
    assert [detail["index"] for detail in interpreter.get_output_details()] == wanted
    assert graph.with_ranges({}) == Graph(trained_xcat).with_ranges({})  # it stays as it was


def run_keeping(model, image, indices):
    """Run a model with every tensor kept; return some of them and the kinds of its operators."""
    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    kinds = [detail["op_name"] for detail in interpreter._get_ops_details()]
    (end,) = interpreter.get_input_details()
    values = image[None] if end["dtype"] == np.uint8 else image[None] / np.float32(255)
    interpreter.resize_tensor_input(end["index"], values.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(end["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(index) for index in indices], kinds
