"""What is done after a search: measured on both halves, and kept only if it helps."""

import numpy as np
import pytest

from qsr.calibration import collect, quantize
from qsr.data.bundled import write_bundled
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.refinement import corrected_if_better
from qsr.jobs.search_repdata import search_repdata


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    """A search for ESPCN on the bundled photographs, tuned and corrected: the report."""
    out = tmp_path_factory.mktemp("refined")
    return search_repdata("espcn", out=out, tuned=True, biases_corrected=True, workers=1)


def test_each_step_is_told(refined):
    """Each step tells what it gave on both halves; ESPCN gains by both."""
    tuned, corrected = refined.refinements
    assert (tuned.step, corrected.step) == ("tuned ranges", "corrected biases")
    assert tuned.kept
    assert corrected.kept
    assert tuned.choosing_gain_db > 0.05
    assert corrected.choosing_gain_db > 0.01
    assert refined.chosen.tuned_tensors > 0


def test_model_that_is_written_is_the_refined_one(refined, tmp_path):
    """``qsr evaluate`` finds the reported drop in the files that were written."""
    _, validation = write_bundled(tmp_path)
    files = [f"{refined.run_folder}/model_fp32.tflite", refined.integer_model]
    (scores,) = evaluate_models(files, [validation])
    fp32, integer = (
        {image.name: image.psnr_rgb_db for image in evaluation.images}
        for evaluation in scores.evaluations
    )
    drops = [fp32[name] - integer[name] for name in refined.confirmation_names]
    assert np.mean(drops) == pytest.approx(refined.chosen.drop_db, abs=1e-9)


def test_what_does_not_help_is_left_out(espcn, photographs):
    """Where the images that choose say no, the model stays as it was, and that is told."""
    integer = quantize(espcn, collect(espcn, photographs).merged())
    scores = iter([[30.0, 31.0], [29.0, 31.5]])  # as it was, corrected
    model, found = corrected_if_better(
        espcn,
        integer,
        tuple(photographs.values()),
        choosing=lambda _: next(scores),
        confirming=lambda model: [float(model == integer)] * 2,
        source="espcn",
    )
    assert model == integer
    assert not found.kept
    assert found.choosing_gain_db == pytest.approx(-0.25)
    assert found.gain_db.mean == -1.0


def test_nothing_asked_nothing_done(run):
    """A plain search refines nothing."""
    assert run.refinements == ()
