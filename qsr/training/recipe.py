"""Recipes: what to train, as data. They lie as TOML files in ``recipes/``."""

import difflib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal

from qsr.data.pipeline import Augmentation
from qsr.errors import UsageError
from qsr.models.xcat import XcatConfig

_SEEDS = 2**32  # what numpy's and TensorFlow's global generators take


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train; the defaults are stage 1 of the paper (section 3.2).

    Attributes:
        seed: of the weights and the batches.
        loss: ``charbonnier`` or ``mse``.
        charbonnier_epsilon: the paper's epsilon, for pictures in [0, 1].
        batch_size: patches per step.
        lr_patch_px: side of an LR patch in pixels.
        epochs: number of epochs; the learning rate changes between them.
        steps_per_epoch: steps in each.
        warmup_epochs: epochs of rising learning rate.
        initial_rate: learning rate of the first epoch.
        peak_rate: highest learning rate.
        final_rate: learning rate of the last epoch.
        adam_beta_1: decay of the first moment.
        adam_beta_2: decay of the second moment.
        adam_epsilon: added to the denominator.
    """

    seed: int = 1
    loss: Literal["charbonnier", "mse"] = "charbonnier"
    charbonnier_epsilon: float = 0.1
    batch_size: int = 16
    lr_patch_px: int = 32
    epochs: int = 50
    steps_per_epoch: int = 10_000
    warmup_epochs: int = 5
    initial_rate: float = 1e-3
    peak_rate: float = 25e-4
    final_rate: float = 1e-4
    adam_beta_1: float = 0.9
    adam_beta_2: float = 0.999
    adam_epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Reject values that cannot be trained with."""
        counts = ("batch_size", "lr_patch_px", "epochs", "steps_per_epoch")
        for name in counts:
            if getattr(self, name) < 1:
                raise UsageError(f"training.{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.seed < _SEEDS:
            raise UsageError(f"training.seed must be 0 to {_SEEDS - 1}, not {self.seed}")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise UsageError(
                f"training.warmup_epochs ({self.warmup_epochs}) must be at least 0 and less than "
                f"training.epochs ({self.epochs})"
            )
        for name in ("initial_rate", "peak_rate", "final_rate", "charbonnier_epsilon"):
            if not getattr(self, name) > 0:
                raise UsageError(f"training.{name} must be above 0, not {getattr(self, name)}")

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training, whole: network, schedule and augmentation.

    Attributes:
        name: also the default name of the run folder.
        network: which network ``model`` configures.
        model: what the network is made of.
        training: how it is trained.
        augmentation: what is done to each patch.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str
    network: Literal["xcat"] = "xcat"
    model: XcatConfig = field(default_factory=XcatConfig)
    training: Training = field(default_factory=Training)
    augmentation: Augmentation = field(default_factory=Augmentation)


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name_or_path: the name of a recipe that ships with qsr, or the path of a ``.toml`` file.
        overrides: ``section.field=value`` in TOML syntax, applied in order.

    Returns:
        The recipe, with every field checked.

    Raises:
        UsageError: no such recipe, not TOML, or a field that is unknown or ill-typed.
    """
    path = _find(name_or_path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a readable recipe: {error}") from error
    for override in overrides:
        _apply(data, override)
    return parse_recipe(data, source=str(path))


def parse_recipe(data: dict[str, Any], *, source: str) -> Recipe:
    """Turn the content of a recipe file into a :class:`Recipe`.

    Args:
        data: as :mod:`tomllib` or :mod:`json` read it.
        source: named in errors.

    Raises:
        UsageError: a field that is unknown, missing or ill-typed; the closest valid name is given.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Recipe).validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
            raise UsageError(f"{source}: unknown field {where}{_closest(where)}") from error
        value = "" if isinstance(first["input"], dict) else f", not {first['input']!r}"
        raise UsageError(f"{source}: {where}: {first['msg']}{value}") from error
    except UsageError as error:  # a value that a field's own checks reject
        raise UsageError(f"{source}: {error}") from error


def shipped_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that ship with qsr."""
    return tuple(sorted(path.stem for path in _recipes_folder().glob("*.toml")))


def _recipes_folder() -> Path:
    """Return where the recipes lie: inside the installed package, or beside it in a checkout."""
    package = Path(str(files("qsr")))
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def _find(name_or_path: str) -> Path:
    """Return the path of a recipe given by name or by path."""
    if name_or_path.endswith(".toml"):
        return Path(name_or_path)
    if name_or_path not in shipped_recipes():
        valid = ", ".join(shipped_recipes())
        raise UsageError(
            f"no recipe named {name_or_path!r}; give one of {valid}, or the path of a .toml file"
        )
    return _recipes_folder() / f"{name_or_path}.toml"


def _apply(data: dict[str, Any], override: str) -> None:
    """Set one ``section.field=value`` in ``data``."""
    key, separator, text = override.partition("=")
    sections = key.strip().split(".")
    if not separator or not all(sections):
        raise UsageError(f"--set {override}: expected section.field=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for section in sections[:-1]:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise UsageError(f"--set {override}: {section} is not a section")
    data[sections[-1]] = value


def _closest(where: str) -> str:
    """Suggest the valid field that is nearest to an unknown one."""
    section, _, name = where.rpartition(".")
    sections = {"": Recipe, "model": XcatConfig, "training": Training, "augmentation": Augmentation}
    valid = [field.name for field in fields(sections.get(section, Recipe))]
    near = difflib.get_close_matches(name, valid, n=1)
    return f"; did you mean {near[0]}?" if near else f"; valid ones: {', '.join(valid)}"
