"""The library: the right master or a list of what there is, never silently another one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from calibration.frames import FrameHeader, FrameKind
from calibration.grouping import group_key
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import MasterRow, MasterStatus
from services.errors import StorageError
from services.files import fits
from services.files.layout import Layout, MasterName
from services.library.lookup import MasterLibrary, NoMaster

AT = datetime(2026, 1, 1, 18, tzinfo=UTC)


class Shelf:
    """A library with masters put on it."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.catalogue = Catalogue(self.layout.catalogue)
        self.library = MasterLibrary(self.layout, self.catalogue)
        self.number = 0

    def put(
        self,
        kind: FrameKind,
        exposure_s: float = 1.0,
        *,
        status: MasterStatus = MasterStatus.BUILT,
        valid_until: datetime | None = None,
        **header: object,
    ) -> MasterRow:
        self.number += 1
        known = FrameHeader(
            **{"kind": kind, "shape": (4, 5), "exposure_us": round(exposure_s * 1e6), "gain": 26, "set_temp_c": -10.0}
            | header
        )
        at = AT + timedelta(minutes=self.number)
        path = self.layout.master_path(MasterName(kind=kind, stamp=at))
        with fits.create_planes(path, [fits.Plane(name="MEAN")], (4, 5)) as file:
            file.write("MEAN", 0, np.full((4, 5), self.number))
            file.finish()
        row = MasterRow(
            path=self.layout.relative(path), key=group_key(known), n=40, recipe=str(self.number), built_at=at,
            exposure_us=known.exposure_us, status=status, valid_from=AT, valid_until=valid_until,
        )  # fmt: skip
        self.catalogue.add_master(row)
        return row


@pytest.fixture
def shelf(tmp_path: Path):
    made = Shelf(tmp_path)
    yield made
    made.catalogue.close()


def test_masters_of_several_gains_or_temperatures_are_never_chosen_among_silently(shelf: Shelf) -> None:
    shelf.put(FrameKind.DARK, 5.0)
    shelf.put(FrameKind.DARK, 5.0, set_temp_c=-10.3)
    assert shelf.library.dark(5.0, alike=True).row.key.gain == 26
    shelf.put(FrameKind.DARK, 5.0, gain=56)
    shelf.put(FrameKind.DARK, 5.0, set_temp_c=0.0)
    with pytest.raises(
        NoMaster, match=r"darks of 5\.000 s fit: say which gain and temperature_c; there are: 5\.000 s gain"
    ):
        shelf.library.dark(5.0, alike=True)
    with pytest.raises(NoMaster, match="say which gain;"):
        shelf.library.dark(5.0, alike=True, temperature_c=-10.0)
    chosen = shelf.library.dark(5.0, alike=True, gain=56, temperature_c=-10.2)
    assert (chosen.row.key.gain, chosen.row.key.temperature_c) == (56, -10.0)


OTHERS = {
    "camera_id": "another",
    "simulated": True,
    "shape": (8, 5),
    "bin_x": 2,
    "origin_x": 64,
    "gain": 56,
    "offset": 3,
    "readout_mode": "High Gain",
    "row_order": "BOTTOM-UP",
}
FLAT_OTHERS = {"filter": "R", "source": "sky", "rotator_angle_deg": 95.0}


@pytest.mark.parametrize("name", OTHERS)
def test_darks_that_cannot_stand_in_for_each_other_are_never_chosen_among_silently(shelf: Shelf, name: str) -> None:
    """Darks of two subframes were, the newer one: matching refused what the library gave."""
    shelf.put(FrameKind.DARK, 5.0)
    shelf.put(FrameKind.DARK, 5.0, **{name: OTHERS[name]})
    with pytest.raises(NoMaster, match=r"several master darks of 5\.000 s fit: say which \w+; there are: "):
        shelf.library.dark(5.0, alike=True)


