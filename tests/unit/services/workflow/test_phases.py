"""What somebody at the telescope is asked before lights and darks: only what does not move by itself."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.base import PanelInfo
from drivers.clock import ManualClock
from services.config import from_dict
from services.config.models import Config
from services.errors import RunStopped
from services.events.bus import Events
from services.planning.request import Step
from services.workflow.phases import Phases, to_do_for_darks, to_do_for_flats

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


WHOLE = (Step.DARKS, Step.FLATS, Step.DARKS)
HOOKED = {"hooks": {name: {"command": "true"} for name in ("before_flats", "before_darks")}}


def asked(
    panel: PanelInfo | None, coming: tuple[Step, ...] = WHOLE, *, says: bool = True, **sections: Any
) -> list[Any]:
    """Return what is asked on the way through a night, each question after the phases that came before it."""
    heard: list[Any] = []

    def ask(text: str) -> bool:
        heard.append(text)
        return says

    parts = {"ask": ask, "opaque": (), "config": config(**sections), "session": SimpleNamespace(panel_info=panel)}
    context: Any = SimpleNamespace(**parts, events=Events(run_id="r", clock=ManualClock()))
    phases = Phases(context)
    phases.ask_before(coming)
    for phase in coming:
        phases.enter(phase)
        heard.append(phase)
    phases.leave()
    context.events.close()
    return heard


@pytest.mark.parametrize(
    ("panel", "sections", "questions"),
    [
        (PANEL, {"flat_panel": {}}, [0]),
        (None, {"darkness": "shutter", **HOOKED}, [0]),
        (None, HOOKED, [0]),
        (LAMP, {"flat_panel": {}, "darkness": "shutter"}, [0, 2]),
        (LAMP, {"flat_panel": {}}, [0, 2, 4]),
        (None, {"darkness": "roof"}, [0, 2, 4]),
        (PANEL, {"flat_capture": {"source": "sky"}, "site": SITE}, [0, 2]),
    ],
)
def test_all_is_asked_before_the_camera_cools_but_what_needs_hands_later(
    panel: PanelInfo | None, sections: dict[str, Any], questions: list[int]
):
    """The question before the flats came when everybody was in bed."""
    heard = asked(panel, **sections)
    assert [i for i, each in enumerate(heard) if not isinstance(each, Step)] == questions
    assert "Darks and biases come next" in heard[0]
    again = "You will be asked again before the "
    assert (again in heard[0]) is (len(questions) > 1)
    assert ("Flats come next" in heard[0]) is (2 not in questions)


def test_a_night_with_nothing_to_take_asks_nothing():
    assert asked(PANEL, (), flat_panel={}) == []


def test_who_says_no_ends_the_run_before_anything_is_cooled():
    with pytest.raises(RunStopped, match="declined before the flats"):
        asked(PANEL, (Step.FLATS, Step.DARKS), says=False, flat_panel={})
