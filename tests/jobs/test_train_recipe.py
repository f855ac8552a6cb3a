"""Training from a recipe, without the command line."""

import pytest

from qsr.errors import ImageError, UsageError
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.train import train_recipe

TINY = [
    "training.epochs=1",
    "training.warmup_epochs=0",
    "training.steps_per_epoch=2",
    "training.batch_size=1",
    "training.lr_patch_px=8",
]


def test_from_start_to_end(images, tmp_path, progress):
    """A recipe is trained, held-out images are validated on, and the same call trains no more."""
    first = train_recipe(
        "xcat_x3",
        [images / "candidates"],
        out=tmp_path / "run",
        overrides=TINY,
        on_progress=progress,
    )
    assert (first.steps, first.training_images, first.validation_images) == (2, 4, 1)
    assert {stage for stage, *_ in progress.stages} == {"check images", "decode images"}
    again = train_recipe("xcat_x3", [images / "candidates"], out=tmp_path / "run", overrides=TINY)
    assert again.resumed_from == 2
    assert again.validation_psnr_db == pytest.approx(first.validation_psnr_db)


def test_same_as_evaluate(images, tmp_path):
    """The PSNR that training ends with is what ``evaluate`` gives the network on those images."""
    validation = images / "validation"
    trained = train_recipe(
        "xcat_x3",
        [images / "candidates"],
        validation=[validation],
        out=tmp_path / "run",
        overrides=TINY,
    )
    (scores,) = evaluate_models([str(trained.model)], [validation])
    (evaluation,) = scores.evaluations
    assert trained.validation_psnr_db == pytest.approx(evaluation.psnr_rgb_db, abs=2e-3)


def test_left_out(images, tmp_path, progress, monkeypatch):
    """Images that are left out are counted."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/bad.png").write_bytes(b"no image")
    monkeypatch.setattr("qsr.jobs.train.train", lambda *_, **__: None)
    train_recipe(
        "xcat_x3",
        [images / "candidates", tmp_path / "bad"],
        overrides=TINY,
        skip_bad_images=True,
        on_progress=progress,
    )
    assert progress.stages[-1] == ("check images", 5, 5, "1 left out")


@pytest.mark.parametrize("which", ["data", "validation"])
def test_missing(images, tmp_path, which):
    """A missing folder is named before an image is read."""
    folders = {"data": [images / "candidates"], "validation": [images / "validation"]}
    folders[which] = [tmp_path / "missing"]
    with pytest.raises(ImageError, match="missing: no such file or folder"):
        train_recipe("xcat_x3", overrides=TINY, **folders)


def test_no_data():
    """Images to train on are asked for."""
    with pytest.raises(UsageError, match="--data"):
        train_recipe("xcat_x3", [])
