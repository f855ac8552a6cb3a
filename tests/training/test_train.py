"""The training loop: what it computes, reports and leaves behind, and what it refuses."""

import json
import os
import shutil
import signal
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import skimage.metrics
import tensorflow as tf
import tf_keras
from PIL import Image

from qsr.data.decoded import decode
from qsr.data.pairs import find_pairs
from qsr.data.pipeline import Augmentation, batches_of_steps
from qsr.errors import ImageError, ModelError, QsrError, StudyError
from qsr.models.xcat import XcatConfig
from qsr.models.zoo import build, load
from qsr.training.images import hold_out
from qsr.training.recipe import Stage, Training
from qsr.training.steps import new_optimizer
from qsr.training.train import train


def with_training(recipe, **changes):
    """Change fields of a recipe's training."""
    return replace(recipe, training=replace(recipe.training, **changes))


def with_stage(recipe, **changes):
    """Change fields of a recipe's only stage."""
    return replace(recipe, stages=(replace(recipe.stages[0], **changes),))


def save_photographs(folder, **crops):
    """Write photographs as PNG and return their pairs."""
    folder.mkdir(exist_ok=True)
    for name, crop in crops.items():
        Image.fromarray(crop).save(folder / f"{name}.png")
    return find_pairs(folder, 3)


class TestWhole:
    """A run that nothing disturbed."""

    def test_folder(self, whole):
        """The run folder holds recipe, images, checkpoints, log, network and the lock."""
        assert {path.name for path in whole.out.iterdir()} == {
            *("recipe.json", "decoded", "checkpoints", "log.jsonl", "tensorboard"),
            *("best.keras", "model.keras", ".qsr-train-lock"),
        }

    def test_result(self, whole):
        """The result says where the network lies and what was done."""
        assert whole.result.model == whole.out / "model.keras"
        assert whole.result.steps == 200
        assert whole.result.resumed_from == 0
        assert (whole.result.training_images, whole.result.validation_images) == (3, 1)

    def test_reports(self, whole):
        """Progress is reported every 50 steps, with the PSNR of the last checkpoint."""
        assert [report.step for report in whole.reports] == [50, 100, 150, 200]
        assert {report.steps for report in whole.reports} == {200}
        psnr = [report.validation_psnr_db for report in whole.reports]
        assert psnr[0] is None
        assert psnr[1] == psnr[2] != psnr[3] == whole.result.validation_psnr_db
        assert all(report.steps_per_second > 0 for report in whole.reports)

    def test_log(self, whole):
        """The log has a line per checkpoint: step, mean loss since the last one, and PSNR."""
        lines = [json.loads(line) for line in whole.log.splitlines()]
        losses = [report.loss for report in whole.reports]
        assert lines == [
            {
                "step": 100,
                "stage": 1,
                "loss": pytest.approx(np.mean(losses[:2])),
                "learning_rate": pytest.approx(25e-4),
                "revived_channels": 0,
                "validation_psnr_db": whole.reports[1].validation_psnr_db,
                "seconds": lines[0]["seconds"],
            },
            {
                "step": 200,
                "stage": 1,
                "loss": pytest.approx(np.mean(losses[2:])),
                "learning_rate": pytest.approx(1e-4),
                "revived_channels": 0,
                "validation_psnr_db": whole.result.validation_psnr_db,
                "seconds": lines[1]["seconds"],
            },
        ]
        assert all(isinstance(line["step"], int) for line in lines)
        assert whole.result.seconds == sum(line["seconds"] for line in lines) > 0

    def test_psnr(self, whole, images):
        """The validation PSNR is scikit-image's, of the rounded result, one pixel shaved."""
        ((lr, hr),) = [pair.load() for pair in images[1]]
        sr = np.asarray(load(whole.result.model)(lr[None].astype(np.float32) / 255))[0]
        rounded = np.round(255 * sr).astype(np.uint8)
        expected = skimage.metrics.peak_signal_noise_ratio(hr[1:-1, 1:-1], rounded[1:-1, 1:-1])
        assert whole.result.validation_psnr_db == pytest.approx(expected, abs=1e-4)

    def test_learns(self, whole):
        """The loss falls, and never below Charbonnier's epsilon."""
        losses = [report.loss for report in whole.reports]
        assert 0.1 < losses[-1] < losses[0]

    def test_started_again(self, whole, tiny, images):
        """A finished run that is started again trains no step and gives the same result."""
        weights = load(whole.result.model).get_weights()
        calls = []
        again = train(
            tiny,
            *images,
            whole.out,
            on_decode=lambda *done: calls.append(done),
            on_progress=calls.append,
        )
        assert calls == []
        assert again.resumed_from == again.steps == 200
        assert again.validation_psnr_db == whole.result.validation_psnr_db
        for ours, theirs in zip(load(again.model).get_weights(), weights, strict=True):
            assert np.array_equal(ours, theirs)
        assert (whole.out / "log.jsonl").read_text() == whole.log


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("mse", "mse"),
        ("mae", "mae"),
        ("charbonnier", lambda hr, sr: tf.reduce_mean(tf.sqrt((hr - sr) ** 2 + 0.1**2))),
    ],
)
def test_steps(tiny, images, tmp_path, name, loss):
    """Training is what Keras does with the same weights, patches, intensities and loss."""
    changes = {"epochs": 1, "steps_per_epoch": 7, "warmup_epochs": 0}
    recipe = with_stage(with_training(tiny, **changes), loss=name)
    trained = load(train(recipe, *images, tmp_path / "run").model)

    tf_keras.utils.set_random_seed(recipe.training.seed)
    model = build("xcat", recipe.model)
    fresh = model.get_weights()
    model.compile(tf_keras.optimizers.Adam(25e-4, epsilon=1e-8), loss)
    batches = batches_of_steps(
        decode(images[0], tmp_path / "decoded"),
        range(7),
        seed=recipe.training.seed,
        batch_size=2,
        lr_size=8,
        augmentation=Augmentation(),
    )
    assert len(set(batches.intensity.ravel().tolist())) == 3
    for lr, hr, intensity in zip(batches.lr, batches.hr, batches.intensity, strict=True):
        factor = intensity[:, None, None, None] / 255
        model.train_on_batch(lr * factor, hr * factor)
    for ours, theirs, first in zip(trained.get_weights(), model.get_weights(), fresh, strict=True):
        assert np.allclose(ours, theirs, atol=1e-5)
        assert first.shape == (1, 1, 3, 27) or not np.allclose(ours, first, atol=1e-3)


