"""Model files: read with clear errors, written completely or not at all."""

import pytest

from qsr.errors import ModelError
from qsr.tflite.files import read_model, write_model


def test_content_as_it_is():
    """Content given as bytes is content, called "model"."""
    assert read_model(b"TFL3") == (b"TFL3", "model")


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_round_trip(tmp_path, kind):
    """What is written is read, called by its path, and nothing else is left in the folder."""
    path = tmp_path / "some.tflite"
    write_model(path, b"first, and longer")
    write_model(path, b"second")
    assert read_model(kind(path)) == (b"second", str(path))
    assert [file.name for file in tmp_path.iterdir()] == ["some.tflite"]


def test_missing(tmp_path):
    """A missing file is named."""
    with pytest.raises(ModelError, match=r"some\.tflite: no such file"):
        read_model(tmp_path / "some.tflite")


def test_folder(tmp_path):
    """A folder is no model."""
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        read_model(tmp_path)


def test_nowhere_to_write(tmp_path):
    """A file that cannot be written is named."""
    with pytest.raises(ModelError, match=r"some\.tflite: cannot be written \(No such file"):
        write_model(tmp_path / "nowhere" / "some.tflite", b"")


def test_failed_write_keeps_the_old(tmp_path, monkeypatch):
    """A write that fails in the middle leaves the old file as it was, and nothing else."""
    path = tmp_path / "some.tflite"
    write_model(path, b"old")

    def torn(file, content):
        with file.open("wb") as opened:
            opened.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_bytes", torn)
    with pytest.raises(ModelError, match="No space left on device"):
        write_model(path, b"new")
    monkeypatch.undo()
    assert read_model(path)[0] == b"old"
    assert list(tmp_path.iterdir()) == [path]
