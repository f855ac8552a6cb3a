"""The command line of TFLite's benchmark_model, and its output as people published it."""

import shlex

import pytest

from qsr.benchmark.tool import (
    ToolSettings,
    check_settings,
    failure,
    read_output,
    takes_delegate,
    tool_command,
)
from qsr.errors import DeviceError, UsageError

SETTINGS = ToolSettings(lr_size=(360, 640), threads=4, warm_ups=2, runs=5)

OF_2025 = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [1000]
INFO: Loaded model ./models/tiny_float32.tflite
INFO: Initialized TensorFlow Lite runtime.
VERBOSE: Replacing 2168 out of 2168 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 \
partitions for subgraph 0.
INFO: Initialized session in 119.515ms.
INFO: Running benchmark for at least 5 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=9 first=87112 curr=51629 min=51629 max=87112 avg=58147.4 std=11478 p5=51629 \
median=51962 p95=87112

INFO: Running benchmark for at least 1000 iterations and at least 1 seconds but terminate if \
exceeding 150 seconds.
INFO: count=1000 first=52162 curr=49785 min=49088 max=686105 avg=63743.2 std=60716 p5=49620 \
median=51891 p95=68628

INFO: Inference timings in us: Init: 119515, First inference: 87112, Warmup (avg): 58147.4, \
Inference (avg): 63743.2
"""

OF_2020 = """\
STARTING!
Num threads: [4]
Graph: [./mobilenet_v1_1.0_224.tflite]
Enable op profiling: [1]
Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding \
150 seconds.
count=1 curr=3512391

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding \
150 seconds.
count=50 first=2990275 curr=2913402 min=2727568 max=3189954 avg=2.95034e+06 std=109798

Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3.51239e+06, \
Inference (avg): 2.95034e+06
Timings (microseconds): count=50 first=2990000 curr=2910000 min=2720000 max=3180000 avg=2.9e+06 \
std=109798
Memory (bytes): count=0
"""

REFUSED = """\
STARTING!
Use NNAPI: [1]
NNAPI accelerators available: [qti-default,qti-dsp,qti-gpu,nnapi-reference]
INFO: Created TensorFlow Lite delegate for NNAPI.
NNAPI delegate created.
ERROR: NN API returned error ANEURALNETWORKS_BAD_DATA at line 1068 while adding operation.

ERROR: Restored original execution plan after delegate application failure.
Failed to apply NNAPI delegate.
Benchmarking failed.
"""

PARTIALLY = """\
INFO: Explicitly applied GPU delegate, and the model graph will be partially executed by the \
delegate w/ 3 delegate kernels."""

NOT_AT_ALL = """\
Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.\
"""


class TestCommand:
    """The command line."""

    def test_words(self):
        """The tool is asked for the size, the threads and exactly so many runs."""
        words = shlex.split(tool_command("/a/benchmark_model", "/a/0.tflite", SETTINGS))
        assert words == [
            "/a/benchmark_model",
            "--graph=/a/0.tflite",
            "--num_threads=4",
            "--warmup_runs=2",
            "--warmup_min_secs=0",
            "--num_runs=5",
            "--min_secs=0",
            "--input_layer=input",
            "--input_layer_shape=1,360,640,3",
            "--use_xnnpack=true",
        ]

    @pytest.mark.parametrize(
        ("delegate", "option"),
        [
            ("cpu", ["--use_xnnpack=false"]),
            ("gpu", ["--use_gpu=true"]),
            ("nnapi", ["--use_nnapi=true"]),
            ("hexagon", ["--use_hexagon=true"]),
            ("none", []),
        ],
    )
    def test_delegate(self, delegate, option):
        """Each delegate is asked for by its own option, and further options come last."""
        further = ("--external_delegate_options=a b;c", "--use_caching=true")
        settings = ToolSettings(
            lr_size=(1, 2), threads=1, warm_ups=0, runs=1, delegate=delegate, options=further
        )
        words = shlex.split(tool_command("t", "g", settings))
        assert words[-2 - len(option) :] == [*option, *further]
        assert "--input_layer_shape=1,1,2,3" in words
        assert takes_delegate(delegate) == (delegate not in {"cpu", "none"})

    @pytest.mark.parametrize(
        "wrong",
        [{"threads": 0}, {"runs": 0}, {"warm_ups": -1}, {"lr_size": (0, 4)}, {"delegate": "npu"}],
    )
    def test_wrong(self, wrong):
        """Numbers are large enough, and there is such a delegate."""
        given = {"lr_size": (3, 4), "threads": 1, "warm_ups": 0, "runs": 1}
        check_settings(ToolSettings(**given))
        with pytest.raises(UsageError):
            check_settings(ToolSettings(**given | wrong))


class TestOutput:
    """What the tool prints."""

    def test_median(self):
        """The median and the shortest of the runs that count are taken, in ms."""
        found = read_output(OF_2025)
        assert (found.median_ms, found.fastest_ms, found.runs) == (51.891, 49.088, 1000)
        assert found.is_median
        assert found.delegated is None

    def test_mean(self):
        """Of an older tool the mean is taken, and it is said; its profile is no run."""
        found = read_output(OF_2020)
        assert (found.median_ms, found.fastest_ms, found.runs) == (2950.34, 2727.568, 50)
        assert not found.is_median
        assert found.delegated == "completely"

    @pytest.mark.parametrize("line", ["count=1 curr=2000", "INFO: count=3 curr=2000(all same)"])
    def test_all_same(self, line):
        """Runs that all took the same have that median."""
        text = f"count=2 first=9 curr=8 min=8 max=9 avg=8.5 std=0\n{line}\nInference timings in us"
        found = read_output(text)
        assert (found.median_ms, found.fastest_ms, found.is_median) == (2.0, 2.0, True)

    @pytest.mark.parametrize(
        ("line", "delegated"), [(PARTIALLY, "partially"), (NOT_AT_ALL, "not at all")]
    )
    def test_delegated(self, line, delegated):
        """How much a delegate takes is what the tool says."""
        assert read_output(f"{line}\n{OF_2025}").delegated == delegated

    @pytest.mark.parametrize(
        "text",
        [
            OF_2025.partition("INFO: Inference")[0],  # it was stopped
            "count=2 first=9 curr=8\ncount=0\nInference timings in us: ",
            "count=2 first=9 curr=8\nINFO: count=0 p5=0 median=0 p95=0\nInference timings in us: ",
            "",
        ],
    )
    def test_unfinished(self, text):
        """An output without times of runs is no result; those of the warm-up do not count."""
        with pytest.raises(DeviceError):
            read_output(text)

    def test_failure(self):
        """The reason is in the tool's last errors, whatever stream and form they have."""
        reason = failure(REFUSED)
        assert "ANEURALNETWORKS_BAD_DATA" in reason
        assert reason.endswith("Failed to apply NNAPI delegate.")
        assert "accelerators" not in reason
        newer = REFUSED.replace("Failed", "ERROR: Failed").replace("Bench", "ERROR: Bench")
        assert failure(newer) == reason
        assert failure("/system/bin/sh: x: not executable: 64-bit ELF file\n") == (
            "/system/bin/sh: x: not executable: 64-bit ELF file"
        )
        assert failure("\n") == "it said nothing"
