"""Times of models and what follows from them, without the command line."""

import numpy as np
import pytest

import qsr.jobs.benchmark
from qsr.errors import DeviceError, ImageError, ModelError, UsageError
from qsr.jobs.benchmark import benchmark_models
from qsr.jobs.evaluate import evaluate_models

SMALL = (24, 32)
TIMES = [(200.0, 210.0, 190.0), (100.0, 105.0, 95.0), (50.0, 60.0, 40.0)]


@pytest.fixture
def given_times(monkeypatch):
    """Let models take the times of :data:`TIMES` on this host, whatever the picture."""
    monkeypatch.setattr(qsr.jobs.benchmark, "host_times", lambda models, **_: TIMES[: len(models)])


@pytest.fixture
def no_models(monkeypatch):
    """Let nothing be loaded."""
    monkeypatch.setattr(qsr.jobs.benchmark, "load_any", None)


def test_host(network, run):
    """Models are taken as they are, in the order given, and compared with the first by round."""
    names = [str(network), run.integer_model, str(network)]
    report = benchmark_models(names, lr_size=SMALL, runs=6, warm_ups=0)
    assert [model.model for model in report.models] == names
    assert [model.quantized for model in report.models] == [False, True, False]
    assert [model.input_dtype for model in report.models] == ["float32", "uint8", "float32"]
    assert report.models[0].file_bytes == network.stat().st_size
    assert report.models[0].ratio is None
    first = np.array(report.models[0].times_ms)
    for model in report.models[1:]:
        ratios = np.array(model.times_ms) / first
        assert model.ratio.median == pytest.approx(np.median(ratios))
        assert (model.ratio.low, model.ratio.high) == (min(ratios), max(ratios))  # of six
        assert model.latency.rounds == 6
        assert model.on_phone is None
    assert report.phone is None
    assert report.device
    assert report.no_score == "it needs PSNR; give images with --data"


def test_score(network, run, images, given_times):  # noqa: ARG001 (a fixture that patches)
    """The score is the paper's formula of the PSNR that qsr evaluate measures and the median."""
    names = [str(network), run.integer_model]
    report = benchmark_models([*names, run.integer_model], images / "validation")
    (scores,) = evaluate_models(names, [images / "validation"])
    fp32, integer, again = report.models
    for model, evaluation in zip(report.models, scores.evaluations, strict=False):
        assert model.psnr_rgb_db == pytest.approx(evaluation.psnr_rgb_db, abs=1e-9)
    assert fp32.challenge_score is None
    assert integer.challenge_score == pytest.approx(
        2 ** (2 * (integer.psnr_rgb_db - 30)) / (100 * 1e-5)
    )
    assert again.challenge_score == pytest.approx(2 * integer.challenge_score)
    assert (report.images, report.no_score) == (3, "")


def test_no_score(network, run, images, given_times):  # noqa: ARG001 (a fixture that patches)
    """There is no score for other sizes, nor without an integer model, and it is said why."""
    folder = images / "validation"
    report = benchmark_models([run.integer_model], folder, lr_size=(360, 480))
    assert report.models[0].challenge_score is None
    assert report.models[0].psnr_rgb_db is not None
    assert report.no_score == "it is for inputs of 640x360 pixels"
    assert benchmark_models([str(network)], folder).no_score == "it is for integer models"


def test_scales(network, espcn, images, tmp_path):
    """Models of different scales have times; only on images they cannot be compared."""
    (tmp_path / "espcn.tflite").write_bytes(espcn)
    names = [str(network), str(tmp_path / "espcn.tflite")]
    assert len(benchmark_models(names, lr_size=SMALL, runs=1).models) == 2
    with pytest.raises(ModelError, match=r"network.tflite enlarges x3 and .*espcn.tflite x2"):
        benchmark_models(names, images / "validation", lr_size=SMALL, runs=1)


