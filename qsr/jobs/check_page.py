"""The page of a check."""

from qsr.checks.findings import SEVERITIES, Finding
from qsr.jobs.check import CheckReport
from qsr.reports import Origin, Page
from qsr.reports.bar_chart import Bar, bar_figure
from qsr.reports.page import Block, Cell, Column, Facts, Figure, Names, Row, Section, Table
from qsr.reports.wording import decibels_cell, text_cell

_COLUMNS = (
    Column("finding", numeric=False),
    Column("severity", numeric=False),
    Column("where", "Tensor or layer.", numeric=False),
    Column("cost (dB)", "Of PSNR against the originals, measured on the images."),
    Column("problem", numeric=False, prose=True),
    Column("what to do", numeric=False, prose=True),
)

_MOST_BARS = 20


def check_page(report: CheckReport, origin: Origin) -> Page:
    """Return the page of a check.

    Args:
        report: what was found.
        origin: of the page.
    """
    counts = ", ".join(
        f"{sum(one.severity == severity for one in report.findings)} {severity}"
        for severity in SEVERITIES
    )
    verdict = "passed" if report.passed else "failed"
    facts = Facts(
        (
            ("model", report.model),
            ("kind", "integer" if report.quantized else "float"),
            ("target", report.target or "any"),
            ("measured on", f"{len(report.images)} images" if report.images else "no images"),
            ("findings", counts),
            ("left out as asked", str(report.ignored)),
        )
    )
    sections = [
        Section("What was checked", "summary", (facts, *_costs(report)), beside=True),
        Section("Findings", "findings", (_findings(report),)),
    ]
    lists: list[Block] = [
        Names(title, names)
        for title, names in (
            ("Measured on", report.images),
            ("Left out", report.skipped),
            ("Nothing to ignore", report.unmatched),
        )
        if names
    ]
    if lists:
        sections.append(Section("Images", "images", tuple(lists)))
    worst = report.findings[0] if report.findings else None
    lead = [("verdict", f"{report.model} {verdict}: {counts}")]
    if worst is not None:
        lead += [("worst", f"{worst.where}: {worst.problem}"), ("what to do", worst.advice)]
    return Page(f"Is {report.model} ready for 8 bits?", lead, sections, origin)


def _findings(report: CheckReport) -> Table:
    return Table(
        "What was found, the worst first.",
        _COLUMNS,
        tuple(Row(_cells(finding)) for finding in report.findings),
    )


def _cells(finding: Finding) -> tuple[Cell, ...]:
    return (
        text_cell(finding.title, note=finding.code),
        Cell(finding.severity, f"{SEVERITIES.index(finding.severity)}"),
        text_cell(finding.where),
        decibels_cell(finding.cost_db, 4),
        text_cell(finding.problem),
        text_cell(finding.advice),
    )


def _costs(report: CheckReport) -> list[Figure]:
    """Show what findings cost, the dearest first."""
    measured = [
        (finding, finding.cost_db) for finding in report.findings if finding.cost_db is not None
    ]
    dear = sorted(measured, key=lambda one: -one[1])[:_MOST_BARS]
    if not dear:
        return []
    return [
        bar_figure(
            "costs",
            [
                Bar(f"{one.code} {one.where}", cost, f"{cost:.4f}", marked=one.severity == "error")
                for one, cost in dear
            ],
            "cost (dB of PSNR)",
            "What findings cost, measured on the images; errors are hatched. Below 0: it gains.",
        )
    ]
