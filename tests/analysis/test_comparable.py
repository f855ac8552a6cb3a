"""Which two models can be compared."""

import numpy as np
import pytest
import tf_keras
from rewrites import renamed, with_weights

from qsr import calibration as cal
from qsr.analysis.comparable import check_comparable
from qsr.analysis.pair import ModelPair
from qsr.errors import ModelError
from qsr.models.xcat import XcatConfig, build_xcat
from qsr.tflite.convert import convert_keras
from qsr.tflite.fold import fold_copies


@pytest.fixture(scope="module")
def integer_of(photographs):
    """Quantize any float model."""

    def quantize(model, **scheme):
        ranges = cal.collect(model, photographs).merged()
        return cal.quantize(model, ranges, cal.Scheme(**scheme))

    return quantize


def check(reference, tested):
    """Check two models that are called by their place."""
    names = {"reference_source": "a.tflite", "tested_source": "b.tflite"}
    check_comparable(ModelPair(reference, tested, **names))


def refusal(reference, tested):
    """Return the one line that refuses two models."""
    with pytest.raises(ModelError) as caught:
        check(reference, tested)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestAccepted:
    """What is one network."""

    def test_float_and_integer(self, trained_xcat, sound, quantized):
        """A float model and its integer models, folded and nameless ones too."""
        for tested in (sound, fold_copies(sound), renamed(sound, 1), quantized(io="int8")):
            check(trained_xcat, tested)

    def test_sixteen_bits(self, uneven_fsrcnn, integer_of):
        """An integer model that has operators in float."""
        check(uneven_fsrcnn, integer_of(uneven_fsrcnn, activation_bits=16))

    def test_two_integer_models(self, sound, quantized):
        """Two integer models, also one and the same."""
        check(sound, sound)
        check(quantized(per_channel=False), fold_copies(sound))

    def test_other_training(self, trained_xcat, integer_of):
        """A network of other weights is the same network: what it has learnt is to be seen."""
        random = np.random.default_rng(1)
        kernels = {"places": [0, 1, 2, 3]}
        other = with_weights(
            trained_xcat, lambda kernel: random.permuted(kernel, axis=3), **kernels
        )
        check(trained_xcat, integer_of(other))

    def test_fixed_size(self, abpn, integer_of):
        """Two models of the same fixed size."""
        check(abpn, integer_of(abpn))


class TestRefused:
    """What is not, in one line that says what to do."""

    def test_swapped(self, trained_xcat, sound):
        """Models in the wrong order."""
        text = refusal(sound, trained_xcat)
        assert text.startswith("a.tflite is quantized and b.tflite is float: swap them")

    def test_both_float(self, trained_xcat):
        """Two float models."""
        text = refusal(trained_xcat, trained_xcat)
        assert text.startswith("a.tflite and b.tflite both compute in float")
        assert "qsr quantize" in text

    def test_scale(self, trained_xcat, unlike_xcat, integer_of):
        """Models of different scale."""
        text = refusal(trained_xcat, integer_of(unlike_xcat(2)))
        assert text.startswith("a.tflite enlarges x3 and b.tflite x2")

    def test_input_size(self, abpn_of_any_size, abpn, integer_of):
        """One model of a fixed size and one of any."""
        text = refusal(abpn_of_any_size, integer_of(abpn))
        assert text.startswith("a.tflite takes pictures of any size and b.tflite 48x40 pixels")

    def test_other_width(self, trained_xcat, integer_of):
        """Networks of the same names and different widths."""
        tf_keras.utils.set_random_seed(5)
        narrow = convert_keras(build_xcat(XcatConfig(x_channels=12, y_channels=4)))
        text = refusal(trained_xcat, integer_of(narrow))
        assert text.startswith("a.tflite and b.tflite share 1 of 8 layers with weights")

    def test_little_in_common(self, trained_xcat, unlike_xcat, integer_of):
        """A network of one layer, which another has among others."""
        text = refusal(trained_xcat, integer_of(unlike_xcat(3)))
        assert text.startswith("a.tflite and b.tflite share 1 of 8 layers with weights")
        assert text.endswith("(of a search, model_fp32.tflite in its folder)")

    def test_nothing_in_common(self, fsrcnn, espcn, integer_of):
        """Networks of the same scale that end in different operators."""
        text = refusal(fsrcnn, integer_of(espcn))
        assert text.startswith("a.tflite and b.tflite have no tensor in common")

    def test_same_end(self, trained_xcat, abpn_of_any_size, integer_of):
        """Networks of which only what puts the picture together is alike."""
        text = refusal(trained_xcat, integer_of(abpn_of_any_size))
        assert text.startswith("a.tflite and b.tflite share 0 of 8 layers with weights")
