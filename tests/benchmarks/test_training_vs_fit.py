"""What the benchmark of training makes of the times, and what both sides train."""

import sys

import pytest
import skimage.data
import training_vs_fit
from observed import Observed
from PIL import Image
from training_sides import Side, one_stage, side_of, train_with_fit, train_with_qsr
from training_vs_fit import Round, TrainingComparison, markdown, run_round

from qsr.errors import QsrError, UsageError
from qsr.models.xcat import XcatConfig
from qsr.training.recipe import Recipe, Stage, Training

TINY = Recipe(
    name="tiny",
    model=XcatConfig(blocks=1, x_channels=3, y_channels=1),
    training=Training(batch_size=2, lr_patch_px=8),
    stages=(Stage(precision="bfloat16"), Stage(loss="mse", added_data=True)),
)


def one_round(qsr, fit, foreign=0.0):
    """Make a round of two speeds in steps/s."""
    return Round(Side(50, (50 / qsr,)), Side(50, (50 / fit,)), foreign)


@pytest.fixture
def photographs(tmp_path):
    """Make a folder of two photographs."""
    for name in ("chelsea", "coffee"):
        Image.fromarray(getattr(skimage.data, name)()[:60, :60]).save(tmp_path / f"{name}.png")
    return tmp_path


class TestTimes:
    """From the clock to steps per second."""

    def test_first_calls_do_not_count(self):
        """The slow first calls are left out; the speed is that of the median of the others."""
        side = side_of([10.0, 20.0, 22.0, 23.0, 33.0], 50)
        assert side.call_seconds == (2.0, 1.0, 10.0)
        assert side.steps_per_second == pytest.approx(25)

    @pytest.mark.parametrize("calls", [0, 1, 2])
    def test_too_few(self, calls):
        """Calls that all do not count give no speed."""
        with pytest.raises(ValueError, match=f"more than 2 calls are needed, not {calls}"):
            side_of([1.0] * calls, 50)

    def test_cost(self):
        """The cost is the share of fit's speed that qsr loses; the median round counts."""
        rounds = (one_round(90, 100), one_round(50, 100), one_round(102, 100))
        assert [one.cost for one in rounds] == pytest.approx([0.1, 0.5, -0.02])
        assert TrainingComparison("tiny", rounds, {}).cost == pytest.approx(0.1)

    def test_table(self):
        """The table gives speeds, cost with its spread, and each round."""
        rounds = (one_round(90, 100), one_round(50, 100), one_round(102, 100, 0.04))
        lines = markdown(TrainingComparison("tiny", rounds, {})).splitlines()
        assert lines[0] == (
            "tiny: qsr 90.0 steps/s, fit 100.0 steps/s; the pipeline costs +10.0% "
            "(-2.0% to +50.0% in 3 rounds)"
        )
        assert lines[-1] == "| 3 | 102.0 | 100.0 | -2.0% | 4% |"

    def test_disturbed(self):
        """A round in which others used the cores is told of."""
        rounds = (one_round(90, 100), one_round(90, 100, 0.06))
        assert "quiet machine" in markdown(TrainingComparison("tiny", rounds, {}))


class TestSides:
    """What both sides do."""

    def test_one_stage(self):
        """Both train the first stage, in float32, on one set of images."""
        recipe = one_stage(TINY, 150)
        assert (recipe.steps, recipe.stages) == (150, (Stage(),))
        assert recipe.training.steps_per_epoch == 150

    def test_calls(self, photographs, tmp_path):
        """Both sides time as many calls as were asked for."""
        for side in (
            train_with_qsr(TINY, photographs, 2, tmp_path / "scratch"),
            train_with_fit(TINY, 2),
        ):
            assert side.steps_per_call == 50
            assert len(side.call_seconds) == 2
            assert min(side.call_seconds) > 0

    @pytest.mark.parametrize(("number", "first"), [(0, "qsr"), (1, "fit"), (2, "qsr")])
    def test_turns(self, number, first, tmp_path, monkeypatch):
        """The sides take turns in being first, and get the same arguments."""
        started = []

        def observed(command, log):
            started.append(command[2])
            assert command[3:] == ["--calls", "3"]
            assert log.name == f"{number}-{command[2]}.log"
            seconds, foreign = (0.5, 0.1) if command[2] == "qsr" else (0.25, 0.2)
            output = f'{{"steps_per_call": 50, "call_seconds": [{seconds}]}}'
            return Observed((), 1.0, foreign, None, output)

        monkeypatch.setattr(training_vs_fit, "observe", observed)
        found = run_round(number, ["--calls", "3"], tmp_path)
        assert started[0] == first
        assert sorted(started) == ["fit", "qsr"]
        assert (found.cost, found.foreign_share) == (0.5, 0.2)

    def test_failing_side(self, tmp_path):
        """A side that fails stops the benchmark, with the last of what it said."""
        with pytest.raises(QsrError, match="arguments are required: --recipe"):
            run_round(0, ["--nonsense"], tmp_path)

    def test_no_rounds(self, tmp_path, monkeypatch, capsys):
        """No rounds at all are a mistake that is told."""
        words = ["training_vs_fit", "--data", str(tmp_path), "--work", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", [*words, "--rounds", "0"])
        assert training_vs_fit.main() == UsageError.exit_code
        assert "--rounds and --calls must be at least 1" in capsys.readouterr().err
