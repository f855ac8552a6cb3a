"""Pages of searches, trainings, checks and tables, from records made by hand."""

import json
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pytest

from qsr.calibration import Interval, Scheme
from qsr.checks.findings import Finding
from qsr.errors import UsageError
from qsr.jobs.check import CheckReport
from qsr.jobs.check_page import check_page
from qsr.jobs.pages import check_page as check_path
from qsr.jobs.pages import origin, write_page
from qsr.jobs.qat import QatReport
from qsr.jobs.qat_page import qat_page
from qsr.jobs.repdata_report import ModelScore, RepdataReport, Singles
from qsr.jobs.search_page import search_page
from qsr.jobs.steps import ROUNDED, Step
from qsr.jobs.table_page import table_page
from qsr.jobs.table_report import Measured, ScoredSet, TableReport, TableRow
from qsr.reports import page_html
from qsr.reports.page import Figure, Names, Table
from qsr.tables.paper import paper_table

MISSING = "\N{EN DASH}"
ORIGIN = origin("qsr something --report page.html")
GAIN = Interval(mean=0.01, low=0.004, high=0.016, confidence=0.95, items=3)


def blocks(page, kind):
    """Return every block of a page of one kind."""
    return [one for section in page.sections for one in section.blocks if isinstance(one, kind)]


def texts(table):
    """Return what a table shows, row by row."""
    return [[cell.text for cell in row.cells] for row in table.rows]


def score(*images, objective=30.0, estimated=False, drop=None):
    """A model made from some images."""
    return ModelScore(
        images,
        "extremes",
        0,
        objective,
        estimated,
        None if drop is None else 30.2 - drop,
        drop,
        drop,
    )


@pytest.fixture
def search():
    """A search whose best single image was chosen, and whose worst cannot run."""
    return RepdataReport(
        model="xcat<1>",
        scheme=Scheme(),
        reader="exact",
        strategy="linear",
        objective="mean",
        candidates=4,
        trials=4,
        distinct_models=5,
        measured_models=3,
        selection_images=4,
        confirmation_images=3,
        selection_names=("a", "b", "c", "d"),
        confirmation_names=("e", "f", "g"),
        validation="validation",
        fp32_psnr_db=30.2,
        chosen=score("sky", objective=30.1, drop=0.03),
        baseline=score("sky", "sea", "rock", "night", objective=30.0, drop=0.04),
        gain_db=GAIN,
        tried=score("sky", objective=30.1),
        singles=Singles(
            score("sky", objective=30.1),
            score("sea", objective=29.9, estimated=True),
            score("night", objective=nan),
        ),
        racing=None,
        shared_images=("e",),
        equalization=Step("equalized channels", 0.005, GAIN, kept=True),
        splitting=Step("split channels", 0.003, GAIN, kept=True),
        refinements=(
            Step("corrected biases", 0.002, GAIN, kept=True),
            Step("rounded weights", nan, None, kept=False),
            Step("fitted ranges", None, None, kept=False),
        ),
        removed=(),
        notes=(),
        skipped=("tiny.png: too small",),
        run_folder="runs/one",
        integer_model="runs/one/model_uint8.tflite",
        resumed_models=0,
        workers=2,
        seconds=12.0,
        stage_seconds={},
        measured_db=(30.1, 29.8, nan),
        estimated_db=(29.9,),
    )


def test_search(search):
    """The page of a search has its verdict, each model once, what was tried, and every image."""
    page = search_page(search, ["the chosen model is better", "a note"], ORIGIN)
    assert page.lead[0] == ("result", "the chosen model is better")
    models, refinements = blocks(page, Table)
    assert [row[0] for row in texts(models)] == [
        *("chosen", "all candidates together"),
        *("median single image", "worst single image"),
    ]
    assert [row[1] for row in texts(models)] == ["30.1000", "30.0000", "~29.9000", "cannot run"]
    assert [row.marked for row in models.rows] == [True, False, False, False]
    assert texts(refinements) == [
        ["equalized channels", "+0.0050", "+0.0100", "+0.0040", "+0.0160", "yes"],
        ["split channels", "+0.0030", "+0.0100", "+0.0040", "+0.0160", "yes"],
        ["corrected biases", "+0.0020", "+0.0100", "+0.0040", "+0.0160", "yes"],
        ["rounded weights", "cannot run", *[MISSING] * 3, "no"],
        ["fitted ranges", *[MISSING] * 4, "no"],
    ]
    named = {one.title: one.names for one in blocks(page, Names)}
    assert named["Chosen as representative"] == ("sky",)
    assert named["Left out"] == search.skipped
    assert len(blocks(page, Figure)) == 2
    html = page_html(page)
    assert "xcat&lt;1&gt;" in html
    assert "xcat<1>" not in html
    assert "a note" in html


def test_search_confirmed_by_one_image(search):
    """Where one image confirms, the interval has no ends, and the page says so."""
    lone = replace(search, gain_db=replace(GAIN, low=-inf, high=inf, items=1))
    html = page_html(search_page(lone, ["too few to tell"], ORIGIN))
    assert "no end to no end dB" in html
    assert "inf" not in html[html.index("<body>") :].replace("info", "")


