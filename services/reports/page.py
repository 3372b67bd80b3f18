"""The page of a night, one file that loads nothing; and the writing of a report, as page and as JSON."""

from dataclasses import replace
from pathlib import Path

from services.catalogue.catalogue import Catalogue
from services.files.disk import REAL_DISK, Disk, write_text
from services.files.layout import Layout
from services.reports import tables
from services.reports.models import models_table
from services.reports.night import NightReport, build_report
from services.reports.order import in_order, without_twins
from services.reports.parts import page
from services.reports.pictures import Album
from services.reports.plates import level_plots, master_plates, refused_pictures, temperature_plots
from services.reports.summary import summary


def write_report(layout: Layout, catalogue: Catalogue, run_id: str, *, disk: Disk = REAL_DISK) -> tuple[Path, Path]:
    """Build and write the report of a run; return the paths of the JSON document and the page.

    Raises
    ------
    StorageError
        The files cannot be written.
    """
    report = build_report(layout, catalogue, run_id)
    json_path, html_path = layout.report_paths(str(report.run["night"]), run_id)
    write_text(json_path, report.to_json(), disk, replace=True)
    write_text(html_path, render(report, layout), disk, replace=True)
    return json_path, html_path


def render(report: NightReport, layout: Layout) -> str:
    """Return the page of a report; pictures of files that are gone are left out.

    Parameters
    ----------
    report : NightReport
    layout : Layout
        Where the frames and masters are, of which pictures are made.
    """
    album = Album()
    older = int(report.totals["masters_kept"]) - sum(m["outcome"] == "kept" for m in report.masters)
    report = replace(report, groups=in_order(report.groups), masters=without_twins(in_order(report.masters)))
    refused, plates = refused_pictures(report, layout, album), master_plates(report, layout, album)
    shown = {
        "summary": summary(report),
        "groups": tables.groups_table(report.groups, report.rejected),
        "masters": tables.masters_table(report.masters, older=older),
        "models": models_table(report.models),
        "plates": plates,
        "album_is_full": album.full,
        "temperatures": temperature_plots(report),
        "levels": level_plots(report),
        "searches": tables.searches_table(report.searches),
        "warnings": tables.warnings_table(report.warnings),
        "rejected": tables.rejected_table(report.rejected),
        "refused": tables.refused_table(report.refusals),
        "refused_pictures": refused,
        "facts": tables.facts(report),
        "settings": tables.settings_text(report),
        "software": report.run.get("software") or "nightcal",
    }
    return page("night.html", shown)
