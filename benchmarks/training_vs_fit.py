"""Steps per second of qsr's training against plain Keras ``fit`` on arrays in memory.

Both sides train the same network with the same batches, patches, loss, optimizer and steps per
compiled call (see ``training_sides.py``), each in a process of its own, with TensorFlow's own
settings. They take turns, and who begins changes from round to round. Decoding and tracing do not
count. The cost of qsr's pipeline is how much slower it is than ``fit`` in the same round::

    python benchmarks/training_vs_fit.py --data DIR --work WORK

``nox -s bench-training -- --data DIR --work WORK`` does the same in an environment made for it.
Each run leaves ``record.json`` and ``table.md`` in a folder below ``WORK``.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from observed import observe
from training_sides import SIDES, Side

from qsr.atomic import replacing
from qsr.errors import QsrError, UsageError
from qsr.jobs.records import plain

MOST_FOREIGN = 0.05
"""Share of the cores that others may take; above it a round says little."""

_VERSIONS = ("qsr", "tensorflow", "tf-keras", "numpy")


@dataclass(frozen=True)
class Round:
    """Both sides, one right after the other.

    Attributes:
        qsr: with qsr.
        fit: with Keras' ``fit``.
        foreign_share: share of the cores that others took, the larger of both.
    """

    qsr: Side
    fit: Side
    foreign_share: float

    @property
    def cost(self) -> float:
        """How much slower qsr is than ``fit``, as a share; below 0 if it is faster."""
        return 1 - self.qsr.steps_per_second / self.fit.steps_per_second


@dataclass(frozen=True)
class TrainingComparison:
    """All rounds.

    Attributes:
        recipe: what was trained.
        rounds: in the order of time.
        versions: of the packages.
    """

    recipe: str
    rounds: tuple[Round, ...]
    versions: dict[str, str]

    @property
    def cost(self) -> float:
        """Median cost of the pipeline."""
        return median(one.cost for one in self.rounds)

    @property
    def quiet(self) -> bool:
        """Whether the machine was left alone in every round."""
        return all(one.foreign_share <= MOST_FOREIGN for one in self.rounds)


def markdown(comparison: TrainingComparison) -> str:
    """Draw the result in Markdown."""
    costs = [one.cost for one in comparison.rounds]
    speeds = {
        side: median(getattr(one, side).steps_per_second for one in comparison.rounds)
        for side in SIDES
    }
    headline = (
        f"{comparison.recipe}: qsr {speeds['qsr']:.1f} steps/s, fit {speeds['fit']:.1f} steps/s; "
        f"the pipeline costs {comparison.cost:+.1%} ({min(costs):+.1%} to {max(costs):+.1%} in "
        f"{len(costs)} rounds)"
    )
    lines = [
        headline,
        "",
        "| round | qsr (steps/s) | fit (steps/s) | cost | cores taken by others |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {number} | {one.qsr.steps_per_second:.1f} | {one.fit.steps_per_second:.1f} | "
        f"{one.cost:+.1%} | {one.foreign_share:.0%} |"
        for number, one in enumerate(comparison.rounds, start=1)
    ]
    if not comparison.quiet:
        lines += ["", "Others used the cores: run it again on a quiet machine."]
    return "\n".join(lines) + "\n"


def run_round(number: int, command: Sequence[str], folder: Path) -> Round:
    """Measure both sides, qsr first in every other round.

    Args:
        number: of the round, from 0.
        command: arguments that both sides get.
        folder: for their logs.

    Raises:
        QsrError: a side fails.
    """
    sides: dict[str, Side] = {}
    foreign = 0.0
    for side in SIDES if number % 2 == 0 else reversed(SIDES):
        script = str(Path(__file__).with_name("training_sides.py"))
        observed = observe(
            [sys.executable, script, side, *command], folder / f"{number}-{side}.log"
        )
        found = json.loads(observed.output)
        sides[side] = Side(found["steps_per_call"], tuple(found["call_seconds"]))
        foreign = max(foreign, observed.foreign_share)
        sys.stderr.write(
            f"round {number + 1}, {side}: {sides[side].steps_per_second:.1f} steps/s\n"
        )
    return Round(sides["qsr"], sides["fit"], foreign)


def run(arguments: argparse.Namespace) -> None:
    """Measure, write the record, print the table."""
    if min(arguments.rounds, arguments.calls) < 1:
        raise UsageError("--rounds and --calls must be at least 1")
    arguments.work.mkdir(parents=True, exist_ok=True)
    folder = Path(
        tempfile.mkdtemp(prefix=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-", dir=arguments.work)
    )
    command = ["--recipe", arguments.recipe, "--data", str(arguments.data)]
    command += ["--calls", str(arguments.calls)]
    rounds = tuple(run_round(number, command, folder) for number in range(arguments.rounds))
    versions = {name: version(name) for name in _VERSIONS}
    comparison = TrainingComparison(arguments.recipe, rounds, versions)
    with replacing(folder / "record.json") as unfinished:
        unfinished.write_text(json.dumps(plain(comparison), indent=1), encoding="utf-8")
    table = markdown(comparison)
    (folder / "table.md").write_text(table, encoding="utf-8")
    sys.stdout.write(table)


def main() -> int:
    """Do what the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="images that qsr trains on")
    parser.add_argument("--work", type=Path, required=True, help="folder for the record and logs")
    parser.add_argument("--recipe", default="xcat_x3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=10, help="of 50 steps, that count")
    try:
        run(parser.parse_args())
    except QsrError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
