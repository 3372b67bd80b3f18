"""A wanted master by what identifies it: the same item may be wanted by several programmes, and is had once."""

import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from calibration.frames import FrameKind
from calibration.plans.dark import DarkUse
from calibration.plans.sequence import WantedSet
from services.files.layout import sanitise, seconds_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One wanted master of one state of the camera; None is "as found".

    Attributes
    ----------
    kind : FrameKind
    exposure_us : int or None
        None for flats: found when they are taken.
    filter, source : str or None
        Flats only; `source` is `panel` or `sky`.
    gain, offset, binning : int or None
    readout_mode : int or str or None
    set_temp_c : float or None
    """

    kind: FrameKind
    exposure_us: int | None = None
    filter: str | None = None
    source: str | None = None
    gain: int | None = None
    offset: int | None = None
    readout_mode: int | str | None = None
    binning: int | None = None
    set_temp_c: float | None = None

    @classmethod
    def of(cls, wanted: WantedSet) -> "Item":
        """Return what a wanted set is a set of."""
        is_flat = wanted.kind is FrameKind.FLAT
        return cls(
            kind=wanted.kind,
            exposure_us=None if is_flat else wanted.exposure_us,
            filter=wanted.filter if is_flat else None,
            source=wanted.source if is_flat else None,
            gain=wanted.gain,
            offset=wanted.offset,
            readout_mode=wanted.readout_mode,
            binning=wanted.binning,
            set_temp_c=wanted.set_temp_c,
        )

    @property
    def key(self) -> str:
        """Its name: readable, safe in file names and addresses, and its own: "dark_300.000s_g26_o30_T-10"."""
        sky = ("sky",) if self.source == "sky" else ()
        light = _NO_FILTER if self.filter is None else _part(self.filter, not_=_NO_FILTER)
        named = (light, *sky) if self.kind is FrameKind.FLAT else (self._seconds,)
        binning = None if self.binning in {None, 1} else f"{self.binning}x{self.binning}"
        settings = {
            "g": self.gain,
            "o": self.offset,
            "r": self.readout_mode,
            "b": binning,
            "T": None if self.set_temp_c is None else f"{self.set_temp_c:g}",
        }
        stated = [f"{letter}{value}" for letter, value in settings.items() if value is not None]
        return "_".join((self.kind.lower(), *named, *map(_part, stated)))

    @property
    def _seconds(self) -> str:
        return f"{seconds_text(self.exposure_us or 0)}s"


_NO_FILTER = "nofilter"


def _part(text: str, not_: str = "") -> str:
    """Return a part of a key; where it cannot stand as it is, a checksum keeps it apart from others."""
    safe = sanitise(text)
    return safe if safe == text != not_ else f"{safe}-{zlib.crc32(text.encode()):08x}"


def settings_of(wanted: WantedSet) -> tuple[object, ...]:
    """Return the settings of the camera that a wanted set is taken with, the temperature first."""
    return wanted.set_temp_c, wanted.gain, wanted.offset, wanted.readout_mode, wanted.binning


def item_key(wanted: WantedSet) -> str:
    """Return the key of the item that a wanted set is a set of."""
    return Item.of(wanted).key


def asked_for(
    sets: Iterable[WantedSet], only: frozenset[str] | None, *, followed_us: Collection[int] = ()
) -> tuple[WantedSet, ...]:
    """Return those of some sets that a run is asked for.

    Parameters
    ----------
    sets : iterable of WantedSet
    only : frozenset of str or None
        Keys of items; None: all.
    followed_us : collection of int
        Exposures of flats among these: their darks are asked for as well, because nobody knows the exposures, and so
        the keys of the darks, before the flats are taken.
    """
    wanted = tuple(sets)
    if only is None:
        return wanted
    return tuple(each for each in wanted if item_key(each) in only or _follows(each, followed_us))


def _follows(wanted: WantedSet, flats_us: Collection[int]) -> bool:
    return DarkUse.FLAT in wanted.why and wanted.exposure_us in flats_us
