"""The clip of a finished integer model, removed, on photographs in folders."""

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from skimage.metrics import peak_signal_noise_ratio

import qsr.jobs.fold_clip
from qsr import calibration as cal
from qsr.errors import ImageError, ModelError, UsageError
from qsr.jobs.fold_clip import fold_clip
from qsr.tflite.clips import clip_runs
from qsr.tflite.fold import Folded
from qsr.tflite.graph import Graph
from qsr.tflite.runtime import Runner

WIDE = (1.5 / 255, -94)
"""From -0.2 to 1.3."""


@pytest.fixture(scope="module")
def integer(trained_xcat, photographs):
    """An integer XCAT in whose grids the clip copies."""
    return cal.quantize(trained_xcat, cal.collect(trained_xcat, photographs).merged())


@pytest.fixture
def copying(integer, tmp_path):
    """Its file."""
    path = tmp_path / "copying.tflite"
    path.write_bytes(integer)
    return path


@pytest.fixture
def cutting(integer, tmp_path):
    """The file of the same network in a wider grid, in which the clip cuts values off."""
    graph = Graph(integer)
    (run,) = clip_runs(graph)
    minimum, _ = run.clips
    bound = minimum.inputs[1]
    model = graph.with_grids(dict.fromkeys([*run.tensors[:-1], bound], WIDE))
    path = tmp_path / "cutting.tflite"
    path.write_bytes(Graph(model).with_constants({bound: np.full_like(graph.constant(bound), 76)}))
    return path


def kinds(path):
    """Return the kinds of a file's operators."""
    return [operator.kind for operator in Graph(Path(path).read_bytes()).operators]


class TestProved:
    """Clips that copy."""

    def test_removed(self, copying, images, lr_and_hr, tmp_path):
        """They are removed and named, and both sets of kernels confirm it on every byte."""
        out, scored = tmp_path / "out.tflite", images / "scored"
        report = fold_clip(copying, out, images=[scored])
        assert report.removed == ("MINIMUM", "RELU")
        assert kinds(out) == [one for one in kinds(copying) if one not in report.removed]
        assert [check.kernels for check in report.checks] == ["XNNPACK", "built-in"]
        for check in report.checks:
            assert (check.images, check.changed) == (5, 0)
            assert check.values == sum(lr_and_hr(path)[1].size for path in scored.iterdir())
        assert report.integer_bytes == out.stat().st_size
        assert (report.cutting, report.pinned, report.pin_change) == ((), (), None)

    def test_kernels(self, copying, images, tmp_path, monkeypatch):
        """Each check runs both models with the kernels that it names."""
        built = []

        class Watched(Runner):
            def __init__(self, model, *, keep_tensors=False, source):
                built.append(keep_tensors)
                super().__init__(model, keep_tensors=keep_tensors, source=source)

        monkeypatch.setattr(qsr.jobs.fold_clip, "Runner", Watched)
        fold_clip(copying, tmp_path / "out.tflite", images=[images / "validation"])
        assert built == [False, False, True, True]  # tensors are kept by TFLite's own kernels

    def test_bundled(self, copying, tmp_path, monkeypatch):
        """Without images the bundled photographs confirm it; the file is named after the model."""
        monkeypatch.chdir(tmp_path)
        report = fold_clip(copying)
        assert report.integer_model == "copying_folded.tflite"
        assert min(check.images for check in report.checks) > 20

    def test_many_folders(self, copying, images, tmp_path):
        """Folders may hold images of the same names, and photographs may stand beside them."""
        sources = [images / "scored", images / "validation", images / "candidates/coffee.png"]
        report = fold_clip(copying, tmp_path / "out.tflite", images=sources)
        assert {check.images for check in report.checks} == {9}

    def test_again(self, copying, images, tmp_path):
        """From a model that is folded nothing is removed; it is written as it is."""
        once, twice = tmp_path / "once.tflite", tmp_path / "twice.tflite"
        fold_clip(copying, once, images=[images / "validation"])
        report = fold_clip(once, twice, images=[images / "validation"])
        assert (report.removed, report.checks) == ((), ())
        assert twice.read_bytes() == once.read_bytes()


