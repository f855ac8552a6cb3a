"""Faults planted in sound integer models of two trained networks: the diagnosis must find them."""

import numpy as np
import pytest
import skimage.data

from qsr import calibration as cal
from qsr.analysis.compare import compare
from qsr.analysis.diagnosis import diagnose
from qsr.analysis.labels import layer_label
from qsr.images import downscale_bicubic
from qsr.models.zoo import load, pretrained_path
from qsr.tflite.convert import convert_keras
from qsr.tflite.graph import Graph

NETWORKS = ("xcat", "abpn")


@pytest.fixture(scope="module")
def photographs():
    """(name, LR, HR) of crops of two photographs, as a phone would get them."""
    crops = {
        "astronaut": skimage.data.astronaut()[20:170, 140:290],
        "coffee": skimage.data.coffee()[100:250, 200:350],
    }
    return [(name, downscale_bicubic(hr, 3), hr) for name, hr in crops.items()]


@pytest.fixture(scope="module", params=NETWORKS)
def patient(request, photographs):
    """A trained network in float and as a sound integer model, ready for a fault."""
    return Patient(convert_keras(load(pretrained_path(request.param))), photographs)


class Patient:
    """A float model, its ranges, and its integer model."""

    def __init__(self, fp32, photographs):
        self.fp32 = fp32
        self.photographs = photographs
        self.ranges = cal.collect(fp32, {name: lr for name, lr, _ in photographs}).merged()
        self.sound = cal.quantize(fp32, self.ranges)

    def with_ranges(self, names, factor):
        """Quantize with the range of tensors of one grid multiplied."""
        wrong = {}
        for name in set(names) & set(self.ranges.tensors):
            place = self.ranges.tensors.index(name)
            ends = (self.ranges.minimum[place] * factor, self.ranges.maximum[place] * factor)
            wrong[name] = ends
        return cal.quantize(self.fp32, self.ranges.with_known(wrong))

    def diagnosis(self, tested):
        """Return what is said of an integer model, and the comparison that it is said of."""
        comparison = compare(self.fp32, tested, self.photographs)
        return diagnose(comparison, reference="fp32.tflite"), comparison


def convolutions(graph):
    """Return the 3x3 convolutions of a model, but for the last."""
    found = [
        operator
        for operator in graph.operators
        if operator.kind == "CONV_2D" and graph.tensors[operator.inputs[1]].shape[1] == 3
    ]
    return found[:-1]


def every_convolution(graph):
    """Return the convolutions that have biases, seven in both networks."""
    found = [
        operator
        for operator in graph.operators
        if operator.kind == "CONV_2D" and np.any(graph.constant(operator.inputs[2]))
    ]
    assert len(found) == EVERY
    return found


