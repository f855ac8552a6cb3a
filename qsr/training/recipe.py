"""Recipes: what to train, as data, every field checked.

A field that is added later has to have a default that means what trainings did without it: those
that are under way are gone on with (:mod:`qsr.training.run_folder`).
"""

import re
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import isfinite
from typing import Any, Literal

from qsr.data.pipeline import Augmentation
from qsr.errors import UsageError
from qsr.models.xcat import XcatConfig

_SEEDS = 2**32  # what numpy's and TensorFlow's global generators take

_SMOKE_PATCH_PX = 16


def _check_positive(name: str, value: float) -> None:
    """Raise UsageError unless a value is finite and above 0."""
    if not (value > 0 and isfinite(value)):
        raise UsageError(f"{name} must be above 0 and finite, not {value}")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train, alike in all stages; the defaults are the paper's (section 3.2).

    Attributes:
        seed: of the weights and the batches.
        batch_size: patches per step.
        lr_patch_px: side of an LR patch in pixels.
        epochs: number of epochs of each stage; the learning rate changes between them.
        steps_per_epoch: steps in each.
        schedule: ``warmup_then_linear``, or ``halving`` from the peak rate.
        warmup_epochs: epochs of rising learning rate; unused by ``halving``.
        halving_epochs: epochs between halvings; unused by ``warmup_then_linear``.
        final_rate: learning rate of the last epoch; unused by ``halving``.
        adam_beta_1: decay of the first moment.
        adam_beta_2: decay of the second moment.
        adam_epsilon: added to the denominator.
    """

    seed: int = 1
    batch_size: int = 16
    lr_patch_px: int = 32
    epochs: int = 50
    steps_per_epoch: int = 10_000
    schedule: Literal["warmup_then_linear", "halving"] = "warmup_then_linear"
    warmup_epochs: int = 5
    halving_epochs: int = 10
    final_rate: float = 1e-4
    adam_beta_1: float = 0.9
    adam_beta_2: float = 0.999
    adam_epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Reject values that cannot be trained with."""
        for name in ("batch_size", "lr_patch_px", "epochs", "steps_per_epoch", "halving_epochs"):
            if getattr(self, name) < 1:
                raise UsageError(f"training.{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.seed < _SEEDS:
            raise UsageError(f"training.seed must be 0 to {_SEEDS - 1}, not {self.seed}")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise UsageError(
                f"training.warmup_epochs ({self.warmup_epochs}) must be at least 0 and less than "
                f"training.epochs ({self.epochs})"
            )
        for name in ("final_rate", "adam_epsilon"):
            _check_positive(f"training.{name}", getattr(self, name))
        for name in ("adam_beta_1", "adam_beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(
                    f"training.{name} must be at least 0 and less than 1, not {getattr(self, name)}"
                )

    @property
    def steps(self) -> int:
        """Steps of each stage."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a training; it starts from the weights of the stage before, with a new Adam.

    The defaults are stage 1 of the paper (section 3.2).

    Attributes:
        loss: ``charbonnier``, ``mse`` or ``mae``.
        charbonnier_epsilon: the paper's epsilon, for pictures in [0, 1]; unused by other losses.
        luminance_weight: share of ``mse`` that is the error of luminance, 0 to 1; unused by other
            losses. The paper has none of it.
        initial_rate: learning rate of the first epoch; unused by ``halving``.
        peak_rate: highest learning rate.
        added_data: train on the added data set too, as the paper's stage 2 adds Flickr2K.
        precision: what convolutions compute in; weights, sums with the anchor and losses stay
            ``float32``. ``bfloat16`` is faster on processors that have it.
        revive_dead_channels: before the stage, draw new weights for channels that their ReLU has
            silenced; see :func:`qsr.training.revival.revive_dead_channels`.
    """

    loss: Literal["charbonnier", "mse", "mae"] = "charbonnier"
    charbonnier_epsilon: float = 0.1
    luminance_weight: float = 0.0
    initial_rate: float = 1e-3
    peak_rate: float = 25e-4
    added_data: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    revive_dead_channels: bool = False

    def check(self, place: str) -> None:
        """Raise UsageError for values that cannot be trained with.

        Args:
            place: of the stage in its recipe, for the error.
        """
        for name in ("initial_rate", "peak_rate", "charbonnier_epsilon"):
            _check_positive(f"{place}.{name}", getattr(self, name))
        if not 0 <= self.luminance_weight <= 1:
            raise UsageError(
                f"{place}.luminance_weight must be 0 to 1, not {self.luminance_weight}"
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training, whole: network, stages, schedule and augmentation.

    Attributes:
        name: also the default name of the run folder.
        network: which network of the zoo ``model`` configures.
        model: what the network is made of: its config.
        training: how it is trained.
        stages: one after the other.
        augmentation: what is done to each patch.
    """

    name: str
    network: str = "xcat"
    model: Any = field(default_factory=XcatConfig)
    training: Training = field(default_factory=Training)
    stages: tuple[Stage, ...] = (Stage(),)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Reject a training of nothing, a name that is no file name, and impossible stages."""
        if not re.fullmatch(r"[\w][\w.-]*", self.name):
            raise UsageError(
                f"name must be a file name of letters, digits, '_', '-' and '.', not {self.name!r}"
            )
        if not self.stages:
            raise UsageError("stages must be one or more")
        for number, stage in enumerate(self.stages, start=1):
            stage.check(f"stages.{number}")

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return len(self.stages) * self.training.steps

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The step that each stage ends at, counted from the start of the first."""
        return tuple(accumulate(self.training.steps for _ in self.stages))


def smoke_size(recipe: Recipe) -> Recipe:
    """Return a recipe shortened to some seconds: two epochs of five steps on small patches.

    Network, losses, rates and augmentation stay. Its name ends in ``-smoke``.
    """
    training = replace(
        recipe.training,
        epochs=2,
        steps_per_epoch=5,
        warmup_epochs=min(recipe.training.warmup_epochs, 1),
        halving_epochs=1,
        batch_size=min(recipe.training.batch_size, 4),
        lr_patch_px=min(recipe.training.lr_patch_px, _SMOKE_PATCH_PX),
    )
    return replace(recipe, name=f"{recipe.name}-smoke", training=training)
