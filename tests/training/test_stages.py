"""Several stages: what each trains on, and that they can be trained apart."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

import qsr.training.train
from qsr.data.decoded import decode
from qsr.data.pipeline import Augmentation, batches_of_steps
from qsr.errors import ImageError, ModelError, StudyError, UsageError
from qsr.models.xcat import XcatConfig
from qsr.models.zoo import build, load, save
from qsr.training.recipe import Stage
from qsr.training.steps import in_precision
from qsr.training.train import train


@pytest.fixture(scope="module")
def two_stages(tiny):
    """Describe twice 100 steps: Charbonnier, then MSE with more images and other rates."""
    training = replace(tiny.training, epochs=2, steps_per_epoch=50)
    second = Stage(loss="mse", initial_rate=1e-4, peak_rate=5e-4, added_data=True)
    return replace(tiny, training=training, stages=(Stage(), second))


@pytest.fixture(scope="module")
def both(two_stages, images, tmp_path_factory):
    """Train both stages in one run; return its folder and result."""
    out = tmp_path_factory.mktemp("both") / "run"
    pairs, validation = images
    result = train(two_stages, pairs[:2], validation, out, added_pairs=pairs[2:])
    return out, result


def weights_of(path):
    """Read the weights of a network."""
    return load(path).get_weights()


def assert_close(ours, theirs):
    """Two lists of weights are equal within float noise."""
    for weight, expected in zip(ours, theirs, strict=True):
        assert np.abs(weight - expected).max() < 1e-5


def test_log(both):
    """The log names the stage and the rate of each checkpoint, over all steps."""
    out, result = both
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["stage"]) for line in lines] == [
        (50, 1),
        (100, 1),
        (150, 2),
        (200, 2),
    ]
    rates = [line["learning_rate"] for line in lines]
    assert rates == pytest.approx([1e-3, 25e-4, 1e-4, 5e-4])
    assert result.steps == 200
    assert result.training_images == 3


def test_added_images(both, two_stages, images, tmp_path):
    """The added images are drawn from in the second stage, and in the second alone."""
    without_first = replace(two_stages, stages=(two_stages.stages[0],))
    pairs, validation = images
    alone = train(without_first, pairs[:2], validation, tmp_path / "alone")
    assert_close(weights_of(both[0] / "stage1.keras"), weights_of(alone.model))
    not_added = replace(
        two_stages, stages=(Stage(), replace(two_stages.stages[1], added_data=False))
    )
    other = train(not_added, pairs[:2], validation, tmp_path / "other", added_pairs=pairs[2:])
    assert any(
        np.abs(ours - theirs).max() > 1e-4
        for ours, theirs in zip(weights_of(other.model), weights_of(both[1].model), strict=True)
    )


def test_second_stage_is_keras(both, two_stages, images, tmp_path):
    """The second stage starts a new Adam at stage 1's weights, as Keras does on those batches."""
    import tf_keras

    model = load(both[0] / "stage1.keras")
    batches = batches_of_steps(
        decode(images[0], tmp_path / "decoded"),
        range(100, 200),
        seed=two_stages.training.seed,
        batch_size=2,
        lr_size=8,
        augmentation=Augmentation(),
    )
    model.compile(tf_keras.optimizers.Adam(1e-4, epsilon=1e-8), "mse")
    for number, (lr, hr, intensity) in enumerate(
        zip(batches.lr, batches.hr, batches.intensity, strict=True)
    ):
        model.optimizer.learning_rate = 1e-4 if number < 50 else 5e-4
        factor = intensity[:, None, None, None] / 255
        model.train_on_batch(lr * factor, hr * factor)
    assert_close(model.get_weights(), weights_of(both[1].model))


def test_apart(both, two_stages, images, tmp_path):
    """The second stage alone, from the first one's network, ends as both in one run do."""
    pairs, validation = images
    apart = train(
        two_stages,
        pairs[:2],
        validation,
        tmp_path / "run",
        added_pairs=pairs[2:],
        weights=both[0] / "stage1.keras",
        first_stage=2,
    )
    assert apart.resumed_from == 100
    assert_close(weights_of(apart.model), weights_of(both[1].model))


