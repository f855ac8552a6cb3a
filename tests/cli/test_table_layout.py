"""How a table is laid out: from records made by hand, without a model."""

from dataclasses import replace

import pytest

from qsr.benchmark import Latency
from qsr.cli.output import print_table
from qsr.cli.table_layout import grids, markdown, notes
from qsr.jobs.table_report import Measured, ModelPsnr, RowScores, ScoredSet, TableReport, TableRow
from qsr.models.provenance import Parameters
from qsr.tables.paper import NUMBERS, paper_table

LATENCY = Latency(
    median_ms=95.4, lower_quartile_ms=93, upper_quartile_ms=99, fastest_ms=92, rounds=5
)
SCORES = RowScores(
    fp32=ModelPsnr(rgb_db=30.126, y_db=32.526),
    uint8=ModelPsnr(rgb_db=30.101, y_db=32.511),
    naive_uint8=ModelPsnr(rgb_db=18.25, y_db=19.75),
    challenge_score=1205.6,
)
SEARCHED = replace(SCORES, naive_uint8=None)
TRAINED = Measured(
    weights="runs/model.keras",
    origin="run",
    steps=20_000,
    parameters=Parameters(trained=16_519, frozen=81),
    latency=LATENCY,
    scores={"Set5": SEARCHED},
)
WITH_NAIVE = replace(TRAINED, scores={"Set5": SCORES})
UNTRAINED = Measured(parameters=Parameters(trained=16_519), missing="not trained")


def report_of(number, measured, sets=("Set5",), seen=()):
    """A report in which the first rows are as given, and the others not trained."""
    rows = paper_table(number).rows
    ours = [*measured, *[UNTRAINED] * (len(rows) - len(measured))]
    return TableReport(
        number=number,
        title="Title",
        rows=tuple(
            TableRow(paper=paper, ours=mine) for paper, mine in zip(rows, ours, strict=True)
        ),
        sets=tuple(
            ScoredSet(name=name, data=f"data/{name}", images=5, seen=seen, skipped=())
            for name in sets
        ),
        candidates="candidates",
        choosing="choosing",
        refined=number in {2, 4},
        lr_size=(360, 640),
        threads=2,
        host="Fast One",
        runs="my runs",
    )


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("measured", [(), (TRAINED,) * 5])
def test_whole(number, measured):
    """Every row has a cell under each heading, and none is empty but the first heading."""
    (grid,) = grids(report_of(number, measured))
    for row in grid.rows:
        assert len(row) == len(grid.columns)
        assert all(row)


@pytest.mark.parametrize("number", NUMBERS)
def test_width(number, capsys):
    """A table fits into 120 columns."""
    for grid in grids(report_of(number, [TRAINED] * 5)):
        print_table(grid.title, grid.columns, grid.rows)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 122  # two are its right edge


def test_variants():
    """Tables 1 and 3: the paper's numbers, then ours; untrained rows have none of ours."""
    (grid,) = grids(report_of(1, [TRAINED]))
    assert grid.title == "Table 1: Title, ours on Set5 (5 images)"
    xcat, other, *_ = grid.rows
    assert xcat == (
        *("XCAT: m=2, 21/7, 1x1/3x3, 2 stages", "29.88/29.81", "320", "240"),
        *("30.13/30.10", "0.025", "16519", "95±3", "1206"),
    )
    assert other[1:] == ("29.85/29.79", "320", "233", "not trained", "-", "16519", "-", "-")


def test_variants_with_naive():
    """Tables 1 and 3 have a column for the naive drop if it was measured, and say what it is."""
    report = report_of(3, [WITH_NAIVE, TRAINED])
    (grid,) = grids(report)
    where = grid.columns.index("naive\ndrop")
    assert [row[where] for row in grid.rows[:3]] == ["11.876", "-", "-"]
    assert any(line.startswith("naive: as TFLiteConverter") for line in notes(report))
    assert not any("naive" in line for line in notes(report_of(3, [TRAINED])))


@pytest.mark.parametrize("number", NUMBERS)
def test_how_it_was_quantized_is_said(number):
    """Tables that tell networks apart hold integer models that were not refined, and say so."""
    (line,) = [one for one in notes(report_of(number, [TRAINED])) if one.startswith("UINT8, ours")]
    assert ("--no-refine" in line) == (number in {1, 3})


def test_sets():
    """Table 2: luminance but for DIV2K; sets that were not given are missing, others are added."""
    scores = dict.fromkeys(("Set5", "DIV2K", "mine"), SCORES)
    bicubic = Measured(origin="formula", scores=scores)
    xcat = Measured(weights="a.keras", origin="run", scores=scores)
    report = report_of(2, [bicubic, xcat], sets=("Set5", "DIV2K", "mine"))
    (grid,) = grids(report)
    assert [heading.split("\n")[0] for heading in grid.columns] == [
        *("network", "Set5", "Set14", "B100", "Urban100", "Manga109", "DIV2K val", "mine")
    ]
    rows = {row[0]: row[1:] for row in grid.rows}
    assert rows["Bicubic, paper"] == ("30.44", "27.63", "27.13", "24.43", "26.87", "28.82", "-")
    assert rows["Bicubic, ours"] == ("32.53", "-", "-", "-", "-", "30.13", "32.53")
    assert rows["FSRCNN, ours, UINT8"] == ("32.51", "-", "-", "-", "-", "30.10", "32.51")
    assert rows["FSRCNN, ours, naive UINT8"][0] == "19.75"
    assert "Bicubic, ours, UINT8" not in rows
    assert rows["XCAT, ours"] == ("-",) * 7


