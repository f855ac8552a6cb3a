"""What layers and causes cost, against models made for the purpose and planted faults."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

import qsr.analysis.attribution as attribution_module
import qsr.tflite.runtime as runtime_module
from qsr import calibration as cal
from qsr.analysis.attribution import Attribution
from qsr.analysis.pair import ModelPair
from qsr.tflite.float_view import float_view
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import Graph, end_grids
from qsr.tflite.real_values import real_constant
from qsr.tflite.runtime import Runner, inspect_model, to_bytes


@pytest.fixture(scope="module")
def taught(pictures):
    """(LR, HR) where HR is what the float network gives of LR, and noise: so every error costs."""
    random = np.random.default_rng(8)

    def teach(model):
        runner = Runner(model)
        clean = [(lr, runner.upscale_unrounded(lr)) for _, lr, _ in pictures]
        return [(lr, to_bytes(hr + random.normal(0, 2, hr.shape))) for lr, hr in clean]

    return teach


@pytest.fixture(scope="module")
def sound_pair(trained_xcat, sound):
    """The float network and its integer model."""
    return ModelPair(trained_xcat, sound)


def costs(reference, tested, pictures):
    """Return the costs on pictures and the tested model's graph."""
    pair = ModelPair(reference, tested)
    attribution = Attribution(pair)
    rows = [attribution.psnrs(lr, hr) for lr, hr in pictures]
    return *attribution.costs(np.mean(rows, axis=0)), pair.tested_graph


def by_kind(layers, graph, kind):
    """Return the costs of the layers of one kind, in order of execution."""
    return [cost for index, cost in layers.items() if graph.producer[index].kind == kind]


def shaved_psnr(picture, hr):
    """PSNR of two pictures without their borders, by scikit-image."""
    return peak_signal_noise_ratio(hr[1:-1, 1:-1], picture[1:-1, 1:-1], data_range=255)


class TestPictures:
    """PSNRs, each against the picture that it is meant to be of."""

    def test_models(self, sound_pair, trained_xcat, sound, pictures):
        """The first are of the reference, before and after rounding and in use, and the tested."""
        attribution = Attribution(sound_pair)
        for _, lr, hr in pictures:
            found = attribution.psnrs(lr, hr)[:4]
            unrounded = np.clip(Runner(trained_xcat).upscale_unrounded(lr), 0, 255)
            expected = [
                shaved_psnr(unrounded.astype(np.float64), hr.astype(np.float64)),
                shaved_psnr(Runner(trained_xcat).upscale(lr), hr),
                shaved_psnr(Runner(trained_xcat).upscale(lr), hr),
                shaved_psnr(Runner(sound).upscale(lr), hr),
            ]
            np.testing.assert_allclose(found, expected, atol=1e-4)

    @pytest.mark.parametrize("network", ["trained_xcat", "espcn"])
    def test_views(self, *, network, request, pictures):
        """Costs are those of float models of the operators with just that rounded or replaced."""
        model, lr = request.getfixturevalue(network), pictures[0][1]
        ranges = cal.collect(model, {"one": lr[:30]}).merged()
        sound_pair = ModelPair(model, cal.quantize(model, ranges))
        graph, alignment = sound_pair.tested_graph, sound_pair.alignment
        clean = Runner(model).upscale_unrounded(lr)
        hr = to_bytes(clean + np.random.default_rng(9).normal(0, 0.5, clean.shape))
        attribution = Attribution(sound_pair)
        causes, layers = attribution.costs(attribution.psnrs(lr, hr))
        floats = {
            index: real_constant(sound_pair.reference_graph, of)
            for index, of in alignment.constants.items()
        }
        facts, ends = sound_pair.reference_facts, end_grids(graph.model)
        made = {  # by what computes; what only moves integers does not round them again
            operator.outputs[0]
            for operator in graph.operators
            if operator.kind in {"ADD", "CONV_2D", "TANH"}
        }

        def psnr(*, own=(), **settings):
            kept = {index: floats[index] for index in floats if index not in own}
            view = float_view(graph, constants=kept, **settings)
            return shaved_psnr(Runner(view, facts).upscale(lr), hr)

        base, everything = psnr(), psnr(own=set(floats), rounded=made, ends=ends)
        assert causes.weights_db == pytest.approx(base - psnr(own=set(floats)), abs=5e-3)
        assert causes.activations_db == pytest.approx(base - psnr(rounded=made), abs=5e-3)
        assert causes.saturation_db == pytest.approx(base - psnr(saturated=made), abs=5e-3)
        assert causes.io_grid_db == pytest.approx(base - psnr(ends=ends), abs=5e-3)
        convolutions = [one for one in graph.operators if one.kind == "CONV_2D"]
        for operator in convolutions:
            output, own = operator.outputs[0], set(operator.inputs)
            expected = (
                base - psnr(own=own, rounded={output}),
                base - psnr(own=own),
                base - psnr(rounded={output}),
                base - psnr(saturated={output}),
                psnr(own=set(floats) - own, rounded=made - {output}, ends=ends) - everything,
            )
            np.testing.assert_allclose(astuple(layers[output]), expected, atol=5e-3)
            if network == "espcn":  # in which every layer counts
                assert min(expected[0], expected[4]) > 0.02

    def test_in_pieces(self, sound_pair, pictures, monkeypatch):
        """Run in pieces, and views few at a time, a picture gives the same PSNRs."""
        _, lr, hr = pictures[1]
        whole = Attribution(sound_pair).psnrs(lr, hr)
        monkeypatch.setattr(runtime_module, "LARGEST_TILE", 30)
        monkeypatch.setattr(attribution_module, "_MOST_VIEWED_PIXELS", 30 * 30 * 7)
        np.testing.assert_allclose(Attribution(sound_pair).psnrs(lr, hr), whole, atol=2e-3)

    def test_again(self, sound_pair, pictures):
        """A picture gives the same whatever was measured before it."""
        attribution = Attribution(sound_pair)
        first = attribution.psnrs(*pictures[0][1:])
        attribution.psnrs(*pictures[1][1:])
        np.testing.assert_array_equal(attribution.psnrs(*pictures[0][1:]), first)

    def test_perfect_picture(self, sound_pair, trained_xcat, pictures):
        """A picture that equals its original counts as 100 dB, so that means stay finite."""
        lr = pictures[0][1]
        found = Attribution(sound_pair).psnrs(lr, Runner(trained_xcat).upscale(lr))
        assert found[1] == found[2] == 100.0
        assert found[4] > 90
        assert np.isfinite(found).all()


