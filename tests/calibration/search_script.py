"""A small search with a slow score, run as a process of its own by the tests that kill it."""

import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from qsr import calibration as cal
from qsr.calibration.executor import local_processes
from qsr.calibration.ranges import load_table


@dataclass(frozen=True)
class HashScore:
    """Gives each model three numbers that follow from its bytes alone, after a while.

    Attributes:
        folder: where each call leaves a file named after the process that made it.
        seconds: the longest that a call takes; how long follows from the model.
    """

    folder: Path
    seconds: float = 0.0

    def __call__(self, model: bytes) -> list[float]:
        """Return three numbers from 0 to 255."""
        digest = hashlib.sha256(model).digest()
        with (self.folder / f"{os.getpid()}.calls").open("a") as calls:
            calls.write(f"{digest.hex()}\n")
        time.sleep(self.seconds * (0.5 + digest[3] / 510))
        return [float(value) for value in digest[:3]]


class Screened:
    """A score of sixty items that follow from a model's bytes, and the screen of the first."""

    identity = "bytes"
    rungs = (8, 16)

    def __call__(self, model: bytes, start: int = 0, stop: int = 60) -> list[float]:
        """Return the scores of those items."""
        merit = hashlib.sha256(model).digest()[0] / 20
        digests = (hashlib.sha256(model + bytes([item])).digest() for item in range(start, stop))
        return [merit + digest[0] / 255 for digest in digests]


def main() -> None:
    """Run the search: model, table, journal, folder of calls, seconds, workers."""
    model, table, journal, folder = (Path(argument) for argument in sys.argv[1:5])
    seconds, workers = float(sys.argv[5]), int(sys.argv[6])
    with local_processes(workers) as executor:
        study = cal.search(
            model,
            load_table(table),
            HashScore(folder, seconds),
            journal=journal,
            executor=executor,
        )
    print(json.dumps(summary(study)))  # noqa: T201 (read by the test)


def summary(study: cal.Study) -> dict[str, object]:
    """Return all of a study but how much of it was resumed, as JSON holds it."""
    return {
        "trials": [
            [[*trial.images], trial.proposal.statistic, trial.score, trial.model_hash]
            for trial in study.trials
        ],
        "best": [*study.best.images],
        "baseline": [*study.baseline.images],
        "distinct_models": study.distinct_models,
        "model": hashlib.sha256(study.model).hexdigest(),
    }


if __name__ == "__main__":
    main()