@pytest.fixture
def training(tmp_path):
    """A training that helped, with its log."""
    lines = [
        {"step": step, "loss": 0.1 / step, "validation_psnr_db": 29 + step / 100, "seconds": 1.0}
        for step in (20, 40, 60)
    ]
    torn = '{"step": 80, "lo'
    (tmp_path / "log.jsonl").write_text("\n".join([*map(json.dumps, lines), torn]))
    return QatReport(
        recipe="xcat_x3",
        float_model=tmp_path / "model_fp32.tflite",
        ptq_model=tmp_path / "model_ptq_uint8.tflite",
        qat_model=tmp_path / "model_qat_uint8.tflite",
        model=tmp_path / "model_uint8.tflite",
        trained_float_model=tmp_path / "model_qat_fp32.tflite",
        trained_network=None,
        steps=60,
        resumed_from=0,
        best_step=40,
        equalized=True,
        equalization_gain_db=1.2,
        rounding=Step(ROUNDED, 0.01, None, kept=True),
        fp32_psnr_db=30.0,
        ptq_psnr_db=29.9,
        qat_psnr_db=29.98,
        validation_images=5,
        seconds=3.0,
    )


def test_training(training):
    """The page of a training says what it gave, and draws its log up to a torn last line."""
    page = qat_page(training, ORIGIN)
    assert (
        page.lead[0][1]
        == "Training with the errors of 8 bits gave 0.0800 dB on 5 validation images."
    )
    drops, psnr, loss = blocks(page, Figure)
    assert "before training 0.1000; after training 0.0200" in drops.svg
    assert "validation from 29.2 to 29.6" in psnr.svg
    assert "loss from 0.005 to 0.001667" in loss.svg
    assert "29.980 dB" in page_html(page)


def test_training_without_log(training):
    """Without its log, a training has its page, but no curves."""
    (training.model.parent / "log.jsonl").unlink()
    assert len(blocks(qat_page(training, ORIGIN), Figure)) == 1


def test_check():
    """The page of a check has its verdict, every finding, and its costs, the dearest first."""
    findings = (
        Finding(code="QSR202", where="input", problem="0.5 <off>", advice="pin it", cost_db=0.2),
        Finding(code="QSR701", where="conv", problem="3 dead", advice="prune", cost_db=0.5),
        Finding(code="QSR201", where="model", problem="as it should be", advice="nothing"),
    )
    report = CheckReport("m.tflite", True, None, ("a", "b"), findings, 1, ("QSR101: none",), ())
    page = check_page(report, ORIGIN)
    assert page.lead == [
        ("verdict", "m.tflite failed: 1 error, 1 warning, 1 info"),
        ("worst", "input: 0.5 <off>"),
        ("what to do", "pin it"),
    ]
    (table,) = blocks(page, Table)
    assert [(row[1], row[2], row[3]) for row in texts(table)] == [
        ("error", "input", "0.2000"),
        ("warning", "conv", "0.5000"),
        ("info", "model", "\N{EN DASH}"),
    ]
    assert [row.cells[1].order for row in table.rows] == ["0", "1", "2"]
    (costs,) = blocks(page, Figure)
    assert "QSR701 conv 0.5000; QSR202 input 0.2000" in costs.svg
    assert "<off>" not in page_html(page)


def test_check_without_images():
    """A check that measured and found nothing has its page, too."""
    report = CheckReport("m.tflite", False, "ethos-u", (), (), 0, (), ())
    page = check_page(report, ORIGIN)
    assert page.lead == [("verdict", "m.tflite passed: 0 error, 0 warning, 0 info")]
    assert "no images" in page_html(page)


class Grid:
    """A table laid out."""

    title = "Table 2: Title"
    columns = ("network", "Set5\n(RGB)", "ms")
    rows = (("a", "33.22", "1,234 ± 2"), ("b", "-", "95"))


def test_table():
    """The page of a table has each cell, sorted by the number that it begins with."""
    row = TableRow(paper=paper_table(2).rows[0], ours=Measured())
    report = TableReport(
        number=2,
        title="Title",
        rows=(row,),
        sets=(
            ScoredSet(name="Set5", data="data/Set5", images=5, seen=("bird",), skipped=("x: bad",)),
        ),
        candidates="candidates",
        choosing="choosing",
        refined=True,
        lr_size=(360, 640),
        threads=2,
        host="Fast One",
        runs="my runs",
    )
    page = table_page(report, [Grid()], ["a note"], ORIGIN)
    (table,) = blocks(page, Table)
    assert texts(table) == [list(cells) for cells in Grid.rows]
    assert [column.title for column in table.columns] == ["network", "Set5 (RGB)", "ms"]
    assert [[cell.order for cell in row.cells[1:]] for row in table.rows] == [
        [33.22, 1234.0],
        [None, 95.0],
    ]
    assert {one.names for one in blocks(page, Names)} == {("bird",), ("x: bad",)}
    html = page_html(page)
    assert "a note" in html
    assert "qsr something --report page.html" in html


def test_written_whole(training, tmp_path):
    """A page is one file, and what was there before is replaced."""
    path = tmp_path / "page.html"
    path.write_text("old")
    write_page(path, qat_page(training, ORIGIN))
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [one.name for one in tmp_path.iterdir() if "unfinished" in one.name] == []


@pytest.mark.parametrize("name", ["page.txt", "missing/page.html", "."])
def test_place_of_page(tmp_path, name):
    """A page of another kind, or in a folder that is missing, is refused before the work."""
    with pytest.raises(UsageError, match=r"page|folder"):
        check_path(tmp_path / Path(name))
