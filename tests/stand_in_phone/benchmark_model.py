"""Stands in for TFLite's benchmark_model: takes its options, and prints lines as it does.

The times of the runs come from a file. The lines are those of real logs that people published,
of tools of 2020 (no ``INFO:``, no median) and of 2025.
"""

import json
import os
import sys
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN_PHONE"])
SETUP = json.loads((FOLDER / "setup.json").read_text())
OPTIONS = {
    *("--graph", "--num_threads", "--warmup_runs", "--warmup_min_secs", "--num_runs"),
    *("--min_secs", "--max_secs", "--input_layer", "--input_layer_shape", "--use_xnnpack"),
    *("--use_gpu", "--use_nnapi", "--use_hexagon", "--nnapi_accelerator_name"),
    *("--external_delegate_path", "--external_delegate_options"),
}
DELEGATES = {"--use_xnnpack": "XNNPACK", "--use_gpu": "GPU", "--use_nnapi": "NNAPI"}
REFUSED = """\
ERROR: NN API returned error ANEURALNETWORKS_BAD_DATA at line 1068 while adding operation.

ERROR: Restored original execution plan after delegate application failure.
Failed to apply NNAPI delegate.
Benchmarking failed.
"""
APPLIED = "Explicitly applied {} delegate, and the model graph will be"
STATEMENTS = {
    "completely": f"{APPLIED} completely executed by the delegate.",
    "partially": f"{APPLIED} partially executed by the delegate w/ 2 delegate kernels.",
    "not at all": "Though {} delegate is explicitly applied, the model graph will not be executed "
    "by the delegate.",
    "unsupported": "{} acceleration is unsupported on this platform.",
}


def main(words):
    """Do what the tool does with a command line, and return its exit code."""
    options = dict(word.split("=", 1) for word in words)
    assert options.keys() <= OPTIONS, options.keys() - OPTIONS
    say("STARTING!")
    say(f"Graph: [{options['--graph']}]")
    graph = Path(options["--graph"])
    if not graph.is_file():
        say(f"Failed to load model {graph}", "ERROR: ")
        say("Benchmarking failed.", "ERROR: ")
        return 1
    with (FOLDER / "runs.jsonl").open("a") as runs:
        runs.write(json.dumps({**options, "bytes": len(graph.read_bytes())}) + "\n")
    say(f"Loaded model {graph}")
    delegated = SETUP.get("delegated", "completely")
    if delegated == "refused":
        sys.stdout.write(REFUSED)
        return 1
    for option, name in DELEGATES.items():
        if options.get(option) == "true":
            say(STATEMENTS[delegated].format(name))
    say("The input model file size (MB): 0.029128")
    say("Initialized session in 16.599ms.")
    warm_ups, runs = int(options["--warmup_runs"]), int(options["--num_runs"])
    take([90_000] * warm_ups, warm_ups, options["--warmup_min_secs"])
    if SETUP.get("killed"):
        sys.stdout.write("Killed\n")
        return 137
    mean = take(times_of(graph.name)[:runs], runs, options["--min_secs"])
    say(
        "Inference timings in us: Init: 16599, First inference: 90000, Warmup (avg): 90000, "
        f"Inference (avg): {mean:.6g}"
    )
    say("Memory footprint delta from the start of the tool (MB): init=8.45312 overall=10.5898")
    return 0


def times_of(graph):
    """Return the times of the runs that are made now of a model, in microseconds."""
    calls = [json.loads(line) for line in (FOLDER / "runs.jsonl").read_text().splitlines()]
    made = sum(Path(call["--graph"]).name == graph for call in calls)
    rounds = SETUP["times_us"][graph]
    return rounds[(made - 1) % len(rounds)]


def take(times, runs, least_s):
    """Print the statistics of some runs, as the tool's StatWithPercentiles does."""
    say(
        f"Running benchmark for at least {runs} iterations and at least {least_s} seconds but "
        "terminate if exceeding 150 seconds."
    )
    ranked = sorted(times)
    mean = sum(times) / len(times) if times else 0
    if not times:
        line = "count=0"
    elif len(set(times)) == 1:
        line = f"count={len(times)} curr={times[-1]}" + ("(all same)" if len(times) > 1 else "")
    else:
        line = (
            f"count={len(times)} first={times[0]} curr={times[-1]} min={ranked[0]} "
            f"max={ranked[-1]} avg={mean:.6g} std=30"
        )
    if not SETUP.get("old") and times:
        at = [ranked[len(times) * percent // 100] for percent in (5, 50, 95)]
        line += f" p5={at[0]} median={at[1]} p95={at[2]}"
    say(f"{line}\n")
    return mean


def say(line, kind="INFO: "):
    """Print a line."""
    sys.stdout.write(f"{'' if SETUP.get('old') else kind}{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