@pytest.mark.parametrize("name", [*OTHERS, *FLAT_OTHERS])
def test_flats_that_cannot_stand_in_for_each_other_are_never_chosen_among_silently(shelf: Shelf, name: str) -> None:
    """Flats of the sky served in place of those of the panel, and those of another camera angle too."""
    flat = {"filter": "L", "source": "panel", "rotator_angle_deg": 90.0, "night": "2026-01-01"}
    shelf.put(FrameKind.FLAT, **flat)
    shelf.put(FrameKind.FLAT, **flat | {"rotator_angle_deg": 90.8, "night": "2026-01-02"})
    assert shelf.library.flat(alike=True).row.key.rotator_angle_deg == 90.8
    shelf.put(FrameKind.FLAT, **flat | {name: (OTHERS | FLAT_OTHERS)[name]})
    with pytest.raises(NoMaster, match=r"several master flats fit: say which \w+; there are: L "):
        shelf.library.flat(alike=True)


def test_biases_whatever_their_exposure_are_alike_but_not_of_several_temperatures(shelf: Shelf) -> None:
    shelf.put(FrameKind.BIAS, 0.001)
    newest = shelf.put(FrameKind.BIAS, 0.002)
    assert shelf.library.bias(alike=True).row == newest
    shelf.put(FrameKind.BIAS, 0.001, set_temp_c=None)
    with pytest.raises(NoMaster, match="say which temperature_c"):
        shelf.library.bias(alike=True)


def test_a_master_that_does_not_exist_is_an_error_that_says_in_what_the_nearest_differs(shelf: Shelf) -> None:
    shelf.put(FrameKind.DARK, 5.0)
    with pytest.raises(NoMaster, match=r"gain 56; there are: 5\.000 s gain 26 .*; the nearest has gain 26, wanted 56"):
        shelf.library.dark(5.0, gain=56)
    with pytest.raises(TypeError, match="a dark is not chosen by gian, but by camera"):
        shelf.library.dark(5.0, gian=26)


def test_flats_of_several_nights_are_alike_whatever_their_temperatures(shelf: Shelf) -> None:
    shelf.put(FrameKind.FLAT, filter="L", set_temp_c=10.0)
    newest = shelf.put(FrameKind.FLAT, filter="L", set_temp_c=18.0)
    assert shelf.library.flat("L", alike=True).row == newest


def test_the_newest_dark_of_the_exposure_serves(shelf: Shelf) -> None:
    shelf.put(FrameKind.DARK, 5.0)
    wanted = shelf.put(FrameKind.DARK, 5.0)
    shelf.put(FrameKind.DARK, 10.0)
    found = shelf.library.dark(5.0)
    assert found.row.path == wanted.path
    assert found.path == shelf.layout.absolute(wanted.path)
    assert found.pixels.dtype == np.float32
    assert (found.pixels == 2).all()
    assert found.cards["EXTNAME"] == "MEAN"


def test_exposures_are_equal_within_half_a_millisecond_or_a_thousandth(shelf: Shelf) -> None:
    shelf.put(FrameKind.DARK, 5.0)
    assert shelf.library.dark(5.0049).row.exposure_us == 5_000_000
    with pytest.raises(NoMaster):
        shelf.library.dark(5.02)


def test_no_dark_of_the_exposure_is_an_error_that_lists_what_there_is(shelf: Shelf) -> None:
    shelf.put(FrameKind.DARK, 2.5)
    shelf.put(FrameKind.DARK, 20.0, gain=0, readout_mode="High Gain", bin_x=2, bin_y=2)
    with pytest.raises(StorageError) as caught:
        shelf.library.dark(10.0)
    assert "no master dark of 10.000 s" in caught.value.detail
    assert "2.500 s gain 26 -10 °C 5x4" in caught.value.detail
    assert "20.000 s gain 0 mode High Gain -10 °C 5x4 binned 2x2" in caught.value.detail
    assert shelf.library.dark(10.0, nearest=True).row.exposure_us == 20_000_000
    assert shelf.library.dark(4.0, nearest=True).row.exposure_us == 2_500_000


