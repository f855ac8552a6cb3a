"""``--report``: a command's result as a page."""

import shlex
from html import unescape

import pytest
import typer

from qsr.cli.app import build_app
from qsr.cli.command_line import command_line

NEEDED = {
    "check": ("xcat",),
    "qat": ("xcat_x3", "--smoke"),
    "search-repdata": (),
    "table": ("2", "--data", "."),
}
"""The least that each command with the option needs."""


@pytest.mark.parametrize("command", sorted(NEEDED))
@pytest.mark.parametrize("name", ["page.txt", "missing/page.html"])
def test_refused_before_the_work(qsr, tmp_path, monkeypatch, command, name):
    """A page that cannot be written there is refused at once, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    said = qsr(command, *NEEDED[command], "--report", name)
    assert said.code == 2
    assert name in said.failure
    assert list(tmp_path.iterdir()) == []


def test_check(qsr, network, photos, tmp_path):
    """A check writes its findings as a page, with the command that made it, and prints them."""
    page = tmp_path / "my page.html"
    said = qsr(
        "check", network, "--images", photos / "validation", "--limit", "2", "--report", page
    )
    assert "on 2 images" in said.out
    html = page.read_text(encoding="utf-8")
    assert "measured on" in html
    words = ["qsr", "check", str(network), "--images", str(photos / "validation")]
    assert shlex.join([*words, "--limit", "2", "--report", str(page)]) in unescape(html)


def test_search(qsr, network, on_photos, tmp_path):
    """A search writes its models and its images as a page."""
    page = tmp_path / "page.html"
    out = tmp_path / "run"
    said = qsr("search-repdata", network, *on_photos, "--out", out, "--report", page)
    assert said.code == 0
    html = unescape(page.read_text(encoding="utf-8"))
    assert said.out.splitlines()[0].split(",")[0].removesuffix(" RGB") in html
    for name in ("all candidates together", "astronaut", "Chosen as representative", str(out)):
        assert name in html


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (["table", "2"], "qsr table 2"),
        (["table", "2", "--data", "a b", "--data", "c"], "qsr table 2 --data 'a b' --data c"),
        (["table", "4", "--naive", "--rounds", "20"], "qsr table 4 --naive"),
        (["search-repdata", "xlsr", "--no-equalize"], "qsr search-repdata xlsr --no-equalize"),
        (["search-repdata", "--io-from-images"], "qsr search-repdata --io-from-images"),
        (["check", "xcat", "--ignore", "QSR101"], "qsr check xcat --ignore QSR101"),
    ],
)
def test_command_line(line, shown):
    """The command that a page shows makes it again: defaults are left out, all else is there."""
    command = typer.main.get_command(build_app()).commands[line[0]]
    assert command_line(command.make_context(line[0], line[1:])) == shown
