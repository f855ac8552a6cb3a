"""Searches in which screening is worth while: candidates are dropped early, and nothing is lost."""

import gc
import json
import pickle
import shutil
from itertools import groupby, pairwise
from pathlib import Path

import distributed
import numpy as np
import pytest
import skimage.data
from PIL import Image

from qsr.calibration import Race
from qsr.calibration.cluster import ClusterExecutor
from qsr.data.pairs import find_pairs
from qsr.jobs.refinement import Refining
from qsr.jobs.search_repdata import search_repdata

DARK = [0.2, 0.35, 0.5]
"""What the candidates' values are multiplied by: some saturate where others do not."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Ten candidates, three photographs of 297 000 LR pixels at x2, and four that confirm."""
    root = tmp_path_factory.mktemp("large")
    coffee, cat = skimage.data.coffee(), skimage.data.chelsea()
    pictures = {
        "validation/hubble": skimage.data.hubble_deep_field()[..., :3],
        "validation/coffee": coffee,
        "validation/chelsea": cat,
        **{f"confirmation/{left}": coffee[200:260, left:][:, :60] for left in range(0, 400, 100)},
        **{f"candidates/coffee_{top}": coffee[top:, 200:][:60, :64] for top in (0, 90, 180, 270)},
        **{f"candidates/chelsea_{top}": cat[top:, 90:][:60, :64] for top in (0, 80, 160)},
        **{
            f"candidates/dark_{place}": (coffee[90:150, 200:264] * share).astype("uint8")
            for place, share in enumerate(DARK)
        },
    }
    for name, picture in pictures.items():
        path = root / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="module")
def arguments(folders, espcn, tmp_path_factory):
    """What all searches here have in common, but for their folder."""
    model = tmp_path_factory.mktemp("espcn") / "espcn.tflite"
    model.write_bytes(espcn)
    return {
        "model": str(model),
        **folders,
        "refining": Refining(biases_corrected=True),
        "workers": 1,
    }


@pytest.fixture(scope="module")
def told():
    """What the raced search told of its progress."""
    return []


@pytest.fixture(scope="module")
def raced(arguments, tmp_path_factory, told):
    """A search that drops candidates early."""
    return search_repdata(
        **arguments,
        out=tmp_path_factory.mktemp("raced"),
        on_progress=lambda *now: told.append(now),
    )


@pytest.fixture(scope="module")
def exact(arguments, tmp_path_factory):
    """The same that measures all of them in full."""
    return search_repdata(**arguments, out=tmp_path_factory.mktemp("exact"), exact=True)


@pytest.fixture
def again(raced, arguments, tmp_path):
    """Search in a copy of the raced run's folder."""

    def run(**options):
        folder = shutil.copytree(raced.run_folder, tmp_path / "copy", dirs_exist_ok=True)
        return search_repdata(**arguments | {"out": Path(folder)} | options)

    return run


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # Dask's own sockets
def test_cluster(raced, arguments, tmp_path, monkeypatch):
    """On a cluster the report is the same, and the choosing and confirming images travel once."""
    sent = []
    share = ClusterExecutor.share
    monkeypatch.setattr(
        ClusterExecutor,
        "share",
        lambda pool, value: sent.append(len(pickle.dumps(value))) or share(pool, value),
    )
    options = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": "CRITICAL"}
    with distributed.LocalCluster(n_workers=2, **options) as local:
        on_cluster = {**arguments, "workers": None, "dask": local.scheduler_address}
        report = search_repdata(**on_cluster, out=tmp_path / "run")
    gc.collect()
    for part in ("chosen", "baseline", "gain_db", "singles", "racing", "refinements"):
        assert getattr(report, part) == getattr(raced, part), part
    assert report.workers == 0
    assert (tmp_path / "run/model_uint8.tflite").read_bytes() == (
        Path(raced.run_folder) / "model_uint8.tflite"
    ).read_bytes()
    images = [
        sum(image.size for pair in find_pairs(arguments[kind], 2) for image in pair.load())
        for kind in ("validation", "confirmation")
    ]
    large = sorted((size for size in sent if size > min(images)), reverse=True)
    assert len(large) == 2
    assert all(size < 1.2 * of for size, of in zip(large, images, strict=True))


