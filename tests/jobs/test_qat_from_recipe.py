"""Quantization-aware training, whole: from a recipe to a fully integer model."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from qsr.calibration import quantize, read_litert_json
from qsr.data.bundled import write_bundled
from qsr.data.decoded import decode
from qsr.data.pairs import find_pairs
from qsr.errors import ImageError, ModelError, StudyError, UsageError
from qsr.images import read_rgb
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.progress import silent
from qsr.jobs.qat import fine_tuning, qat_from_recipe
from qsr.jobs.qat_start import FloatNetwork, measured_start
from qsr.jobs.refinement import Refining
from qsr.jobs.search_repdata import search_repdata
from qsr.models.zoo import build, load, save
from qsr.tflite.convert import convert_keras
from qsr.tflite.fold import fold_copies
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner
from qsr.training.recipe_files import load_recipe


@pytest.fixture(scope="module")
def reads():
    """How often each image was decoded while :func:`trained` was made."""
    return Counter()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, reads):
    """The smoke size of ESPCN: ``(run folder, report)``."""
    out = tmp_path_factory.mktemp("qat") / "run"

    def counted(path):
        reads[path] += 1
        return read_rgb(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qsr.data.pairs.read_rgb", counted)
        return out, qat_from_recipe("espcn_x3", smoke=True, out=out)


def test_trained_model_is_better(trained):
    """Even forty steps bring the integer model closer to the photographs than PTQ does."""
    _, report = trained
    assert report.ptq_psnr_db + 0.02 < report.qat_psnr_db < report.fp32_psnr_db
    assert (report.steps, report.resumed_from) == (40, 0)


def test_nothing_is_left_in_float(trained):
    """LiteRT finds no float tensor in the model, and the grid of a picture at both ends."""
    interpreter = Interpreter(str(trained[1].model))
    kinds = {detail["dtype"] for detail in interpreter.get_tensor_details()}
    assert kinds <= {np.uint8, np.int8, np.int32}
    for detail in (interpreter.get_input_details()[0], interpreter.get_output_details()[0]):
        assert detail["dtype"] == np.uint8
        assert detail["quantization"] == (pytest.approx(1 / 255), 0)


def test_scores_are_those_of_the_files(trained, tmp_path):
    """What the report says of the models, ``qsr evaluate`` measures of the files."""
    _, report = trained
    _, validation = write_bundled(tmp_path)
    files = [str(report.float_model), str(report.ptq_model), str(report.qat_model)]
    (found,) = evaluate_models(files, [validation])
    np.testing.assert_allclose(
        [evaluation.psnr_rgb_db for evaluation in found.evaluations],
        [report.fp32_psnr_db, report.ptq_psnr_db, report.qat_psnr_db],
        atol=1e-9,
    )


@pytest.mark.usefixtures("trained")
def test_decoded_once(reads):
    """To check, to measure, to train and to validate on it, an image is decoded once in all."""
    assert len(reads) > 20
    assert set(reads.values()) == {1}


def test_called_again_gives_the_same(trained, monkeypatch):
    """A finished training is not repeated nor its start measured; its models stay byte for byte."""
    out, report = trained
    for measuring in ("collect", "equalized_if_better"):
        monkeypatch.setattr(f"qsr.jobs.qat_start.{measuring}", None)
    before = {path.name: path.read_bytes() for path in out.glob("*.tflite")}
    again = qat_from_recipe("espcn_x3", smoke=True, out=out)
    assert again.resumed_from == again.steps
    assert again.qat_psnr_db == report.qat_psnr_db
    assert {path.name: path.read_bytes() for path in out.glob("*.tflite")} == before


def test_interrupted_before_ranges(trained, tmp_path):
    """A start whose ranges were not written yet is measured again, and is the same."""
    out, _ = trained
    start = tmp_path / "start"
    shutil.copytree(out / "start", start)
    (start / "ranges_chosen.json").unlink()
    network = FloatNetwork((out / "model_fp32.tflite").read_bytes(), None, "model")
    photographs = decode(find_pairs(write_bundled(tmp_path / "photographs")[0], 3), tmp_path / "d")
    found = measured_start(network, photographs, start, silent)
    kept = measured_start(network, (), start, silent)
    assert found.model == kept.model
    np.testing.assert_array_equal(found.ranges.maximum, kept.ranges.maximum)
    np.testing.assert_array_equal(found.ranges.minimum, kept.ranges.minimum)


def test_other_start_is_refused(trained, tmp_path, progress):
    """A run folder belongs to one network and its ranges; another is refused before any image."""
    out, _ = trained
    for options in ({}, {"hr_weight": 1.0}, {"weights": espcn_weights(tmp_path)}):
        recipe = "espcn_x3" if options else "fsrcnn_x3"
        with pytest.raises(StudyError, match="holds a training with another"):
            qat_from_recipe(recipe, smoke=True, out=out, on_progress=progress, **options)
    assert progress.stages == []


def test_wrong_folder_and_weights(tmp_path, progress):
    """A folder of other things, and weights of another network, are told before any image."""
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/one.txt").touch()
    (tmp_path / "file").touch()
    weights = espcn_weights(tmp_path)
    for folder, why in (("letters", "not empty, and no training"), ("file", "no.* run folder")):
        with pytest.raises(StudyError, match=why):
            qat_from_recipe("espcn_x3", smoke=True, out=tmp_path / folder, on_progress=progress)
    with pytest.raises(ModelError, match=r"mine\.keras"):
        qat_from_recipe(
            "fsrcnn_x3", smoke=True, weights=weights, out=tmp_path / "out", on_progress=progress
        )
    assert progress.stages == []
    assert not (tmp_path / "out").exists()


def espcn_weights(folder):
    """Write fresh weights of an ESPCN, and return the path."""
    path = folder / "mine.keras"
    save(build("espcn"), path)
    return path


def test_starts_from_a_search(run, trained, tmp_path):
    """A float model and its ranges are what training starts from, and PTQ is made of them.

    The run of another network is refused.
    """
    start = trained[0] / "start"
    again = qat_from_recipe("espcn_x3", smoke=True, run=start, out=tmp_path / "again")
    ranges = read_litert_json(start / "ranges_chosen.json", start / "model_fp32.tflite")
    nearest = Graph(fold_copies(quantize(start / "model_fp32.tflite", ranges)))
    integer = again.ptq_model.read_bytes()
    assert integer == trained[1].ptq_model.read_bytes()
    assert [one.scale for one in Graph(integer).activations] == [
        one.scale for one in nearest.activations
    ]
    assert again.equalization_gain_db is None
    with pytest.raises(UsageError, match="not the espcn of espcn_x3"):
        qat_from_recipe("espcn_x3", smoke=True, run=Path(run.run_folder), out=tmp_path / "other")


def test_refined_search(tmp_path):
    """What training is compared with is the model that a search handed over, its weights rounded.

    That is the model of the run, too, as long as training is not better.
    """
    found = search_repdata(
        "espcn",
        strategy="all",
        refining=Refining(weights_rounded=True),
        out=tmp_path / "search",
        workers=1,
    )
    (step,) = found.refinements
    assert step.kept
    report = qat_from_recipe("espcn_x3", smoke=True, run=tmp_path / "search", out=tmp_path / "qat")
    refined = Path(found.integer_model).read_bytes()
    assert report.ptq_model.read_bytes() == refined
    better = report.qat_psnr_db > report.ptq_psnr_db
    assert (report.model.read_bytes() == refined) != better


def test_float_model_in_place_of_the_integer_one(trained, tmp_path):
    """A run whose integer model is none is refused before any image, with the file's name."""
    shutil.copytree(trained[0] / "start", tmp_path / "search")
    shutil.copy(tmp_path / "search/model_fp32.tflite", tmp_path / "search/model_uint8.tflite")
    with pytest.raises(ModelError, match=r"search/model_uint8\.tflite: not fully integer"):
        qat_from_recipe("espcn_x3", smoke=True, run=tmp_path / "search", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_validation_image(tmp_path):
    """With one image to judge on, weights are rounded for layers all the same, where that helps."""
    candidates, validation = write_bundled(tmp_path / "bundled")
    photographs = sorted(validation.iterdir())
    for spare in photographs[1:]:
        spare.unlink()
    report = qat_from_recipe(
        "espcn_x3", [candidates], validation=[validation], smoke=True, out=tmp_path / "run"
    )
    assert report.validation_images == 1
    assert report.rounding.choosing_gain_db > 0
    assert report.rounding.kept


def test_images_too_small_to_round_on(tmp_path):
    """Without an image that layers can be measured on, nothing is trained in vain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qsr.jobs.qat.middles_of", lambda *_: ())
        with pytest.raises(ImageError, match="no training image has"):
            qat_from_recipe("espcn_x3", smoke=True, out=tmp_path / "run")
    assert not (tmp_path / "run/log.jsonl").exists()


def test_ranges_can_be_quantized_with(trained):
    """Quantizing with the ranges that are written gives the model's grids; weights may differ."""
    out, report = trained
    ranges = read_litert_json(out / "ranges_chosen.json", report.trained_float_model)
    ours, again = (
        Graph(model)
        for model in (
            report.model.read_bytes(),
            fold_copies(quantize(report.trained_float_model, ranges)),
        )
    )
    for one, other in zip(ours.activations, again.activations, strict=True):
        assert (one.name, one.scale, one.zero_point) == (other.name, other.scale, other.zero_point)


def test_weights_are_rounded_for_layers(trained):
    """Rounding after training is kept here, and leaves less error than the nearest integers do."""
    out, report = trained
    assert report.rounding.kept
    ranges = read_litert_json(out / "ranges_chosen.json", report.trained_float_model)
    _, validation = write_bundled(out.parent / "bundled")
    nearest = fold_copies(quantize(report.trained_float_model, ranges))
    path = out.parent / "nearest.tflite"
    path.write_bytes(nearest)
    (found,) = evaluate_models([str(path), str(report.qat_model)], [validation])
    before, after = (evaluation.psnr_rgb_db for evaluation in found.evaluations)
    assert after - before == pytest.approx(report.rounding.choosing_gain_db, abs=1e-9)


def test_network_can_be_trained_on(trained, photographs):
    """The ``.keras`` file makes the pictures of the float model that was trained, to a step."""
    _, report = trained
    model = convert_keras(load(report.trained_network))
    for lr in photographs.values():
        made, wanted = (
            Runner(one).upscale(lr).astype(int)
            for one in (model, report.trained_float_model.read_bytes())
        )
        assert np.abs(made - wanted).max() <= 1


def test_targets(tmp_path):
    """The loss of a first step is against the float network's picture, HR, or what lies between.

    Against the float network's it is the error of 8 bits alone, the smallest by far; a fifth of the
    way to HR, some 4 % (0.2 squared) of the loss against HR are added. What equalization gave is
    told with its number.
    """
    losses = {}
    for weight in (0.0, 0.2, 1.0):
        out = tmp_path / str(weight)
        report = qat_from_recipe("xcat_x3", smoke=True, steps=20, hr_weight=weight, out=out)
        told = json.loads((out / "start/equalization.json").read_text())
        assert (report.equalized, report.equalization_gain_db) == (told["kept"], told["gain_db"])
        first = json.loads((out / "log.jsonl").read_text().splitlines()[0])
        losses[weight] = first["loss"]
    assert losses[0.0] < losses[1.0] / 10
    assert losses[0.2] == pytest.approx(losses[0.0] + 0.04 * losses[1.0], rel=0.2)


def test_ranges_of_a_search_stay(trained, tmp_path):
    """Training moves ranges that were measured, and leaves those that a search chose."""
    out, _ = trained
    start = out / "start"
    again = qat_from_recipe("espcn_x3", smoke=True, run=start, out=tmp_path / "again")
    trained_on, measured, kept = (
        read_litert_json(folder / "ranges_chosen.json", folder / "model_fp32.tflite")
        for folder in (out, start, tmp_path / "again")
    )
    np.testing.assert_array_equal(kept.maximum, measured.maximum)
    np.testing.assert_array_equal(kept.minimum, measured.minimum)
    assert (trained_on.maximum != measured.maximum).any()
    assert again.qat_psnr_db != again.ptq_psnr_db


def test_fine_tuning_keeps_loss_and_batches():
    """The recipe of the last stage is kept but for length and learning rate."""
    recipe = load_recipe("xcat_x3")
    tuning = fine_tuning(recipe, steps=2000, rate=1e-4)
    assert tuning.steps == 2000
    assert [stage.loss for stage in tuning.stages] == ["mse"]
    assert tuning.training.batch_size == recipe.training.batch_size
    assert tuning.augmentation == recipe.augmentation
    assert tuning.stages[0].peak_rate == 1e-4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, UsageError, "--data"),
        ({"data": ["x"], "hr_weight": 1.5}, UsageError, "--hr-weight must be .* 0 to 1, not 1.5"),
        ({"data": ["x"], "hr_weight": float("nan")}, UsageError, "--hr-weight"),
        ({"data": ["x"], "steps": 3}, UsageError, "--steps must be at least 20, not 3"),
        (
            {"data": ["x"], "rate": 0.0},
            UsageError,
            r"^--rate must be above 0 and finite, not 0\.0$",
        ),
        ({"data": ["x"], "rate": float("inf")}, UsageError, "^--rate .* not inf$"),
        ({"data": ["x"], "rate": 1e-323}, UsageError, "^--rate "),
        ({"smoke": True, "overrides": ["model.activation=relu"]}, UsageError, "--weights"),
        ({"smoke": True, "weights": "gone.keras"}, ModelError, "gone.keras: no such file"),
        ({"smoke": True, "run": "gone"}, StudyError, "model_fp32.tflite: missing"),
        ({"smoke": True, "run": "a", "weights": "b"}, UsageError, "leave out --weights"),
    ],
)
def test_bad_input_is_told_at_once(tmp_path, monkeypatch, options, error, message):
    """What cannot be trained is told before a folder is made."""
    monkeypatch.chdir(tmp_path)
    paths = {name: Path(options[name]) for name in ("weights", "run") if name in options}
    folders = [Path(folder) for folder in options.get("data", [])]
    with pytest.raises(error, match=message):
        qat_from_recipe("espcn_x3", **{**options, **paths, "data": folders})
    assert not list(tmp_path.iterdir())
