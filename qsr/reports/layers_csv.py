"""The layers of a comparison as CSV, for a spreadsheet or pandas."""

import csv
import io
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from qsr.analysis.records import ChannelErrors, Comparison, Histogram, LayerError

_LEFT_OUT = (ChannelErrors, Histogram, tuple)
"""What holds many values, which a row has no room for: it is in the JSON."""


def layers_csv(comparison: Comparison) -> str:
    """Return one row for each layer, with every number of its record.

    Columns are named as the record's fields, those of an inner record after it:
    ``accumulated.sqnr_db``. What was not measured is empty; infinity is ``inf``; numbers are as
    exact as they are held.

    Args:
        comparison: of two models.
    """
    columns = ["place", *_columns(LayerError)]
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for place, layer in enumerate(comparison.layers, start=1):
        writer.writerow({"place": place, **dict(_values(layer))})
    return file.getvalue()


def _columns(record: type, prefix: str = "") -> Iterator[str]:
    """Yield the columns of a kind of record, and of those inside it."""
    hints = get_type_hints(record)
    for field in fields(record):
        kind = _kind(hints[field.name])
        if kind in _LEFT_OUT:
            continue
        if is_dataclass(kind) and isinstance(kind, type):
            yield from _columns(kind, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def _values(record: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (column, value) of a record that there is."""
    for field in fields(record):
        value = getattr(record, field.name)
        if value is None or isinstance(value, _LEFT_OUT):
            continue
        if is_dataclass(value):
            yield from _values(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def _kind(hint: Any) -> Any:
    """Return what a field holds: X of ``X | None``, and tuple of ``tuple[X, ...]``."""
    if isinstance(hint, UnionType):
        return next(kind for kind in get_args(hint) if kind is not NoneType)
    return get_origin(hint) or hint
