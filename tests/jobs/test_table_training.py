"""Training the rows of a table, one after the other."""

import json
import os
from dataclasses import asdict, replace

import pytest

import qsr.data.pairs
import qsr.jobs.table_training
from qsr.atomic import locked
from qsr.errors import ModelError, StudyError, UsageError
from qsr.images import read_rgb
from qsr.jobs.table_runs import description, read_run, trained_model
from qsr.jobs.table_training import RowTraining, train_rows
from qsr.jobs.train import train_recipe
from qsr.tables.paper import PaperRow, paper_table
from qsr.training.recipe_files import load_recipe

TINY = (
    "training.epochs=1",
    "training.warmup_epochs=0",
    "training.batch_size=1",
    "training.lr_patch_px=8",
    "model.blocks=1",
)
ROWS = paper_table(1).rows[:2]  # XCAT and A: two stages and one


@pytest.fixture
def training(images):
    """Four steps of each row, all its stages together."""
    return RowTraining(data=[images / "candidates"], steps=4, overrides=TINY)


@pytest.fixture
def calls(monkeypatch):
    """Replace the training by a list of what would be trained: (recipe, arguments)."""
    made = []
    monkeypatch.setattr(
        qsr.jobs.table_training,
        "train_recipe",
        lambda recipe, data, **others: made.append((recipe, {"data": data, **others})),
    )
    return made


