"""The rooms of qsr import each other downwards only, and calibration stands alone."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import qsr

ROOT = Path(qsr.__file__).parent
BASE = {"errors", "quiet", "atomic"}

ARROWS = {
    "": set(),
    **{room: set() for room in BASE},
    "images": BASE,
    "metrics": BASE,
    "tflite": BASE,
    "data": {"images"} | BASE,
    "models": BASE,
    "calibration": {"tflite", ""} | BASE,
    "quantization": {"calibration", "tflite"} | BASE,
    "screening": {"data", "metrics", "tflite"} | BASE,
    "evaluation": {"data", "images", "metrics", "tflite"} | BASE,
    "analysis": {"tflite", "metrics"} | BASE,
    "training": {"data", "models", "metrics"} | BASE,
    "tables": BASE,
    "targets": BASE,
    "reports": {"analysis"} | BASE,
    "checks": {"analysis", "calibration", "metrics", "quantization", "targets", "tflite"} | BASE,
    "benchmark": {"tflite"} | BASE,
    "jobs": {
        *(
            "analysis",
            "benchmark",
            "calibration",
            "checks",
            "data",
            "evaluation",
            "images",
            "metrics",
        ),
        *("models", "quantization", "reports", "screening", "tables", "targets"),
        *("tflite", "training", ""),
    }
    | BASE,
    "cli": {"jobs", ""} | BASE,
}
"""Room to the rooms that it may import; ``""`` is ``qsr/__init__.py``, which has the version."""

MODULES = sorted(ROOT.rglob("*.py"))

HEAVY = {
    "PIL",
    "dask",
    "distributed",
    "jinja2",
    "keras",
    "matplotlib",
    "skimage",
    "tensorflow",
    "tensorflow_model_optimization",
    "tf_keras",
    "typer",
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows(path):
    """A module imports, anywhere in it, only its own room and the rooms below."""
    own = room_of(path)
    assert own in ARROWS, f"qsr/{own} is a room without arrows"
    reached = {imported_room(name) for name in imports(path.read_text(), package_of(path))}
    wrong = reached - ARROWS[own] - {own, None}
    assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_calibration_alone():
    """A fresh interpreter that imports qsr.calibration loads no heavy package."""
    script = (
        "import json, sys; import qsr.calibration; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    loaded = subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    packages = set(json.loads(loaded.stdout))
    assert {"qsr", "numpy"} <= packages
    assert packages & HEAVY == set()


@pytest.mark.parametrize(
    ("line", "room"),
    [
        ("import qsr", ""),
        ("import qsr.jobs.train as t", "jobs"),
        ("from qsr import __version__", ""),
        ("from qsr import evaluation", "evaluation"),
        ("from qsr.tflite.graph import Graph", "tflite"),
        ("from . import scheme", "calibration"),
        ("from .. import training", "training"),
        ("from ..models.zoo import build", "models"),
        ("import numpy.qsr", None),
        ("from qsrlike import cli", None),
        ("def f():\n    from qsr.cli import app", "cli"),
        ("if TYPE_CHECKING:\n    import qsr.analysis", "analysis"),
        ('m = importlib.import_module("qsr.analysis.compare")', "analysis"),
        ('m = import_module("qsr.cli")', "cli"),
        ('m = __import__("qsr.cli")', "cli"),
    ],
)
def test_every_way_to_import(line, room):
    """The reader of imports sees every way to import a room."""
    assert {imported_room(name) for name in imports(line, "qsr.calibration")} == {room}


def test_every_room_is_read():
    """The modules that are read are those of the rooms that there are."""
    assert {"", "errors", "tflite", "calibration", "models"} <= {room_of(path) for path in MODULES}


def imports(source, package):
    """Return the full name of everything that a module imports, in functions too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                names.update(alias.name for alias in node.names)
            case ast.ImportFrom():
                parents = package.split(".")
                base = parents[: len(parents) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                names.update(f"{module}.{alias.name}" for alias in node.names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                names.add(name)
    return names


def imported_room(name):
    """Return the room of an imported name, or None for other packages."""
    package, *rest = name.split(".")
    if package != "qsr":
        return None
    exists = rest and ((ROOT / rest[0]).is_dir() or (ROOT / f"{rest[0]}.py").is_file())
    return rest[0] if rest and (exists or rest[0] in ARROWS) else ""


def room_of(path):
    """Return the room of a module: its folder or file right under ``qsr``."""
    first = path.relative_to(ROOT).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def package_of(path):
    """Return the package that a module's relative imports start from."""
    return ".".join(["qsr", *path.relative_to(ROOT).parent.parts])