class TestCutting:
    """Clips that cut values off."""

    def test_kept(self, cutting, tmp_path):
        """They stay, the model is written as it is, and what would make them copy is said."""
        out = tmp_path / "out.tflite"
        report = fold_clip(cutting, out)
        assert (report.removed, report.checks) == ((), ())
        (clip,) = report.cutting
        assert clip.operators == ("MINIMUM", "RELU")
        assert [change.writer for change in clip.changes] == [
            *("ADD", "DEPTH_TO_SPACE", "MINIMUM", "RELU"),
        ]
        assert out.read_bytes() == cutting.read_bytes()

    def test_pinned(self, cutting, images, lr_and_hr, tmp_path):
        """Pinned they are removed, and the change in dB is what scikit-image measures."""
        out = tmp_path / "out.tflite"
        report = fold_clip(cutting, out, images=[images / "scored"], pin=True)
        assert report.removed == ("MINIMUM", "RELU")
        assert [check.changed for check in report.checks] == [0, 0]
        assert report.cutting == ()
        (clip,) = report.pinned
        assert (clip.lowest, clip.highest) == pytest.approx((0, 1))
        scores, changed = [], 0
        for path in sorted((images / "scored").iterdir()):
            lr, hr = lr_and_hr(path)
            before, after = upscaled(cutting, lr), upscaled(out, lr)
            changed += int((before != after).sum())
            scores.append([psnr(hr, before), psnr(hr, after)])
        change = report.pin_change
        assert (change.images, change.changed) == (5, changed)
        found = (change.before_psnr_db, change.after_psnr_db, change.gain_db.mean)
        old, new = np.mean(scores, axis=0)
        assert found == pytest.approx((old, new, new - old), abs=1e-9)
        assert 1 <= change.largest <= 3

    def test_nothing_to_pin(self, copying, images, tmp_path):
        """Where no clip cuts, pinning changes no grid."""
        report = fold_clip(copying, tmp_path / "out.tflite", images=[images / "scored"], pin=True)
        assert report.removed == ("MINIMUM", "RELU")
        assert (report.pinned, report.pin_change) == ((), None)


class TestRefused:
    """What is not done, and is not written."""

    def test_bytes_that_differ(self, copying, cutting, images, tmp_path, monkeypatch):
        """If a byte differs after all, that is said, and nothing is written."""
        other = Folded(cutting.read_bytes(), ("MINIMUM", "RELU"))
        monkeypatch.setattr(qsr.jobs.fold_clip, "fold", lambda *_, **__: other)
        out = tmp_path / "out.tflite"
        with pytest.raises(ModelError, match=r"\d+ of \d+ bytes differ with XNNPACK kernels"):
            fold_clip(copying, out, images=[images / "validation"])
        assert not out.exists()

    def test_float(self, network, tmp_path):
        """A float model is refused, and what makes an integer one is said."""
        with pytest.raises(ModelError, match=r"a float model, .*qsr quantize"):
            fold_clip(network, tmp_path / "out.tflite")
        assert not (tmp_path / "out.tflite").exists()

    def test_names(self, copying, tmp_path, monkeypatch):
        """What the model cannot be written to is refused before it is read."""
        monkeypatch.setattr("qsr.jobs.fold_clip.read_model", None)
        (tmp_path / "folder.tflite").mkdir()
        (tmp_path / "file").touch()
        for out, why in (
            (tmp_path / "out.keras", "ends in .tflite"),
            (tmp_path / "none/out.tflite", "no folder .*none; make it first"),
            (tmp_path / "folder.tflite", "a folder; give the folded model"),
            (tmp_path / "file/out.tflite", "file is no folder"),
            (copying, "is the model itself"),
        ):
            with pytest.raises(UsageError, match=why):
                fold_clip(copying, out)

    def test_float_by_name(self, tmp_path, monkeypatch):
        """A network of the zoo, a Keras file and a SavedModel are float models, and are told so.

        So is the command that makes an integer model of them. What lies there counts before what
        the zoo has.
        """
        monkeypatch.chdir(tmp_path)
        (tmp_path / "mine.keras").touch()
        (tmp_path / "saved").mkdir()
        (tmp_path / "saved/saved_model.pb").touch()
        for model, what in (
            ("xcat", "a network of the zoo"),
            ("mine.keras", "a Keras model"),
            ("saved", "a SavedModel"),
        ):
            with pytest.raises(ModelError, match=f"{what}, .*: qsr quantize {model} --repdata"):
                fold_clip(Path(model))
        (tmp_path / "xcat").write_bytes(b"words")
        with pytest.raises(ModelError, match=r"xcat: not a \.tflite model"):
            fold_clip(Path("xcat"))

    def test_missing(self, copying, tmp_path):
        """A model or images that are not there are named."""
        with pytest.raises(ModelError, match=r"none\.tflite: no such file"):
            fold_clip(tmp_path / "none.tflite")
        with pytest.raises(ImageError, match="nowhere: no such file"):
            fold_clip(copying, tmp_path / "out.tflite", images=[tmp_path / "nowhere"])


def upscaled(path, lr):
    """Return the picture that the interpreter alone makes of a file."""
    interpreter = Interpreter(str(path))
    (end,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(end["index"], (1, *lr.shape))
    interpreter.allocate_tensors()
    interpreter.set_tensor(end["index"], lr[None])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


def psnr(hr, sr):
    """Return RGB PSNR with one pixel shaved, in dB."""
    return peak_signal_noise_ratio(hr[1:-1, 1:-1], sr[1:-1, 1:-1], data_range=255)
