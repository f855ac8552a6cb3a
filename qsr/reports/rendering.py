"""Pages as HTML: one file, which loads nothing and does nothing but sort its tables."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from math import isfinite
from typing import TYPE_CHECKING, Any

from qsr.reports.page import Page
from qsr.reports.wording import printable

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = files("qsr.reports") / "templates"


def page_html(page: Page) -> str:
    """Return a report as one HTML file, whose content security policy forbids every request.

    Args:
        page: the report.
    """
    from markupsafe import Markup

    style, script = (
        (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "sort.js")
    )
    # Both are files of this package: nothing of a model or an image is in them.
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        )
    )


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def source(name: str) -> str:
        return (_TEMPLATES / name).read_text(encoding="utf-8")

    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(source),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    environment.filters["order"] = _order
    return environment


def _clean(value: Any) -> Any:
    """Take out of plain text what a page cannot hold; markup is left as it is."""
    return printable(value) if type(value) is str else value


def _order(value: float | str | None) -> str:
    """Return what JavaScript sorts a cell by; empty sorts last."""
    if value is None or isinstance(value, str):
        return value or ""
    return repr(float(value)) if isfinite(value) else "Infinity" if value > 0 else "-Infinity"
