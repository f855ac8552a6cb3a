"""A float network without its clip, against the same network built without one."""

import numpy as np
import pytest

from qsr.models.xcat import XcatConfig
from qsr.models.zoo import build
from qsr.tflite.convert import convert_keras
from qsr.tflite.fold_unclip import without_output_clip
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import inspect_model


def test_as_built_without(trained_xcat_keras, trained_xcat, run_bare):
    """Without its clip it computes what the network built without one does, beyond 0 and 1 too."""
    bare = build("xcat", XcatConfig(clipped=False))
    bare.set_weights(trained_xcat_keras.get_weights())
    unclipped = without_output_clip(trained_xcat)
    picture = np.random.default_rng(2).uniform(-0.5, 1.5, (1, 20, 24, 3)).astype(np.float32)
    found = run_bare(unclipped, picture)
    np.testing.assert_allclose(found, run_bare(convert_keras(bare), picture), atol=1e-6)
    assert found.min() < -0.01
    assert found.max() > 1.01
    np.testing.assert_array_equal(np.clip(found, 0, 1), run_bare(trained_xcat, picture))
    assert inspect_model(unclipped) == inspect_model(trained_xcat)


@pytest.mark.parametrize("network", ["espcn", "fsrcnn"])
def test_none(network, request):
    """A network that ends without a clip stays as it is."""
    model = request.getfixturevalue(network)
    assert without_output_clip(model) is model


def test_clips_inside_stay(abpn_of_any_size):
    """Clips that are not at the end stay."""
    left = [one.kind for one in Graph(without_output_clip(abpn_of_any_size)).operators]
    assert left == [
        one.kind for one in Graph(abpn_of_any_size).operators if one.kind not in {"MINIMUM", "RELU"}
    ]
    inner = build("xcat")
    kinds = [one.kind for one in Graph(without_output_clip(convert_keras(inner))).operators]
    assert kinds[-1] == "DEPTH_TO_SPACE"