def entries(report):
    """Return the lines of a run's journal but the first."""
    lines = (Path(report.run_folder) / "study.jsonl").read_text().splitlines()[1:]
    return [json.loads(line) for line in lines]


def in_full(report):
    """Return the hash of each model that was measured in full, in order."""
    return [entry["model"] for entry in entries(report) if entry.get("items") == "selection"]


def load_arrays(path):
    """Return what an ``.npz`` file holds."""
    with np.load(path) as content:
        return dict(content)


def check_counts(told):
    """Check that every stage counts up to its total, and no further."""
    assert told
    for stage, calls in groupby(told, key=lambda now: now[0]):
        counts = [(done, total) for _, done, total, *_ in calls]
        assert all(0 < done <= total for done, total in counts), stage
        for (done, total), (following, _) in pairwise(counts):
            assert following > done or done == total, stage  # or the stage has begun anew
        done, total = counts[-1]
        assert done == total, stage


class TestRace:
    """A search with racing against one without."""

    def test_same_winner(self, raced, exact):
        """Both find the same model, and say the same of it."""
        assert raced.racing is not None
        assert raced.racing.dropped >= 4
        assert exact.racing is None
        assert (raced.chosen, raced.gain_db) == (exact.chosen, exact.gain_db)
        for found in ("images", "psnr_db", "drop_db", "worst_drop_db"):
            assert getattr(raced.baseline, found) == getattr(exact.baseline, found)
        for name in ("model_uint8.tflite", "ranges_chosen.json"):
            mine, other = (Path(run.run_folder) / name for run in (raced, exact))
            assert mine.read_bytes() == other.read_bytes()

    def test_report(self, raced, exact):
        """The report counts what was dropped, and marks what was only estimated."""
        assert raced.measured_models == len(in_full(raced)) == len(set(in_full(raced)))
        assert raced.racing.dropped == raced.distinct_models - raced.measured_models
        assert exact.measured_models == exact.distinct_models == raced.distinct_models
        assert (raced.racing.error, raced.racing.tolerance_db) == (Race(None).error, 0.0005)
        (screen,) = Path(raced.run_folder).glob("screen-*.npz")
        screened = [entry for entry in entries(raced) if "screen" in entry.get("items", "")]
        most = max(entry["start"] + len(entry["scores"]) for entry in screened)
        assert most <= raced.racing.tiles
        assert screen.stat().st_size < 100_000
        assert not list(Path(exact.run_folder).glob("screen*"))
        assert raced.notes == exact.notes == ()
        assert not raced.chosen.estimated
        worst = raced.singles.worst
        assert worst.estimated
        assert worst.psnr_db is None
        assert raced.singles.best.images == exact.singles.best.images
        assert (raced.selection_images, raced.confirmation_images) == (3, 4)

    def test_estimates(self, raced, exact):
        """What was dropped was worse; how much a bad model loses is estimated at least."""
        estimated, true = raced.singles.worst, exact.singles.worst
        assert estimated.images == true.images
        assert not true.estimated
        assert estimated.objective_db < true.objective_db < raced.chosen.objective_db

    def test_two_workers(self, arguments, raced, tmp_path):
        """Two workers drop and choose the same."""
        both = search_repdata(**arguments | {"workers": 2, "out": tmp_path / "run"})
        assert (both.chosen, both.singles, both.racing) == (
            *(raced.chosen, raced.singles, raced.racing),
        )
        assert sorted(in_full(both)) == sorted(in_full(raced))

    def test_objective(self, again):
        """For another objective than the mean, everything is measured, and nothing is noted."""
        report = again(objective="worst")
        assert report.racing is None
        assert report.notes[0].endswith("only for the mean can any be dropped early")
        assert report.measured_models == report.distinct_models

    def test_note(self, again, folders, tmp_path):
        """Where screening is not cheaper, that is noted."""
        small = {"validation": folders["candidates"], "candidates": folders["confirmation"]}
        report = again(**small, confirmation=None, out=tmp_path / "small")
        assert report.racing is None
        (note,) = report.notes
        assert "measured in full: screening on tiles would not be cheaper" in note


