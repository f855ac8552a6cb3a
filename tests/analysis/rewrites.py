"""Other ways to write a model down: the same network, but nothing stands where it stood."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qsr.tflite.graph import Graph
from qsr.tflite.operator_codes import operator_code


def renamed(model, seed):
    """Return a model whose tensors have names that mean nothing, one of them each."""

    def edit(flat):
        tensors = flat.subgraphs[0].tensors
        numbers = np.random.default_rng(seed).permutation(len(tensors))
        for tensor, number in zip(tensors, numbers, strict=True):
            tensor.name = f"tensor_{number}"
        flat.signatureDefs = None

    return Graph(model).edited(edit)


def numbered(model):
    """Return a model whose activations are called by their channels, and counted."""
    graph = Graph(model)
    made = [index for one in graph.operators if one.kind != "QUANTIZE" for index in one.outputs]
    channels = [graph.tensors[index].shape[-1] for index in made]

    def edit(flat):
        for place, index in enumerate(made):
            number = channels[:place].count(channels[place])
            flat.subgraphs[0].tensors[index].name = f"of_{channels[place]}_{number}"
        flat.signatureDefs = None

    return graph.edited(edit)


def permuted(model, seed):
    """Return a model whose activations have each other's names."""
    graph = Graph(model)
    indices = [tensor.index for tensor in graph.activations]

    def edit(flat):
        tensors = flat.subgraphs[0].tensors
        names = [tensors[index].name for index in indices]
        for place, index in enumerate(np.random.default_rng(seed).permutation(indices)):
            tensors[index].name = names[place]
        flat.signatureDefs = None

    return graph.edited(edit)


def shuffled(model, seed):
    """Return a model in another order: tensors, operators as far as they can, operands of ADD.

    Returns:
        The model, and the new number of each tensor.
    """
    random = np.random.default_rng(seed)
    graph = Graph(model)
    places = random.permutation(len(graph.tensors))

    def edit(flat):
        main = flat.subgraphs[0]
        tensors = list(main.tensors)
        for old, new in enumerate(places):
            main.tensors[new] = tensors[old]
        main.operators = [main.operators[place] for place in some_order(graph, random)]
        for operator in main.operators:
            operator.inputs = [
                int(places[index]) if index >= 0 else -1 for index in operator.inputs
            ]
            operator.outputs = [int(places[index]) for index in operator.outputs]
            code = flat.operatorCodes[operator.opcodeIndex]
            if code.builtinCode == schema.BuiltinOperator.ADD and random.integers(2):
                operator.inputs.reverse()
        main.inputs, main.outputs = (
            [int(places[index]) for index in ends] for ends in (main.inputs, main.outputs)
        )
        flat.signatureDefs = None

    return graph.edited(edit), dict(enumerate(places.tolist()))


def some_order(graph, random):
    """Return the places of a graph's operators in another order that can be run."""
    made = {graph.input_index}
    made |= {tensor.index for tensor in graph.tensors if tensor.index not in graph.producer}
    left, order = list(graph.operators), []
    while left:
        ready = [one for one in left if all(index in made or index < 0 for index in one.inputs)]
        chosen = ready[random.integers(len(ready))]
        left.remove(chosen)
        order.append(chosen.index)
        made.update(chosen.outputs)
    return order


def unfused(model):
    """Return a model whose fused RELUs are operators of their own, on the same grid."""

    def edit(flat):
        main = flat.subgraphs[0]
        operators = []
        for operator in main.operators:
            operators.append(operator)
            options = operator.builtinOptions
            if getattr(options, "fusedActivationFunction", 0) != schema.ActivationFunctionType.RELU:
                continue
            options.fusedActivationFunction = schema.ActivationFunctionType.NONE
            relu, before = schema.OperatorT(), schema.TensorT()
            after = main.tensors[operator.outputs[0]]
            before.name, before.shape = after.name + b"_before", after.shape
            before.shapeSignature, before.type, before.buffer = after.shapeSignature, after.type, 0
            before.quantization = after.quantization
            main.tensors.append(before)
            relu.opcodeIndex = operator_code(flat, "RELU", 2)
            relu.inputs, relu.outputs = [len(main.tensors) - 1], list(operator.outputs)
            operator.outputs = [len(main.tensors) - 1]
            operators.append(relu)
        main.operators = operators

    return Graph(model).edited(edit)


def without_layer(model, place):
    """Return a model without its convolution of that place, of as many channels in as out."""
    graph = Graph(model)
    operator = convolutions(graph)[place]
    return graph.rewired({operator.outputs[0]: operator.inputs[0]}, without={operator.index})


def with_weights(model, change, *, places=None):
    """Return a model whose convolutions, of these places or all, have other weights."""
    graph = Graph(model)
    kernels = [operator.inputs[1] for operator in convolutions(graph)]
    chosen = kernels if places is None else [kernels[place] for place in places]
    return graph.with_constants({index: change(graph.constant(index)) for index in chosen})


def convolutions(graph):
    """Return the convolutions of a model in the order of execution."""
    return [operator for operator in graph.operators if operator.kind == "CONV_2D"]


def bias_apart(model):
    """Return a float model whose last convolution has its bias added by another operator."""
    graph = Graph(model)
    place = convolutions(graph)[-1].index

    def edit(flat):
        main = flat.subgraphs[0]
        convolution = main.operators[place]
        addition, before = schema.OperatorT(), schema.TensorT()
        after = main.tensors[convolution.outputs[0]]
        before.name, before.shape, before.buffer = b"without_bias", after.shape, 0
        before.shapeSignature, before.type = after.shapeSignature, after.type
        main.tensors.append(before)
        bias = convolution.inputs[2]
        convolution.inputs = [*convolution.inputs[:2], -1]
        addition.opcodeIndex = operator_code(flat, "ADD", 1)
        addition.builtinOptions = schema.AddOptionsT()
        addition.builtinOptionsType = schema.BuiltinOptions.AddOptions
        addition.inputs, addition.outputs = [len(main.tensors) - 1, bias], convolution.outputs
        convolution.outputs = [len(main.tensors) - 1]
        main.operators.insert(place + 1, addition)

    return graph.edited(edit)