def test_trained(images, training, tmp_path, progress):
    """Each row is trained for the same number of steps in all, and decoded images are gone."""
    told = []
    broken = train_rows(
        [*ROWS, *ROWS],
        training,
        runs=tmp_path,
        on_progress=progress,
        on_steps=lambda recipe, state: told.append((recipe, state.step, state.steps)),
    )
    assert broken == {}
    assert told == [("xcat_x3", 2, 4), ("xcat_x3", 4, 4), ("xcat_a_x3", 4, 4)]
    assert ("train rows", 2, 2, "xcat_a_x3") in progress.stages
    for row in ROWS:
        assert trained_model(tmp_path, row.recipe).is_file()
    assert not list(tmp_path.rglob("decoded"))
    steps = {
        row.recipe: json.loads((tmp_path / row.recipe / "recipe.json").read_text())["recipe"][
            "training"
        ]["steps_per_epoch"]
        for row in ROWS
    }
    assert steps == {"xcat_x3": 2, "xcat_a_x3": 4}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    train_rows(ROWS, RowTraining(data=[images / "validation"]), runs=tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_decoded_once(images, training, tmp_path, monkeypatch):
    """Images are decoded for the first row alone, those too that not every row is trained on."""
    read = []
    monkeypatch.setattr(
        qsr.data.pairs, "read_rgb", lambda path: read.append(path) or read_rgb(path)
    )
    train_rows(ROWS, replace(training, added_data=[images / "validation"]), runs=tmp_path)
    folders = [images / "candidates", images / "validation"]
    assert sorted(read) == sorted(path for folder in folders for path in folder.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="needs fcntl")
def test_two_at_once(training, tmp_path, calls):
    """While rows are trained in a folder, another call is refused there."""
    (tmp_path / "decoded").mkdir()
    refused = pytest.raises(StudyError, match="another qsr table trains rows there")
    with locked(tmp_path / "decoded/.qsr-decoded-lock"), refused:
        train_rows(ROWS, training, runs=tmp_path)
    assert calls == []
    train_rows(ROWS, training, runs=tmp_path)
    assert [others["decoded"] for _, others in calls] == [tmp_path / "decoded"] * 2


def test_no_folder(training, tmp_path, calls):
    """A folder that cannot be made is an error that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="file/decoded: cannot be made"):
        train_rows(ROWS, training, runs=tmp_path / "file")
    assert calls == []


def test_stopped(training, tmp_path):
    """Stopped in the second stage of a row, it goes on there."""

    def stop(recipe, state):
        if state.step == 2:
            told.append(recipe)
            raise KeyboardInterrupt

    told = []
    with pytest.raises(KeyboardInterrupt):
        train_rows(ROWS[:1], training, runs=tmp_path / "a", on_steps=stop)
    assert told == ["xcat_x3"]
    assert not trained_model(tmp_path / "a", "xcat_x3").exists()
    seen = []
    train_rows(
        ROWS[:1],
        training,
        runs=tmp_path / "a",
        on_steps=lambda _, state: seen.append(state.step),
    )
    assert seen == [4]


def test_other_budget(training, tmp_path):
    """An unfinished row of another budget is an error that names its folder and --runs."""
    train_rows(ROWS[1:], training, runs=tmp_path)
    trained_model(tmp_path, "xcat_a_x3").unlink()
    other = RowTraining(data=training.data, steps=6, overrides=TINY)
    with pytest.raises(StudyError, match=r"xcat_a_x3: holds .*steps_per_epoch.*another --runs"):
        train_rows(ROWS[1:], other, runs=tmp_path)


@pytest.fixture
def finished(tmp_path):
    """Write what a finished training of row A leaves: ``finished(epochs, steps_per_epoch)``."""

    def write(epochs, steps_per_epoch, recipe="xcat_a_x3", **others):
        found = asdict(load_recipe(recipe))
        found["training"] |= {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
        trained_model(tmp_path, recipe).parent.mkdir()
        trained_model(tmp_path, recipe).touch()
        description(tmp_path, recipe).write_text(
            json.dumps({"recipe": found, "first stage": 1, **others})
        )
        return tmp_path

    return write


@pytest.mark.parametrize("steps", [4700, 4999, 5101])
def test_finished_with_other_steps(images, finished, calls, steps):
    """A finished row of other steps than are asked for is an error that names its folder."""
    runs = finished(200, 25)
    asked = RowTraining(data=[images / "candidates"], steps=steps)
    if abs(steps - 5000) > 100:
        with pytest.raises(
            StudyError, match=rf"xcat_a_x3: .*of 5,000 steps, and rows of {steps:,}.*another --runs"
        ):
            train_rows(ROWS, asked, runs=runs)
        assert calls == []
    else:
        train_rows(ROWS, asked, runs=runs)
        assert [recipe for recipe, _ in calls] == ["xcat_x3"]


def test_finished_with_unknown_steps(images, tmp_path, calls):
    """Weights without a word on their training are taken."""
    trained_model(tmp_path, "xcat_a_x3").parent.mkdir()
    trained_model(tmp_path, "xcat_a_x3").touch()
    asked = RowTraining(data=[images / "candidates"], steps=5000)
    train_rows(ROWS[1:], asked, runs=tmp_path)
    assert calls == []


def test_whole_epochs(training, tmp_path):
    """Steps are rounded to whole epochs, what was taken is what is told, and it is not refused."""
    of_three = [*TINY, "training.epochs=3"]
    asked = RowTraining(data=training.data, steps=10, overrides=of_three)
    train_rows(ROWS[1:], asked, runs=tmp_path)
    assert read_run(tmp_path, "xcat_a_x3").steps == 9
    before = trained_model(tmp_path, "xcat_a_x3").stat()
    train_rows(ROWS[1:], asked, runs=tmp_path)
    assert trained_model(tmp_path, "xcat_a_x3").stat() == before


@pytest.mark.parametrize(
    ("recipe", "added", "lacks"),
    [("xcat_x3", [], True), ("xcat_x3", [{"name": "a"}], False), ("xcat_a_x3", [], False)],
)
def test_lacks_added_data(finished, recipe, added, lacks):
    """A training lacks added images if a stage asks for them and it had none."""
    runs = finished(10, 10, recipe, **{"added images": added})
    found = read_run(runs, recipe)
    assert found.lacks_added_data is lacks
    assert found.steps == (200 if recipe == "xcat_x3" else 100)


def test_as_train(images, training, tmp_path):
    """A row is trained as ``qsr train`` trains its recipe."""
    train_rows(ROWS[1:], training, runs=tmp_path)
    train_recipe(
        "xcat_a_x3",
        [images / "candidates"],
        out=tmp_path / "alone",
        overrides=[*TINY, "training.steps_per_epoch=4"],
    )
    losses = [
        json.loads((tmp_path / run / "log.jsonl").read_text().splitlines()[-1])["loss"]
        for run in ("xcat_a_x3", "alone")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_broken(training, tmp_path, monkeypatch):
    """A row that breaks down is told, and the next one is trained."""
    trained = []

    def train(recipe, *_, **__):
        trained.append(recipe)
        if recipe == "xcat_x3":
            raise ModelError("the loss is nan")

    monkeypatch.setattr(qsr.jobs.table_training, "train_recipe", train)
    assert train_rows(ROWS, training, runs=tmp_path) == {"xcat_x3": "the loss is nan"}
    assert trained == ["xcat_x3", "xcat_a_x3"]


def test_added_data(images, tmp_path, calls):
    """Added images are given to the recipes whose stages add them, and to no other."""
    both = RowTraining(
        data=[images / "candidates"],
        added_data=[images / "scored"],
        validation=[images / "validation"],
    )
    train_rows(ROWS, both, runs=tmp_path)
    (first, xcat), (second, row_a) = calls
    assert (first, second) == ("xcat_x3", "xcat_a_x3")
    assert (xcat["added_data"], row_a["added_data"]) == ([images / "scored"], ())
    assert row_a["validation"] == [images / "validation"]
    assert row_a["out"] == tmp_path / "xcat_a_x3"
    assert list(row_a["overrides"]) == []


def test_without_recipe(training, tmp_path, calls):
    """Nothing is trained for bicubic interpolation."""
    train_rows([PaperRow(name="Bicubic", network="bicubic")], training, runs=tmp_path)
    assert calls == []


def test_too_few_steps(images, tmp_path, calls):
    """Fewer steps than epochs are an error before anything is trained."""
    few = RowTraining(data=[images / "candidates"], steps=99)
    with pytest.raises(UsageError, match=r"--steps 99: xcat_x3 has 100 epochs"):
        train_rows(ROWS, few, runs=tmp_path)
    assert calls == []
