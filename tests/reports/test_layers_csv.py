"""The layers of a comparison as CSV."""

import csv
from io import StringIO

from qsr.reports import layers_csv


def test_one_row_a_layer(comparison):
    """Each layer is a row, with its numbers as exact as they are held."""
    rows = list(csv.DictReader(StringIO(layers_csv(comparison))))
    assert [row["name"].encode(errors="surrogatepass") for row in rows] == [
        layer.name.encode(errors="surrogatepass") for layer in comparison.layers
    ]
    for row, layer in zip(rows, comparison.layers, strict=True):
        assert float(row["accumulated.sqnr_db"]) == layer.accumulated.sqnr_db
        assert float(row["scale"]) == layer.scale
        assert int(row["zero_point"]) == layer.zero_point
        assert row["tied_to_output"] == str(layer.tied_to_output)
        for column, record, field in (
            ("local.sqnr_db", layer.local, "sqnr_db"),
            ("local.saturated_high", layer.local, "saturated_high"),
            ("stored.bias_off_steps", layer.stored, "bias_off_steps"),
            ("cost.alone_db", layer.cost, "alone_db"),
            ("accumulated.used_levels", layer.accumulated, "used_levels"),
        ):
            value = getattr(record, field) if record else None
            assert row[column] == ("" if value is None else str(value))


def test_places_count_from_one(comparison):
    """Rows are numbered as on the page."""
    rows = list(csv.DictReader(StringIO(layers_csv(comparison))))
    assert [int(row["place"]) for row in rows] == list(range(1, len(comparison.layers) + 1))


def test_all_numbers_are_there(comparison):
    """Every number of a record has its column, those of channels and histograms aside."""
    columns = next(csv.reader(StringIO(layers_csv(comparison))))
    assert len(columns) == len(set(columns))
    assert len([name for name in columns if name.startswith("accumulated.")]) == 8
    assert len([name for name in columns if name.startswith("local.")]) == 8
    assert len([name for name in columns if name.startswith("stored.")]) == 6
    assert len([name for name in columns if name.startswith("cost.")]) == 5
    assert not [name for name in columns if "channels" in name or "histogram" in name]