class TestSums:
    """How parts make up the whole."""

    def test_total(self, trained_xcat, sound, taught):
        """The causes, what they do together and the kernels add up to the drop."""
        pictures = taught(trained_xcat)
        causes, _, _ = costs(trained_xcat, sound, pictures)
        drops = [
            shaved_psnr(Runner(trained_xcat).upscale(lr), hr)
            - shaved_psnr(Runner(sound).upscale(lr), hr)
            for lr, hr in pictures
        ]
        assert causes.total_db == pytest.approx(np.mean(drops))
        parts = (causes.weights_db, causes.activations_db, causes.io_grid_db)
        assert sum(parts) + causes.interaction_db + causes.kernels_db == pytest.approx(
            causes.total_db
        )
        assert abs(causes.kernels_db) < 0.1
        assert causes.io_grid_db == pytest.approx(0.0, abs=1e-9)

    def test_copies_cost_nothing(self, trained_xcat, sound, taught):
        """What only moves or clips integers costs nothing, and has costs for each result."""
        _, layers, graph = costs(trained_xcat, sound, taught(trained_xcat)[:1])
        for kind in ("SPLIT_V", "CONCATENATION", "DEPTH_TO_SPACE", "MINIMUM", "RELU"):
            for cost in by_kind(layers, graph, kind):
                assert astuple(cost) == (0.0,) * 5
        splits = by_kind(layers, graph, "SPLIT_V")
        assert len(splits) == 4
        convolutions = by_kind(layers, graph, "CONV_2D")
        assert len(convolutions) == 8
        assert max(cost.alone_db for cost in convolutions) > 1e-4

    def test_nothing_saturates(self, trained_xcat, quantized, taught):
        """If every grid is wide enough, no saturation costs anything, exactly."""
        names = [tensor.name for tensor in Graph(trained_xcat).activations if "Relu" in tensor.name]
        wide = quantized(dict.fromkeys(names, 1.5))
        causes, layers, _ = costs(trained_xcat, wide, taught(trained_xcat)[:1])
        assert causes.saturation_db == 0
        assert {cost.saturation_db for cost in layers.values()} == {0}

    def test_itself(self, sound, taught, trained_xcat):
        """Against itself, an integer model's stored values, ends and saturation cost nothing."""
        causes, _, _ = costs(sound, sound, taught(trained_xcat)[:2])
        assert causes.weights_db == causes.saturation_db == 0
        assert causes.io_grid_db == pytest.approx(0, abs=1e-9)
        assert causes.total_db == 0
        rounding = causes.activations_db + causes.interaction_db + causes.kernels_db
        assert rounding == pytest.approx(causes.reference_rounding_db)


