"""The project's checks: ``nox`` runs lint, types and tests; ``nox -l`` lists every session."""

import os

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]

_ON_ALL_CORES = ("--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile")
"""For pytest: a process for each core, with TensorFlow in each; the tests of a file share one."""

_ALONE = "tests/calibration/test_cluster.py"
"""Tests of which worker of a real cluster gets what, which no other tests may slow down."""


def _install(session: nox.Session, *groups: str, package: bool = True) -> None:
    """Install dependency groups of pyproject.toml, and the package itself unless told not to."""
    project = nox.project.load_toml("pyproject.toml")
    session.install(*nox.project.dependency_groups(project, *groups))
    if package:
        session.install(".")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite on up to four cores; arguments after ``--`` go to one plain pytest."""
    _install(session, "tests")
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    session.run("pytest", *_ON_ALL_CORES, f"--ignore={_ALONE}")
    session.run("pytest", _ALONE)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    _install(session, "lint", package=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package with mypy, strictly."""
    _install(session, "types")
    session.run("mypy")


@nox.session(default=False)
def realdata(session: nox.Session) -> None:
    """Check against the published benchmark sets, in the folder that QSR_BENCHMARKS names."""
    if "QSR_BENCHMARKS" not in session.env and "QSR_BENCHMARKS" not in os.environ:
        session.error("set QSR_BENCHMARKS to a folder that holds Set5, Set14 and B100")
    _install(session, "tests")
    session.run("pytest", "-m", "realdata", *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Measure branch coverage of the test suite."""
    _install(session, "tests")
    session.run("pytest", "--cov", "--cov-report=term-missing:skip-covered", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Time the search against the public converter; arguments after ``--`` go to the benchmark."""
    _install(session, "bench")
    session.run("python", "benchmarks/search_vs_converter.py", *session.posargs)


@nox.session(name="bench-training", default=False)
def bench_training(session: nox.Session) -> None:
    """Time training against plain Keras; arguments after ``--`` go to the benchmark."""
    _install(session, "bench")
    session.run("python", "benchmarks/training_vs_fit.py", *session.posargs)


@nox.session(name="bench-clip-free", default=False)
def bench_clip_free(session: nox.Session) -> None:
    """Compare the folded clip with the clip-free method; arguments after ``--`` go to it."""
    _install(session, "bench")
    session.run("python", "benchmarks/clip_free.py", *session.posargs)