def test_networks():
    """Table 4: networks side by side; the naive integer model and its drop stand beside qsr's."""
    (grid,) = grids(report_of(4, [WITH_NAIVE]))
    rows = {row[0]: row[1:] for row in grid.rows}
    assert grid.columns[1:] == ("FSRCNN", "ESPCN", "XLSR", "ABPN", "XCAT")
    assert rows["UINT8 PSNR, paper"] == ("18.52", "17.50", "29.82", "30.09", "29.81")
    assert rows["UINT8 PSNR, ours, naive"][:2] == ("18.25", "-")
    assert rows["UINT8 PSNR, ours, qsr"][:2] == ("30.10", "-")
    assert rows["drop, ours, naive"][:2] == ("11.876", "-")
    assert rows["drop, ours, qsr"][:2] == ("0.025", "-")
    assert rows["DIV2K test UINT8, paper"][:3] == ("-", "-", "29.58")
    assert set(rows["DIV2K test UINT8, ours"]) == {"-"}
    assert rows["parameters, paper"][0] == "25K"
    assert rows["score, paper"][:3] == ("0.003", "0.061", "210")


def test_one_per_set():
    """Of several sets, each gets a table of its own."""
    titles = [grid.title for grid in grids(report_of(3, [TRAINED], sets=("Set5", "B100")))]
    assert titles == [f"Table 3: Title, ours on {name} (5 images)" for name in ("Set5", "B100")]


def test_trainings():
    """Without sets, what there is of each row is listed."""
    (grid,) = grids(report_of(1, [TRAINED], sets=()))
    assert grid.rows[0][1:] == ("16519", "20,000", "runs/model.keras")
    assert grid.rows[1][1:] == ("16519", "-", "not trained")


class TestNotes:
    """What is said below a table."""

    def test_untrained(self):
        """Rows that are not trained are named once, with a command that can be pasted."""
        (line,) = (one for one in notes(report_of(4, [TRAINED] * 3)) if "--train" in one)
        assert line == (
            "without weights: abpn_x3, xcat_x3; train them with "
            "qsr table 4 --runs 'my runs' --train DIR"
        )

    def test_all_trained(self):
        """If all are trained, alike, there is no word of training more."""
        found = notes(report_of(4, [TRAINED] * 5))
        assert "training steps of each row: 20,000" in found
        assert not [line for line in found if "--train" in line]

    def test_unequal(self):
        """Rows that were trained for different numbers of steps are told apart."""
        shipped = Measured(weights="b.keras", origin="shipped", steps=300_000)
        found = notes(report_of(1, [shipped, TRAINED, TRAINED]))
        assert (
            "training steps: 300,000: XCAT (ships with qsr); 20,000: A, B; rows that were trained "
            "otherwise differ in that, too"
        ) in found

    def test_seen(self):
        """Images that had a part in quantization are told."""
        found = notes(report_of(1, [TRAINED], seen=("baby", "bird")))
        assert any(line.startswith("Set5: 2 of its images had a part in quanti") for line in found)

    def test_measuring(self):
        """It is said what times and PSNR are of; on DIV2K, the paper's are of the same images."""
        found = "\n".join(notes(report_of(1, [TRAINED])))
        assert "on Fast One, 2 threads, input 640x360" in found
        assert "compare the order" in found
        assert "compare the order" not in "\n".join(notes(report_of(1, [TRAINED], sets=("DIV2K",))))
        assert "ms:" not in "\n".join(notes(report_of(2, [TRAINED])))

    def test_without_added_data(self):
        """Rows whose stage 2 had no images of its own are told, and only those."""
        alone = replace(TRAINED, lacks_added_data=True)
        (line,) = (one for one in notes(report_of(1, [alone, TRAINED])) if "--added-data" in one)
        assert line.endswith("on the images of --train alone in stage 2, too: XCAT")
        assert not [one for one in notes(report_of(1, [TRAINED])) if "--added-data" in one]

    @pytest.mark.parametrize(
        ("missing", "cell"),
        [
            ("its training broke down: the loss is nan", "broke down"),
            ("its training in runs/xcat_x3 is not finished", "unfinished"),
        ],
    )
    def test_no_weights(self, missing, cell):
        """A training that left no weights says so in the table, and why below it."""
        report = report_of(1, [Measured(missing=missing)])
        assert f"XCAT: {missing}" in notes(report)
        (grid,) = grids(report)
        assert [row[4] for row in grid.rows[:2]] == [cell, "not trained"]

    def test_why(self):
        """A row that was trained and could not be measured says why."""
        failed = Measured(weights="a.keras", origin="run", missing="gives no picture")
        assert "XCAT: gives no picture" in notes(report_of(1, [failed]))


def test_markdown():
    """Markdown has one line per row, headings on one line, and numbers to the right."""
    (grid,) = grids(report_of(2, []))
    lines = markdown(grid).splitlines()
    assert lines[0] == f"## {grid.title}"
    assert lines[2].endswith("| Manga109 | DIV2K val (RGB) |")
    assert lines[3] == "|---|--:|--:|--:|--:|--:|--:|"
    assert lines[4] == "| Bicubic, paper | 30.44 | 27.63 | 27.13 | 24.43 | 26.87 | 28.82 |"
    assert len(lines) == 4 + len(grid.rows)