@pytest.mark.parametrize("step", [50, 100, 150])
def test_resumed(both, two_stages, images, tmp_path, step):
    """A run stopped in the first stage, between the two, or in the second ends up the same."""

    def stop(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    pairs, validation = images
    arguments = (two_stages, pairs[:2], validation, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train(*arguments, added_pairs=pairs[2:], on_progress=stop)
    (tmp_path / "run/stage1.keras").unlink(missing_ok=True)
    result = train(*arguments, added_pairs=pairs[2:])
    assert result.resumed_from == step
    assert_close(weights_of(result.model), weights_of(both[1].model))
    if step <= 100:
        assert_close(
            weights_of(tmp_path / "run/stage1.keras"), weights_of(both[0] / "stage1.keras")
        )


def test_best(two_stages, images, tmp_path, monkeypatch):
    """best.keras has the weights of the checkpoint with the highest validation PSNR."""
    seen = []
    scores = iter([20.0, 23.0, 22.0, 21.0])

    def scored(model, _):
        seen.append(model.get_weights())
        return next(scores)

    monkeypatch.setattr("qsr.training.train._validate", scored)
    result = train(two_stages, *images, tmp_path / "run", added_pairs=images[0][:0])
    assert (result.best_step, result.best_validation_psnr_db) == (100, 23.0)
    assert result.validation_psnr_db == 21.0
    assert_close(weights_of(result.best_model), seen[1])
    assert_close(weights_of(result.model), seen[3])


def test_best_after_resuming(two_stages, images, tmp_path, monkeypatch):
    """A best checkpoint of an earlier run stays the best of a later one."""
    scores = iter([20.0, 23.0, 22.0, 21.0])
    monkeypatch.setattr("qsr.training.train._validate", lambda *_: next(scores))

    def stop(progress):
        if progress.step == 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(two_stages, *images, tmp_path / "run", on_progress=stop)
    before = weights_of(tmp_path / "run/best.keras")
    result = train(two_stages, *images, tmp_path / "run")
    assert (result.best_step, result.best_validation_psnr_db) == (100, 23.0)
    assert_close(weights_of(result.best_model), before)


@pytest.mark.parametrize("stage", [0, 3])
def test_no_such_stage(two_stages, images, tmp_path, stage):
    """A first stage that the recipe does not have is an error that says how many there are."""
    with pytest.raises(UsageError, match=f"has 2 stages; there is no stage {stage}"):
        train(two_stages, *images, tmp_path / "run", first_stage=stage)


def test_weights_of_another(two_stages, images, tmp_path):
    """Weights of another network are an error that names the file, before any step."""
    save(build("xcat", XcatConfig(blocks=2, x_channels=3, y_channels=1)), tmp_path / "a.keras")
    with pytest.raises(ModelError, match=r"a\.keras"):
        train(two_stages, *images, tmp_path / "run", weights=tmp_path / "a.keras")
    assert not (tmp_path / "run").exists()  # so that the right weights can be given next


def test_built_once(both, two_stages, images, tmp_path, monkeypatch):
    """The network of a training that starts from weights is built once."""
    built = []
    monkeypatch.setattr(
        qsr.training.train, "build", lambda *asked: built.append(asked) or build(*asked)
    )
    training = replace(two_stages.training, epochs=1, warmup_epochs=0, steps_per_epoch=1)
    recipe = replace(two_stages, training=training)
    options = {"weights": both[0] / "stage1.keras", "first_stage": 2}
    train(recipe, *images, tmp_path / "run", **options)
    assert built == [(recipe.network, recipe.model)]


def test_other_weights(both, two_stages, images):
    """A run folder is not gone on with from other initial weights."""
    pairs, validation = images
    with pytest.raises(StudyError, match="another initial weights"):
        train(
            two_stages,
            pairs[:2],
            validation,
            both[0],
            added_pairs=pairs[2:],
            weights=both[0] / "stage1.keras",
        )


def test_tensorboard(both):
    """TensorBoard has the loss, the rate and the PSNR of every checkpoint, as the log."""
    out, _ = both
    logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    shown = {}
    for path in (out / "tensorboard").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                shown[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    for line in logged:
        for name in ("loss", "learning_rate", "validation_psnr_db"):
            assert shown[name, line["step"]] == pytest.approx(line[name])


@pytest.fixture(scope="module")
def coarse(two_stages):
    """Describe the same training with bfloat16 in its first stage."""
    first = replace(two_stages.stages[0], precision="bfloat16")
    return replace(two_stages, stages=(first, two_stages.stages[1]))


class TestBfloat16:
    """Stages that compute in bfloat16."""

    def test_trains(self, both, coarse, images, tmp_path):
        """It ends near the float32 training, not at it, with float32 weights."""
        pairs, validation = images
        result = train(coarse, pairs[:2], validation, tmp_path / "run", added_pairs=pairs[2:])
        ours, theirs = weights_of(result.model), weights_of(both[1].model)
        assert {weight.dtype.name for weight in ours} == {"float32"}
        differences = [np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)]
        assert 1e-5 < max(differences) < 0.1
        assert result.validation_psnr_db == pytest.approx(both[1].validation_psnr_db, abs=0.2)
        assert {layer.dtype_policy.name for layer in load(result.model).layers[1:]} == {"float32"}

    def test_resumed(self, coarse, images, tmp_path):
        """A run stopped in that stage goes on from its checkpoint to the same weights."""

        def stop(progress):
            if progress.step == 50:
                raise KeyboardInterrupt

        whole = train(coarse, *images, tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            train(coarse, *images, tmp_path / "run", on_progress=stop)
        result = train(coarse, *images, tmp_path / "run")
        assert result.resumed_from == 50
        assert_close(weights_of(result.model), weights_of(whole.model))


def test_anchor_stays_exact(images):
    """In bfloat16 the picture itself passes a network of zero weights as in float32."""
    picture = (images[1][0].load()[0][None] / 255).astype(np.float32)
    for name in ("xcat", "abpn"):
        model = build(name)
        model.get_layer("output_conv").set_weights(
            [np.zeros_like(weight) for weight in model.get_layer("output_conv").get_weights()]
        )
        twin = in_precision(model, Stage(precision="bfloat16"))
        assert np.array_equal(twin(picture), model(picture))


@pytest.mark.parametrize("name", ["xcat", "xlsr", "abpn", "fsrcnn", "espcn"])
def test_computes_in_bfloat16(images, name):
    """The convolutions of the body compute in bfloat16, and the output is float32."""
    twin = in_precision(build(name), Stage(precision="bfloat16"))
    convolutions = [layer for layer in twin.layers if "conv" in layer.name]
    assert convolutions[0].compute_dtype == "bfloat16"
    assert convolutions[0].variable_dtype == "float32"
    picture = (images[1][0].load()[0][None] / 255).astype(np.float32)
    assert twin(picture).dtype == tf.float32


def test_second_stage_without_weights(two_stages, images, tmp_path):
    """A later stage without the network of the one before is an error that says how to give it."""
    with pytest.raises(UsageError, match=r"--weights stage1\.keras"):
        train(two_stages, *images, tmp_path / "run", first_stage=2)


@pytest.mark.parametrize("purpose", ["training", "added"])
def test_validated_on_what_is_trained_on(two_stages, images, tmp_path, purpose):
    """An image that is trained on is not validated on, whatever it is called."""
    pairs, validation = images
    other = replace(validation[0], name="other")
    training, added = ([*pairs, other], []) if purpose == "training" else (pairs, [other])
    with pytest.raises(ImageError, match=rf"^other: one of the {purpose} images, and validated on"):
        train(two_stages, training, validation, tmp_path / "run", added_pairs=added)


def test_killed_before_best_was_saved(two_stages, images, tmp_path, monkeypatch):
    """A best checkpoint whose network was not saved any more is saved by the next run."""
    scores = iter([20.0, 23.0, 22.0, 21.0])
    monkeypatch.setattr(qsr.training.train, "_validate", lambda *_: next(scores))

    def fail_at_second(model, path):
        if path.name == "best.keras" and path.exists():
            raise KeyboardInterrupt
        save(model, path)

    with monkeypatch.context() as patch:
        patch.setattr(qsr.training.train, "save", fail_at_second)
        with pytest.raises(KeyboardInterrupt):
            train(two_stages, *images, tmp_path / "run")
    result = train(two_stages, *images, tmp_path / "run")
    assert result.best_step == 100
    assert_close(weights_of(result.best_model), weights_of(tmp_path / "run/stage1.keras"))


def test_lost_log(both, two_stages, images, tmp_path):
    """A finished run without its log is an error that names it."""
    shutil.copytree(both[0], tmp_path / "run")
    (tmp_path / "run/log.jsonl").unlink()
    pairs, validation = images
    with pytest.raises(StudyError, match=r"run: its log\.jsonl is gone"):
        train(two_stages, pairs[:2], validation, tmp_path / "run", added_pairs=pairs[2:])
