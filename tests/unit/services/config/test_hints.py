"""Slips that people make in YAML by hand: the message says what was probably meant."""

from pathlib import Path

import pytest

from services.config import loads
from services.errors import ConfigInvalid

TAB = "\t"


def refused(text: str) -> str:
    """Return what is said of a file."""
    with pytest.raises(ConfigInvalid) as caught:
        loads(text, Path("o.yaml"))
    return caught.value.detail


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("dark_capture:\n  science_exposure_time: 5,0\n", "(a decimal point, not a comma)"),
        ("temperatures: -10, -20\n", "(a list stands in brackets: [a, b])"),
        ("flat_capture:\n  filters: L, Ha\n", "a list in brackets: [L, Ha]"),
        ("filter_wheel:\n  opaque: \u201cDark\u201d\n", "straight quotation marks, ' or \", or none"),
        ("cooling: {target_temperature: \u221210}\n", "(a plain minus sign: -)"),
        ("cooling: {target_temperature: -10°C}\n", "(the number alone, without its unit)"),
        ("dark_capture: {science_exposure_time: 5 s}\n", "(the number alone, without its unit)"),
        ("flat_capture: {target_count_rate: 50%}\n", "(a fraction such as 0.5, not per cent)"),
        ("dark_capture: {num_darks: '40'}\n", "(a number stands without quotes)"),
        ("dark_capture:\n  num_darks:40\n", "(a key is followed by a colon and a space)"),
        ("dark_capture:\n  num_darks = 40\n", "(a key is followed by a colon and a space)"),
        ("camera: {camera_type: Alpaca}\n", "(did you mean `alpaca`?)"),
        ("master_frames: {rejection_method: sigmaclip}\n", "(did you mean `sigma_clip`?)"),
    ],
)
def test_a_value_that_was_nearly_right_is_told_how_to_be(text: str, hint: str):
    assert refused(text).endswith(hint)


@pytest.mark.parametrize("make", ["zwo", "qhy", "QHY600M", "indi"])
def test_a_camera_of_another_make_is_told_the_way_over_ascom_or_alpaca(make: str):
    told = refused(f"camera: {{camera_type: {make}}}\n")
    assert f"found '{make}' — allowed: alpaca, ascom, simulator (" in told
    assert "`ascom` with the host and port of ASCOM Remote" in told


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("dark_capture:\n  num_darks: 40\n   min_exposure: 1\n", "o.yaml:3:", "begin in the same column"),
        ("dark_capture:\n  num_darks: 40\n min_exposure: 1\n", "o.yaml:3:", "begin in the same column"),
        ("dark_capture\n  num_darks: 40\n", "o.yaml:2:", "a colon missing at the end of the line above?"),
        ("dark_capture  # here\n\n  # and\n  num_darks: 40\n", "o.yaml:4:", "a colon missing"),
        (f"dark_capture:\n{TAB}num_darks: 40\n", "o.yaml:2:1", "a tab: indent with spaces"),
        (f"dark_capture:\n  num_darks:{TAB}40\n", "o.yaml:2:13", "a tab"),
        ("gains: [1, 2\nreuse: 3\n", "o.yaml:2:", "a bracket [ is not closed"),
        ("dark_capture: {num_darks: 3\nreuse: 3\n", "o.yaml:2:", "a brace { is not closed"),
        ('storage:\n  root: "data\n  keep_refused: 3\n', "o.yaml:4:1", "quotation mark of line 2 is not closed"),
        ('storage: {root: "D:\\calib"}\n', "o.yaml:1:", "'single quotes', or with / instead"),
    ],
)
def test_broken_yaml_is_explained(text: str, where: str, hint: str):
    told = refused(text)
    assert told.startswith(where)
    assert hint in told


def test_a_key_that_is_not_indented_is_told_its_section():
    assert refused("dark_capture:\nnum_darks: 40\n") == (
        "o.yaml:2:1: num_darks: unknown key — belongs to `dark_capture`: indent it further"
    )
    told = refused("camera:\n  camera_type: alpaca\n  alpaca:\n  host: dome\n")
    assert told == "o.yaml:4:3: camera.host: unknown key — belongs to `alpaca` or `ascom`: indent it further"


def test_no_pattern_of_the_program_stands_in_a_message():
    told = refused("darkness: filter\nhooks: {before_run: {url: localhost/roof}}\n")
    assert "allowed: cover, shutter, roof, manual, none or filter:NAME" in told
    assert "allowed: an address that begins with http:// or https://" in told
    assert not any(sign in told for sign in (".+", "^", "\\S", "?:"))


def test_a_flat_dark_that_is_none_is_refused_with_what_there_is():
    told = refused("master_frames: {flat_dark: modell}\n")
    assert told.endswith("found 'modell' — allowed: matched, bias, model (did you mean `model`?)")
