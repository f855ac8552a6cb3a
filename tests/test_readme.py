"""The Python of the README, run as it stands in a project of somebody else's."""

import re
from pathlib import Path

import pytest
import skimage.data
import typer
from PIL import Image

from qsr.cli.app import build_app

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def project(tmp_path, monkeypatch, trained_xcat):
    """A folder with a float model and ``photos/``, in which commands and scripts are run."""
    (tmp_path / "model_fp32.tflite").write_bytes(trained_xcat)
    (tmp_path / "photos").mkdir()
    crops = {
        "a": skimage.data.astronaut()[0:60, 170:230],
        "b": skimage.data.chelsea()[90:150, 110:176],
        "c": skimage.data.coffee()[100:160, 200:260],
        "d": skimage.data.rocket()[150:210, 300:366],
    }
    for name, crop in crops.items():
        Image.fromarray(crop).save(tmp_path / f"photos/{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMANDS = re.findall(r"^qsr [a-z].*(?:\\\n.*)*", README.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_options_exist(line):
    """Every option that the README gives a command is one of that command."""
    words = line.replace("\\\n", " ").partition("#")[0].split()
    command = typer.main.get_command(build_app()).commands[words[1]]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    asked = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert asked <= known | {"--debug", "--help"}


def test_there_is_one():
    """The README shows ``qsr.calibration`` in Python."""
    assert any("qsr import calibration" in block for block in BLOCKS)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1])
@pytest.mark.usefixtures("project")
def test_runs(block):
    """A Python block of the README runs, exactly as it stands, with nothing defined before."""
    line = README.read_text("utf-8").partition(block)[0].count("\n")
    code = compile("\n" * line + block, str(README), "exec")  # errors name the README's line
    exec(code, {"__name__": "__main__"})  # noqa: S102 (our own README)
