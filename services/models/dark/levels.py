"""The levels of groups of darks: what ties them before they are looked at, and their table and words afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.models.dark.fit import Taken
from calibration.models.dark.ties import Levels, Ties
from services.models.dark.bias import Bias
from services.models.gathering import Member
from services.words import digits

_SMALL = 0.05
"""Of the noise of a sample, a drift of whole frames that is left to the mean, and wandering that is worth no word."""

_OUTLYING = 5.0
"""Robust standard deviations and errors from the middle of all levels beyond which one lies outside."""

_LEAST_ADU = 1.0
"""The same, at least."""

_ENOUGH = 4
_UNKNOWN = 0.5
"""Error of a level, in parts of how far levels wander, from which on the frames hardly show it."""


def ties_of(taken: Taken, members: Sequence[Member], bias: Bias, *, drift_adu2: float, read_adu2: float) -> Ties:
    """Return what is known of the levels of K groups of darks before they are looked at.

    Frames of a group drift, and so does their mean; the level of a bias model has an error. Groups may share what one
    temperature has, one session, and one attempt.

    Parameters
    ----------
    taken : Taken
    members : sequence of Member
        The first frame of each group.
    bias : Bias
        Of the groups.
    drift_adu2, read_adu2 : float
        Variance of the levels of frames about those of their groups, and of a sample without signal.
    """
    sessions = np.array([member.session for member in members])
    attempts = np.array([" ".join(map(str, member.attempt)) for member in members])
    ties = Ties.among(taken.label_c, sessions, attempts)
    known = bias.level_covariance_adu2 + np.diag(drift_adu2 / taken.frames) * (drift_adu2 > _SMALL**2 * read_adu2)
    if not np.diag(known).max() > _SMALL**2 * read_adu2 / taken.frames.max():
        known = np.zeros_like(known)
    return Ties(known_adu2=known, shared=ties.shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The level that was taken off a group of darks, beside that of its bias.

    Attributes
    ----------
    group : int
    label_c, exposure_s : float
    session : str
    frames : int
    level_adu, error_adu : float
        And its 1σ error.
    wander_adu : float
        How far levels lie apart as the groups show it, 1σ; 0 where they do not.
    outlying : bool
        Whether it lies outside of the other levels.
    """

    group: int
    label_c: float
    exposure_s: float
    session: str
    frames: int
    level_adu: float
    error_adu: float
    wander_adu: float
    outlying: bool


def rows_of(taken: Taken, members: Sequence[Member], levels: Levels) -> list[Row]:
    """Return the level of each group; `members` are the first frames of the groups."""
    value, error, wander = levels.value_adu, levels.sigma_adu, levels.wander_adu
    return [
        Row(
            group=number,
            label_c=float(taken.label_c[number]),
            exposure_s=float(taken.exposure_s[number]),
            session=member.session,
            frames=int(taken.frames[number]),
            level_adu=float(value[number]),
            error_adu=float(error[number]),
            wander_adu=float(wander[number]),
            outlying=bool(outside),
        )
        for number, (member, outside) in enumerate(zip(members, outlying(levels), strict=True))
    ]


def outlying(levels: Levels) -> NDArray[np.bool_]:
    """Return which levels lie outside of the others; of fewer than four none does."""
    away = np.abs(levels.value_adu - np.median(levels.value_adu))
    if len(away) < _ENOUGH:
        return np.zeros(len(away), np.bool_)
    scale = np.hypot(1.4826 * np.median(away), levels.sigma_adu)
    result: NDArray[np.bool_] = away > np.maximum(_OUTLYING * scale, _LEAST_ADU)
    return result


def words_of(rows: Sequence[Row], noise_adu: float) -> list[str]:
    """Return in whole sentences what the levels of groups of darks show; nothing of what is far below the noise."""
    wander = max((row.wander_adu for row in rows), default=0.0)
    if not wander > _SMALL * noise_adu:
        return []
    seen = digits(wander) if wander < 1 else f"{wander:.1f}"
    wandering = (
        f"The levels of the groups of darks wander about those of their bias by {seen} ADU (1σ); that of each "
        "group was fitted to all pixels and taken off, and what is not known of it is in the errors of the dark."
    )
    found = [wandering]
    hardly = sum(row.error_adu > _UNKNOWN * row.wander_adu for row in rows)
    if hardly:
        found.append(
            f"The levels of {hardly} of {len(rows)} groups can hardly be separated from their dark, and the errors are "
            "widened by it: darks of several exposures in one session, or biases beside them, would show them."
        )
    return found + [_outside(row) for row in rows if row.outlying]


def _outside(row: Row) -> str:
    session = f", session {row.session}," if row.session else ""
    return (
        f"The level of the darks of {row.label_c:.1f} °C and {row.exposure_s:g} s{session} lies outside of the others "
        f"({row.level_adu:+.1f} ± {row.error_adu:.1f} ADU): light, or another state of the camera. Look at the frames."
    )


def table_rows(said: Any) -> list[dict[str, Any]]:
    """Return the rows of a sidecar; none of a model of an older version."""
    return sorted(said.get("levels", []), key=lambda row: (row["label_c"], row["exposure_s"], row["session"]))
