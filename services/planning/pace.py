"""How long things take with this camera, learned from what its sets and runs have taken; the usual times until then."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median

from calibration.frames import FrameKind
from calibration.plans.sequence import Costs
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Origin, SetRow

_SETS, _RUNS = 40, 12
"""So many of the last sets and runs are looked at: a renewed computer or cable is learned within a few nights."""
_FEWEST_FRAMES, _FEWEST = 5, 3
_LONGEST_FRAME_S, _LONGEST_COOLING_S = 120.0, 7200.0


def learned(sets: Iterable[SetRow], starts: Iterable[tuple[datetime, datetime | None]], prior: Costs) -> Costs:
    """Return what frames cost in time, by what they have cost.

    Parameters
    ----------
    sets : iterable of SetRow
        The last ones of our own.
    starts : iterable of tuple of datetime
        When each of the last runs began, and when its first cooled frame did (None: it took none).
    prior : Costs
        What holds for all of which too little is known.

    Returns
    -------
    Costs
        `frame_s`: the median over sets of biases and darks, which leaves out those that were interrupted.
        `flat_exposure_s`: the median of flats. `temperature_s`: what three of four runs do not exceed from their start
        to their first cooled frame, as a run may find the sensor cold already.
    """
    found = list(sets)
    frames = [gap for each in found if (gap := _between(each)) is not None]
    flats = [each.exposure_us / 1e6 for each in found if each.key.kind is FrameKind.FLAT and each.exposure_us]
    cooling = sorted((first - began).total_seconds() for began, first in starts if first is not None)
    cooling = [seconds for seconds in cooling if 0.0 < seconds <= _LONGEST_COOLING_S]
    return replace(
        prior,
        frame_s=median(frames) if len(frames) >= _FEWEST else prior.frame_s,
        flat_exposure_s=median(flats) if flats else prior.flat_exposure_s,
        temperature_s=cooling[(3 * len(cooling)) // 4] if len(cooling) >= _FEWEST else prior.temperature_s,
    )


def pace_of(catalogue: Catalogue, prior: Costs, *, now: datetime) -> Costs:
    """Return what frames cost in time, by the last sets and runs of a catalogue.

    Raises
    ------
    StorageError
        The catalogue cannot be read.
    """
    sets = catalogue.sets(origin=Origin.OWN, since=now - timedelta(days=120))
    return learned(sets[:_SETS], catalogue.first_cooled(_RUNS), prior)


def _between(row: SetRow) -> float | None:
    """Return the seconds between two exposures of a set; None where it does not say."""
    if row.key.kind is FrameKind.FLAT or row.count < _FEWEST_FRAMES or row.exposure_us is None:
        return None
    if row.oldest is None or row.newest is None:
        return None
    gap = (row.newest - row.oldest).total_seconds() / (row.count + row.rejected - 1) - row.exposure_us / 1e6
    return gap if 0.0 < gap <= _LONGEST_FRAME_S else None
