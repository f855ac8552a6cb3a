"""One side of the comparison in ``training_vs_fit.py``: trains, and prints its times as JSON.

``qsr`` trains with :func:`qsr.training.train.train` on folders of images, as ``qsr train`` does;
``fit`` trains the same network with plain Keras: ``compile`` and ``fit`` on arrays in memory. Both
take network, loss, optimizer, batch, patch and steps per compiled call from the same recipe.

``fit`` is given all that makes it fast: the arrays hold as many patches as are trained on, already
``float32``, cut, turned and multiplied; they are not shuffled; there are no metrics and no second
epoch. What ``qsr`` does beyond that is the cost of its pipeline.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from qsr.data.pairs import find_pairs
from qsr.models.zoo import build
from qsr.quiet import import_tensorflow
from qsr.training.recipe import Recipe
from qsr.training.recipe_files import load_recipe
from qsr.training.steps import loss_of, new_optimizer
from qsr.training.train import STEPS_PER_CALL, train

SIDES = ("qsr", "fit")

WARM_UP_CALLS = 2
"""Compiled calls at the beginning that do not count: the first is traced, which takes seconds."""


@dataclass(frozen=True)
class Side:
    """What one training took.

    Attributes:
        steps_per_call: steps of each compiled call.
        call_seconds: time from the end of one call to the end of the next, of those that count.
    """

    steps_per_call: int
    call_seconds: tuple[float, ...]

    @property
    def steps_per_second(self) -> float:
        """Speed of the median call, which a short burst of other work does not change."""
        return self.steps_per_call / median(self.call_seconds)


def side_of(stamps: Sequence[float], steps_per_call: int) -> Side:
    """Leave the first calls out.

    Args:
        stamps: what the clock said at the end of each call, in seconds.
        steps_per_call: steps of each.

    Raises:
        ValueError: no call is left.
    """
    counted = stamps[WARM_UP_CALLS - 1 :]
    if len(counted) < 2:  # noqa: PLR2004
        raise ValueError(f"more than {WARM_UP_CALLS} calls are needed, not {len(stamps)}")
    ends = zip(counted[1:], counted[:-1], strict=True)
    return Side(steps_per_call, tuple(end - start for end, start in ends))


def one_stage(recipe: Recipe, steps: int) -> Recipe:
    """Return the first stage of a recipe, in ``float32``, with so many steps in one epoch."""
    return replace(
        recipe,
        training=replace(recipe.training, epochs=1, warmup_epochs=0, steps_per_epoch=steps),
        stages=(replace(recipe.stages[0], precision="float32", added_data=False),),
    )


def train_with_qsr(recipe: Recipe, data: Path, calls: int, scratch: Path) -> Side:
    """Train with qsr; only the time between its reports counts, so not decoding.

    The last call is left out: its report comes after the checkpoint and the validation.
    """
    recipe = one_stage(recipe, (WARM_UP_CALLS + calls + 1) * STEPS_PER_CALL)
    pairs = find_pairs(data, recipe.model.scale, "train")
    stamps: list[float] = []
    train(
        recipe,
        pairs[1:],
        pairs[:1],
        scratch / "run",
        checkpoint_steps=recipe.steps,
        on_progress=lambda _: stamps.append(perf_counter()),
    )
    return side_of(stamps[:-1], STEPS_PER_CALL)


def train_with_fit(recipe: Recipe, calls: int) -> Side:
    """Train with ``fit`` on random patches in memory."""
    import_tensorflow()
    import tf_keras

    steps = (WARM_UP_CALLS + calls) * STEPS_PER_CALL
    recipe = one_stage(recipe, steps)
    training, stage = recipe.training, recipe.stages[0]
    random = np.random.default_rng(training.seed)
    count, size = steps * training.batch_size, training.lr_patch_px
    lr = random.random((count, size, size, 3), np.float32)
    hr = random.random((count, *(2 * [size * recipe.model.scale]), 3), np.float32)
    stamps: list[float] = []

    class Clock(tf_keras.callbacks.Callback):
        """Notes when each compiled call ends."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            stamps.append(perf_counter())

    tf_keras.utils.set_random_seed(training.seed)
    network = build(recipe.network, recipe.model)
    network.compile(
        optimizer=new_optimizer(training, stage),
        loss=loss_of(stage),
        steps_per_execution=STEPS_PER_CALL,
    )
    network.fit(
        lr, hr, batch_size=training.batch_size, shuffle=False, verbose=0, callbacks=[Clock()]
    )
    return side_of(stamps, STEPS_PER_CALL)


def main() -> None:
    """Train one side, and print its times as JSON."""
    parser = argparse.ArgumentParser(description="Train one side of the comparison.")
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--calls", type=int, required=True)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    if arguments.side == "fit":
        side = train_with_fit(recipe, arguments.calls)
    else:
        with TemporaryDirectory(prefix="qsr-") as scratch:
            side = train_with_qsr(recipe, arguments.data, arguments.calls, Path(scratch))
    json.dump(asdict(side), sys.stdout)


if __name__ == "__main__":
    main()
