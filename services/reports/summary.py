"""The first thing that a page says of a night: what happened, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.errors import RunCode, how_ended, meaning
from services.reports.event_records import Record
from services.reports.night import NightReport
from services.words import GAP, NONE, both_clocks, count, duration, moment, number, some, title

UNFINISHED = ("partial", "failed", "cut_off", "not_reached")
"""States of sets that are not what was wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """How a run ended: `look` is `ok`, `warn` or `bad`, `advice` what to do, a line each."""

    look: str
    text: str
    detail: str
    advice: tuple[str, ...] = ()


def headline(report: NightReport) -> Headline:
    """Return how the run ended and what to do."""
    run, detail = report.run, str(report.run.get("detail") or "")
    advice = (*_to_see(report), *_advice(report))
    if run.get("running"):
        return Headline(look="ok", text=f"Still running: {_progress(report)}", detail=_doing(report), advice=advice)
    if run.get("exit_code") is None:
        text = "No end was recorded: the run was cut off, its process is gone"
        again = "Run the same command again: it continues with what is missing."
        return Headline(look="bad", text=text, detail=detail, advice=(again, *advice))
    if run.get("code"):
        code = str(run["code"])
        first = f"{_sentence(meaning(code).advice)}."
        advice = (*_to_see(report), first, *_advice(report))
        return Headline(look="bad", text=_sentence(how_ended(code)), detail=detail, advice=advice)
    if run["exit_code"] != 0:
        return Headline(look="warn", text="Finished, but not everything is there", detail=detail, advice=advice)
    return Headline(look="ok", text="All done", detail=detail, advice=advice)


def _progress(report: NightReport) -> str:
    wanted = report.totals["wanted"]
    return f"{report.totals['there'] + report.totals['taken']} of {count(wanted, 'frame')} so far"


def _doing(report: NightReport) -> str:
    """Return what a run that goes on is doing: the sets that are being taken, and when the last frame was stored."""
    now = [
        f"{title(g)}: {g.get('accepted') or 0} of {count(int(g.get('wanted') or 0), 'frame')}"
        for g in report.groups
        if g.get("status") == "going_on"
    ]
    stored = moment(report.frames[-1].get("at")) if report.frames else None
    last = [] if stored is None else [f"last frame at {both_clocks(stored)}"]
    return "; ".join((*now, *last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The head of the page; `facts` are values, each with what it counts."""

    night: str
    title: str
    times: str
    headline: Headline
    facts: tuple[tuple[str, str], ...]


def summary(report: NightReport) -> Summary:
    """Return the head of the page."""
    run, totals = report.run, report.totals
    simulated = "simulated night" if run.get("simulated") else "night"
    return Summary(
        night=str(run["night"]),
        title=f"Calibration, {simulated} of {run['night']}",
        times=f"{_times(run)} · run {run['run_id']}",
        headline=headline(report),
        facts=(
            (number(totals["taken"]), f"of {number(max(0, totals['wanted'] - totals['there']))} frames taken"),
            (number(totals["there"]), "frames were there"),
            (number(totals["refused"]), "frames refused"),
            (number(totals["masters_built"]), _masters(report)),
            (number(len(report.warnings)), "warnings"),
            (duration(run.get("started_at"), run.get("finished_at")), "from start to end"),
        ),
    )


def _times(run: Record) -> str:
    """Return from when to when a run went, as far as that is known."""
    began, ended = (moment(run.get(name)) for name in ("started_at", "finished_at"))
    shown = [NONE if at is None else both_clocks(at, "%Y-%m-%d %H:%M:%S") for at in (began, ended)]
    return f"begun {shown[0]}" if ended is None else " to ".join(shown)


def _to_see(report: NightReport) -> Iterator[str]:
    """Yield what stands at the telescope as it should not, which comes before everything else."""
    for warning in report.warnings:
        if warning.get("code") == RunCode.LEFT_UNSAFE:
            yield f"Go and see: {warning.get('detail')}."


def _advice(report: NightReport) -> Iterator[str]:
    """Yield a line for each reason why something is missing, with what it concerns."""
    concerned: dict[str, list[str]] = {}
    for group in report.groups:
        if group.get("code") and group.get("status") in UNFINISHED:
            concerned.setdefault(str(group["code"]), []).append(title(group))
    for master in report.masters:
        if master["outcome"] == "refused":
            concerned.setdefault(str(master.get("code")), []).append(f"Master of {title(master)}")
    for code, names in concerned.items():
        said = meaning(code)
        yield f"{some(names, gap=GAP)}: {said.text} — {said.advice}."
    missed = [title(g) for g in report.groups if g.get("status") == "not_reached"]
    if missed:
        yield f"Not reached: {some(missed, gap=GAP)}."
    doubtful = [title(m) for m in report.masters if (m.get("statistics") or {}).get("verdict") == "suspect"]
    if doubtful:
        yield f"Look at before using: the masters of {some(doubtful, gap=GAP)}."


def _masters(report: NightReport) -> str:
    kept, refused = report.totals["masters_kept"], report.totals["masters_refused"]
    more = [f"{kept} kept"] if kept else []
    more += [f"{refused} not"] if refused else []
    return "masters built" + (f", {', '.join(more)}" if more else "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def refusals(group: Record) -> str:
    """Return why frames of a set were refused, with their numbers."""
    return "; ".join(f"{count}× {meaning(code).text}" for code, count in (group.get("refusals") or {}).items())
