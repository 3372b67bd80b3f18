"""The night report as a page: one file that needs nothing else, no network and no script.

What an observer asks in the morning comes first: did it work, what is missing, what is to do. Texts from devices, files
and the configuration are escaped (`services.reports.markup`), and the page forbids itself to load anything.
"""

from dataclasses import replace

from services.files.layout import Layout
from services.reports.markup import Markup, joined, tag
from services.reports.night import NightReport
from services.reports.order import in_order, without_twins
from services.reports.pictures import Album
from services.reports.plates import level_charts, master_plates, refused_plates, temperature_charts
from services.reports.style import STYLE
from services.reports.summary import summary
from services.reports.tables import (
    groups_table,
    masters_table,
    refused_table,
    searches_table,
    settings_list,
    warnings_table,
)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render(report: NightReport, layout: Layout) -> str:
    """Return the page of a report; pictures of files that are gone are left out.

    Parameters
    ----------
    report : NightReport
    layout : Layout
        Where the frames and masters are, of which pictures are made.
    """
    title = f"nightcal {report.run['night']}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    return f"<!doctype html>\n{tag('html', head, _body(report, layout), lang='en')}\n"


def _body(report: NightReport, layout: Layout) -> Markup:
    album = Album()
    report = replace(report, groups=in_order(report.groups), masters=without_twins(in_order(report.masters)))
    refused = joined((refused_table(report.refusals), refused_plates(report, layout, album)))
    searches = searches_table(report.searches)
    sections = (
        ("Sets", groups_table(report.groups)),
        ("Masters", joined((masters_table(report.masters), _gap(master_plates(report, layout, album))))),
        ("Temperature", temperature_charts(report)),
        ("Levels", level_charts(report)),
        ("Flat exposures", searches),
        ("Warnings", warnings_table(report.warnings)),
        ("Refused frames", refused if report.refusals else tag("p", "None.", class_="soft")),
        ("With what", settings_list(report)),
    )
    return tag(
        "body", summary(report), *(_section(name, inside) for name, inside in sections if inside), _footer(report)
    )


def _section(name: str, inside: Markup) -> Markup:
    return tag("section", tag("h2", name), inside)


def _gap(inside: Markup) -> Markup:
    return tag("div", inside, style="margin-top:14px") if inside else inside


def _footer(report: NightReport) -> Markup:
    return tag(
        "footer", f"{report.run.get('software') or 'nightcal'} · times are UTC · the same as JSON lies beside this page"
    )
