"""Times on a phone, through stand-ins for adb and benchmark_model."""

import pytest

from qsr.benchmark.adb import Phone, attached_phone
from qsr.benchmark.phone import phone_times
from qsr.benchmark.tool import ToolSettings
from qsr.errors import DeviceError, UsageError

MODELS = [("small", b"one"), ("it's large", b"three")]
TIMES = {
    "0.tflite": [[3000, 1000, 2000], [5000, 4000, 6000]],
    "1.tflite": [[7000, 9000, 8000], [9000, 9000, 9000]],
}


@pytest.fixture
def settings():
    """Make settings: three runs, in three rounds of one, unless said otherwise."""

    def make(**changed):
        return ToolSettings(
            **{"lr_size": (36, 64), "threads": 2, "warm_ups": 1, "runs": 3} | changed
        )

    return make


def test_times(stand_in_phone, settings):
    """Models take turns, a round's time is its runs' median, and nothing is left behind."""
    stand_in = stand_in_phone(times_us=TIMES)
    told = []
    small, large = phone_times(
        MODELS,
        attached_phone(),
        settings(runs=18),
        tool=stand_in.tool,
        on_round=lambda *state: told.append(state),
    )
    assert small.times_ms == (2, 5, 2, 5, 2, 5)
    assert large.times_ms == (8, 9, 8, 9, 8, 9)
    assert (small.fastest_ms, large.fastest_ms) == (1, 7)
    assert small.are_medians
    assert small.delegated == "completely"
    assert [run["bytes"] for run in stand_in.runs] == [3, 5, 5, 3] * 3
    for run in stand_in.runs:
        asked = (run["--num_runs"], run["--warmup_runs"], run["--num_threads"])
        assert asked == ("3", "1", "2")
        assert run["--input_layer_shape"] == "1,36,64,3"
    assert told == [(done, 6) for done in range(1, 7)]
    assert stand_in.files == []


def test_latency(stand_in_phone, settings):
    """The summary is over rounds; the shortest is that of all runs."""
    stand_in = stand_in_phone(times_us=TIMES)
    (small,) = phone_times(MODELS[:1], attached_phone(), settings(runs=18), tool=stand_in.tool)
    latency = small.latency()
    assert (latency.median_ms, latency.fastest_ms, latency.rounds) == (3.5, 1, 6)


def test_few_runs(stand_in_phone, settings):
    """Fewer runs than rounds are made one by one; others are made up to fill the rounds."""
    stand_in = stand_in_phone(times_us=TIMES)
    phone_times(MODELS[:1], attached_phone(), settings(runs=2), tool=stand_in.tool)
    assert [run["--num_runs"] for run in stand_in.runs] == ["1", "1"]
    phone_times(MODELS[:1], attached_phone(), settings(runs=8), tool=stand_in.tool)
    assert [run["--num_runs"] for run in stand_in.runs[2:]] == ["2"] * 6


def test_command_lines(stand_in_phone, settings):
    """The command lines are those of the description, in its order."""
    stand_in = stand_in_phone(times_us=TIMES)
    (times,) = phone_times(MODELS[:1], attached_phone(), settings(runs=1), tool=stand_in.tool)
    devices, push_tool, chmod, push_model, run, remove = stand_in.calls
    assert devices == ["devices"]
    folder = push_tool[-1].rpartition("/")[0]
    assert folder.startswith("/data/local/tmp/qsr-")
    on_phone = ["-s", "A1"]
    assert push_tool == [*on_phone, "push", str(stand_in.tool), f"{folder}/benchmark_model"]
    assert chmod == [*on_phone, "shell", f"chmod 755 {folder}/benchmark_model"]
    assert [*push_model[:3], push_model[-1]] == [*on_phone, "push", f"{folder}/0.tflite"]
    assert run == [*on_phone, "shell", times.command]
    assert remove == [*on_phone, "shell", f"rm -rf {folder}"]


def test_tool_on_phone(stand_in_phone, settings):
    """Without a tool to copy, the one that lies on the phone is used, and stays there."""
    stand_in = stand_in_phone(times_us=TIMES)
    attached_phone().push(stand_in.tool, "/data/local/tmp/benchmark_model")
    attached_phone().shell("chmod 755 /data/local/tmp/benchmark_model")
    (times,) = phone_times(MODELS[:1], attached_phone(), settings())
    assert times.command.startswith("/data/local/tmp/benchmark_model --graph=")
    assert stand_in.files == ["benchmark_model"]


