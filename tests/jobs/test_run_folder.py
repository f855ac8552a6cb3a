"""Who may work in a run folder, and which is the newest."""

import os
from contextlib import ExitStack, suppress

import pytest

from qsr.errors import StudyError
from qsr.jobs.run_folder import RunFolder, newest_run


def test_made_and_gone(tmp_path):
    """A folder that nothing was put into is gone again; one that was there before stays, empty."""
    for folder in (tmp_path / "new", tmp_path / "old"):
        if folder.name == "old":
            folder.mkdir()
        with RunFolder(folder).claimed():
            assert folder.is_dir()
    assert not (tmp_path / "new").exists()
    assert not list((tmp_path / "old").iterdir())


def test_kept(tmp_path):
    """A folder that something was put into stays, and is known as a run afterwards."""
    folder = RunFolder(tmp_path / "run")
    with folder.claimed():
        folder.ranges.write_bytes(b"measured")
    with folder.claimed():
        assert folder.ranges.read_bytes() == b"measured"


def test_kept_after_a_failure(tmp_path):
    """What was put there before a failure stays."""
    folder = RunFolder(tmp_path / "run")
    with suppress(KeyboardInterrupt), folder.claimed():
        folder.ranges.write_bytes(b"measured")
        raise KeyboardInterrupt
    assert folder.ranges.read_bytes() == b"measured"


def test_two_at_once(tmp_path):
    """A second search in the same folder is refused, until the first is over."""
    folder = RunFolder(tmp_path / "run")
    with ExitStack() as first:
        first.enter_context(folder.claimed())
        with pytest.raises(StudyError, match="another search is working in it"), folder.claimed():
            pass
        assert folder.path.is_dir()
    with folder.claimed():
        pass


@pytest.mark.parametrize("name", ["model_fp32.tflite", "ranges.npz", "photographs", "summary.json"])
def test_foreign(tmp_path, name):
    """A folder of other things is refused and stays as it was, whatever their names."""
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(StudyError, match="not empty, and no run"), RunFolder(tmp_path).claimed():
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_journal_is_enough(tmp_path):
    """A run that was copied without its hidden files is a run."""
    (tmp_path / "study.jsonl").write_bytes(b"")
    with RunFolder(tmp_path).claimed():
        pass


@pytest.mark.parametrize("below", [".", "below"])
def test_a_file(tmp_path, below):
    """A file in the place of the folder, or above it, is named."""
    (tmp_path / "file").write_bytes(b"mine")
    folder = RunFolder(tmp_path / "file" / below)
    with pytest.raises(StudyError, match=r"file.*: cannot be a run folder"), folder.claimed():
        pass


def test_summary_torn(tmp_path, monkeypatch):
    """A summary that finds the disk full is an error, and leaves the earlier one alone."""
    folder = RunFolder(tmp_path)
    folder.write_summary({"best": 1})
    earlier = folder.summary.read_bytes()

    def half(path, text, **_):
        path.write_bytes(text[:3].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_text", half)
    with pytest.raises(StudyError, match=r"summary\.json: cannot be written \(No space left"):
        folder.write_summary({"best": 2})
    assert folder.summary.read_bytes() == earlier
    assert list(tmp_path.iterdir()) == [folder.summary]


@pytest.mark.parametrize("mark", [".qsr-lock", "study.jsonl"])
def test_newest(tmp_path, mark):
    """The newest run is one of qsr: the later summary of another tool does not count."""
    for age, (name, marked) in enumerate([("other", False), ("new", True), ("old", True)]):
        (tmp_path / name).mkdir()
        summary = tmp_path / name / "summary.json"
        summary.write_text("{}")
        os.utime(summary, (1000 - age, 1000 - age))
        if marked:
            (tmp_path / name / mark).touch()
    assert newest_run(tmp_path) == RunFolder(tmp_path / "new")


def test_no_newest(tmp_path):
    """Where there is no finished run, or no folder of runs at all, there is no newest one."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other/summary.json").write_text("{}")
    assert newest_run(tmp_path) is None
    assert newest_run(tmp_path / "missing") is None
