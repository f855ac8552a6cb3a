"""What is done after a search: measured on both halves, and kept only if it helps."""

import json
from pathlib import Path

import numpy as np
import pytest

from qsr.calibration import Linear, collect, search
from qsr.calibration.scheme import scheme_named
from qsr.calibration.strategies.range_statistics import RangeStatistics
from qsr.data.bundled import write_bundled
from qsr.errors import ModelError, UsageError
from qsr.jobs import refinement
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.kept_results import KeptResults
from qsr.jobs.refinement import Refining
from qsr.jobs.repdata_report import steps_around
from qsr.jobs.search_repdata import search_repdata
from qsr.jobs.steps import Judges
from qsr.quantization.weight_rounding import round_weights
from qsr.tflite.graph import Graph

ROUNDED_AND_FITTED = Refining(weights_rounded=True, ranges_fitted=True)


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    """A search for ESPCN on the bundled photographs, tuned and corrected: the report."""
    out = tmp_path_factory.mktemp("refined")
    return search_repdata(
        "espcn", out=out, refining=Refining(tuned=True, biases_corrected=True), workers=1
    )


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


@pytest.fixture(scope="module")
def shown():
    """What a search said of its progress: stage, done, total."""
    return []


@pytest.fixture(scope="module")
def rounded(tmp_path_factory, shown):
    """The same with its weights rounded, and ranges fitted after that."""
    out = tmp_path_factory.mktemp("rounded")
    return search_repdata(
        "espcn",
        out=out,
        strategy="all",
        refining=ROUNDED_AND_FITTED,
        workers=1,
        on_progress=lambda *said: shown.append(said),
    )


def test_progress(rounded, shown):
    """Each model that is made after the search is told as it is measured."""
    assert rounded.refinements
    assert [said for said in shown if said[0] == "refine"] == [
        ("refine", done, 4) for done in (1, 2, 3, 4)
    ]


def test_rounding_and_fitting_are_told(rounded):
    """Rounded weights help ESPCN much; what fitted ranges gave is told whether kept or not."""
    weights, ranges = rounded.refinements
    assert (weights.step, ranges.step) == ("rounded weights", "fitted ranges")
    assert weights.kept
    assert weights.choosing_gain_db > 0.03
    assert weights.gain_db.low > 0
    assert ranges.kept == (ranges.choosing_gain_db > 0)


def test_gains_add_up(rounded):
    """What the steps that were kept gave is what the model that is handed over gained."""
    gains = [step.gain_db.mean for step in rounded.refinements if step.kept]
    assert len(gains) == 2
    assert rounded.baseline.drop_db - rounded.chosen.drop_db == pytest.approx(sum(gains))


def test_scores_are_of_the_model_as_it_is_then(rounded):
    """What the chosen model reached on the images that choose is what the steps made of it."""
    gained = sum(step.choosing_gain_db for step in rounded.refinements if step.kept)
    assert rounded.chosen.refined
    assert not rounded.baseline.refined
    found = rounded.chosen.objective_db - rounded.baseline.objective_db
    assert found == pytest.approx(gained)


def test_ranges_that_were_kept_are_written(rounded):
    """The file of chosen ranges holds the grids of the model beside it, fitted or not."""
    folder = Path(rounded.run_folder)
    graph = Graph(Path(rounded.integer_model).read_bytes())
    written = json.loads((folder / "ranges_chosen.json").read_text())["model_qsvs"]
    (first, *_) = [one for one in graph.operators if one.kind == "CONV_2D"]
    grid = graph.tensors[first.outputs[0]]
    (low,), (high,) = written[grid.name]["min"], written[grid.name]["max"]
    assert high - min(low, 0.0) == pytest.approx(255 * float(grid.scale[0]), rel=1e-5)


def test_fitted_ranges_are_for_eight_bits():
    """Activations of 16 bits are refused before anything is measured."""
    with pytest.raises(UsageError, match="8 bits"):
        search_repdata("espcn", scheme="uint8-16x8", refining=Refining(ranges_fitted=True))
    Refining(ranges_fitted=True).check(scheme_named("int8"))
    Refining(weights_rounded=True).check(scheme_named("uint8-16x8"))


def test_stopped_in_the_middle(rounded, tmp_path, monkeypatch):
    """What refinement made before it was stopped is not made again, and the result is the same."""
    options = {"strategy": "all", "refining": ROUNDED_AND_FITTED, "workers": 1}
    made = []

    def stopped(*args, **named):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(round_weights(*args, **named))
        return made[-1]

    def counted(*args, **named):
        made.append(round_weights(*args, **named))
        return made[-1]

    monkeypatch.setattr(refinement, "round_weights", stopped)
    with pytest.raises(KeyboardInterrupt):
        search_repdata("espcn", out=tmp_path / "run", **options)
    monkeypatch.setattr(refinement, "round_weights", counted)
    report = search_repdata("espcn", out=tmp_path / "run", **options)
    assert len(made) == 4, "two made before, and two after"
    assert report.chosen == rounded.chosen
    assert report.refinements == rounded.refinements


