"""What a night was: a JSON document for machines and a page for people, from the run's events and the catalogue."""

from services.reports.night import NightReport, build_report, write_report

__all__ = ["NightReport", "build_report", "write_report"]
