"""A search splits the channels that rounding hurts most, if that is asked for, and says so."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from qsr.calibration import Scheme
from qsr.calibration.scheme import scheme_named
from qsr.errors import StudyError, UsageError
from qsr.jobs.qat import qat_from_recipe
from qsr.jobs.refinement import Refining
from qsr.jobs.run_folder import RunFolder
from qsr.jobs.search_repdata import search_repdata
from qsr.jobs.splitting import (
    Splitting,
    check_split,
    keep_splitting,
    split_before,
    split_if_better,
    splitting_notes,
)
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner

LIMIT = 5


@pytest.fixture(scope="module")
def uneven(tmp_path_factory, small_green):
    """The file of a float network whose channels differ in size, so that it is equalized first."""
    path = tmp_path_factory.mktemp("uneven") / "uneven.tflite"
    path.write_bytes(small_green)
    return path


@pytest.fixture(scope="module")
def search(uneven, images):
    """Search with the uneven network: ``search(out, split_channels, **options)``."""

    def run(out, split_channels, **options):
        settings = {"refining": Refining(weights_rounded=True), **options}
        return search_repdata(
            str(uneven),
            candidates=images / "candidates",
            validation=images / "scored",
            out=out,
            workers=1,
            strategy="all",
            split_channels=split_channels,
            **settings,
        )

    return run


@pytest.fixture(scope="module")
def split_run(tmp_path_factory, search):
    """A finished search that equalized the network, and split channels of the result."""
    return search(tmp_path_factory.mktemp("split"), LIMIT)


def test_channels_are_added(split_run, uneven, photographs):
    """The run's float model has so many channels more, and gives what the one before did."""
    folder = RunFolder(Path(split_run.run_folder))
    before, after = (path.read_bytes() for path in (folder.unsplit_model, folder.float_model))
    assert before != uneven.read_bytes()
    graphs = [Graph(model) for model in (before, after)]
    features = [graph.tensors[graph.operators[0].outputs[0]].shape[-1] for graph in graphs]
    assert features == [3, 3 + LIMIT]
    assert json.loads(folder.splitting.read_text())["added"] == LIMIT
    for lr in photographs.values():
        pictures = [Runner(model).upscale(lr).astype(int) for model in (before, after)]
        assert np.abs(np.subtract(*pictures)).max() <= 1


def test_report(split_run, search, tmp_path):
    """The report says what splitting gave, on images that chose and on others, if it was done."""
    assert split_run.splitting.step == "split channels"
    assert split_run.splitting.choosing_gain_db > 0
    assert any("channels added" in note for note in split_run.notes)
    plain = search(tmp_path / "plain", 0)
    assert plain.splitting is None
    assert plain.fp32_psnr_db == split_run.fp32_psnr_db
    assert plain.chosen.objective_db < split_run.chosen.objective_db
    assert not any("channels added" in note for note in plain.notes)


def test_goes_on(split_run, search, monkeypatch):
    """Started again, it neither equalizes nor splits anew, and gives the same model."""
    monkeypatch.setattr("qsr.jobs.search_repdata.equalized_if_better", None)
    monkeypatch.setattr("qsr.jobs.search_repdata.split_if_better", None)
    before = Path(split_run.integer_model).read_bytes()
    again = search(Path(split_run.run_folder), LIMIT)
    assert again.resumed_models > 0
    assert Path(again.integer_model).read_bytes() == before
    assert again.notes == split_run.notes


@pytest.mark.parametrize("lost", ["splitting.json", "model_unsplit_fp32.tflite", "both", "model"])
def test_goes_on_without_its_files(split_run, search, tmp_path, lost):
    """Where notes or models are lost, what made them is done again, and the search goes on."""
    folder = Path(shutil.copytree(split_run.run_folder, tmp_path / "copy"))
    both = ["splitting.json", "model_unsplit_fp32.tflite"]
    for name in {"both": both, "model": ["model_fp32.tflite"]}.get(lost, [lost]):
        (folder / name).unlink()
    again = search(folder, LIMIT)
    assert again.resumed_models == split_run.distinct_models
    kept = Path(split_run.integer_model).read_bytes()
    assert (folder / "model_uint8.tflite").read_bytes() == kept