def test_optimizer():
    """The paper's first stage: Adam, 1e-3 at first, 25e-4 at epoch 5, 1e-4 at the last step."""
    optimizer = new_optimizer(Training(), Stage())
    rates = [
        float(optimizer._learning_rate(tf.constant(step)))
        for step in (0, 9_999, 10_000, 49_999, 50_000, 59_999, 499_999, 500_000)
    ]
    assert rates == pytest.approx([1e-3, 1e-3, 13e-4, 22e-4, 25e-4, 25e-4, 1e-4, 1e-4])
    assert isinstance(optimizer, tf_keras.optimizers.Adam)
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.9, 0.999, 1e-8)


@pytest.mark.parametrize(
    ("between", "steps"),
    [(1, [50, 100, 130]), (60, [100, 130]), (None, [100, 130]), (1000, [130])],
)
def test_checkpoint_steps(tiny, images, tmp_path, between, steps):
    """Checkpoints lie so many steps apart, or an epoch, in the 50s, and always at the end."""
    recipe = with_training(tiny, epochs=2, steps_per_epoch=65)
    train(recipe, *images, tmp_path / "run", checkpoint_steps=between)
    log = (tmp_path / "run/log.jsonl").read_text()
    assert [json.loads(line)["step"] for line in log.splitlines()] == steps
    checkpoints = (tmp_path / "run/checkpoints").glob("*.index")
    assert {path.stem for path in checkpoints} == {f"ckpt-{step}" for step in steps}


class TestBreakdown:
    """Losses and weights that are no longer finite."""

    def test_loss(self, tiny, images, tmp_path):
        """An error names the step and the last good checkpoint, which can still be loaded."""
        recipe = with_stage(tiny, peak_rate=1e38)
        for _ in range(2):  # going on from the checkpoint ends in the same error
            with pytest.raises(
                ModelError,
                match=r"broke down in stage 1 at step 5\d: the loss is (nan|inf); .*checkpoints"
                r"/ckpt-50\); lower stages\.1\.peak_rate",
            ):
                train(recipe, *images, tmp_path / "run", checkpoint_steps=50)
            assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == 1
            assert tf.train.latest_checkpoint(tmp_path / "run/checkpoints").endswith("ckpt-50")
        assert not (tmp_path / "run/model.keras").exists()

    def test_at_once(self, tiny, images, tmp_path):
        """Before the first checkpoint the error says that there is none yet."""
        recipe = with_stage(tiny, initial_rate=1e38)
        with pytest.raises(
            ModelError, match=r"in stage 1 at step \d: the loss is (nan|inf);.*\(none yet\)"
        ):
            train(recipe, *images, tmp_path / "run")

    def test_weights(self, tiny, images, tmp_path):
        """Weights that the very last step ruined, after its own loss, are not saved."""
        recipe = with_training(tiny, epochs=2, steps_per_epoch=99)
        recipe = with_stage(recipe, peak_rate=3e38)
        what = r"(weights of .+ are|the network's output is) not finite"
        with pytest.raises(ModelError, match=rf"step 100: {what};.*ckpt-50\)"):
            train(recipe, *images, tmp_path / "run", checkpoint_steps=50)


