"""The folder of a training: what is trained in it, its log, and who works in it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qsr.atomic import locked, replacing, sweep
from qsr.data.pairs import content_hash
from qsr.errors import StudyError, UsageError
from qsr.quiet import import_tensorflow
from qsr.training.recipe import Recipe
from qsr.training.recipe_files import parse_recipe

_LOCK = ".qsr-train-lock"  # held by the training that works in the folder
_DESCRIPTION = "recipe.json"
_MOST_SHOWN = 3


def described(recipe: Recipe, first_stage: int, weights: Path | None) -> dict[str, Any]:
    """Say what a training is of but for its images, as JSON gives it back.

    Args:
        recipe: what is trained.
        first_stage: the stage that it starts with, counted from 1.
        weights: the file that it starts from, if any.
    """
    return _as_json(
        {
            "recipe": asdict(recipe),
            "first stage": first_stage,
            "initial weights": None if weights is None else content_hash(weights),
        }
    )


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Hold ``out`` for one training.

    Raises:
        StudyError: another training works there, or something else lies there, or it cannot be
            made.
    """
    with ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(out)
            held.enter_context(locked(out / _LOCK))
        except BlockingIOError as error:
            raise StudyError(
                f"{out}: another training is working in it; wait for it, or give another --out"
            ) from error
        except OSError as error:
            raise StudyError(f"{out}: cannot be made a run folder: {error.strerror}") from error
        sweep(out)
        yield


def check_folder(out: Path, description: dict[str, Any]) -> None:
    """Check that a training may go on, or begin, in ``out``; nothing is made or held.

    Args:
        out: the run folder; it may be missing.
        description: as :func:`check_description` takes it.

    Raises:
        StudyError: something else lies there, or another training.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise StudyError(f"{out}: a file, not a run folder; give another --out")
    _refuse_foreign(out)
    check_description(out, description)


def check_description(out: Path, description: dict[str, Any]) -> bool:
    """Whether an earlier run wrote down in ``out`` what is trained there.

    Args:
        out: the run folder.
        description: of what is to be trained; parts that it lacks are not compared.

    Raises:
        StudyError: it is another training, or cannot be read.
    """
    path = out / _DESCRIPTION
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: not readable: {error}") from error
    if not isinstance(found, dict):
        raise StudyError(f"{path}: no description of a training; give another --out")
    found = _with_new_fields(found, str(path))
    for part, wanted in description.items():
        if found.get(part) != wanted:
            raise StudyError(
                f"{out}: holds a training with another {_difference(part, found, wanted)}; "
                "give another --out"
            )
    return True


def keep_description(out: Path, description: dict[str, Any]) -> None:
    """Write down what is trained, for the runs that go on with it.

    Raises:
        StudyError: it cannot be written.
    """
    path = out / _DESCRIPTION
    with written(f"{path}:"), replacing(path) as unfinished:
        unfinished.write_text(json.dumps(description, indent=2))


@contextmanager
def written(what: str) -> Iterator[None]:
    """Turn what the system or TensorFlow raises when it cannot write into StudyError."""
    tf = import_tensorflow()

    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
        raise StudyError(
            f"{what} cannot be written ({' '.join(str(reason).split())}); make room and run the "
            "same command again"
        ) from error


def _refuse_foreign(out: Path) -> None:
    """Raise StudyError if a folder holds anything but a training."""
    if any(out.iterdir()) and not ((out / _LOCK).exists() or (out / _DESCRIPTION).exists()):
        raise StudyError(f"{out}: not empty, and no training of qsr; give another --out")


def _with_new_fields(found: dict[str, Any], source: str) -> dict[str, Any]:
    """Give the recipe of an older release the fields that came since, at their defaults."""
    recipe = found.get("recipe")
    if not isinstance(recipe, dict):
        return found
    try:
        return found | {"recipe": _as_json(asdict(parse_recipe(recipe, source=source)))}
    except UsageError:  # no recipe of today: compared as it stands
        return found


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return a dictionary as JSON gives it back: with lists for tuples."""
    given_back: dict[str, Any] = json.loads(json.dumps(value))
    return given_back


def _difference(part: str, found: dict[str, Any], wanted: Any) -> str:
    """Word what of a training differs: the fields, if it is the recipe."""
    earlier = found.get(part)
    if isinstance(wanted, list):
        return f"set of {part}"
    if not (isinstance(wanted, dict) and isinstance(earlier, dict)):
        return f"{part} ({earlier} there, {wanted} now)"
    old, new = dict(_flat(earlier)), dict(_flat(wanted))
    fields = [name for name in old | new if old.get(name) != new.get(name)]
    shown = ", ".join(
        f"{name} {old.get(name)} there, {new.get(name)} now" for name in fields[:_MOST_SHOWN]
    )
    more = len(fields) - _MOST_SHOWN
    return f"{part} ({shown}{f', and {more} more' if more > 0 else ''})"


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of nested JSON with its place, list items counted from 1."""
    if isinstance(value, dict):
        items = [(str(key), below) for key, below in value.items()]
    elif isinstance(value, list):
        items = [(str(number), below) for number, below in enumerate(value, start=1)]
    else:
        yield place, value
        return
    for key, below in items:
        yield from _flat(below, f"{place}.{key}" if place else key)
