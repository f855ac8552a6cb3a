"""Training from a recipe, without the command line."""

import shutil

import numpy as np
import pytest

from qsr.errors import ImageError, ModelError, UsageError
from qsr.images import downscale_bicubic, read_rgb, write_rgb
from qsr.jobs.evaluate import evaluate_models
from qsr.jobs.train import train_recipe
from qsr.models.zoo import load

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
    assert (first.steps, first.training_images, first.validation_images) == (4, 4, 1)
    assert {stage for stage, *_ in progress.stages} == {"check images", "decode images"}
    again = train_recipe("xcat_x3", [images / "candidates"], out=tmp_path / "run", overrides=TINY)
    assert again.resumed_from == 4
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
    assert ("check images", 5, 5, "1 left out") in progress.stages
    note = "no --added-data: stage 2 trains on --data alone"
    assert progress.stages[-1] == ("check images", 5, 5, note)


def test_torn(images, tmp_path, progress):
    """An image that turns out to be torn is left out on request, and counted."""
    shutil.copytree(images / "candidates", tmp_path / "images")
    content = (tmp_path / "images/coffee.png").read_bytes()
    (tmp_path / "images/coffee.png").write_bytes(content[: len(content) // 2])
    options = {"out": tmp_path / "run", "overrides": TINY}
    with pytest.raises(ImageError, match=r"coffee\.png.*--skip-bad-images goes on"):
        train_recipe("xcat_x3", [tmp_path / "images"], **options)
    result = train_recipe(
        "xcat_x3", [tmp_path / "images"], skip_bad_images=True, on_progress=progress, **options
    )
    assert (result.training_images, result.validation_images) == (3, 1)
    assert ("decode images", 5, 5, "1 left out") in progress.stages


def test_read_once(images, tmp_path, monkeypatch):
    """Every image is decoded once, whatever it is for."""
    read = []

    def noted(path):
        read.append(path)
        return read_rgb(path)

    monkeypatch.setattr("qsr.data.pairs.read_rgb", noted)
    folders = [images / name for name in ("candidates", "validation")]
    train_recipe(
        "xcat_a_x3",
        folders[:1],
        validation=folders[1:],
        out=tmp_path / "run",
        overrides=[*TINY, "training.steps_per_epoch=1"],
    )
    assert sorted(read) == sorted(path for folder in folders for path in folder.iterdir())


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


def test_smoke(tmp_path, progress):
    """The smoke size trains every stage on the bundled photographs, without any data."""
    result = train_recipe("xcat_x3", smoke=True, out=tmp_path / "run", on_progress=progress)
    assert result.steps == 20
    assert (tmp_path / "run/stage1.keras").exists()


@pytest.mark.parametrize("network", ["xlsr", "abpn", "fsrcnn", "espcn"])
def test_smoke_of(network, tmp_path):
    """The recipe of every network trains, and what it leaves behind is that network."""
    result = train_recipe(f"{network}_x3", smoke=True, out=tmp_path / "run")
    assert np.isfinite(result.validation_psnr_db)
    assert load(result.model).name == network


def test_div2k(images, tmp_path):
    """A DIV2K folder is trained on with its training images, and validated on with its own."""
    for split, folder in (("train", "candidates"), ("valid", "validation")):
        shutil.copytree(images / folder, tmp_path / f"DIV2K/DIV2K_{split}_HR")
        lr_folder = tmp_path / f"DIV2K/DIV2K_{split}_LR_bicubic/X3"
        lr_folder.mkdir(parents=True)
        for path in (images / folder).iterdir():
            lr = downscale_bicubic(read_rgb(path), 3)
            write_rgb(lr_folder / f"{path.stem}x3.png", lr)
    result = train_recipe("xcat_x3", [tmp_path / "DIV2K"], out=tmp_path / "run", overrides=TINY)
    counts = [len(list((images / side).iterdir())) for side in ("candidates", "validation")]
    assert [result.training_images, result.validation_images] == counts


def test_added_to_nothing(images):
    """An added data set that no stage takes is an error that says what to do."""
    with pytest.raises(UsageError, match=r"no stage that is trained adds data;.*added_data=true"):
        train_recipe("xlsr_x3", [images / "candidates"], added_data=[images / "validation"])


def test_missing_weights(images, tmp_path):
    """Weights that are not there are named before an image is read."""
    with pytest.raises(ModelError, match=r"gone\.keras: no such file"):
        train_recipe("xcat_x3", [images / "candidates"], weights=tmp_path / "gone.keras")
