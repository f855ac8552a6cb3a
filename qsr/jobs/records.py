"""Result records as plain data, ready for JSON."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any


def plain(record: Any) -> Any:
    """Return a record as what JSON can hold.

    A dataclass becomes a dictionary of its fields and of its public properties, so that means and
    drops, which a table shows, are in it. A number that is not finite, which JSON has no sign for,
    becomes the text ``inf``, ``-inf`` or ``nan``; a path becomes text.

    Args:
        record: a dataclass, or a sequence or mapping of them; what is inside is turned as well.
    """
    if is_dataclass(record) and not isinstance(record, type):
        names = [field.name for field in fields(record)]
        names += [name for name, value in vars(type(record)).items() if isinstance(value, property)]
        return {name: plain(getattr(record, name)) for name in names if name[0] != "_"}
    if isinstance(record, Mapping):
        return {str(key): plain(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [plain(value) for value in record]
    if isinstance(record, float) and not isfinite(record):
        return str(record)
    return str(record) if isinstance(record, Path) else record
