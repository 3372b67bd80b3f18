"""Whether a file of a step was made of the file of the step before that is there now: it states the sum of its data."""

from collections.abc import Iterable
from pathlib import Path

from calibration.keywords import Card
from services.errors import Usage
from services.files.units import Unreadable, image_unit

_FROM = "FLAT_FROM"


def from_card(made_of: Path) -> Card:
    """Return the card that says of which data a file is made."""
    return Card(_FROM, _sum_of(made_of), "DATASUM of what it was made of")


def refuse_stale(made: Iterable[tuple[Path, Path]], mode: str) -> None:
    """Refuse files that were made of others than there are; each is given with what it is made of.

    What is not there any more, or does not state its sum, cannot be compared.

    Raises
    ------
    Usage
        The step before was done anew, and that of these files was not; `mode` makes them.
    """
    stale = [path for path, before in made if before.exists() and _differs(path, before)]
    if stale:
        raise Usage(
            f"{len(stale)} files of {stale[0].parent} were made of others than there are now (first: {stale[0].name}): "
            "an earlier step was done anew",
            advice=f"make them again with --mode {mode}, or everything with --mode full",
        )


def _differs(path: Path, before: Path) -> bool:
    stated, there = str(image_unit(path).cards.get(_FROM) or ""), _sum_of(before)
    return bool(stated and there) and stated != there


def _sum_of(path: Path) -> str:
    try:
        return str(image_unit(path).cards.get("DATASUM", "")).strip()
    except Unreadable:
        return ""