def test_all_by_default(network, images, tmp_path):
    """A search does every step that its scheme allows, in order, and alike with more workers."""
    sides = {"candidates": images / "candidates", "validation": images / "scored"}
    report, alone = (
        search_repdata(str(network), **sides, out=tmp_path / f"{count}", workers=count)
        for count in (2, 1)
    )
    assert report.refinements == alone.refinements
    assert report.chosen == alone.chosen
    assert Path(report.integer_model).read_bytes() == Path(alone.integer_model).read_bytes()
    assert [step.step for step in report.refinements] == [
        *("tuned ranges", "rounded weights", "fitted ranges", "corrected biases"),
    ]


def test_other_objective(network, images, tmp_path):
    """Where the worst image counts, no step is kept that makes it worse."""
    sides = {"candidates": images / "candidates", "validation": images / "scored"}
    options = {**sides, "objective": "worst", "strategy": "all", "workers": 1}
    out = tmp_path / "run"
    plain = search_repdata(str(network), **options, out=out, refining=Refining())
    found = search_repdata(str(network), **options, out=out)
    assert found.chosen.objective_db >= plain.chosen.objective_db
    assert len(found.refinements) == 4


def test_strategy_that_tunes(network, images, tmp_path):
    """Ranges that a strategy has tuned by itself are not tuned again, nor judged again."""
    sides = {"candidates": images / "candidates", "validation": images / "scored"}
    report = search_repdata(
        str(network),
        **sides,
        strategy=RangeStatistics(steps=(0.3,)),
        out=tmp_path / "run",
        workers=1,
    )
    assert [step.step for step in report.refinements] == [
        *("rounded weights", "fitted ranges", "corrected biases"),
    ]


def test_model_that_cannot_be_made(network, images, tmp_path, monkeypatch):
    """A step that a model refuses is left out, and the search still hands a model over."""
    monkeypatch.setattr(refinement, "round_weights", refused)
    sides = {"candidates": images / "candidates", "validation": images / "scored"}
    wanted = Refining(weights_rounded=True)
    report = search_repdata(
        str(network), **sides, strategy="all", refining=wanted, out=tmp_path / "run", workers=1
    )
    (step,) = report.refinements
    assert not step.kept
    assert Path(report.integer_model).exists()


def refused(*_, **__):
    """Fail as for a model of other layers."""
    raise ModelError


def test_sixteen_bits(network, images, tmp_path):
    """Nothing is fitted for activations of 16 bits, and nobody has to say so."""
    sides = {"candidates": images / "candidates", "validation": images / "scored"}
    report = search_repdata(
        str(network), **sides, scheme="uint8-16x8", strategy="all", out=tmp_path / "run", workers=1
    )
    assert "fitted ranges" not in [step.step for step in report.refinements]
    assert "rounded weights" in [step.step for step in report.refinements]


def test_nothing_asked_nothing_done(run):
    """A plain search refines nothing, and measures nothing for it."""
    assert steps_around(run) == ()


def test_equalization_is_measured_on_others(tmp_path):
    """What equalization gave is told for images that it never saw, as two searches show it."""
    options = {"strategy": "all", "refining": Refining(biases_corrected=True), "workers": 1}
    found = search_repdata("xcat", out=tmp_path / "equalized", **options)
    plain = search_repdata("xcat", out=tmp_path / "plain", equalized=False, **options)
    step = found.equalization
    assert (step.step, step.kept) == ("equalized channels", True)
    assert steps_around(found) == (step, *found.refinements)
    assert plain.equalization is None
    gain = plain.baseline.drop_db - found.baseline.drop_db
    assert step.gain_db.mean == pytest.approx(gain, abs=0.003)  # the middles of large pictures
    assert step.choosing_gain_db > 0


def test_rounding_that_did_not_help_is_not_brought_back(espcn, photographs, tmp_path, monkeypatch):
    """Fitted ranges are not rounded for what layers give where that was just turned down."""
    table = collect(espcn, photographs)
    same = [30.0, 30.0]
    study = search(espcn, table, lambda _: same, strategy=Linear(), confirm=lambda _: same)
    rounded = []

    def round_worse(_, model, *_others, **_options):
        rounded.append(model)
        return model + b"worse"

    monkeypatch.setattr(refinement, "round_weights", round_worse)
    found = refinement.refined(
        study,
        espcn,
        table,
        scheme_named("uint8"),
        ROUNDED_AND_FITTED,
        pictures=tuple(photographs.values()),
        judges=Judges(
            lambda model: [29.0 if b"worse" in model else 30.0 + (model != study.model)] * 8,
            lambda _: same,
        ),
        kept=KeptResults(tmp_path, "of these"),
        source="espcn",
        on_model=lambda _: None,
    )
    assert [step.kept for step in found.steps] == [False, True]
    assert rounded == [study.model]
    assert b"worse" not in found.model
