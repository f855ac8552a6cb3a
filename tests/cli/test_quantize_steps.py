"""``qsr quantize --equalize`` and ``--correct-biases``: what each makes of a network."""

import json

import numpy as np
import pytest

from qsr.data.pairs import find_pairs
from qsr.metrics import psnr_db
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner


@pytest.fixture(scope="module")
def uneven(tmp_path_factory, uneven_fsrcnn):
    """The file of a float FSRCNN x3 whose channels differ in size."""
    path = tmp_path_factory.mktemp("uneven") / "uneven.tflite"
    path.write_bytes(uneven_fsrcnn)
    return path


@pytest.fixture
def quantized(qsr, photos, tmp_path):
    """Quantize a model: ``quantized(model, *options) -> (integer model, what was said)``."""

    def run(model, *options):
        out = tmp_path / "integer.tflite"
        said = qsr("quantize", model, "--repdata", photos / "candidates", "-o", out, *options)
        assert said.code == 0, said.err
        return out.read_bytes(), said.out

    return run


def pictures(photos, model):
    """Return what a model makes of each representative photograph, shrunk."""
    runner = Runner(model)
    return [runner.upscale(pair.load_lr()) for pair in find_pairs(photos / "candidates", 3)]


def test_equalized(quantized, uneven, photos):
    """The equalized integer model comes closer to the float model, and is said to be equalized."""
    wanted = pictures(photos, uneven.read_bytes())
    plain, _ = quantized(uneven, "--json")
    equalized, said = quantized(uneven, "--equalize", "--json")
    before, after = (
        np.mean([psnr_db(*pair) for pair in zip(pictures(photos, model), wanted, strict=True)])
        for model in (plain, equalized)
    )
    assert after > before + 3
    assert json.loads(said)["equalized"]
    assert not json.loads(said)["biases_corrected"]


def test_nothing_to_equalize(quantized, espcn, tmp_path):
    """A network without a layer to equalize is quantized as without the option, which is said."""
    (tmp_path / "espcn.tflite").write_bytes(espcn)
    plain, said_without = quantized(tmp_path / "espcn.tflite")
    same, said = quantized(tmp_path / "espcn.tflite", "--equalize")
    assert same == plain
    assert "no layers of this network can be equalized" in said
    assert "can be equalized" not in said_without


def test_biases_corrected(quantized, uneven, photos):
    """The means of the channels move towards the float model's, and biases alone are changed."""
    plain, _ = quantized(uneven)
    corrected, said = quantized(uneven, "--correct-biases", "--json")
    assert json.loads(said)["biases_corrected"]
    before, after = Graph(plain), Graph(corrected)
    for tensor in before.tensors:
        if tensor.constant and tensor.dtype != "int32":
            np.testing.assert_array_equal(
                before.constant(tensor.index), after.constant(tensor.index)
            )
    wanted = pictures(photos, uneven.read_bytes())
    shift, left = (
        np.abs(
            np.mean(
                [
                    one.mean(axis=(0, 1)) - other.mean(axis=(0, 1))
                    for one, other in zip(pictures(photos, model), wanted, strict=True)
                ],
                axis=0,
            )
        ).max()
        for model in (plain, corrected)
    )
    assert left < shift / 2


def test_both(quantized, uneven):
    """With both, the biases of the equalized model are corrected."""
    equalized, _ = quantized(uneven, "--equalize")
    both, said = quantized(uneven, "--equalize", "--correct-biases", "--json")
    assert json.loads(said)["equalized"]
    assert json.loads(said)["biases_corrected"]
    assert both != equalized
    before, after = Graph(equalized), Graph(both)
    assert [tensor.scale.tolist() for tensor in before.tensors] == [
        tensor.scale.tolist() for tensor in after.tensors
    ]