class TestAgain:
    """More searches in the folder of a raced one."""

    def test_exact(self, again, raced, exact):
        """With --exact, only what was dropped is measured, and the result is that of exact."""
        report = again(exact=True)
        assert report.resumed_models == raced.measured_models
        assert in_full(report)[: raced.measured_models] == in_full(raced)
        assert sorted(in_full(report)) == sorted(in_full(exact))
        assert (report.chosen, report.singles) == (exact.chosen, exact.singles)

    def test_raced(self, again, raced):
        """The same search measures nothing more, and draws no tiles again."""
        told = []
        report = again(on_progress=lambda *now: told.append(now))
        assert entries(report) == entries(raced)
        assert {stage for stage, *_ in told} <= {
            *("check candidates", "check validation images", "check confirmation images"),
            *("decode validation images", "decode confirmation images", "score the float model"),
            "refine",
        }

    def test_damaged_screen(self, raced, arguments, tmp_path):
        """A screen that was torn is drawn anew, and is the same."""
        folder = Path(shutil.copytree(raced.run_folder, tmp_path / "copy"))
        (screen,) = folder.glob("screen-*.npz")
        whole = load_arrays(screen)
        screen.write_bytes(screen.read_bytes()[: screen.stat().st_size // 2])
        report = search_repdata(**arguments | {"out": folder})
        assert entries(report) == entries(raced)
        drawn = load_arrays(screen)
        assert all(np.array_equal(drawn[name], whole[name]) for name in whole)

    def test_strategy(self, again, raced):
        """Another strategy races too, counts well, and begins with what is known."""
        told = []
        report = again(strategy="greedy", on_progress=lambda *now: told.append(now))
        assert report.resumed_models == raced.measured_models
        assert len(in_full(report)) == len(set(in_full(report)))
        assert report.chosen.objective_db >= raced.chosen.objective_db
        check_counts(told)

    @pytest.mark.parametrize(
        "stage",
        [
            *("decode validation images", "draw tiles to screen on", "screen on"),
            *("score (selection)", "score (confirmation)"),
        ],
    )
    def test_stopped(self, raced, arguments, tmp_path, stage):
        """Stopped in the middle of any stage, a search goes on to the same end."""

        def stop(now, done, total):
            if now.startswith(stage) and done == min(2, total):
                raise KeyboardInterrupt

        here = arguments | {"out": tmp_path / "run"}
        with pytest.raises(KeyboardInterrupt):
            search_repdata(**here, on_progress=stop)
        left = tmp_path / "run/study.jsonl"
        before = left.read_bytes() if left.exists() else b""
        report = search_repdata(**here)
        assert left.read_bytes().startswith(before)
        assert entries(report) == entries(raced)
        assert (report.chosen, report.singles) == (raced.chosen, raced.singles)


def test_progress(raced, told):
    """Every stage of a raced search counts up to its total, and no further."""
    assert raced.racing is not None
    check_counts(told)
    stages = [stage for stage, _ in groupby(told, key=lambda now: now[0])]
    for earlier, later in (
        ("check candidates", "measure ranges"),
        ("measure ranges", "score the float model"),
        ("score the float model", "draw tiles to screen on"),
        ("draw tiles to screen on", "score (selection)"),
        ("score (selection)", "score (confirmation)"),
    ):
        assert stages.index(earlier) < stages.index(later)
