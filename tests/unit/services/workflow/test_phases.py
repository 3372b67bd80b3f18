"""What somebody at the telescope is asked before lights and darks: only what does not move by itself."""

from pathlib import Path

import pytest

from drivers.base import PanelInfo
from services.config import from_dict
from services.config.models import Config
from services.workflow.phases import to_do_for_darks, to_do_for_flats

PANEL = PanelInfo(name="Flip-Flat", unique_id=None, has_cover=True, has_calibrator=True, max_brightness=255)
LAMP = PanelInfo(name="Lamp", unique_id=None, has_cover=False, has_calibrator=True, max_brightness=1)
SITE = {"latitude": 48, "longitude": 11}


def config(**sections: object) -> Config:
    return from_dict(sections, Path("observatory.yaml")).config


@pytest.mark.parametrize(
    ("panel", "darkness", "opaque", "asked"),
    [
        (PANEL, "cover", (), "switch all lights off (the cover closes by itself)."),
        (PANEL, "cover", ("Dark",), "switch all lights off (the cover closes and the wheel turns to Dark by itself)."),
        (LAMP, "cover", (), "close the cover and switch all lights off."),
        (None, "cover", (), "close the cover and switch all lights off."),
        (None, "roof", (), "close the roof and switch all lights off."),
        (None, "manual", (), "make it dark and switch all lights off."),
        (None, "shutter", (), "switch all lights off."),
    ],
)
def test_nobody_is_asked_to_close_a_cover_that_closes_by_itself(panel, darkness, opaque, asked):
    assert to_do_for_darks(config(darkness=darkness), panel, opaque) == f"Darks and biases come next: {asked}"


@pytest.mark.parametrize(
    ("panel", "sections", "asked"),
    [
        (PANEL, {"flat_panel": {}}, "Flip-Flat (it closes and lights up by itself)"),
        (PANEL, {"flat_panel": {"cover_for_flats": "open"}}, "point the telescope at Flip-Flat"),
        (LAMP, {"flat_panel": {}}, "point the telescope at Lamp, or put it on (it lights up by itself)"),
        (None, {}, "put the flat panel on the telescope and switch it on"),
        (None, {"flat_capture": {"source": "sky"}, "site": SITE}, "point the telescope at the twilight sky"),
    ],
)
def test_before_flats_the_question_fits_the_light(panel, sections, asked):
    assert asked in to_do_for_flats(config(**sections), panel, ())
