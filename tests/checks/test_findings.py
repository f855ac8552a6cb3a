"""The table of findings."""

import re
from pathlib import Path

import qsr.checks
from qsr.checks.findings import RULES, SEVERITIES, Finding
from qsr.checks.lint import CHECKS, lint
from qsr.checks.subject import Subject

ROOT = Path(qsr.checks.__file__).parent
CODE = re.compile(r"QSR\d{3}")


def test_every_code_is_used():
    """Every code of the table is found by some check and asserted by some test, and no other."""
    checks = {path: path.read_text("utf-8") for path in ROOT.glob("*.py")}
    used = {
        code
        for path, text in checks.items()
        if path.name != "findings.py"
        for code in CODE.findall(text)
    }
    tests = [path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    tested = {code for text in tests for code in CODE.findall(text)}
    assert used == RULES.keys()
    assert RULES.keys() <= tested


def test_severity():
    """A finding has the severity and the title of its code."""
    for code, rule in RULES.items():
        finding = Finding(code=code, where="w", problem="p", advice="a")
        assert finding.severity == rule.severity
        assert finding.severity in SEVERITIES
        assert finding.title == rule.title


def test_worst_first(integer):
    """Findings come worst first and by code; each check is announced."""
    said = []
    findings = lint(Subject(integer), lambda *words: said.append(words))
    order = [(SEVERITIES.index(one.severity), one.code) for one in findings]
    assert order == sorted(order)
    assert [name for name, done, total in said if done < total] == list(CHECKS)
    assert said[-1][1] == said[-1][2] == len(CHECKS)
