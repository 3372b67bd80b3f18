"""The gain that frames on disk show: what their headers state as EGAIN is compared with it."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.clipping import clip_values
from calibration.frames import FrameKind
from calibration.masters.noise import neighbour_counts, noise_of_pairs
from calibration.system_gain import MeasuredGain, gain_of_pairs
from services.bands import Band, read_rows, source_of
from services.catalogue.rows import FrameRow
from services.errors import StorageError
from services.files.units import Unreadable
from services.planning.master_groups import MasterGroup
from services.planning.master_plan import MasterPlan

_FLATS, _DARKS = 9, 3
"""Frames that are looked at."""

_PIXELS = 100_000
"""About so many of the centre of each."""

_TOO_BRIGHT = 0.8
"""Of the saturation level: above it, the noise no longer grows with the light."""

_Settings = tuple[object, ...]


class MeasuredGains:
    """The gain of each camera and setting, measured once: from its newest flats and its shortest darks.

    Parameters
    ----------
    plan : MasterPlan
    scratch : Path
        Folder for frames that must be unpacked.
    """

    def __init__(self, plan: MasterPlan, scratch: Path) -> None:
        self._plan, self._scratch = plan, scratch
        self._known: dict[_Settings, MeasuredGain | None] = {}

    def of(self, group: MasterGroup) -> MeasuredGain | None:
        """Return the gain of the camera of a group at its settings; None without flats and darks for it."""
        settings = _settings(group)
        if settings not in self._known:
            self._known[settings] = self._measured(settings)
        return self._known[settings]

    @cached_property
    def _groups(self) -> list[MasterGroup]:
        return self._plan.groups()

    def _measured(self, settings: _Settings) -> MeasuredGain | None:
        alike = [group for group in self._groups if _settings(group) == settings and len(group.rows) > 1]
        newest = sorted(alike, key=lambda group: str(group.started), reverse=True)
        flats = next((group for group in newest if group.product is FrameKind.FLAT), None)
        dark = [group for group in newest if group.product is not FrameKind.FLAT]
        darks = min(dark, key=lambda group: group.exposure_us or 0, default=None)
        if flats is None or darks is None:
            return None
        try:
            return self._of_frames(_alike(flats.rows), list(darks.rows[:_DARKS]))
        except (Unreadable, StorageError, ValueError):  # the masters themselves will say what is wrong
            return None

    def _of_frames(self, flats: list[FrameRow], darks: list[FrameRow]) -> MeasuredGain | None:
        lit, dark = self._centres(flats), self._centres(darks)
        saturation = min((row.saturation_adu for row in flats if row.saturation_adu), default=np.inf)
        if len(lit) < 2 or len(dark) < 2 or clip_values(lit).median > _TOO_BRIGHT * saturation:
            return None
        noise = noise_of_pairs(neighbour_counts(dark)).sigma_adu
        return gain_of_pairs(lit, np.median(dark, axis=0), noise**2)

    def _centres(self, rows: list[FrameRow]) -> NDArray[np.float32]:
        """Return the central part of frames, shape (n, rows, x)."""
        sources = [source_of(self._plan.place.layout.absolute(row.path), self._scratch) for row in rows]
        height, width = sources[0].location.shape
        tall = max(2, min(height - 2 * (height // 4), _PIXELS // max(width // 2, 1))) // 2 * 2
        start = (height - tall) // 4 * 2  # whole squares of a mosaic
        band, columns = Band(start=start, stop=start + tall), slice(width // 8 * 2, width - width // 4)
        return np.stack([read_rows(source, band)[:, columns].astype(np.float32) for source in sources])


def _settings(group: MasterGroup) -> _Settings:
    """Return what the gain depends on, and the pedestal that is subtracted to measure it."""
    key = group.key
    stated = (key.camera, key.gain, key.egain_e_adu, key.offset, key.readout_mode, key.unread)
    return (*stated, key.shape, key.binning, key.origin, key.calibrated, key.pedestal_adu)


def _alike(rows: object) -> list[FrameRow]:
    """Return flats that follow one another and have one exposure."""
    frames: list[FrameRow] = list(rows)  # type: ignore[call-overload]
    same = [row for row in frames if row.exposure_us == frames[len(frames) // 2].exposure_us]
    start = max(0, (len(same) - _FLATS) // 2)
    return same[start : start + _FLATS]
