"""``qsr audit-repdata``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsr.cli.options import Json, Model, PinIo, ReaderName, SchemeName, SkipBadImages, images_option
from qsr.cli.output import print_json, print_next, print_skipped, print_table, shown_progress

if TYPE_CHECKING:
    from qsr.jobs.audit_records import Audit, AuditReport, DropAdvice, Extreme, TensorAudit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit-repdata")(audit_repdata)


def audit_repdata(
    model: Model,
    images: Annotated[
        Path,
        images_option("The representative images"),
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            help="Held-out images, like those that the model will meet: what the set would cut off "
            "of their activations is measured.",
            show_default=False,
        ),
    ] = None,
    scheme: SchemeName = "uint8",
    pin_io: PinIo = True,
    reader: ReaderName = "exact",
    workers: Annotated[
        int | None, typer.Option(help="Processes; by default one per core.", show_default=False)
    ] = None,
    skip_bad_images: SkipBadImages = False,
    json: Json = False,
) -> None:
    """Say whether representative images are good, before any search.

    A verdict in words; then a row for each grid of the integer model: which image sets the ends of
    its range, how far the rest are, and what share of held-out values would be cut off.

    qsr audit-repdata xcat --images PHOTOS --against OTHER_PHOTOS
    """
    from qsr.jobs.audit_repdata import audit_repdata as run

    with shown_progress() as progress:
        report = run(
            model,
            images=images,
            against=against,
            scheme=scheme,
            pin_io=pin_io,
            reader=reader,
            workers=workers,
            skip_bad_images=skip_bad_images,
            on_progress=progress,
        )
    print_skipped(report.skipped)
    if json:
        print_json(report)
    else:
        _print(report)


def _print(report: "AuditReport") -> None:
    audit = report.audit
    typer.echo("\n".join(report.verdict.sentences) + "\n")
    if audit.grids:
        _print_table(audit)
    for line in _notes(audit):
        typer.echo(line)
    typer.echo(f"{report.seconds:.0f} s, workers: {report.workers}")
    print_next(report.verdict.next_purpose, *report.verdict.next_command)


def _print_table(audit: "Audit") -> None:
    """Print a row for each grid, and what the columns mean."""
    columns = ["layer", "grid", "min by", "max by"]
    legend = ["min by, max by: the image that alone reaches that end of the range"]
    if audit.images > 1:
        columns += ["next", "median", "halves differ"]
        legend += [
            "next, median: where the next and the median image end, as a share of the farther end",
            "halves differ: by how much the grids of two random halves of the set differ",
        ]
    against = ""
    if audit.held_out is not None:
        against = f" against {audit.held_out.images} held-out images"
        columns += ["cut off (%)", "worst image (%)", "cut/rounding"]
        legend += [
            "cut off: share of held-out values outside the grid; worst image: where most are",
            "cut/rounding: mean squared error of cutting off over that of rounding",
        ]
    rows = [_row(tensors, audit) for tensors in audit.grids]
    print_table(f"{audit.model}: {_images(audit)}{against}", columns, rows)
    typer.echo("\n".join(legend) + "\n")


def _images(audit: "Audit") -> str:
    images = "image" if audit.images == 1 else "images"
    return f"{audit.images} representative {images}"


def _row(tensors: "tuple[TensorAudit, ...]", audit: "Audit") -> list[str]:
    """Return the row of tensors that share a grid: of the one that loses most, or fills it."""
    tensor = max(tensors, key=lambda one: one.saturation.share if one.saturation else 0.0)
    more = f" (+{len(tensors) - 1})" if len(tensors) > 1 else ""
    row = [
        f"{tensor.label}{more}",
        f"{tensor.grid_minimum:.3f}..{tensor.grid_maximum:.3f}",
        _alone(tensor.minimum),
        _alone(tensor.maximum),
    ]
    end = tensor.farther_end
    if end.runner_up is not None:
        known = end.value != 0
        row += [
            f"{end.runner_up / end.value:.0%}" if known else tensor.state,
            f"{end.median / end.value:.0%}" if known else "",
            f"{tensor.halves_median:.0%}",
        ]
    if audit.held_out is not None and tensor.saturation is not None:
        worst = f"{tensor.saturation.worst_image} {100 * tensor.saturation.worst_share:.3f}"
        row += [
            f"{100 * tensor.saturation.share:.4f}",
            worst if tensor.saturation.worst_share else "",
            f"{tensor.saturation.clipped_to_rounding:.2f}",
        ]
    return row


def _alone(end: "Extreme") -> str:
    """Return the image that sets an end, unless others reach it as well."""
    return "" if end.runner_up == end.value else end.image


def _notes(audit: "Audit") -> list[str]:
    """Return what else was found, a line each."""
    from qsr.jobs.audit_verdict import percent

    notes = []
    for grid in audit.io_grids:
        pinned = "pinned, exact; from the images alone " if grid.pinned else "from the images, "
        notes.append(
            f"{grid.end}: {pinned}scale {grid.scale:.6f}, zero point {grid.zero_point}, byte 128 "
            f"would stand for {grid.byte_128_means:.1f} (off by up to {grid.largest_error:.1f})"
        )
    if audit.fixed_size is not None:
        height, width = audit.fixed_size
        notes.append(
            f"the model takes {width}x{height} pixels alone: larger LR images were run in tiles, "
            "smaller ones padded"
        )
    for state in ("dead", "constant"):
        names = [tensor.label for tensor in audit.judged if tensor.state == state]
        if names:
            notes.append(f"{state} on every image of the set: {', '.join(names)}")
    if audit.images == 1:
        notes.append("one image: no halves to compare, none to drop")
    elif audit.drop is None:
        notes.append("drop: none; no single image widens a grid")
    else:
        notes.append(_drop_note(audit.drop))
    held_out = audit.held_out
    if held_out is not None:
        if held_out.add is None:
            notes.append("add: none; no held-out image makes the error on the others smaller")
        else:
            notes.append(
                f"add: {held_out.add.image} would take the worst layer on the others from "
                f"{percent(held_out.add.share_before)} to {percent(held_out.add.share_after)}, and "
                f"change the layers' error on them by {held_out.add.error_change_db:+.2f} dB"
            )
        if held_out.shared:
            named = ", ".join(held_out.shared[:3])
            more = ", ..." if len(held_out.shared) > 3 else ""  # noqa: PLR2004
            notes.append(
                f"left out of the held-out images, as the set has the same pixels: {named}{more} "
                f"({len(held_out.shared)})"
            )
    return notes


def _drop_note(drop: "DropAdvice") -> str:
    """Say what dropping an image would do, or why not to."""
    from qsr.jobs.audit_verdict import percent

    change = drop.error_change_db
    if change is not None and change >= 0:
        return (
            f"drop: none; without {drop.image} the grids would be {drop.narrower:.1%} narrower on "
            f"average, but the layers' error on held-out images {change:.2f} dB larger"
        )
    effect = ""
    if change is not None:
        effect = f"; the layers' error on held-out images changes by {change:+.2f} dB"
    return (
        f"drop: without {drop.image} the grids would be {drop.narrower:.1%} narrower on average; "
        f"at most {percent(drop.own_share)} of its own values would be cut off, and none of the "
        f"others'{effect}"
    )
