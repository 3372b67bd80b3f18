"""The night report as a page."""

from services.reports.night import NightReport
from services.storage.layout import Layout


def render(report: NightReport, layout: Layout) -> str:
    """Return the page."""
    del layout
    return report.to_json()