@pytest.mark.parametrize("limit", [0, LIMIT - 3])
def test_other_limit_in_same_folder(split_run, search, limit):
    """A run that split channels is not gone on with without, or with fewer; its models stay."""
    folder = RunFolder(Path(split_run.run_folder))
    before = folder.float_model.read_bytes(), folder.unsplit_model.read_bytes()
    with pytest.raises(StudyError, match=rf"made with --split-channels 5, not {limit}; give that"):
        search(folder.path, limit)
    assert (folder.float_model.read_bytes(), folder.unsplit_model.read_bytes()) == before


@pytest.mark.parametrize("limit", [0, LIMIT])
def test_other_model_in_same_folder(split_run, images, uneven_fsrcnn, tmp_path, limit):
    """A search for another network is refused in the folder, and every file there stays."""
    other = tmp_path / "other.tflite"
    other.write_bytes(uneven_fsrcnn)
    folder = Path(split_run.run_folder)
    names = [
        "equalization.json",
        "splitting.json",
        "model_fp32.tflite",
        "model_unsplit_fp32.tflite",
    ]
    before = [(folder / name).read_bytes() for name in names]
    with pytest.raises(StudyError, match=r"other model|made with --split-channels"):
        search_repdata(
            str(other),
            candidates=images / "candidates",
            validation=images / "scored",
            out=folder,
            workers=1,
            split_channels=limit,
        )
    assert [(folder / name).read_bytes() for name in names] == before


def test_nothing_to_split(espcn, photographs):
    """A network whose features all go through TANH stays as it is, and that is said."""
    found = split_if_better(espcn, list(photographs.values()), Scheme(), LIMIT)
    assert found == Splitting(espcn, espcn, 0, None)
    assert splitting_notes(found) == ("no channel was split: none is worth it, or none can be",)
    assert splitting_notes(None) == ()


@pytest.mark.parametrize("added", [0, 3])
@pytest.mark.parametrize("gain_db", [None, -0.5, 3.0])
def test_read_back(tmp_path, added, gain_db):
    """What is kept of a decision is read back as it was, for the same model and limit alone."""
    folder = RunFolder(tmp_path)
    found = Splitting(b"original", b"split" if added else b"original", added, gain_db)
    keep_splitting(folder, LIMIT, found)
    assert split_before(folder, b"original", LIMIT) == found
    assert split_before(folder, b"original", LIMIT + 1) is None
    assert split_before(folder, b"another", LIMIT) is None


@pytest.mark.parametrize(
    ("limit", "scheme", "said"),
    [
        (-1, "uint8", "-1 channels cannot be added; give --split-channels 0 or more"),
        (1, "uint8-16x8", "for activations of 8 bits, not of 16"),
    ],
)
def test_bad_limits(limit, scheme, said):
    """A limit below 0, or for 16 bits, is refused before anything is done."""
    with pytest.raises(UsageError, match=said):
        check_split(limit, scheme_named(scheme))
    check_split(0, scheme_named(scheme))


def test_not_trained(split_run, tmp_path):
    """QAT does not begin from a run with split channels, and says which run it takes."""
    with pytest.raises(UsageError, match="made without --split-channels"):
        qat_from_recipe("xcat_x3", smoke=True, run=Path(split_run.run_folder), out=tmp_path / "qat")


def test_left_notes(uneven, images, tmp_path):
    """Notes on splitting that tell of another network than the run has do not count for QAT."""
    split = Splitting(b"original", b"split", 3, 1.0)
    keep_splitting(RunFolder(tmp_path), LIMIT, split)
    found = search_repdata(
        str(uneven),
        candidates=images / "candidates",
        validation=images / "scored",
        out=tmp_path / "run",
        workers=1,
        strategy="all",
        refining=Refining(),
    )
    for name in ("splitting.json", "model_unsplit_fp32.tflite"):
        shutil.copy(tmp_path / name, Path(found.run_folder) / name)
    with pytest.raises(UsageError, match="not the xcat of xcat_x3"):
        qat_from_recipe("xcat_x3", smoke=True, run=Path(found.run_folder), out=tmp_path / "qat")
