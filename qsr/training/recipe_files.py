"""Recipe files: TOML in ``recipes/`` or anywhere, with what a recipe shares with another."""

import difflib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from qsr.data.pipeline import Augmentation
from qsr.errors import UsageError
from qsr.models.zoo import ZOO
from qsr.training.recipe import Recipe, Stage, Training

_MOST_BASES = 8

_SECTIONS = {"training": Training, "augmentation": Augmentation}


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    A file may say ``base = "NAME"``: it then holds only what differs from that recipe. Sections are
    merged field by field; ``stages`` are replaced as a whole.

    Args:
        name_or_path: the name of a recipe that ships with qsr, or the path of a ``.toml`` file.
        overrides: ``section.field=value`` in TOML syntax, applied in order; a stage is a section
            ``stages.N``, the first one ``stages.1``.

    Returns:
        The recipe, with every field checked.

    Raises:
        UsageError: no such recipe, not TOML, or a field that is unknown or ill-typed.
    """
    path = _find(name_or_path)
    data = _read(path)
    recipe = parse_recipe(data, source=str(path))
    if not overrides:
        return recipe
    for override in overrides:
        _apply(data, override)
    return parse_recipe(data, source="--set")


def parse_recipe(data: dict[str, Any], *, source: str) -> Recipe:
    """Turn the content of a recipe file into a :class:`Recipe`.

    Args:
        data: as :mod:`tomllib` or :mod:`json` read it, without ``base``.
        source: named in errors.

    Raises:
        UsageError: a field that is unknown, missing or ill-typed; the closest valid name is given.
    """
    network = data.get("network", Recipe.network)
    if not isinstance(network, str) or network not in ZOO:
        raise UsageError(f"{source}: network: it must be one of {', '.join(ZOO)}, not {network!r}")
    config = ZOO[network].config
    for section, kind in (_SECTIONS | {"model": config}).items():
        _check_names(data.get(section, {}), kind, section, source)
    for number, stage in enumerate(_listed(data.get("stages")), start=1):
        _check_names(stage, Stage, f"stages.{number}", source)
    _check_names(data, Recipe, "", source)
    model = _checked(config, data.get("model", {}), ("model",), source)
    others = {key: value for key, value in data.items() if key != "model"}
    recipe: Recipe = _checked(Recipe, others, (), source)
    return replace(recipe, model=model)


def shipped_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that ship with qsr."""
    return tuple(sorted(path.stem for path in _recipes_folder().glob("*.toml")))


def _check_names(section: Any, kind: type, place: str, source: str) -> None:
    """Reject a field that ``kind`` does not have; what is no section is left to the types."""
    valid = [known.name for known in fields(kind)]
    for name in section if isinstance(section, dict) else ():
        if name not in valid:
            near = difflib.get_close_matches(name, valid, n=1)
            hint = f"did you mean {near[0]}?" if near else f"valid ones: {', '.join(valid)}"
            shown = f"{place}.{name}" if place else name
            raise UsageError(f"{source}: unknown field {shown}; {hint}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _checked(kind: type, data: Any, place: tuple[str, ...], source: str) -> Any:
    """Make a ``kind`` of ``data``, which stands at ``place`` in the file."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = [str(part + 1) if isinstance(part, int) else part for part in first["loc"]]
        value = "" if isinstance(first["input"], dict) else f", not {first['input']!r}"
        shown = ".".join([*place, *where])
        raise UsageError(f"{source}: {shown}: {first['msg']}{value}") from error
    except UsageError as error:  # a value that a field's own checks reject
        raise UsageError(f"{source}: {error}") from error


def _recipes_folder() -> Path:
    """Return where the recipes lie: inside the installed package, or beside it in a checkout."""
    package = Path(str(files("qsr")))
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def _find(name_or_path: str) -> Path:
    """Return the path of a recipe given by name or by path."""
    if name_or_path.endswith(".toml"):
        return Path(name_or_path)
    shipped = shipped_recipes()
    if name_or_path not in shipped:
        near = difflib.get_close_matches(name_or_path, shipped, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"no recipe named {name_or_path!r}; {hint}give one of {', '.join(shipped)}, or the "
            "path of a .toml file"
        )
    return _recipes_folder() / f"{name_or_path}.toml"


def _read(path: Path) -> dict[str, Any]:
    """Read a recipe file and what it is based on."""
    data: dict[str, Any] = {}
    for _ in range(_MOST_BASES):
        try:
            own = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{path}: not a readable recipe: {error}") from error
        base = own.pop("base", None)
        data = _merged(own, data)
        if base is None:
            return data
        if not isinstance(base, str):
            raise UsageError(f"{path}: base: it must be the name of a recipe, not {base!r}")
        path = path.parent / base if base.endswith(".toml") else _base(path, base)
    raise UsageError(f"{path}: its bases go in a circle; take one base = away")


def _base(path: Path, name: str) -> Path:
    """Return the path of the shipped recipe that ``path`` is based on."""
    try:
        return _find(name)
    except UsageError as error:
        raise UsageError(f"{path}: base: {error}") from error


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the fields of ``above`` in place of its own."""
    merged = below | above
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = below[key] | above[key]
    return merged


def _apply(data: dict[str, Any], override: str) -> None:
    """Set one ``section.field=value`` in ``data``."""
    key, separator, text = override.partition("=")
    *sections, name = key.strip().split(".")
    if not separator or not all([*sections, name]):
        raise UsageError(f"--set {override}: expected section.field=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    place: Any = data
    for section in sections:
        if isinstance(place, list):
            if section not in map(str, range(1, len(place) + 1)):
                raise UsageError(
                    f"--set {override}: give the number of a stage, 1 to {len(place)}, not "
                    f"{section}"
                )
            place = place[int(section) - 1]
        else:
            place = place.setdefault(section, [{}] if section == "stages" else {})
        if not isinstance(place, dict | list):
            raise UsageError(f"--set {override}: {section} is not a section")
    if isinstance(place, list):
        raise UsageError(f"--set {override}: give the number of a stage, as in stages.1.{name}")
    place[name] = value
