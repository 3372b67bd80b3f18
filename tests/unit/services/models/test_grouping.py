"""What frames of a model have in common before they are read: the value at which they are saturated."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from calibration.frames import FrameKind
from services.bands import source_of
from services.errors import Usage
from services.masters.prepare import SATURATED_FROM
from services.models import grouping
from services.models.gathering import gather
from services.models.grouping import Saturation, opened, saturation_of
from tests.support.dark_frames import dark_site


def test_one_frame_of_floating_point_numbers_leaves_the_others_their_saturation(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "whole.fits", np.full((4, 6), 65520, np.uint16))
    fits.writeto(tmp_path / "short.fits", np.full((4, 6), 65520, np.float32))
    whole, short = (source_of(tmp_path / name, tmp_path / "scratch") for name in ("whole.fits", "short.fits"))
    assert saturation_of([], [whole, whole]) == saturation_of([], [whole, short]) < 65520
    assert saturation_of([], [short]) == np.inf


def test_saturation_is_said_as_the_frames_show_it() -> None:
    seen = Saturation(adu=SATURATED_FROM * 65520, source=grouping._REACHED)
    assert "the frames reach 65520 ADU and never exceed it, and samples from 98 %" in seen.sentence
    assert "from 0.98 ADU on" in Saturation(adu=0.98, source="a header states it").sentence


def saturation_seen(folder: Path, frames: list[NDArray[np.generic]], step: float) -> float:
    """Return where darks of two exposures are saturated, in steps, whose headers say nothing of it."""
    site = dark_site(folder / "frames")
    for number, pixels in enumerate(frames):
        path = site.write("darks", np.zeros((16, 24), np.uint16), 0.0, float(1 + number % 2))
        header = fits.getheader(path)
        fits.writeto(
            path, pixels, fits.Header({k: header[k] for k in ("IMAGETYP", "EXPTIME", "CCD-TEMP")}), overwrite=True
        )
    (found,) = gather(site.folder, folder / "out", FrameKind.DARK)
    members, sources = opened(found.members, {}, folder / "scratch")
    assert len(members) == len(frames)
    return saturation_of(members, sources) / step


def hot_frames(end: float, n: int, kind: type[np.generic], *, cut: bool = True) -> list[NDArray[np.generic]]:
    """Return frames with hot pixels, some of which are at the end of the converter, or would be."""
    rng = np.random.default_rng(int(end))
    hot = np.zeros((16, 24))
    hot[3, :8] = np.linspace(0.3, 1.4, 8)
    made = [end * (0.05 + hot * (1 - 0.02 * i)) + 0.004 * end * rng.standard_normal(hot.shape) for i in range(n)]
    return [(np.clip(each, 0, end) if cut else each * 0.6).round().astype(kind) for each in made]


@pytest.mark.parametrize(
    ("end", "step", "kind"),
    [(255, 1, np.uint8), (1023, 1, np.uint16), (4095, 16, np.uint16), (16383, 4, np.uint16), (16383, 1, np.float32)],
)
def test_the_end_of_a_converter_is_seen_where_no_header_says_it(
    tmp_path: Path, end: int, step: int, kind: type[np.generic]
) -> None:
    frames = [(each * step).astype(kind) for each in hot_frames(end, 4, kind)]
    assert saturation_seen(tmp_path, frames, step) == pytest.approx(SATURATED_FROM * end, abs=1)


def test_a_ceiling_that_is_no_power_of_two_is_seen(tmp_path: Path) -> None:
    assert saturation_seen(tmp_path, hot_frames(9000, 4, np.float32), 1) == pytest.approx(SATURATED_FROM * 9000)


def test_frames_without_a_ceiling_are_nowhere_saturated_below_the_end_of_sixteen_bits(tmp_path: Path) -> None:
    hot = hot_frames(16000, 4, np.uint16, cut=False)
    assert saturation_seen(tmp_path / "hot", hot, 1) == SATURATED_FROM * 65535
    quiet = [np.clip(each, 0, 1100).astype(np.uint16) for each in hot_frames(16000, 4, np.uint16)]
    few = [frame.copy() for frame in quiet]
    for i, frame in enumerate(few):
        frame[frame > 900] = 850
        frame[5, 5] = 255 * 4 + i  # near the end of ten bits, and in no two frames alike
    assert saturation_seen(tmp_path / "few", few, 1) == SATURATED_FROM * 65535
    noise = [np.random.default_rng(i).normal(1000, 1, (16, 24)).round().astype(np.uint16) for i in range(8)]
    for frame in noise:
        frame[frame > 1002] = 1002  # that several end alike is their noise
    assert saturation_seen(tmp_path / "noise", noise, 1) == SATURATED_FROM * 65535


@pytest.mark.parametrize("planes", [1, 3])
def test_files_of_several_images_are_refused_with_what_they_are(tmp_path: Path, planes: int) -> None:
    """A cube of three colours, and three extensions: neither is one image of a sensor."""
    cards = fits.Header([("IMAGETYP", "DARK"), ("EXPTIME", 5.0), ("CCD-TEMP", -10.0)])
    for number in range(3):
        image = np.random.default_rng(number).integers(900, 1100, (planes, 8, 8)).astype(np.uint16)
        units = [fits.PrimaryHDU(None if planes == 1 else image, cards)]
        units += [fits.ImageHDU(image[0], name=f"AMP{i}") for i in range(3)] if planes == 1 else []
        fits.HDUList(units).writeto(tmp_path / f"dark_{number}.fits")
    with pytest.raises(Usage, match="holds no darks among its 0 frames") as raised:
        gather(tmp_path, tmp_path / "out", FrameKind.DARK)
    assert "3 of them" in raised.value.advice


@pytest.mark.parametrize("seconds", [0.0, 5.0])
def test_the_level_of_another_year_is_no_fault_of_a_frame_and_that_of_one_night_is(
    tmp_path: Path, seconds: float
) -> None:
    kind = FrameKind.DARK if seconds else FrameKind.BIAS
    site = dark_site(tmp_path / "frames")
    for year, level, n in ((2019, 0, 8), (2024, -640, 1)):
        for i in range(n):
            pixels = site.pixels(0.0, seconds).astype(int) + level + (640 if (year, i) == (2019, 7) else 0)
            path = site.write("frames", pixels.astype(np.uint16), 0.0, seconds)
            fits.setval(path, "DATE-OBS", value=f"{year}-03-01T22:{i:02d}:00")
    (found,) = gather(site.folder, tmp_path / "out", kind)
    assert len(found.members) == 8
    assert [path.name for path in found.unused] == ["frame_0007.fits"]
