"""The models of a night: what was fitted and whether it moved, what was there, and why there is no other."""

from collections.abc import Iterable, Sequence

from services.events.modelled import ModelFitted, ModelLacking, family_words, moved_words
from services.events.records import Event
from services.reports.event_records import Record, document
from services.reports.parts import Cell, Column, Mark, Table
from services.words import number

_COLUMNS = (
    Column(name="Model", meaning="of the detector, below models/; its kind"),
    Column(name="State", meaning="fitted and whether it moved, there already, or why there is none, or none anew"),
    Column(name="Family", meaning="how it depends on temperature, a flat on exposure too"),
    Column(name="Frames", meaning="of its kind that it is made of: of a flat, the flats without their darks"),
    Column(name="Temperatures", meaning="how many, the coldest and the warmest"),
)


def models_of(events: Iterable[Event]) -> tuple[Record, ...]:
    """Return the models of a run; `words` are their notes, and whether they moved."""
    found = []
    for event in events:
        match event.what:
            case ModelFitted() as fitted:
                anew = (f"fitted anew: {fitted.anew}",) if fitted.anew else ()
                words = (*anew, *fitted.notes, *moved_words(fitted.moved))
                found.append(document(event) | {"outcome": "kept" if fitted.kept else "fitted", "words": list(words)})
            case ModelLacking() as lacking:
                outcome = "lacking" if lacking.path is None else "as_before"
                settings = (lacking.settings,) if lacking.settings else ()
                found.append(document(event) | {"outcome": outcome, "words": [*settings, lacking.detail]})
    return tuple(found)


_MARKS = {
    "fitted": ("ok", "fitted"),
    "kept": ("", "was there"),
    "lacking": ("warn", "none"),
    "as_before": ("warn", "as before"),
}


def models_table(models: Sequence[Record]) -> Table:
    """Return the models, a row for each."""
    return Table(columns=_COLUMNS, rows=tuple(map(_cells, models)), numbers=frozenset({3}))


def _cells(model: Record) -> tuple[str | Cell | None, ...]:
    look, text = _MARKS[model["outcome"]]
    name = str(model.get("path") or model.get("kind") or "").rpartition("/")[2]
    return (
        name,
        Cell(marks=(Mark(text=text, look=look),), reasons=tuple(map(str, model["words"]))),
        family_words(model.get("kind"), model.get("family")),
        number(model.get("n")),
        _span(model) if model.get("temperatures") is not None else "",
    )


def _span(model: Record) -> str:
    coldest, warmest = (number(model.get(name), 1) for name in ("coldest_c", "warmest_c"))
    return f"{number(model['temperatures'])}: {coldest} … {warmest} °C"
