"""Results that are kept in a run folder: used again where they are of the same, and only there."""

import pytest

from qsr.errors import StudyError
from qsr.jobs.kept_results import KeptResults, inputs_hash


@pytest.fixture
def kept(tmp_path):
    """An empty place for results."""
    return KeptResults(tmp_path / "refinement", "of these")


def counted(results):
    """Return a function that gives results in turn, whatever it is asked."""
    left = iter(results)
    return lambda *_: next(left)


def test_model_is_made_once(kept, espcn):
    """A step that was done to a model is not done again; another step, or another model, is."""
    made = []

    def make():
        made.append(espcn)
        return espcn

    for step, base in (("a step", b"base"), ("a step", b"other"), ("another", b"base")) * 2:
        assert kept.made_once(step, base, make) == espcn
    assert len(made) == 3


def test_scores_are_measured_once(kept):
    """A model that was scored is not scored again on the same images, and is on others."""
    score = kept.scored_once("choosing", counted([[30.0, 31.5]]))
    assert list(score(b"model")) == list(score(b"model")) == [30.0, 31.5]
    other = kept.scored_once("confirming", counted([[1.0]]))
    assert list(other(b"model")) == [1.0]


def test_of_other_inputs(kept, espcn):
    """Nothing is taken from what was made of other inputs."""
    kept.made_once("a step", b"base", lambda: espcn)
    other = KeptResults(kept.folder, "of others")
    assert other.made_once("a step", b"base", counted([espcn + b"other"])) == espcn + b"other"


@pytest.mark.parametrize("damage", ["", "[1.0]", '{"images": 2, "psnr_db": [30.0]}', "{}", "null"])
def test_damaged_scores(kept, damage):
    """Scores that cannot be read, or are not all there, are measured again."""
    kept.scored_once("choosing", counted([[30.0, 31.5]]))(b"model")
    (path,) = kept.folder.glob("*.json")
    path.write_text(damage)
    assert kept.scored_once("choosing", counted([[29.0, 28.0]]))(b"model") == [29.0, 28.0]


@pytest.mark.parametrize("change", [lambda model: model[:1000], lambda model: model + b"x"])
def test_changed_model(kept, espcn, change):
    """A model that was cut or changed is made again."""
    kept.made_once("a step", b"base", lambda: espcn)
    (path,) = kept.folder.glob("*.tflite")
    path.write_bytes(change(espcn))
    assert kept.made_once("a step", b"base", lambda: espcn) == espcn
    assert path.read_bytes() == espcn


def test_not_writable(tmp_path, espcn):
    """A result that cannot be kept is an error that names the file."""
    (tmp_path / "file").touch()
    kept = KeptResults(tmp_path / "file", "of these")
    with pytest.raises(StudyError, match=r"file/a-step-.*make room"):
        kept.made_once("a step", b"base", lambda: espcn)


def test_inputs(espcn, photographs):
    """Another network, another picture or other images to score on are other inputs."""
    pictures = [*photographs.values()]
    hashes = {
        inputs_hash(espcn, pictures, {"selection": ("a",)}),
        inputs_hash(espcn + b"x", pictures, {"selection": ("a",)}),
        inputs_hash(espcn, pictures[1:], {"selection": ("a",)}),
        inputs_hash(espcn, pictures, {"selection": ("b",)}),
    }
    assert len(hashes) == 4
    assert inputs_hash(espcn, pictures, {"selection": ("a",)}) in hashes
