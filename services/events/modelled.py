"""What becomes of models of the detector: their records, and the sentences for these."""

from dataclasses import dataclass
from typing import ClassVar

from services.events.records import Record
from services.events.sentences import sentence
from services.words import count


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A parameter of a model, before and after it was fitted anew; `sigma` is the error of the difference."""

    what: str | None
    unit: str | None
    before: float | None
    after: float | None
    sigma: float | None

    @property
    def sigmas(self) -> float | None:
        """By how many errors it moved."""
        if self.before is None or self.after is None or self.sigma is None or not self.sigma > 0:
            return None
        return (self.after - self.before) / self.sigma


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFitted(Record):
    """A model is on the disk and in the catalogue. `kept`: it was there already, of the same frames.

    `n` counts the frames of its own kind: of a flat, the flats without the darks that were taken off them.

    `anew` says in words why it was fitted anew, where there was one before.
    """

    name: ClassVar[str] = "model.fitted"
    path: str | None
    kind: str | None
    family: str | None = None
    n: int | None
    temperatures: int | None = None
    coldest_c: float | None = None
    warmest_c: float | None = None
    notes: tuple[str, ...] = ()
    moved: tuple[Moved, ...] = ()
    kept: bool = False
    anew: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLacking(Record):
    """There is no model of this kind, or none of its frames as they are now, and why; `detail` ends with what to do.

    `path` is that of the model before, where that is valid; `settings` says which camera settings are meant.
    """

    name: ClassVar[str] = "model.lacking"
    kind: str | None
    detail: str = ""
    path: str | None = None
    settings: str = ""


_IN_WORDS = {
    ("flat", "A"): "fixed gains",
    ("flat", "A + B"): "gains that change with temperature",
    ("flat", "A + C"): "gains that change with exposure",
    ("flat", "A + B + C"): "gains that change with temperature and exposure",
    ("dark", "power"): "power law",
    ("dark", "arrhenius"): "Arrhenius law",
    ("dark", "two_component"): "two currents, of depletion and diffusion",
    ("dark", "meyer_neldel"): "Arrhenius law with Meyer-Neldel rule",
    ("dark", "shrunk"): "Arrhenius law with energies drawn to their mean",
}


def family_words(kind: str | None, family: str | None) -> str:
    """Return in an observer's words what a model supposes; "" where that is not known.

    Parameters
    ----------
    kind : str or None
        A word of `models.kinds`.
    family : str or None
        As the model has it: terms of a flat, a function of temperature else.
    """
    return _IN_WORDS.get((kind or "", family or ""), (family or "").replace("_", " "))


_FAR = 3.0
"""A parameter that differs by more errors has moved."""


@sentence.register
def _(what: ModelFitted) -> str:
    name = (what.path or "").rpartition("/")[2]
    at = "" if what.temperatures is None else f" at {count(what.temperatures, 'temperature')}"
    span = "" if what.coldest_c is None or what.warmest_c is None else f", {_span(what.coldest_c, what.warmest_c)}"
    there = " (was there)" if what.kept else ""
    of = f"{family} of " if (family := family_words(what.kind, what.family)) else ""
    parts = (
        f"model {name}{there}: {of}{count(what.n or 0, what.kind or 'frame')}{at}{span}",
        *((f"fitted anew: {what.anew}",) if what.anew else ()),
        *map(_clause, what.notes),
    )
    return "; ".join((*parts, *moved_words(what.moved)))


def _clause(note: str) -> str:
    """Return a note as a part of a sentence, whether it is one by itself or not."""
    first = note[:1].lower() if note[1:2].islower() else note[:1]
    return f"{first}{note[1:].removesuffix('.')}"


def _span(coldest_c: float, warmest_c: float) -> str:
    if round(coldest_c, 1) == round(warmest_c, 1):
        return f"{coldest_c:.1f} °C"
    return f"{coldest_c:.1f} to {warmest_c:.1f} °C"


def moved_words(moved: tuple[Moved, ...]) -> tuple[str, ...]:
    """Return in words whether a model moved, one part for each parameter; none of a first model."""
    if not moved:
        return ()
    far = [each for each in moved if each.sigmas is not None and abs(each.sigmas) > _FAR]
    if not far:
        return (f"it has not moved: {'; '.join(map(_moved, moved))}",)
    return (f"it has moved: {'; '.join(map(_moved, far))}",)


def _moved(each: Moved) -> str:
    if each.before is None or each.after is None:
        return f"{each.what}: not known"
    change = each.after - each.before
    by = [f"{change:+.3g} {each.unit}"]
    if abs(change) < abs(each.before):
        by.append(f"{100 * change / abs(each.before):+.1f} %")
    if each.sigmas is not None:
        by.append(f"{each.sigmas:+.1f} sigma")
    return f"{each.what} {each.before:.4g} → {each.after:.4g} {each.unit} ({', '.join(by)})"


@sentence.register
def _(what: ModelLacking) -> str:
    of = f"{what.kind} ({what.settings})" if what.settings else f"{what.kind}"
    if what.path is None:
        return f"no model of the {of}: {what.detail}"
    return f"the model of the {of} is not fitted anew, {what.path} serves on: {what.detail}"
