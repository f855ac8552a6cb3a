"""What is shown to a person of a result: pages, tables and overlays, drawn from records alone.

from qsr.reports import comparison_page, layers_csv, overlays, page_html

html = comparison_page(comparison, diagnosis, subject, origin, panels=panels)
"""

from qsr.reports.comparison import Subject, comparison_page
from qsr.reports.layers_csv import layers_csv
from qsr.reports.overlay import overlays
from qsr.reports.page import Origin, Page
from qsr.reports.rendering import page_html

__all__ = [
    "Origin",
    "Page",
    "Subject",
    "comparison_page",
    "layers_csv",
    "overlays",
    "page_html",
]