@pytest.mark.parametrize("exit_codes", [True, False])
def test_no_tool(stand_in_phone, settings, exit_codes):
    """Without any tool, it is said where there is one, also if the phone gives no exit codes."""
    stand_in = stand_in_phone(exit_codes=exit_codes)
    with pytest.raises(DeviceError, match="phone A1 has no /data/local/tmp/benchmark_model; down"):
        phone_times(MODELS, attached_phone(), settings())
    assert stand_in.files == []


@pytest.mark.parametrize("exit_codes", [True, False])
@pytest.mark.parametrize(
    ("setup", "reason"),
    [
        ({"delegated": "refused"}, "Failed to apply NNAPI delegate."),
        ({"killed": True}, "Killed"),
    ],
)
def test_failure(*, stand_in_phone, settings, exit_codes, setup, reason):
    """A model that the tool fails on is named, with the reason, and nothing is left behind."""
    stand_in = stand_in_phone(times_us=TIMES, exit_codes=exit_codes, **setup)
    with pytest.raises(DeviceError, match=f"^it's large: benchmark_model .*phone A1.*{reason}$"):
        phone_times(MODELS[1:], attached_phone(), settings(delegate="nnapi"), tool=stand_in.tool)
    assert stand_in.files == []


@pytest.mark.parametrize("delegated", ["not at all", "unsupported"])
@pytest.mark.parametrize("delegate", ["nnapi", "gpu"])
def test_silently_refused(stand_in_phone, settings, delegate, delegated):
    """The time of a model that a delegate leaves to the processor is none of the delegate."""
    stand_in = stand_in_phone(times_us=TIMES, delegated=delegated)
    with pytest.raises(DeviceError, match=f"^small: nothing of it runs on {delegate} on phone A1"):
        phone_times(MODELS, attached_phone(), settings(delegate=delegate), tool=stand_in.tool)


def test_partially(stand_in_phone, settings):
    """A model of which a delegate takes a part is told from one that it takes whole."""
    stand_in = stand_in_phone(times_us=TIMES, delegated="partially")
    times = phone_times(MODELS, attached_phone(), settings(delegate="gpu"), tool=stand_in.tool)
    assert [one.delegated for one in times] == ["partially", "partially"]
    (plain,) = phone_times(
        MODELS[:1], attached_phone(), settings(delegate="cpu"), tool=stand_in.tool
    )
    assert plain.delegated is None


def test_old_tool(stand_in_phone, settings):
    """An older tool gives means, and that is kept."""
    stand_in = stand_in_phone(times_us=TIMES, old=True)
    (times,) = phone_times(
        [("large", b"x")], attached_phone(), settings(runs=18), tool=stand_in.tool
    )
    assert times.times_ms == (2, 5, 2, 5, 2, 5)
    assert not times.are_medians


def test_wrong_processor(stand_in_phone, settings, tmp_path):
    """A tool that the phone cannot run is told."""
    stand_in_phone(times_us=TIMES)
    (tmp_path / "tool").write_bytes(b"\x7fELF of another processor\x00")
    with pytest.raises(DeviceError, match=r"small: benchmark_model fails .* exit code 12[67]"):
        phone_times(MODELS, attached_phone(), settings(), tool=tmp_path / "tool")


@pytest.mark.parametrize("after", range(1, 7))
def test_unplugged(stand_in_phone, settings, after):
    """A phone that is unplugged at any time is one error, and the clean-up no second one."""
    stand_in = stand_in_phone(times_us=TIMES, unplugged_after=after)
    with pytest.raises(DeviceError, match="A1"):
        phone_times(MODELS, attached_phone(), settings(), tool=stand_in.tool)


def test_hangs(stand_in_phone, settings, monkeypatch):
    """Of a phone that does not answer the first error is told, not that of the clean-up."""
    stand_in = stand_in_phone()
    phone = attached_phone()
    asked = []

    def shell(_, command):
        asked.append(command)
        raise DeviceError(f"no answer to question {len(asked)}")

    monkeypatch.setattr(Phone, "shell", shell)
    with pytest.raises(DeviceError, match="question 1"):
        phone_times(MODELS, phone, settings(), tool=stand_in.tool)
    assert asked[-1].startswith("rm -rf ")


def test_settings(stand_in_phone, settings):
    """Wrong settings are told before anything is copied."""
    stand_in = stand_in_phone()
    phone = attached_phone()
    with pytest.raises(UsageError):
        phone_times(MODELS, phone, settings(runs=0))
    assert stand_in.calls == [["devices"]]
