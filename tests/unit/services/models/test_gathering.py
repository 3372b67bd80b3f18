"""Frames by the settings of their camera: settings of which nothing can be made do not end the others."""

from pathlib import Path

import pytest

from services.errors import Usage
from services.models.gathering import Gathered, of_each

FOUND = tuple(Gathered(name=name) for name in ("gain_1", "gain_2", "gain_3"))


def make(gathered: Gathered, folder: Path) -> Path:
    if gathered.name == "gain_1":
        raise Usage("all is saturated", advice="expose for less time")
    return folder


def test_the_others_are_made_and_the_refused_one_is_heard_of(tmp_path: Path):
    heard: list[tuple[str, str]] = []
    made = of_each(FOUND, tmp_path, make, lambda name, error: heard.append((name, error.detail)))
    assert made == (tmp_path / "gain_2", tmp_path / "gain_3")
    assert heard == [("gain_1", "all is saturated")]


@pytest.mark.parametrize("found", [FOUND, FOUND[:1]])
def test_where_nobody_hears_or_nothing_is_made_it_raises_after_the_others(found: tuple[Gathered, ...], tmp_path: Path):
    begun: list[str] = []

    def noted(gathered: Gathered, folder: Path) -> Path:
        begun.append(gathered.name)
        return make(gathered, folder)

    with pytest.raises(Usage, match="gain_1: all is saturated") as refused:
        of_each(found, tmp_path, noted)
    assert (refused.value.advice, begun) == ("expose for less time", [each.name for each in found])
    with pytest.raises(Usage, match="gain_1: all is saturated"):
        of_each(FOUND[:1], tmp_path, make, lambda *_: pytest.fail("it is raised"))


def test_one_setting_has_no_folder_of_its_own(tmp_path: Path):
    assert of_each([Gathered()], tmp_path, lambda _, folder: folder) == (tmp_path,)
