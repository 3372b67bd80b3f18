"""A wanted master has a name of its own, whatever its filter is called."""

from dataclasses import replace
from itertools import product

import pytest

from calibration.frames import FrameKind
from calibration.plans.sequence import WantedSet
from services.planning.item import Item, item_key

DARK = WantedSet(
    kind=FrameKind.DARK, count=30, why=("science",), exposure_us=300_000_000, gain=26, offset=30, set_temp_c=-10.0
)
FLAT = WantedSet(kind=FrameKind.FLAT, count=40, why=("flat",), filter="Ha", source="panel", gain=26, set_temp_c=-10.0)


def test_a_key_is_read_as_what_it_is() -> None:
    assert item_key(DARK) == "dark_300.000s_g26_o30_T-10"
    assert item_key(FLAT) == "flat_Ha_g26_T-10"
    assert item_key(replace(FLAT, source="sky", filter=None, binning=2, readout_mode="Low-Noise")) == (
        "flat_nofilter_sky_g26_rLow-Noise_b2x2_T-10"
    )
    assert item_key(WantedSet(kind=FrameKind.BIAS, count=9, why=("bias",), exposure_us=32)) == "bias_0.000032s"


def test_how_many_frames_and_what_for_change_no_key_and_neither_does_the_exposure_that_flats_find() -> None:
    assert item_key(replace(DARK, count=99, why=("flat", "science"))) == item_key(DARK)
    assert item_key(replace(FLAT, exposure_us=2_000_000)) == item_key(FLAT)


@pytest.mark.parametrize("name", ["O III", "O/III", "../../etc", "Hα", "CON", "a" * 60, "nofilter", "r\n"])
def test_a_key_is_safe_in_names_of_files_and_in_addresses(name: str) -> None:
    key = item_key(replace(FLAT, filter=name))
    assert key.isascii()
    assert not set(key) & set('/\\ :*?"<>|%#&\n')


def test_different_items_have_different_keys() -> None:
    names = ("O III", "O-III", "O/III", "Oiii", "OIII", "", "nofilter", None)
    flats = [replace(FLAT, filter=name, source=source) for name, source in product(names, ("panel", "sky"))]
    darks = [replace(DARK, gain=gain, offset=offset) for gain, offset in product((2, 26, None), (0, 30, None))]
    darks += [replace(DARK, set_temp_c=c) for c in (-10.5, -1.0, 0.0, None)]
    darks += [replace(DARK, exposure_us=t) for t in (1, 1000, 1001, 300_000)]
    sets = [*flats, *darks]
    assert len({item_key(each) for each in sets}) == len({Item.of(each) for each in sets})