def chosen(graph, place):
    """Return the first, middle or last of the 3x3 convolutions, or one of all by its number."""
    if isinstance(place, int):
        return every_convolution(graph)[place]
    found = convolutions(graph)
    return found[{"first": 0, "middle": len(found) // 2, "last": -1}[place]]


PLACES = ("first", "middle", "last")
EVERY = 7


def one_grid(graph, operator):
    """Return the tensors that must have the grid of what an operator makes."""
    made = graph.tensors[operator.outputs[0]]
    return [
        tensor
        for tensor in graph.activations
        if (tuple(tensor.scale), tuple(tensor.zero_point))
        == (tuple(made.scale), tuple(made.zero_point))
    ]


def regridded(graph, operator, change):
    """Return the model with another grid for what an operator makes, and what shares it."""
    tensors = one_grid(graph, operator)
    grid = change(float(tensors[0].scale[0]), int(tensors[0].zero_point[0]))
    return graph.with_grids(dict.fromkeys((tensor.index for tensor in tensors), grid))


def labels(graph, operator):
    """Return what the layers of one grid may be called."""
    return {layer_label(tensor.name) for tensor in one_grid(graph, operator)}


def test_sound(patient):
    """Of a sound model, no layer is accused."""
    found, _ = patient.diagnosis(patient.sound)
    assert found.cause in {"none", "weights", "activations"}


@pytest.mark.parametrize(("place", "factor"), [("first", 2), ("middle", 8), ("last", 2)])
def test_scale_too_large_in_calibration(patient, place, factor):
    """A range far wider than the values, and so its scale, is named, with its layer.

    In the middle it takes a factor of 8 for that to be what costs most: twice as wide, a layer of
    ABPN still costs less than the rounding of others.
    """
    graph = Graph(patient.sound)
    operator = chosen(graph, place)
    names = {tensor.name for tensor in one_grid(graph, operator)}
    found, _ = patient.diagnosis(patient.with_ranges(names, factor))
    assert found.layer in labels(graph, operator)
    assert found.cause == "wide grid"


@pytest.mark.parametrize("place", PLACES)
def test_scale_doubled_in_the_file(patient, place):
    """A scale that was doubled in the finished file is named: what reads it is for another."""
    graph = Graph(patient.sound)
    operator = chosen(graph, place)
    found, _ = patient.diagnosis(
        regridded(graph, operator, lambda scale, zero_point: (2 * scale, zero_point))
    )
    assert found.layer in labels(graph, operator)
    assert found.cause == "grid changed"


@pytest.mark.parametrize("place", PLACES)
def test_zero_point_shifted(patient, place):
    """A zero point that was shifted is named by what it cuts off."""
    graph = Graph(patient.sound)
    operator = chosen(graph, place)
    found, _ = patient.diagnosis(
        regridded(graph, operator, lambda scale, zero_point: (scale, zero_point + 200))
    )
    assert found.layer in labels(graph, operator)
    assert found.cause == "saturation"


@pytest.mark.parametrize("patient", ["xcat"], indirect=True)
def test_one_grid_of_a_copy(patient):
    """A grid changed on one side of an operator that copies integers is named."""
    graph = Graph(patient.sound)
    copy = next(one for one in graph.operators if one.kind in {"SPLIT", "SPLIT_V"})
    source = next(index for index in copy.inputs if not graph.tensors[index].constant)
    tensor = graph.tensors[source]
    grid = (2 * float(tensor.scale[0]), int(tensor.zero_point[0]))
    found, _ = patient.diagnosis(graph.with_grids({source: grid}))
    assert (found.layer, found.cause) == (layer_label(tensor.name), "grid changed")


@pytest.mark.parametrize("place", range(EVERY))
def test_channel_zeroed(patient, place):
    """A channel whose weights are all zero is named, with its layer."""
    graph = Graph(patient.sound)
    operator = chosen(graph, place)
    weights = graph.constant(operator.inputs[1]).copy()
    channel = int(np.abs(weights.astype(int)).sum(axis=(1, 2, 3)).argmax())
    weights[channel] = 0
    found, comparison = patient.diagnosis(graph.with_constants({operator.inputs[1]: weights}))
    label = layer_label(graph.tensors[operator.outputs[0]].name)
    assert (found.layer, found.cause) == (label, "stored values")
    accused = next(one for one in comparison.layers if one.label == label)
    assert accused.stored.channel == channel


@pytest.mark.parametrize("place", range(EVERY))
def test_bias_dropped(patient, place):
    """A layer whose biases are all zero is named, unless they are too small for that to harm."""
    graph = Graph(patient.sound)
    operator = chosen(graph, place)
    bias = np.zeros_like(graph.constant(operator.inputs[2]))
    found, comparison = patient.diagnosis(graph.with_constants({operator.inputs[2]: bias}))
    label = layer_label(graph.tensors[operator.outputs[0]].name)
    if (found.layer, found.cause) != (label, "stored values"):
        _, sound = patient.diagnosis(patient.sound)
        assert comparison.causes.total_db <= sound.causes.total_db
        layer = next(one for one in comparison.layers if one.label == label)
        assert layer.stored.bias_off_steps < 1


@pytest.mark.parametrize("place", PLACES)
def test_early_saturation(patient, place):
    """A range that holds a third of the values is named, with its layer."""
    graph = Graph(patient.sound)
    operator = chosen(graph, place)
    names = {tensor.name for tensor in one_grid(graph, operator)}
    found, _ = patient.diagnosis(patient.with_ranges(names, 1 / 3))
    assert found.layer in labels(graph, operator)
    assert found.cause == "saturation"


@pytest.mark.parametrize("end", ["input", "output"])
def test_wrong_grid_of_an_end(patient, end):
    """An input or output grid that is not black to white is named."""
    graph = Graph(patient.sound)
    index = graph.input_index if end == "input" else graph.output_index
    tensor = graph.tensors[index]
    grid = {index: (0.9 * float(tensor.scale[0]), int(tensor.zero_point[0]))}
    found, _ = patient.diagnosis(graph.with_grids(grid))
    assert found.cause == "I/O grid"
    assert (found.layer == "output") is (end == "output")


def test_calibrated_on_dark_images(patient):
    """Of a model whose every grid is of dark images, it is the ends that are named.

    Its layers hold what dark pictures give, and that is what reaches them.
    """
    dark = {name: (0.65 * lr).astype(np.uint8) for name, lr, _ in patient.photographs}
    ranges = cal.collect(patient.fp32, dark).merged()
    found, _ = patient.diagnosis(cal.quantize(patient.fp32, ranges, cal.Scheme(pin_io=False)))
    assert found.cause == "I/O grid"
