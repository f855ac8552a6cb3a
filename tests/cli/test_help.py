"""Help, and how thin the commands are."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import qsr.cli
from qsr.cli.app import build_app

APPLICATION = typer.main.get_command(build_app())
COMMANDS = sorted(APPLICATION.commands)
README = Path(__file__).parents[2] / "README.md"

HELP_SCRIPT = """
import json, sys
from qsr.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as left:
        assert not left.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_commands():
    """These are the commands."""
    expected = [
        *("audit-repdata", "benchmark", "check", "compare", "evaluate", "fold-clip", "models"),
        *("qat", "quantize", "search-repdata", "table", "train", "upscale"),
    ]
    assert expected == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name):
    """A command, and every argument and option of it, has a help text."""
    command = APPLICATION.commands[name]
    assert command.help
    without = [parameter.name for parameter in command.params if not parameter.help]
    assert not without


@pytest.mark.parametrize("name", COMMANDS)
def test_readme(name):
    """The README shows the command."""
    assert f"qsr {name}" in README.read_text(encoding="utf-8")


def test_json_everywhere():
    """Every command prints its report as JSON on request."""
    for command in APPLICATION.commands.values():
        assert "--json" in [option for parameter in command.params for option in parameter.opts]


def test_nothing_heavy():
    """Help, also that of each command, loads neither numpy nor TensorFlow nor an interpreter."""
    lines = [["--help"], [], *([name, "--help"] for name in COMMANDS)]
    done = subprocess.run(  # noqa: S603 (this interpreter, our own words)
        [sys.executable, "-c", HELP_SCRIPT, json.dumps(lines)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(f"qsr {name}" in done.stdout for name in COMMANDS)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "typer" in loaded
    assert not loaded & {"numpy", "tensorflow", "tf_keras", "keras", "ai_edge_litert", "PIL"}


@pytest.mark.parametrize("name", COMMANDS)
def test_one_function(name):
    """A command calls one public function of ``qsr.jobs``, which needs no command line."""
    file = name_of(name.removesuffix("-repdata"))
    tree = ast.parse((Path(qsr.cli.__file__).parent / f"{file}.py").read_text(encoding="utf-8"))
    (function,) = (
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == name_of(name)
    )
    imported = [
        alias.name
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qsr.jobs")
        for alias in node.names
    ]
    assert len(imported) == 1
    assert not imported[0].startswith("_")


def name_of(command):
    """Return the Python name of a command."""
    return command.replace("-", "_")