def test_the_nearest_dark_is_not_chosen_silently_between_two_subframes(shelf: Shelf) -> None:
    for origin_x in (0, 8):
        shelf.put(FrameKind.DARK, 10.0, origin_x=origin_x)
    shelf.put(FrameKind.DARK, 60.0)
    with pytest.raises(NoMaster, match="say which origin"):
        shelf.library.dark(12.0, nearest=True, alike=True)
    assert shelf.library.dark(12.0, nearest=True, alike=True, origin=(8, 0)).row.key.origin == (8, 0)


def test_a_master_that_was_overwritten_is_not_handed_out(shelf: Shelf) -> None:
    row = shelf.put(FrameKind.DARK, 5.0)
    path = shelf.layout.absolute(row.path)
    shelf.catalogue.add_master(replace(row, pixel_sha256=fits.pixel_hash(fits.read_pixels(path))))
    assert (shelf.library.dark(5.0).pixels == 1).all()
    path.write_bytes(path.read_bytes()[:-2880] + b"\1" * 2880)
    with pytest.raises(StorageError, match="damaged"):
        shelf.library.dark(5.0)


def test_an_empty_library_says_how_to_fill_it(shelf: Shelf) -> None:
    with pytest.raises(NoMaster, match="run the masters step"):
        shelf.library.bias()
    with pytest.raises(NoMaster, match="no master flat of filter Ha"):
        shelf.library.flat("Ha")
    with pytest.raises(NoMaster, match="no master dark of"):
        shelf.library.dark(1.0, nearest=True)


def test_settings_must_be_equal_and_missing_is_not_zero(shelf: Shelf) -> None:
    shelf.put(FrameKind.BIAS, 0.001, gain=0)
    unknown = shelf.put(FrameKind.BIAS, 0.001, gain=None)
    assert shelf.library.bias(gain=0).row.key.gain == 0
    assert shelf.library.bias(gain=None).row == unknown
    with pytest.raises(NoMaster, match="gain 100"):
        shelf.library.bias(gain=100)


def test_flats_are_found_by_filter(shelf: Shelf) -> None:
    shelf.put(FrameKind.FLAT, filter="L", night="2026-01-01")
    newest = shelf.put(FrameKind.FLAT, filter="R", night="2026-01-01")
    assert shelf.library.flat("L").row.key.filter == "L"
    assert shelf.library.flat().row == newest
    with pytest.raises(NoMaster, match="there are: L gain 26 5x4; R gain 26 5x4"):
        shelf.library.flat("B")


def test_certified_comes_before_newer_and_bad_never(shelf: Shelf) -> None:
    certified = shelf.put(FrameKind.BIAS, status=MasterStatus.CERTIFIED)
    shelf.put(FrameKind.BIAS)
    shelf.put(FrameKind.BIAS, status=MasterStatus.BAD)
    shelf.put(FrameKind.BIAS, status=MasterStatus.SUPERSEDED)
    assert shelf.library.bias().row == certified
    assert len(shelf.library.find(FrameKind.BIAS)) == 2


def test_validity_is_asked_at_a_time(shelf: Shelf) -> None:
    row = shelf.put(FrameKind.BIAS, valid_until=AT + timedelta(days=30))
    assert shelf.library.bias(at=AT + timedelta(days=1)).row == row
    assert shelf.library.bias(at=AT).row == row
    assert shelf.library.bias(at=AT + timedelta(days=30, microseconds=-1)).row == row
    for at in (AT + timedelta(days=30), AT + timedelta(days=31), AT - timedelta(days=1)):
        with pytest.raises(NoMaster):
            shelf.library.bias(at=at)


def test_a_master_whose_file_is_gone_is_reported(shelf: Shelf) -> None:
    row = shelf.put(FrameKind.BIAS)
    shelf.layout.absolute(row.path).unlink()
    with pytest.raises(fits.Unreadable, match=r"master_bias_.*No such file"):
        shelf.library.bias()
