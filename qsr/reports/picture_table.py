"""The table of a comparison's pictures, and their panels."""

from collections.abc import Mapping, Sequence

from qsr.analysis.error_map import MAP_COLOURS
from qsr.analysis.panels import Panels as PanelFiles
from qsr.analysis.records import PictureError
from qsr.reports.page import Cell, ColourKey, Column, Panels, Picture, Row, Table
from qsr.reports.wording import (
    amount_cell,
    decibels,
    decibels_cell,
    percent_cell,
    text_cell,
)

_COLUMNS = (
    Column("picture", numeric=False),
    Column("drop", "PSNR of the reference less that of the tested model, dB.", "PSNR (dB)"),
    Column("reference", "Of the reference against the original, RGB.", "PSNR (dB)"),
    Column("tested", "Of the tested model against the original, RGB.", "PSNR (dB)"),
    Column("between", "Of one model's picture against the other's.", "PSNR (dB)"),
    Column("largest", "Largest difference of a value, in 8-bit steps.", "difference (8-bit steps)"),
    Column("red", "Mean of tested less reference.", "difference (8-bit steps)"),
    Column("green", "Mean of tested less reference.", "difference (8-bit steps)"),
    Column("blue", "Mean of tested less reference.", "difference (8-bit steps)"),
    Column("flat", "Where hardly anything changes; below, its share of the picture.", "MSE in"),
    Column("texture", "Where it changes in many directions.", "MSE in"),
    Column("edges", "Where it changes in one direction.", "MSE in"),
    Column("worst crop", "Where the two differ most; below, where that is.", "MSE in"),
    Column(
        "flattened %",
        "Of the steps between neighbours that the reference has in smooth areas, the share that "
        "the tested model lacks on balance; below, the smooth share of the picture.",
        "banding",
    ),
    Column("contrast", "Height of steps there, over the reference's.", "banding"),
)


def picture_table(pictures: Sequence[PictureError], anchors: Mapping[str, str]) -> Table:
    """Return the table, a row for each picture.

    Args:
        pictures: in order.
        anchors: name of a picture to what its panels are called, where it has panels.
    """
    return Table(
        f"{len(pictures)} pictures, as both models are used: bytes in, bytes out.",
        _COLUMNS,
        tuple(Row(_cells(one, anchors.get(one.name, ""))) for one in pictures),
    )


def picture_panels(picture: PictureError, drawn: PanelFiles, anchor: str) -> Panels:
    """Return the panels of a picture.

    Args:
        picture: its record.
        drawn: what is shown of it.
        anchor: what links call them.
    """
    crop = picture.worst_crop
    drop = (
        f"Drop {decibels(picture.drop_db, 4)} dB"
        if picture.drop_db is not None
        else f"PSNR between the models {decibels(picture.between_db, infinite='infinite')} dB"
    )
    crops = [
        ("LR", drawn.lr),
        ("original", drawn.hr),
        ("reference", drawn.reference),
        ("tested", drawn.tested),
        (f"tested less reference, times {drawn.gain:g}; grey is none", drawn.difference),
    ]
    key = ColourKey(
        tuple(f"rgb({red} {green} {blue})" for red, green, blue in MAP_COLOURS),
        "0",
        f"{drawn.map_top:.2g} of 255 steps",
    )
    whole = "where the two differ, in the whole picture"
    return Panels(
        picture.name,
        f"{drop}; the two differ by at most {picture.largest_difference} of 255 steps. The crop is "
        f"where they differ most: from row {crop.top}, column {crop.left}, "
        f"{crop.side} by {crop.side} pixels.",
        (
            *(
                Picture(title, f"{picture.name}, worst crop: {title}", content)
                for title, content in crops
                if content is not None
            ),
            Picture(whole, f"{picture.name}: {whole}", drawn.error_map, key),
        ),
        anchor,
    )


def _cells(picture: PictureError, anchor: str) -> tuple[Cell, ...]:
    regions, banding, crop = picture.regions, picture.banding, picture.worst_crop
    return (
        text_cell(picture.name, href=f"#{anchor}" if anchor else ""),
        decibels_cell(picture.drop_db, 4),
        decibels_cell(picture.reference_psnr_db),
        decibels_cell(picture.tested_psnr_db),
        decibels_cell(picture.between_db, infinite="identical"),
        Cell(str(picture.largest_difference), picture.largest_difference),
        *(Cell(f"{shift:+.3f}", shift) for shift in picture.colour_shift),
        *(
            amount_cell(mse, note=f"{100 * share:.0f} %")
            for mse, share in (
                (regions.flat, regions.flat_share),
                (regions.texture, regions.texture_share),
                (regions.edge, regions.edge_share),
            )
        ),
        amount_cell(crop.mse, note=f"row {crop.top}, column {crop.left}"),
        Cell(
            percent_cell(banding.flattened_share).text,
            banding.flattened_share,
            note=f"of {100 * banding.smooth_share:.0f} %",
        ),
        amount_cell(banding.contrast),
    )