class TestFolder:
    """A run folder that belongs to something else."""

    def test_other_recipe(self, whole, tiny, images):
        """Another recipe is an error, and leaves the folder as it is."""
        recipe = with_training(tiny, seed=4)
        with pytest.raises(StudyError, match=r"another recipe \(training\.seed 3 there, 4 now\)"):
            train(recipe, *images, whole.out)
        assert (whole.out / "log.jsonl").read_text() == whole.log

    def test_recipe_of_an_older_release(self, whole, tiny, images, tmp_path):
        """A recipe written before a field existed is the same, unless the field has a new value."""
        shutil.copytree(whole.out, tmp_path / "run")
        description = tmp_path / "run/recipe.json"
        written = json.loads(description.read_text())
        del written["recipe"]["stages"][0]["revive_dead_channels"]
        description.write_text(json.dumps(written))
        assert train(tiny, *images, tmp_path / "run").resumed_from == 200
        revived = with_stage(tiny, revive_dead_channels=True)
        with pytest.raises(StudyError, match=r"revive_dead_channels False there, True now"):
            train(revived, *images, tmp_path / "run")

    def test_fewer_images(self, whole, tiny, images):
        """Fewer training images are an error."""
        with pytest.raises(
            StudyError, match="holds a training with another set of training images"
        ):
            train(tiny, images[0][:2], images[1], whole.out)

    def test_other_order(self, whole, tiny, images):
        """The same images in another order, which would be drawn differently, are an error."""
        with pytest.raises(
            StudyError, match="holds a training with another set of training images"
        ):
            train(tiny, images[0][::-1], images[1], whole.out)

    def test_other_content(self, whole, tiny, images, tmp_path):
        """Other images of the same names are an error."""
        other = {pair.name: 255 - pair.load()[1] for pair in images[0]}
        with pytest.raises(
            StudyError, match="holds a training with another set of training images"
        ):
            train(tiny, save_photographs(tmp_path / "other", **other), images[1], whole.out)

    def test_other_validation(self, whole, tiny, images, tmp_path):
        """Other validation images are an error: the PSNRs of the log would not compare."""
        other = save_photographs(tmp_path / "other", rocket=255 - images[1][0].load()[1])
        with pytest.raises(
            StudyError, match="holds a training with another set of validation images"
        ):
            train(tiny, images[0], other, whole.out)

    def test_moved(self, whole, tiny, images, tmp_path):
        """The same images in another folder are the same training."""
        moved = {pair.name: pair.load()[1] for pair in (*images[0], *images[1])}
        pairs = save_photographs(tmp_path / "moved", **moved)
        assert train(tiny, pairs[:3], pairs[3:], whole.out).resumed_from == 200

    def test_something_else(self, tiny, images, tmp_path):
        """A folder with files of no training is an error, and they stay."""
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(StudyError, match="not empty, and no training of qsr"):
            train(tiny, *images, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_two_at_once(self, whole, tiny, images, tmp_path):
        """A second training in the same folder is refused, and the first goes on undisturbed."""
        refused = []

        def start_another(progress):
            if progress.step == 150:
                with pytest.raises(StudyError, match=r"run: another training is working in it"):
                    train(tiny, *images, tmp_path / "run", checkpoint_steps=100)
                refused.append(progress)

        result = train(
            tiny, *images, tmp_path / "run", checkpoint_steps=100, on_progress=start_another
        )
        assert len(refused) == 1
        assert result.resumed_from == 0
        log = (tmp_path / "run/log.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in log] == [100, 200]
        assert result.validation_psnr_db == pytest.approx(whole.result.validation_psnr_db, abs=1e-3)

    def test_begun(self, tiny, images, tmp_path):
        """A folder whose training was killed before it wrote anything down is begun anew."""
        (tmp_path / ".qsr-train-lock").touch()
        (tmp_path / ".unfinished-0123.json").write_text("{")
        recipe = with_training(tiny, epochs=1, warmup_epochs=0, steps_per_epoch=1)
        assert train(recipe, *images, tmp_path).resumed_from == 0

    def test_search(self, tiny, images, tmp_path):
        """The folder of a search is no folder of a training."""
        (tmp_path / ".qsr-lock").touch()
        with pytest.raises(StudyError, match="not empty, and no training of qsr"):
            train(tiny, *images, tmp_path)

    def test_file(self, tiny, images, tmp_path):
        """A file in place of the folder is an error that names it."""
        (tmp_path / "run").write_text("")
        with pytest.raises(StudyError, match="run"):
            train(tiny, *images, tmp_path / "run")

    def test_below_file(self, tiny, images, tmp_path):
        """A folder that cannot be made is an error that names it."""
        (tmp_path / "file").write_text("")
        with pytest.raises(StudyError, match="file/run"):
            train(tiny, *images, tmp_path / "file/run")

    def test_damaged(self, tiny, images, tmp_path):
        """A damaged description is an error that names the file."""
        for text, problem in (("{", "not readable"), ("[]", "no description of a training")):
            (tmp_path / "recipe.json").write_text(text)
            with pytest.raises(StudyError, match=rf"recipe\.json: {problem}"):
                train(tiny, *images, tmp_path)

    def test_description(self, whole, tiny, images):
        """The folder says what is trained: the recipe, and the images by what their files hold."""

        def described(pairs):
            return [
                {
                    "name": pair.name,
                    "hr_sha256": sha256(pair.hr_path.read_bytes()).hexdigest(),
                    "lr_sha256": None,
                }
                for pair in pairs
            ]

        found = json.loads((whole.out / "recipe.json").read_text())
        assert found == {
            "recipe": json.loads(json.dumps(asdict(tiny))),
            "first stage": 1,
            "initial weights": None,
            "training images": described(images[0]),
            "added images": [],
            "validation images": described(images[1]),
        }


class TestNoRoom:
    """A disk that is full."""

    @pytest.mark.parametrize(
        "error",
        [
            tf.errors.OutOfRangeError(None, None, "checkpoints/x;\n No space left on device"),
            OSError(28, "No space left on device"),
        ],
    )
    def test_checkpoint(self, *, tiny, images, tmp_path, whole, monkeypatch, error):
        """A checkpoint that cannot be written is named in one line; with room, training goes on."""
        save = tf.train.CheckpointManager.save

        def full(manager, step):
            if step == 200:
                raise error
            return save(manager, step)

        out = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr(tf.train.CheckpointManager, "save", full)
            with pytest.raises(StudyError) as caught:
                train(tiny, *images, out, checkpoint_steps=100)
        line = str(caught.value)
        assert line.startswith(f"{out / 'checkpoints'}: checkpoint cannot be written (")
        assert line.endswith("No space left on device); make room and run the same command again")
        assert "\n" not in line
        result = train(tiny, *images, out, checkpoint_steps=100)
        assert result.resumed_from == 100
        log = (out / "log.jsonl").read_text().splitlines()
        assert [json.loads(entry)["step"] for entry in log] == [100, 200]
        assert result.validation_psnr_db == pytest.approx(whole.result.validation_psnr_db, abs=1e-3)

    @pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
    def test_file_size(self, tiny, images, tmp_path):
        """So it is when the system itself stops a checkpoint that grows."""
        import resource

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        out = tmp_path / "run"

        def fill_up(progress):
            if progress.step == 150:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))

        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            with pytest.raises(QsrError, match=r"(best.keras:|checkpoint) cannot be written"):
                train(tiny, *images, out, checkpoint_steps=100, on_progress=fill_up)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        assert train(tiny, *images, out, checkpoint_steps=100).resumed_from == 100

    @pytest.mark.parametrize(("step", "name"), [(0, "recipe.json"), (100, "log.jsonl")])
    def test_text(self, *, tiny, images, tmp_path, monkeypatch, step, name):
        """A description or a log that cannot be written is named, and nothing half is left."""
        out = tmp_path / "run"
        if step:
            with pytest.raises(KeyboardInterrupt):
                train(tiny, *images, out, checkpoint_steps=step, on_progress=stop_at(step))
        before = {".qsr-train-lock", "decoded"}
        if step:
            before = {path.name for path in out.iterdir()}

        write_text = Path.write_text

        def half(path, text, **named):
            if path.suffix == Path(name).suffix and path.parent == out:
                path.write_bytes(text[:3].encode())
                raise OSError(28, "No space left on device")
            return write_text(path, text, **named)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", half)
            with pytest.raises(
                StudyError, match=rf"{name}: cannot be written \(No space left.*make room"
            ):
                train(tiny, *images, out, checkpoint_steps=100)
        assert {path.name for path in out.iterdir()} == before
        assert train(tiny, *images, out, checkpoint_steps=100).resumed_from == step


