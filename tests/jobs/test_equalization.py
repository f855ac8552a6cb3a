"""A search equalizes the float model first, if that is seen to help, and says so."""

import json
import shutil
from pathlib import Path

import pytest

from qsr.calibration import Scheme
from qsr.data.pairs import find_pairs
from qsr.errors import StudyError
from qsr.jobs.equalization import (
    Equalization,
    equalized_before,
    equalized_if_better,
    keep_equalization,
)
from qsr.jobs.refinement import Refining
from qsr.jobs.run_folder import RunFolder
from qsr.jobs.search_repdata import search_repdata
from qsr.quantization.weight_balance import balance_weights


@pytest.fixture(scope="module")
def uneven(tmp_path_factory, uneven_fsrcnn):
    """The file of a float FSRCNN whose channels differ in size."""
    path = tmp_path_factory.mktemp("uneven") / "uneven.tflite"
    path.write_bytes(uneven_fsrcnn)
    return path


@pytest.fixture(scope="module")
def search(uneven, images):
    """Search with the uneven network: ``search(out, **options)``."""

    def run(out, **options):
        return search_repdata(
            str(uneven),
            candidates=images / "candidates",
            validation=images / "scored",
            out=out,
            workers=1,
            strategy="all",
            refining=Refining(),
            **options,
        )

    return run


@pytest.fixture(scope="module")
def equalized_run(tmp_path_factory, search):
    """A finished search that equalized."""
    return search(tmp_path_factory.mktemp("equalized"))


def test_loses_less(equalized_run, search, tmp_path):
    """The integer model loses less than without, and the float model scores the same."""
    plain = search(tmp_path / "plain", equalized=False)
    assert plain.fp32_psnr_db == pytest.approx(equalized_run.fp32_psnr_db, abs=0.01)
    assert equalized_run.chosen.drop_db < plain.chosen.drop_db
    assert any("equalized" in note for note in equalized_run.notes)
    assert not any("equalized" in note for note in plain.notes)


def test_one_scale_for_each_kernel(uneven_fsrcnn, images):
    """With weights per tensor it is the weights that are balanced, and that helps, too."""
    pairs = find_pairs(images / "candidates", 3)
    scheme = Scheme(per_channel=False)
    found = equalized_if_better(uneven_fsrcnn, pairs, scheme, least_side=9)
    assert found.kept
    assert found.model == balance_weights(uneven_fsrcnn)


def test_goes_on(equalized_run, search):
    """Started again, the search finds all it had measured, and the same model."""
    before = Path(equalized_run.integer_model).read_bytes()
    again = search(Path(equalized_run.run_folder))
    assert again.resumed_models > 0
    assert Path(again.integer_model).read_bytes() == before
    assert again.notes == equalized_run.notes


@pytest.mark.parametrize("text", [None, "{}", '{"original": '])
def test_goes_on_without_its_notes(equalized_run, search, tmp_path, text):
    """Where the notes on equalization are lost, it is done again, and the search goes on."""
    folder = Path(shutil.copytree(equalized_run.run_folder, tmp_path / "copy"))
    notes = folder / "equalization.json"
    notes.unlink()
    if text is not None:
        notes.write_text(text)
    again = search(folder)
    assert again.resumed_models == equalized_run.distinct_models
    assert (folder / "model_uint8.tflite").read_bytes() == Path(
        equalized_run.integer_model
    ).read_bytes()


def test_other_way_in_same_folder(equalized_run, search):
    """A run that equalized is not gone on with without."""
    with pytest.raises(StudyError, match="other model"):
        search(Path(equalized_run.run_folder), equalized=False)


def test_plain_folder_is_not_equalized(search, tmp_path):
    """Nor is one without gone on with equalizing, and its float model stays."""
    plain = search(tmp_path / "plain", equalized=False)
    model = Path(plain.run_folder) / "model_fp32.tflite"
    before = model.read_bytes()
    with pytest.raises(StudyError, match="other model"):
        search(tmp_path / "plain")
    assert model.read_bytes() == before


def test_what_is_kept(equalized_run, uneven):
    """The run folder's float model is the equalized one, and what it was made of is noted."""
    folder = Path(equalized_run.run_folder)
    entry = json.loads((folder / "equalization.json").read_text())
    assert entry["original"] != entry["model"]
    assert entry["gain_db"] >= 1
    assert (folder / "model_fp32.tflite").read_bytes() != uneven.read_bytes()


def test_left_alone_is_remembered(network, images, tmp_path, monkeypatch):
    """A run that left the network as it was is gone on with without equalizing it again."""
    options = {
        "candidates": images / "candidates",
        "validation": images / "scored",
        "out": tmp_path / "run",
        "workers": 1,
        "strategy": "all",
        "refining": Refining(),
    }
    first = search_repdata(str(network), **options)
    entry = json.loads((tmp_path / "run/equalization.json").read_text())
    assert entry["original"] == entry["model"]
    assert not entry["kept"]
    monkeypatch.setattr("qsr.jobs.search_repdata.equalized_if_better", None)
    again = search_repdata(str(network), **options)
    assert again.resumed_models > 0
    assert again.notes == first.notes


@pytest.mark.parametrize("gain_db", [None, 0.5, 3.0])
@pytest.mark.parametrize("kept", [True, False])
def test_read_back(tmp_path, gain_db, kept):
    """What is kept of a decision is read back as it was, for the same model alone."""
    folder = RunFolder(tmp_path)
    found = Equalization(b"original", b"equalized" if kept else b"original", gain_db, kept=kept)
    keep_equalization(folder, b"original", found)
    assert equalized_before(folder, b"original") == (None if kept and gain_db is None else found)
    assert equalized_before(folder, b"another") is None


def test_read_back_of_earlier_versions(tmp_path):
    """Notes without a word on whether the equalized model was kept are of one that was."""
    folder = RunFolder(tmp_path)
    found = Equalization(b"original", b"equalized", 3.0, kept=True)
    keep_equalization(folder, b"original", found)
    entry = json.loads(folder.equalization.read_text())
    del entry["kept"]
    folder.equalization.write_text(json.dumps(entry))
    assert equalized_before(folder, b"original") == found
    folder.float_model.write_bytes(b"replaced")
    assert equalized_before(folder, b"original") is None


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"original": 1, "model": 2}'])
def test_damaged_notes(tmp_path, text):
    """Damaged notes say nothing."""
    folder = RunFolder(tmp_path)
    assert equalized_before(folder, b"original") is None
    folder.equalization.write_text(text)
    assert equalized_before(folder, b"original") is None


def test_no_gain(trained_xcat, images):
    """A network whose integer model comes no closer stays as it is, byte for byte."""
    pairs = find_pairs(images / "candidates", 3)
    found = equalized_if_better(trained_xcat, pairs, Scheme(), least_side=1)
    assert found.model == trained_xcat
    assert not found.kept