@pytest.mark.parametrize("adb", [True, False])
def test_one_size_alone(abpn, stand_in_phone, tmp_path, adb):
    """A model that takes another size alone is named, before anything is run."""
    stand_in = stand_in_phone()
    (tmp_path / "fixed.tflite").write_bytes(abpn)
    with pytest.raises(ModelError, match=r"fixed.tflite: takes pictures of 48x40 pixels alone"):
        benchmark_models(
            [str(tmp_path / "fixed.tflite")], adb=adb, tool=stand_in.tool if adb else None
        )
    assert stand_in.runs == []


def test_phone(network, run, images, stand_in_phone):
    """On a phone the same is reported, with how each model ran; PSNR is measured here."""
    times = {"0.tflite": [[40_000], [50_000]], "1.tflite": [[20_000], [10_000]]}
    stand_in = stand_in_phone(times_us=times)
    names = [str(network), run.integer_model]
    report = benchmark_models(
        names,
        images / "validation",
        adb=True,
        tool=stand_in.tool,
        runs=2,
        threads=2,
        delegate="nnapi",
        tool_options=["--nnapi_accelerator_name=synap-npu"],
    )
    fp32, integer = report.models
    assert (fp32.times_ms, integer.times_ms) == ((40, 50), (20, 10))
    assert integer.ratio.median == pytest.approx(0.35)
    assert integer.challenge_score == pytest.approx(
        2 ** (2 * (integer.psnr_rgb_db - 30)) / (15 * 1e-5)
    )
    assert (report.device, report.phone, report.delegate) == ("Maker Phone 7", "A1", "nnapi")
    assert integer.on_phone.delegated == "completely"
    assert integer.on_phone.are_medians
    for run_there in stand_in.runs:
        assert run_there["--use_nnapi"] == "true"
        assert run_there["--nnapi_accelerator_name"] == "synap-npu"
        assert run_there["--num_threads"] == "2"
        assert run_there["--input_layer_shape"] == "1,360,640,3"
    assert {run_there["bytes"] for run_there in stand_in.runs} == {
        fp32.file_bytes,
        integer.file_bytes,
    }


class TestChecks:
    """What is looked at before a model is loaded."""

    @pytest.mark.usefixtures("no_models")
    def test_images(self, images, tmp_path):
        """A folder that is missing or empty is named."""
        (tmp_path / "empty").mkdir()
        for folder in (images / "missing", tmp_path / "empty"):
            with pytest.raises(ImageError, match=str(folder)):
                benchmark_models(["xcat"], folder)

    @pytest.mark.usefixtures("no_models")
    def test_no_phone(self, stand_in_phone):
        """So is that no phone is attached."""
        stand_in_phone(phones={})
        with pytest.raises(DeviceError, match="no phone is attached"):
            benchmark_models(["xcat"], adb=True)

    @pytest.mark.usefixtures("no_models", "stand_in_phone")
    def test_no_tool(self, tmp_path):
        """So is a tool that is missing here."""
        with pytest.raises(ImageError, match="tool: no such file"):
            benchmark_models(["xcat"], adb=True, tool=tmp_path / "tool")

    @pytest.mark.usefixtures("no_models")
    @pytest.mark.parametrize(
        "wrong", [{"threads": 0}, {"runs": 0}, {"warm_ups": -1}, {"lr_size": (8, 0)}]
    )
    def test_numbers(self, wrong):
        """So are numbers that are too small."""
        with pytest.raises(UsageError, match="must be at least 1"):
            benchmark_models(["xcat"], **wrong)

    @pytest.mark.usefixtures("no_models")
    @pytest.mark.parametrize(
        "option", [{"serial": "A1"}, {"delegate": "gpu"}, {"tool_options": ["--x=1"]}]
    )
    def test_about_a_phone(self, option):
        """So are options about a phone when there is to be none."""
        with pytest.raises(UsageError, match="are about a phone; give --adb, too"):
            benchmark_models(["xcat"], **option)
