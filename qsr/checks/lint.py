"""All checks of a model, one after the other."""

from collections.abc import Callable, Iterator

from qsr.checks.addends import check_addends
from qsr.checks.anchor import check_anchor
from qsr.checks.channels import check_channels
from qsr.checks.clip import check_clip
from qsr.checks.ends import check_ends
from qsr.checks.findings import SEVERITIES, Finding
from qsr.checks.kernels import check_kernels
from qsr.checks.operators import check_operators
from qsr.checks.outliers import check_outliers
from qsr.checks.subject import Subject

CHECKS: dict[str, Callable[[Subject], Iterator[Finding]]] = {
    "output": check_clip,
    "grids of input and output": check_ends,
    "nearest-neighbour kernel": check_anchor,
    "addends": check_addends,
    "weights": check_kernels,
    "channels": check_channels,
    "outliers": check_outliers,
    "operators": check_operators,
}
"""What is looked at, in this order."""


def lint(
    subject: Subject, on_check: Callable[[str, int, int], None] | None = None
) -> tuple[Finding, ...]:
    """Check a model.

    Args:
        subject: the model, and what to measure it on.
        on_check: called with what is looked at next, and the number of checks done and of all.

    Returns:
        Findings, the worst first, and by code.

    Raises:
        ModelError: the model cannot be read or run.
    """
    found: list[Finding] = []
    for done, (name, check) in enumerate(CHECKS.items()):
        if on_check is not None:
            on_check(name, done, len(CHECKS))
        found.extend(check(subject))
    if on_check is not None:
        on_check(name, len(CHECKS), len(CHECKS))
    return tuple(sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.code)))
