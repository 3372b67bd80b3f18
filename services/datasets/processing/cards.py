"""The header of a dataset's master: our own cards, beside them those that the earlier programs' users look for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import Card, MasterInfo, to_cards
from calibration.keywords.letters import escaped_text
from calibration.keywords.values import text
from services.datasets.processing.wanted import Found, Wanted
from services.masters import master_cards
from services.version import version
from services.words import count

OK = "ok"
"""The verdict on a master of which nothing is suspect."""

_NOT_OF_ALL: dict[str, Any] = {
    "reported_exposure_us": None,
    "frame_no": None,
    "temp_begin_c": None,
    "temp_end_c": None,
    "step_adu": None,
    "cooler_power_pct": None,
}


REMARKS = "REMARKS"
"""Keyword of what is to be said of a master, which a second call says again."""
_BETWEEN = "; "
_LONGEST = 4000


def remarks_of(cards: Mapping[str, object]) -> tuple[str, ...]:
    """Return what was to be said of a master when it was made."""
    written = text(cards.get(REMARKS))
    return () if written is None else tuple(written.split(_BETWEEN))


def cards_of(wanted: Wanted, found: Found, recipe: str, remarks: Sequence[str]) -> list[Card]:
    """Return the cards of a master."""
    cards = list(to_cards(_header(wanted, found), _info(wanted, found, recipe)))
    cards = [_in_adu(card) for card in cards]
    there = {card.keyword for card in cards}
    cards += [card for card in _earlier(wanted, found) if card.keyword not in there]
    cards += [Card(REMARKS, escaped_text(_BETWEEN.join(remarks), _LONGEST), "what is worth a look")] if remarks else []
    return [*cards, *_history(wanted, found)]


def plane_cards(name: str, cards: Sequence[Card]) -> list[Card]:
    """Return the cards of a plane: those of its master that do not describe the values of MEAN alone."""
    return master_cards.plane_cards(name, [card for card in cards if card.keyword not in {"MEAN", "MEDIAN", "STD"}])


def _in_adu(card: Card) -> Card:
    """Return a card of a flat whose values are in ADU: it was not normalised."""
    return Card("BUNIT", "adu", "unit of the values") if card.keyword == "BUNIT" else card


def _header(wanted: Wanted, found: Found) -> FrameHeader:
    first, numbers = wanted.frames[0].header, found.statistics
    headers = [frame.header for frame in wanted.frames]
    times = [header.date_obs for header in headers if header.date_obs is not None]
    shared: dict[str, Any] = {
        name: getattr(first, name) if len({getattr(header, name) for header in headers}) == 1 else None
        for name in ("night", "run_id", "set_id")
    }
    celsius = [header.ccd_temp_c for header in headers if header.ccd_temp_c is not None]
    return replace(
        first,
        **_NOT_OF_ALL,
        **shared,
        exposure_us=first.exposure_us if wanted.group.kind is FrameKind.BIAS else wanted.group.exposure_us,
        date_obs=min(times, default=None),
        date_avg=master_cards.middle_of(times),
        date_end=max(times, default=None),
        ccd_temp_c=float(np.mean(celsius)) if celsius else None,
        median_adu=numbers["median_adu"],
        std_adu=numbers["spatial_sigma_adu"],
        min_adu=numbers["percentiles_adu"][0],
        max_adu=numbers["percentiles_adu"][-1],
        filter=first.filter if wanted.group.kind is FrameKind.FLAT else None,
        software=f"nightcal {version()}",
        extra={},
    )


def _info(wanted: Wanted, found: Found, recipe: str) -> MasterInfo:
    bias, before = wanted.bias, wanted.group.key.calibrated or ""
    info = master_cards.combining_info(len(wanted.frames), found.recipe, found.rejected, found.statistics, recipe)
    return replace(
        info,
        bias_subtracted=bias is not None or "B" in before,
        calibration_status="".join(sorted({*before, *("B" if bias is not None else "")})) or None,
    )


def _earlier(wanted: Wanted, found: Found) -> list[Card]:
    """Return the cards of the earlier programs, and what a second call reads of a master that is there."""
    celsius = [frame.header.ccd_temp_c for frame in wanted.frames if frame.header.ccd_temp_c is not None]
    seconds = [frame.header.exposure_us / 1e6 for frame in wanted.frames if frame.header.exposure_us is not None]
    numbers = found.statistics
    cards = [
        Card("NSOURCE", len(wanted.frames), "frames combined"),
        Card("MEAN", found.mean_adu, "[adu] of all pixels"),
        Card("MEDIAN", numbers["percentiles_adu"][3], "[adu] of all pixels"),
        Card("STD", found.std_adu, "[adu] of all pixels, ddof 1"),
        *_range("T", celsius, "[deg C]", "sensor"),
        *_range("E", seconds, "[s]", "exposure"),
        Card("ATTEMPT", wanted.attempt, "frames of one attempt; empty: of all attempts"),
        Card("STAGE", wanted.group.stage, "of an irradiation"),
        Card("VACUUM", wanted.group.vacuum, "what surrounded the sensor"),
        Card("VERDICT", ",".join(v.code for v in found.verdicts)[:60] or OK, "what is suspect, or ok"),
    ]
    if wanted.bias is not None:
        cards.append(Card("BIASFILE", wanted.bias.path.name[:68], "master bias that was subtracted"))
        if (at_c := wanted.bias.group.temperature_c) is not None:
            cards.append(Card("BIASTEMP", at_c, "[deg C] its temperature"))
    optional = {"ATTEMPT", "STAGE", "VACUUM"}
    return [card for card in cards if card.value == card.value and (card.value or card.keyword not in optional)]


def _range(letter: str, values: Sequence[float], unit: str, what: str) -> list[Card]:
    if not values:
        return []
    return [
        Card(f"{letter}MIN", min(values), f"{unit} {what}, least of all frames"),
        Card(f"{letter}MAX", max(values), f"{unit} {what}, greatest of all frames"),
        Card(f"{letter}AVG", float(np.mean(values)), f"{unit} {what}, mean of all frames"),
    ]


def _history(wanted: Wanted, found: Found) -> list[Card]:
    n, method = len(wanted.frames), found.recipe.method_for(len(wanted.frames))
    lines = [f"nightcal: mean of {count(n, 'frame')}, rejection {method}, {count(found.rejected, 'value')} rejected"]
    if wanted.bias is not None:
        lines.append(f"minus {wanted.bias.path.name} from each frame")
    elif wanted.group.kind is FrameKind.DARK:
        lines.append(wanted.note)
    elif wanted.group.kind is FrameKind.FLAT:
        lines.append("nothing was subtracted, and the flat is not normalised")
    lines += [f"suspect: {verdict.detail} ({verdict.code})" for verdict in found.verdicts]
    lines += [f"input {frame.path.name} {wanted.numbers[frame.path].sha256[:16]}" for frame in wanted.frames]
    return [Card("HISTORY", line) for line in lines]
