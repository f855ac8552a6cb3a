"""Tables and progress, on terminals of any width and elsewhere."""

import re

import pytest

from qsr.cli.output import print_table, shown_progress

NAMES = [
    "a_rather_long_folder_name/and_a_model_with_a_long_name_uint8.tflite",
    "image [bold]of[/bold] a :cat:, really",
    "猫の写真.png",
]
COLUMNS = ["model", "PSNR (dB)", "drop (dB)"]
ROWS = [[name, f"3{place}.123", f"0.{place}456"] for place, name in enumerate(NAMES)]


def bare(text):
    """Return what a terminal shows."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


class TestTable:
    """``print_table``."""

    def test_file(self, capsys, monkeypatch):
        """In a file, each row is one line, however long."""
        monkeypatch.setenv("COLUMNS", "40")
        print_table("a title", COLUMNS, ROWS)
        lines = capsys.readouterr().out.splitlines()
        for row in ROWS:
            (line,) = (line for line in lines if row[0] in line)
            assert line.split()[-2:] == row[1:]

    @pytest.mark.parametrize("width", [10, 40, 60, 100, 200])
    def test_terminal(self, capsys, monkeypatch, width):
        """On a terminal, numbers are whole on any width, and no part of a name is lost."""
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(width))
        print_table("a title", COLUMNS, ROWS)
        shown = bare(capsys.readouterr().out)
        for row in ROWS:
            for number in row[1:]:
                assert re.search(rf"\s{re.escape(number)}\s", shown)
        for column in COLUMNS:
            assert column in shown
        first = "".join(re.sub(r"\s\s\s.*", "", line[2:]) for line in shown.splitlines())
        for name in NAMES:
            assert name.replace(" ", "") in first.replace(" ", "")

    def test_wide_characters(self, capsys):
        """A character as wide as two leaves its row on one line too."""
        print_table("a title", COLUMNS, [["猫の写真" * 9, "31.123", "0.456"]])
        (line,) = (line for line in capsys.readouterr().out.splitlines() if "31.123" in line)
        assert "猫の写真" * 9 in line

    def test_wide_numbers(self, capsys, monkeypatch):
        """A column of numbers that is wider than the names is whole as well."""
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "20")
        number = "123 456 789 123 456 789 123 456 789"
        print_table("a title", ["name", "a", "b"], [["x" * 30, number, number]])
        shown = bare(capsys.readouterr().out)
        assert re.search(rf"{number} +{number}", shown)
        assert shown.count("x") == 30

    def test_title(self, capsys):
        """A title that is wider than the table stays on one line, as it is."""
        title = "a [b]title[/b] of :cat: " * 20
        print_table(title, ["a", "b"], [["x", "1"]])
        assert capsys.readouterr().out.splitlines()[0] == title


class TestProgress:
    """``shown_progress``."""

    def test_lines(self, capsys, monkeypatch):
        """Elsewhere than on a terminal, a line is printed at both ends and now and then."""
        clock = iter([100, 101, 105, 111.5, 112, 200, 201])
        monkeypatch.setattr("qsr.cli.output.monotonic", lambda: next(clock))
        with shown_progress() as show:
            for done in range(1, 6):
                show("measure", done, 5)
            show("train", 1, 9, "30 dB")
            show("train", 9, 9, "31 dB")
        said = capsys.readouterr()
        assert said.err.splitlines() == [
            "measure: 1/5", "measure: 4/5", "measure: 5/5", "train (30 dB): 1/9",
            "train (31 dB): 9/9",
        ]  # fmt: skip
        assert not said.out

    def test_bars(self, capsys, monkeypatch):
        """On a terminal there are bars, with names as they are."""
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        with shown_progress() as show:
            show("model [b]x[/b] :cat:", 1, 2)
            show("model [b]x[/b] :cat:", 2, 2)
        said = capsys.readouterr()
        assert "model [b]x[/b] :cat:" in bare(said.err)
        assert "2/2" in bare(said.err)
        assert not said.out
