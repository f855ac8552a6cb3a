"""What a benchmark reads off a command, and what it makes of the times."""

import sys

import pytest
from comparison import Part, converter_total, line_total
from converter_search import CandidateTimes, ConverterSearch, Pass
from observed import PeakMemory, observe
from search_vs_converter import check_sizes

from qsr.errors import QsrError, UsageError

NO_MEMORY = PeakMemory(0.0, 0.0, 0.0, 0.0, 0)


def part(candidates, seconds):
    """Make a part of a benchmark."""
    return Part("exact", candidates, seconds, 0.0, NO_MEMORY, {})


def candidate(convert_seconds, default_seconds, threaded_seconds):
    """Make the times of a candidate, a tenth of each pass spent on PSNR."""
    passes = [
        Pass((30.0,), 0.9 * seconds, 0.1 * seconds)
        for seconds in (default_seconds, threaded_seconds)
    ]
    return CandidateTimes("image", convert_seconds, *passes)


def test_what_a_command_did(tmp_path):
    """The output of a command, and the memory of it and of its descendants, are seen."""
    script = (
        "import subprocess, sys, time\n"
        "child = 'import time; held = bytes([1]) * 200_000_000; time.sleep(1.5)'\n"
        "subprocess.run([sys.executable, '-c', child], check=True)\n"
        "print('a warning', file=sys.stderr)\n"
        "print('result')\n"
    )
    seen = observe([sys.executable, "-c", script], tmp_path / "log")
    assert seen.output == "result\n"
    assert seen.seconds > 1.5
    assert (tmp_path / "log").read_text() == "a warning\n"
    assert seen.memory.descendants == 1
    assert 190 < seen.memory.worker_private_mib < seen.memory.worker_mib < 260
    assert 0 < seen.memory.main_mib < 100


def test_failing_command(tmp_path):
    """A command that fails stops the benchmark, with the last of what it said."""
    script = "import sys; sys.exit('no such thing')"
    with pytest.raises(QsrError, match="no such thing"):
        observe([sys.executable, "-c", script], tmp_path / "log")


def test_command_that_is_missing(tmp_path):
    """A command that cannot be started is named."""
    with pytest.raises(QsrError, match="missing-command: cannot be started"):
        observe([str(tmp_path / "missing-command")], tmp_path / "log")


def test_converter_is_extrapolated():
    """What is done once counts once, and the mean candidate as often as there are candidates."""
    searches = [
        ConverterSearch(4.0, (candidate(1.0, 10.0, 6.0), candidate(2.0, 12.0, 6.0))),
        ConverterSearch(6.0, (candidate(3.0, 14.0, 9.0),)),
    ]
    default = converter_total("a", searches, 100, threaded=False)
    assert default.seconds == pytest.approx(5.0 + 100 * 14.0)
    assert default.measured_candidates == 3
    threaded = converter_total("a2", searches, 100, threaded=True)
    assert threaded.seconds_per_candidate == pytest.approx(9.0)


def test_exact_is_extrapolated():
    """A search of 20 s and 3 s for each candidate is extrapolated to just that."""
    total = line_total("b", part(4, 32.0), part(40, 140.0), 800)
    assert total.seconds_per_candidate == pytest.approx(3.0)
    assert total.seconds == pytest.approx(20.0 + 800 * 3.0)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"converted": 1}, "--converter-candidates must be 2 to 50"),
        ({"exact": 51}, "--exact-candidates must be 3 to 50"),
        ({"regret": 30}, "--regret-candidates must be 40 to 50"),
    ],
)
def test_sizes_are_checked(changed, named):
    """A number of candidates that cannot be measured is refused before anything is measured."""
    sizes = {"converted": 10, "exact": 40, "regret": 50}
    check_sizes(50, **sizes)
    with pytest.raises(UsageError, match=named):
        check_sizes(50, **(sizes | changed))
