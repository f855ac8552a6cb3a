"""How a table of the paper beside ours is laid out: columns, rows and notes, as text."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsr.cli.output import counted
from qsr.jobs.table_report import NOT_TRAINED

if TYPE_CHECKING:
    from qsr.jobs.table_report import ModelPsnr, RowScores, ScoredSet, TableReport, TableRow

MISSING = "-"

_PAPER_SETS = {
    "Set5": "Set5",
    "Set14": "Set14",
    "B100": "B100",
    "Urban100": "Urban100",
    "Manga109": "Manga109",
    "DIV2K": "DIV2K val\n(RGB)",
}
"""Set to heading, in the order of Table 2."""


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Attributes:
        title: above it.
        columns: headings, of one line or of two.
        rows: as many cells each; the first is text, the others are numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def grids(report: "TableReport") -> tuple[Grid, ...]:
    """Lay a report out: Table 2 once for all sets, the others once per set."""
    title = f"Table {report.number}: {report.title}"
    if not report.sets:
        return (_trainings(report, title),)
    if report.number == 2:  # noqa: PLR2004
        return (_of_sets(report, title),)
    lay_out = _of_networks if report.number == 4 else _of_variants  # noqa: PLR2004
    return tuple(lay_out(report, title, one) for one in report.sets)


def notes(report: "TableReport") -> tuple[str, ...]:
    """Say what a reader has to know of a report, one line each."""
    found = ["what is missing (-) was not measured here, or is not in the paper"]
    if report.sets:
        found += _notes_on_measuring(report)
    found += _note_on_training(report)
    found += [
        f"{row.paper.name}: {row.ours.missing}"
        for row in report.rows
        if row.ours.missing not in ("", NOT_TRAINED)
    ]
    if report.untrained:
        command = ("qsr", "table", str(report.number), "--runs", report.runs, "--train", "DIR")
        found.append(
            f"without weights: {', '.join(report.untrained)}; train them with {shlex.join(command)}"
        )
    return tuple(found)


def markdown(grid: Grid) -> str:
    """Return a grid as a table in Markdown."""
    lines = [
        _markdown_row([column.replace("\n", " ") for column in grid.columns]),
        "|---" + "|--:" * (len(grid.columns) - 1) + "|",
        *(_markdown_row(row) for row in grid.rows),
    ]
    return f"## {grid.title}\n\n" + "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _notes_on_measuring(report: "TableReport") -> list[str]:
    quantity = (
        "in luminance with one scale shaved; DIV2K in RGB with 1 pixel shaved"
        if report.number == 2  # noqa: PLR2004
        else "in RGB with 1 pixel shaved; the drop is from FP32 to UINT8"
    )
    quantized = (
        "as qsr search-repdata makes it by default"
        if report.refined
        else "the best of the search alone (qsr search-repdata --no-refine), so that what networks "
        "lose is told apart"
    )
    found = [
        f"PSNR in dB, of the 8-bit picture, {quantity}",
        f"UINT8, ours: {quantized}",
    ]
    if _has_naive(report):
        found.append(
            "naive: as TFLiteConverter quantizes, with all candidates together and the grids of "
            "input and output left to them; its bytes are shown as they are"
        )
    if report.number != 2:  # noqa: PLR2004
        if any(one.name != "DIV2K" for one in report.sets):
            found.append(
                "the paper's PSNR is on DIV2K validation: on other images compare the order, not "
                "the numbers"
            )
        height, width = report.lr_size
        found.append(
            f"ms: the paper's on a Mali-G71 MP2; ours of the UINT8 model on {report.host}, "
            f"{counted(report.threads, 'thread')}, input {width}x{height}: the median, ± half of "
            "what lies between the quartiles; each score is with its own ms"
        )
    found += [
        f"{one.name}: {len(one.seen)} of its images had a part in quantization, such as "
        f"{one.seen[0]} (found by their pixels): its UINT8 scores flatter"
        for one in report.sets
        if one.seen
    ]
    return found


def _note_on_training(report: "TableReport") -> list[str]:
    """Say for how many steps the rows were trained."""
    names: dict[str, list[str]] = {}
    for row in report.rows:
        if row.ours.weights is not None:
            steps = "unknown" if row.ours.steps is None else f"{row.ours.steps:,}"
            shipped = " (ships with qsr)" if row.ours.origin == "shipped" else ""
            names.setdefault(steps, []).append(row.paper.name + shipped)
    if not names:
        return []
    if len(names) == 1:
        found = [f"training steps of each row: {next(iter(names))}"]
    else:
        shown = "; ".join(f"{steps}: {', '.join(rows)}" for steps, rows in names.items())
        found = [f"training steps: {shown}; rows that were trained otherwise differ in that, too"]
    lacking = [row.paper.name for row in report.rows if row.ours.lacks_added_data]
    if lacking:
        found.append(
            f"trained without --added-data, so on the images of --train alone in stage 2, too: "
            f"{', '.join(lacking)}"
        )
    return found


def _trainings(report: "TableReport", title: str) -> Grid:
    """What there is of each row, when nothing was scored."""
    return Grid(
        title,
        ("row", "parameters", "steps", "weights"),
        tuple(
            (_named(row), _parameters(row), _steps(row), row.ours.weights or _missing(row))
            for row in report.rows
        ),
    )


def _of_variants(report: "TableReport", title: str, images: "ScoredSet") -> Grid:
    """Tables 1 and 3: a variant of XCAT in each row."""
    with_naive = _has_naive(report)
    rows = []
    for row in report.rows:
        scores = row.ours.scores.get(images.name)
        rows.append(
            (
                _named(row),
                _pair(row.paper.fp32_psnr_db, row.paper.uint8_psnr_db, 2),
                _number(row.paper.mali_ms, 0),
                _number(row.paper.score, 0),
                _missing(row) if scores is None else _our_pair(scores),
                _number(None if scores is None else scores.drop_rgb_db, 3),
                *([_number(_naive_drop(scores), 3)] if with_naive else ()),
                _parameters(row),
                _time(row),
                _score(None if scores is None else scores.challenge_score),
            )
        )
    columns = (
        *("row", "paper\nFP32/UINT8", "paper\nms", "paper\nscore"),
        *("ours\nFP32/UINT8", "ours\ndrop", *(["naive\ndrop"] if with_naive else ())),
        *("para-\nmeters", "ours\nms", "ours\nscore"),
    )
    return Grid(f"{title}, ours on {_described(images)}", columns, tuple(rows))


def _of_sets(report: "TableReport", title: str) -> Grid:
    """Table 2: a set in each column; what the paper says of a network, then what we measured."""
    names = [*_PAPER_SETS, *(one.name for one in report.sets if one.name not in _PAPER_SETS)]
    rows: list[tuple[str, ...]] = []
    for row in report.rows:
        rows.append(
            (
                f"{row.paper.name}, paper",
                *(_number(row.paper.set_psnr_db.get(name), 2) for name in names),
            )
        )
        kinds: list[tuple[str, Callable[[RowScores], ModelPsnr | None]]] = [
            ("ours", lambda scores: scores.fp32)
        ]
        if row.paper.recipe is not None:
            kinds.append(("ours, UINT8", lambda scores: scores.uint8))
            if _has_naive(report):
                kinds.append(("ours, naive UINT8", lambda scores: scores.naive_uint8))
        for kind, of in kinds:
            cells = []
            for name in names:
                scores = row.ours.scores.get(name)
                psnr = None if scores is None else of(scores)
                in_rgb = name == "DIV2K"
                cells.append(
                    MISSING if psnr is None else f"{psnr.rgb_db if in_rgb else psnr.y_db:.2f}"
                )
            rows.append((f"{row.paper.name}, {kind}", *cells))
    images = ", ".join(_described(one) for one in report.sets)
    columns = ("network", *(_PAPER_SETS.get(name, name) for name in names))
    return Grid(f"{title}, ours on {images}", columns, tuple(rows))


def _of_networks(report: "TableReport", title: str, images: "ScoredSet") -> Grid:
    """Table 4: a network in each column."""

    def ours(of: "Callable[[RowScores], float | None]", digits: int) -> list[str]:
        found = []
        for row in report.rows:
            scores = row.ours.scores.get(images.name)
            found.append(_number(None if scores is None else of(scores), digits))
        return found

    def paper(of: "Callable[[TableRow], float | None]", digits: int) -> list[str]:
        return [_number(of(row), digits) for row in report.rows]

    rows = [
        ("FP32 PSNR, paper", *paper(lambda row: row.paper.fp32_psnr_db, 2)),
        ("FP32 PSNR, ours", *ours(lambda scores: scores.fp32.rgb_db, 2)),
        ("UINT8 PSNR, paper", *paper(lambda row: row.paper.uint8_psnr_db, 2)),
        ("UINT8 PSNR, ours, naive", *ours(lambda scores: _rgb(scores.naive_uint8), 2)),
        ("UINT8 PSNR, ours, qsr", *ours(lambda scores: _rgb(scores.uint8), 2)),
        ("drop, paper", *paper(lambda row: row.paper.drop_db, 2)),
        ("drop, ours, naive", *ours(lambda scores: scores.naive_drop_rgb_db, 3)),
        ("drop, ours, qsr", *ours(lambda scores: scores.drop_rgb_db, 3)),
        ("DIV2K test UINT8, paper", *paper(lambda row: row.paper.uint8_test_psnr_db, 2)),
        ("DIV2K test UINT8, ours", *(MISSING for _ in report.rows)),
        ("parameters, paper", *(_thousands(row.paper.parameters_thousands) for row in report.rows)),
        ("parameters, ours", *(_parameters(row) for row in report.rows)),
        ("Synaptics ms, paper", *paper(lambda row: row.paper.synaptics_ms, 1)),
        ("Mali ms, paper", *paper(lambda row: row.paper.mali_ms, 0)),
        ("this host's ms, ours", *(_time(row) for row in report.rows)),
        ("score, paper", *(_score(row.paper.score) for row in report.rows)),
        ("score, ours", *(_score(_our_score(row, images)) for row in report.rows)),
    ]
    columns = ("", *(row.paper.name for row in report.rows))
    return Grid(f"{title}, ours on {_described(images)}", columns, tuple(rows))


def _named(row: "TableRow") -> str:
    return f"{row.paper.name}: {row.paper.config}" if row.paper.config else row.paper.name


def _missing(row: "TableRow") -> str:
    """Say in a cell why a row has no score."""
    if row.ours.weights is not None or not row.ours.missing:
        return MISSING
    if row.ours.missing == NOT_TRAINED:
        return NOT_TRAINED
    return "unfinished" if row.ours.missing.endswith("not finished") else "broke down"


def _described(images: "ScoredSet") -> str:
    return f"{images.name} ({counted(images.images, 'image')})"


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _score(value: float | None) -> str:
    """Round a score to a whole number, as the paper does, but a tiny one to two digits."""
    if value is None:
        return MISSING
    return f"{value:.0f}" if value >= 1 else f"{value:.2g}"


def _pair(first: float | None, second: float | None, digits: int) -> str:
    if first is None and second is None:
        return MISSING
    return f"{_number(first, digits)}/{_number(second, digits)}"


def _our_pair(scores: "RowScores") -> str:
    return _pair(scores.fp32.rgb_db, _rgb(scores.uint8), 2)


def _rgb(psnr: "ModelPsnr | None") -> float | None:
    return None if psnr is None else psnr.rgb_db


def _has_naive(report: "TableReport") -> bool:
    """Whether any row has an integer model as the converter makes it."""
    return any(
        scores.naive_uint8 is not None for row in report.rows for scores in row.ours.scores.values()
    )


def _naive_drop(scores: "RowScores | None") -> float | None:
    return None if scores is None else scores.naive_drop_rgb_db


def _our_score(row: "TableRow", images: "ScoredSet") -> float | None:
    scores = row.ours.scores.get(images.name)
    return None if scores is None else scores.challenge_score


def _time(row: "TableRow") -> str:
    taken = row.ours.latency
    if taken is None:
        return MISSING
    spread = (taken.upper_quartile_ms - taken.lower_quartile_ms) / 2
    return f"{taken.median_ms:.0f}±{spread:.0f}"


def _parameters(row: "TableRow") -> str:
    return MISSING if row.ours.parameters is None else str(row.ours.parameters.trained)


def _thousands(count: int | None) -> str:
    return MISSING if count is None else f"{count}K"


def _steps(row: "TableRow") -> str:
    return MISSING if row.ours.steps is None else f"{row.ours.steps:,}"
