"""What the configuration asks for and the devices cannot have: all of it is said on connecting, nothing is cooled."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.base import CameraInfo, SettingMode
from drivers.errors import Refused
from services.config.devices import Camera, Cooling, FilterWheel, FlatPanel
from services.config.models import Config, FlatCapture, Storage
from services.config.programmes import Programme
from services.errors import ConfigInvalid, Exit, RunCode
from services.events.records import WarningRaised
from services.files.fits import read_cards
from tests.support.fake_site import FLAT, Site
from tests.support.fakes import INFO, FakeWheel

INDEXED = replace(INFO, gain_mode=SettingMode.INDEX, gains=("ISO 100", "ISO 800"))
NO_OFFSET = replace(INFO, offset_mode=SettingMode.NONE)


def site_of(root: Path, *, info: CameraInfo = INFO, alpaca: dict[str, Any] | None = None, **sections: Any) -> Site:
    camera = Camera.model_validate({"alpaca": alpaca or {}})
    return Site(root, info=info, config=Config(storage=Storage(min_free_mb=0), camera=camera, **sections))


def complaint(site: Site) -> str:
    with pytest.raises(ConfigInvalid) as caught, site.session():
        pass
    assert caught.value.exit == Exit.CONFIG
    assert site.camera.exposed == []
    assert not site.camera.plant.on
    site.close()
    return caught.value.detail


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"alpaca": {"gain": 500}}, "camera: gain: 500 is not within the camera's 0 to 100"),
        ({"gains": (0, 101)}, "camera: gain: 101 is not"),
        ({"alpaca": {"gain": 7}, "info": INDEXED}, "7 is no place in the camera's list (0 is ISO 100, 1 is ISO 800)"),
        ({"alpaca": {"offset": 9}, "info": NO_OFFSET}, "camera: offset: the camera has no offset to set to 9"),
        ({"alpaca": {"readout_mode": "Turbo"}}, "camera: readout_mode: the camera has no readout mode 'Turbo'"),
        ({"alpaca": {"binning": 8}}, "camera: binning: the camera bins up to 4 x 4, not 8 x 8"),
        ({"flat_capture": FlatCapture(filters=("OIII", "L"))}, "filters: the wheel has no OIII (it has L,"),
        ({"filter_wheel": FilterWheel(opaque=("Blank",))}, "filter_wheel: opaque: the wheel has no Blank"),
        ({"darkness": "filter:Nothing"}, "darkness: the wheel has no Nothing"),
        ({"flat_panel": FlatPanel(brightness=4000)}, "flat_panel: brightness: 4000 is beyond the panel's 255"),
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_that_a_device_cannot_have_is_named_with_what_it_has(
    tmp_path: Path, asked: dict[str, Any], words: str
) -> None:
    assert words in complaint(site_of(tmp_path, **asked))


def test_what_programmes_want_and_no_device_has_is_named_with_them(tmp_path: Path) -> None:
    wanted = [
        {"name": "broad", "gain": 500, "flats": {"filters": ["L", "Hb"]}},
        {"name": "narrow", "flats": {"filters": ["Hb"]}, "binning": 8},
        {"name": "good", "gain": 0, "bias": {}},
    ]
    found = complaint(site_of(tmp_path, programmes=tuple(Programme.model_validate(each) for each in wanted)))
    for words in (
        "camera: gain: 500 is not within the camera's 0 to 100 (wanted by broad)",
        "the camera bins up to 4 x 4, not 8 x 8 (wanted by narrow)",
        "filters: the wheel has no Hb (it has L, ",
        " (wanted by broad, narrow)",
    ):
        assert words in found
    assert "good" not in found


def limit_cooling(site: Site) -> None:
    """Let the camera refuse set-points below -40 °C."""
    command = site.camera.set_temperature

    def limited(celsius: float) -> None:
        if celsius < -40:
            raise Refused(device="Fake camera", detail="-40 to 30 °C", number=0x401)
        command(celsius)

    site.camera.set_temperature = limited  # type: ignore[method-assign]


def test_the_one_target_of_the_cooling_is_tried_as_well(tmp_path: Path) -> None:
    site = site_of(tmp_path, cooling=Cooling(target_temperature=-60.0))
    limit_cooling(site)
    assert complaint(site) == "cooling: target_temperature: the camera refuses -60 °C: -40 to 30 °C"
    assert site.camera.plant.set_c == 18.0


def test_all_of_it_is_said_at_once_and_the_set_point_is_as_it_was(tmp_path: Path) -> None:
    site = site_of(
        tmp_path,
        alpaca={"gain": 500, "readout_mode": 9},
        flat_capture=FlatCapture(filters=("OIII",)),
        cooling=Cooling(),
        temperatures=(-10.0, -60.0),
    )
    limit_cooling(site)
    said = complaint(site)
    assert [line.split(":")[0] for line in said.splitlines()] == ["camera", "camera", "temperatures", "flat_capture"]
    assert "the camera refuses -60 °C: -40 to 30 °C" in said
    assert site.camera.plant.set_c == 18.0


def test_a_cooler_that_is_on_is_not_sent_elsewhere_to_see_whether_it_could_go(tmp_path: Path) -> None:
    site = site_of(tmp_path, cooling=Cooling(), temperatures=(-30.0,))
    site.camera.plant.on, site.camera.plant.set_c = True, -10.0
    with site.session():
        assert site.camera.plant.set_c == -10.0
    site.close()


def test_settings_that_the_devices_have_are_no_fault(tmp_path: Path) -> None:
    asked = {"gain": 100, "offset": 255, "readout_mode": "high GAIN", "binning": 4}
    filters = FlatCapture(filters=("L", "Hα"))
    site = site_of(tmp_path, alpaca=asked, flat_capture=filters, flat_panel=FlatPanel(brightness=255))
    with site.session():
        pass
    site.close()


def test_positions_that_share_a_name_are_said_and_their_flats_lie_apart(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.wheel = FakeWheel(site.clock, ("Empty (position 0)", "Empty (position 1)", "R", "r"))
    site.wheel.labels = ("Empty", "Empty", "R", "r")
    requests = [replace(FLAT, filter=name, count=1, set_id=name) for name in site.wheel.names]
    paths = [site.layout.absolute(results[0].path) for results in site.take(*requests) if results[0].path]
    site.close()
    assert len({path.parent.name.lower() for path in paths}) == 4
    cards = read_cards(paths[1])
    assert (cards["FILTER"], cards["FILTORIG"]) == ("Empty (position 1)", "Empty")
    assert "FILTORIG" not in read_cards(paths[2])
    (warned,) = [e.what for e in site.heard if isinstance(e.what, WarningRaised)]
    assert warned.code == RunCode.FILTER_NAMES
    assert "Empty, at positions 0, 1" in warned.detail