def stop_at(step):
    """Make a callback that interrupts training there."""

    def stop(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    return stop


class TestImages:
    """Which images are trained on, and those that cannot be."""

    @pytest.fixture
    def short(self, tiny):
        """Describe a training of a single step."""
        return with_training(tiny, epochs=1, warmup_epochs=0, steps_per_epoch=1)

    @pytest.fixture
    def torn(self, images, tmp_path):
        """Copy all images, the second of them without its end."""
        crops = {pair.name: pair.load()[1] for pair in (*images[0], *images[1])}
        pairs = save_photographs(tmp_path / "torn", **crops)
        content = pairs[1].hr_path.read_bytes()
        pairs[1].hr_path.write_bytes(content[: len(content) // 2])
        return pairs

    def test_held_out(self, short, images, tmp_path):
        """Without validation images, those that hold_out takes are validated on alone."""
        pairs = [*images[0], *images[1]]
        train(short, pairs, [], tmp_path / "run")
        found = json.loads((tmp_path / "run/recipe.json").read_text())
        for purpose, wanted in zip(("training", "validation"), hold_out(pairs), strict=True):
            names = [image["name"] for image in found[f"{purpose} images"]]
            assert names == [pair.name for pair in wanted]

    def test_torn(self, short, torn, tmp_path):
        """A torn image is an error; the training starts in the same folder once it is removed."""
        with pytest.raises(ImageError, match=rf"{torn[1].hr_path.name}: .*skip-bad-images"):
            train(short, torn[:3], torn[3:], tmp_path / "run")
        result = train(short, [torn[0], torn[2]], torn[3:], tmp_path / "run")
        assert result.training_images == 2

    def test_left_out(self, short, torn, tmp_path):
        """On request it is left out, whatever it is for; the run is gone on with, and not decoded.

        Images are held out of those that are left.
        """
        for training, validation, counts in (
            ([torn[0], torn[2]], torn[1:2] + torn[3:], (2, 1)),
            (torn, [], (2, 1)),
            (torn[:3], torn[3:], (2, 1)),
        ):
            out = tmp_path / f"run of {len(training)}"
            for again in (False, True):
                told, decoded = [], []
                result = train(
                    short,
                    training,
                    validation,
                    out,
                    on_bad=told.append,
                    on_decode=lambda *now, decoded=decoded: decoded.append(now),
                )
                assert [torn[1].hr_path.name in str(error) for error in told] == [True]
                assert (result.training_images, result.validation_images) == counts
                assert len(decoded) == (0 if again else len(training) + len(validation))
                assert result.resumed_from == again

    def test_shared(self, short, images, tmp_path):
        """A second training on some of the images takes what the first one decoded."""
        calls = []
        options = {"decoded": tmp_path / "decoded", "on_decode": lambda *now: calls.append(now)}
        train(short, images[0][:2], images[1], tmp_path / "a", added_pairs=images[0][2:], **options)
        assert len(calls) == 4
        result = train(short, images[0][:2], images[1], tmp_path / "b", **options)
        assert len(calls) == 4
        assert result.training_images == 2
        assert not (tmp_path / "b/decoded").exists()

    def test_smaller_than_patch(self, tiny, images, tmp_path):
        """An image smaller than a patch is named, with its size and the patch's."""
        small = save_photographs(tmp_path / "small", small=np.zeros((90, 21, 3), np.uint8))
        with pytest.raises(ImageError, match=r"^small: .* 7x30 pixels.*lr_patch_px\) needs 8"):
            train(tiny, (*images[0], *small), images[1], tmp_path / "run")

    def test_as_large_as_patch(self, tiny, images, tmp_path):
        """An image of exactly the size of a patch is trained with."""
        one = save_photographs(tmp_path / "one", one=np.full((24, 24, 3), 99, np.uint8))
        recipe = with_training(tiny, epochs=1, warmup_epochs=0, steps_per_epoch=1)
        assert train(recipe, one, images[1], tmp_path / "run").steps == 1

    def test_too_small_to_validate(self, tiny, images, tmp_path):
        """A validation image of which shaving leaves nothing is found before any step."""
        small = save_photographs(tmp_path / "small", small=np.zeros((6, 90, 3), np.uint8))
        with pytest.raises(ImageError, match=r"^small: .* 30x2 pixels, and validation needs 3"):
            train(tiny, images[0], small, tmp_path / "run")

    def test_other_scale(self, tiny, images, tmp_path):
        """Pairs of another scale than the network's are an error that names both."""
        recipe = replace(tiny, model=XcatConfig(scale=2))
        with pytest.raises(ImageError, match="images are for x3 and the network is for x2"):
            train(recipe, *images, tmp_path / "run")