class TestPlantedFaults:
    """One thing is broken; it costs most, and little is left over."""

    def test_zeroed_channel(self, trained_xcat, sound, taught):
        """A channel's weights of zero cost as stored values of that layer."""
        graph = Graph(sound)
        layer = [one for one in graph.operators if one.kind == "CONV_2D"][4]
        stored = graph.constant(layer.inputs[1]).copy()
        stored[:7] = 0
        broken = graph.with_constants({layer.inputs[1]: stored})
        causes, layers, _ = costs(trained_xcat, broken, taught(trained_xcat))
        worst = max(layers, key=lambda index: layers[index].weights_db)
        assert worst == layer.outputs[0]
        assert causes.weights_db > 2 * causes.activations_db
        assert layers[worst].recovered_db > max(
            cost.recovered_db for index, cost in layers.items() if index != worst
        )

    @pytest.mark.parametrize("place", [5, -1], ids=["above 0", "on both sides of 0"])
    def test_narrow_grid(self, *, place, trained_xcat, quantized, taught):
        """A grid of a fifth of the range costs as saturation of that layer."""
        graph = Graph(trained_xcat)
        layer = [one for one in graph.operators if one.kind == "CONV_2D"][place]
        name = graph.tensors[layer.outputs[0]].name
        wide = [tensor.name for tensor in graph.activations if "Relu" in tensor.name]
        broken = quantized({**dict.fromkeys(wide, 1.5), name: 0.2})
        causes, layers, tested = costs(trained_xcat, broken, taught(trained_xcat)[:1])
        worst = max(layers, key=lambda index: layers[index].saturation_db)
        assert tested.tensors[worst].name == name
        assert causes.saturation_db > 0.8 * causes.activations_db > causes.weights_db
        others = [cost.saturation_db for index, cost in layers.items() if index != worst]
        assert layers[worst].saturation_db > 10 * max(others)

    def test_wrong_ends(self, trained_xcat, sound, taught):
        """A picture read too dark costs as the grid of the ends."""
        graph = Graph(sound)
        index = graph.input_index
        (quantize,) = graph.consumers[index]
        inner = quantize.outputs[0]
        dark = graph.with_grids({index: (0.9 / 255, 0), inner: (0.9 / 255, -128)})
        causes, _, _ = costs(trained_xcat, dark, taught(trained_xcat))
        assert causes.io_grid_db > 0.8 * causes.total_db
        assert causes.io_grid_db > 2 * causes.activations_db

    def test_changed_scale(self, trained_xcat, sound, taught):
        """Of a doubled scale, the view of everything shows what the integer kernels do."""
        graph = Graph(sound)
        layer = [one for one in graph.operators if one.kind == "CONV_2D"][5]
        tensor = graph.tensors[layer.outputs[0]]
        doubled = graph.with_grids(
            {tensor.index: (2 * float(tensor.scale[0]), int(tensor.zero_point[0]))}
        )
        causes, layers, _ = costs(trained_xcat, doubled, taught(trained_xcat))
        assert causes.total_db > 0
        assert abs(causes.kernels_db) < 0.1
        (reader,) = graph.consumers[layer.outputs[0]]  # has biases for the old scale
        assert max(layers, key=lambda index: layers[index].alone_db) == reader.outputs[0]


class TestNetworks:
    """Models of every making."""

    @pytest.mark.parametrize("network", ["espcn", "fsrcnn", "abpn", "trained_xcat"])
    @pytest.mark.parametrize(
        "scheme",
        [{}, {"io": "float32"}, {"io": "int8", "pin_io": False}, {"activation_bits": 16}],
        ids=["uint8", "float ends", "int8 of the images", "16 bits"],
    )
    def test_costs(self, *, network, scheme, request, photographs):
        """Without anything rounded a view is the reference, and with everything the tested one."""
        model = request.getfixturevalue(network)
        facts = inspect_model(model)
        picture = photographs["astronaut"]
        ranges = cal.collect(model, {"astronaut": picture}).merged()
        tested = cal.quantize(model, ranges, cal.Scheme(**scheme))
        hr = Runner(model, facts).upscale(picture)
        hr = hr ^ np.uint8(8)  # far from both, so that a last bit counts for little
        attribution = Attribution(ModelPair(model, tested))
        found = attribution.psnrs(picture, hr)
        _, in_float, reference, of_tested, base = found[:5]
        assert in_float == reference
        assert base == pytest.approx(reference, abs=1e-4)
        causes, layers = attribution.costs(found)
        assert abs(causes.kernels_db) < 0.02
        assert causes.total_db == pytest.approx(reference - of_tested)
        assert len(layers) >= 3

    def test_folded(self, trained_xcat, sound, taught):
        """A model without its clips, which copied bytes, costs what it did."""
        pictures = taught(trained_xcat)[:1]
        before, layers, _ = costs(trained_xcat, sound, pictures)
        after, folded_layers, _ = costs(trained_xcat, fold_copies(sound), pictures)
        np.testing.assert_allclose(astuple(after), astuple(before), atol=2e-2)
        assert len(folded_layers) < len(layers)

    def test_activation_left_to_grid(self, trained_xcat, sound, pictures):
        """An activation that the integer model leaves to the end of a grid is made up for."""
        graph = Graph(sound)
        fused = [
            one.index
            for one in graph.operators
            if getattr(one.options, "fusedActivationFunction", 0) == 1
        ]

        def leave_out(flat):
            for index in fused:
                flat.subgraphs[0].operators[index].builtinOptions.fusedActivationFunction = 0

        bare = graph.edited(leave_out)
        lr, hr = pictures[0][1:]
        assert len(fused) == 6
        np.testing.assert_array_equal(Runner(bare).upscale(lr), Runner(sound).upscale(lr))
        found = Attribution(ModelPair(trained_xcat, bare)).psnrs(lr, hr)
        np.testing.assert_allclose(
            found, Attribution(ModelPair(trained_xcat, sound)).psnrs(lr, hr), atol=1e-3
        )

    def test_float_layers(self, trained_xcat, quantized, taught):
        """Layers that stay in float cost nothing but what rounds their results."""
        tested = quantized(float_layers=("block1_x",))
        causes, layers, graph = costs(trained_xcat, tested, taught(trained_xcat)[:1])
        in_float = {
            graph.tensors[index].name: cost
            for index, cost in layers.items()
            if "block1_x" in graph.tensors[index].name
        }
        assert in_float
        assert {cost.weights_db for cost in in_float.values()} == {0}
        assert abs(causes.kernels_db) < 0.1

    def test_unpaired(self, trained_xcat, sound, pictures):
        """A layer whose stored values have no counterpart is left out, and others are measured."""
        pair = ModelPair(trained_xcat, sound)
        every = pair.alignment
        layer = [one for one in pair.tested_graph.operators if one.kind == "CONV_2D"][3]
        constants = {one: of for one, of in every.constants.items() if one not in layer.inputs}
        pair.__dict__["alignment"] = replace(every, constants=constants)
        attribution = Attribution(pair)
        _, layers = attribution.costs(attribution.psnrs(*pictures[0][1:]))
        whole = Attribution(ModelPair(trained_xcat, sound))
        _, all_layers = whole.costs(whole.psnrs(*pictures[0][1:]))
        assert set(all_layers) - set(layers) == {layer.outputs[0]}

    def test_nothing_paired(self, trained_xcat, sound, pictures):
        """With nothing matched, causes are measured all the same, and no layer is."""
        pair = ModelPair(trained_xcat, sound)
        pair.__dict__["alignment"] = replace(pair.alignment, matches=(), constants={})
        attribution = Attribution(pair)
        causes, layers = attribution.costs(attribution.psnrs(*pictures[0][1:]))
        assert layers == {}
        assert causes.weights_db == 0
