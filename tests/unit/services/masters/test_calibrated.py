"""Flats of other programs: a dark is never subtracted twice, and what no card states fits only what none states."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import FrameKind
from services.indexing.index import index_folder
from services.masters import MasterOutcome, Outcome
from tests.support.made_root import SHAPE, Root

DARK_ADU = 1000.0


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(tmp_path)
    yield made
    made.catalogue.close()


def vignetting() -> np.ndarray:
    """Return the true shape of the light: 1 in the middle, a half in the corners."""
    y, x = (np.linspace(-1, 1, size) for size in SHAPE)
    return 1 - 0.25 * (x**2 + y[:, None] ** 2)


def write(path: Path, kind: str, pixels: np.ndarray, **cards: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {"IMAGETYP": kind, "EXPTIME": 2.0, "INSTRUME": "Cam", "GAIN": 10, "DATE-OBS": "2026-01-01T20:00:00"} | cards
    unit = fits.PrimaryHDU(np.rint(pixels).astype(np.uint16))
    unit.header.update(known)
    unit.writeto(path)


def built(root: Root, pedestal_adu: float, **cards: object) -> list[MasterOutcome]:
    rng = np.random.default_rng(3)
    for n in range(6):
        write(root.layout.darks / f"d{n}.fits", "DARK", rng.normal(DARK_ADU, 5, SHAPE))
        light = rng.normal(pedestal_adu + 20_000 * vignetting(), 100)
        write(root.layout.flats / f"f{n}.fits", "FLAT", light, FILTER="V", **cards)
    index_folder(root.catalogue, root.layout.darks, root.layout.flats, layout=root.layout)
    return [o for o in root.build(num_darks=6, num_flats=6) if o.kind is FrameKind.FLAT]


def corners(pixels: np.ndarray) -> float:
    """Return the light in the corners over what it truly is."""
    y, x = (np.linspace(-1, 1, size) for size in SHAPE)
    corner = np.add.outer(np.abs(y), np.abs(x)) > 1.7
    true = pixels / vignetting()
    return float(true[corner].mean() / true[~corner].mean())


@pytest.mark.parametrize(
    ("pedestal_adu", "cards", "status"),
    [
        (100.0, {"HISTORY": "Auto-Dark Subtraction", "PEDESTAL": -100}, "D"),
        (0.0, {"CALSTAT": "BD"}, "BD"),
        (200.0, {"CALSTAT": "D", "PEDESTAL": 200, "PROGRAM": "PixInsight"}, "D"),
        (DARK_ADU, {}, "D"),
    ],
)
def test_no_dark_is_subtracted_twice(root: Root, pedestal_adu: float, cards: dict[str, object], status: str) -> None:
    (flat,) = built(root, pedestal_adu, **cards)
    assert flat.status is Outcome.BUILT
    assert flat.path is not None
    with fits.open(flat.path) as units:
        header, pixels = units[0].header, units[0].data
    assert corners(pixels) == pytest.approx(1, abs=0.005)
    assert (header["CALSTAT"], header["FILTER"], header["EXPTIME"]) == (status, "V", 2.0)
    assert header["FLATDARK"] == ("none" if cards else "matched")
    assert ("DARKFILE" in header) != bool(cards)
    assert header["BIASSUB"] == ("B" in str(cards.get("CALSTAT", "")))


def test_flats_minus_their_bias_take_a_dark_minus_its_bias_and_no_raw_one(root: Root) -> None:
    (flat,) = built(root, 500.0, CALSTAT="B")
    assert flat.status is Outcome.REFUSED
    assert "calibrated unknown, wanted B" in flat.detail
    rng = np.random.default_rng(4)
    for n in range(6):
        write(root.layout.darks / f"s{n}.fits", "DARK", rng.normal(500, 5, SHAPE), CALSTAT="B")
    index_folder(root.catalogue, root.layout.darks, layout=root.layout)
    (flat,) = [o for o in root.build(num_darks=6, num_flats=6) if o.kind is FrameKind.FLAT]
    assert flat.status is Outcome.BUILT
    assert flat.path is not None
    assert corners(fits.getdata(flat.path)) == pytest.approx(1, abs=0.005)
    assert fits.getheader(flat.path)["CALSTAT"] == "BD"


@pytest.mark.parametrize("stated_s", [None, 2.0])
def test_flats_of_unknown_exposure_take_darks_of_unknown_exposure_and_no_others(
    root: Root, stated_s: float | None
) -> None:
    """What both leave unsaid does not contradict; a stated exposure is not that of frames which state none."""
    rng = np.random.default_rng(5)
    for n in range(6):
        write(root.layout.darks / f"d{n}.fits", "DARK", rng.normal(DARK_ADU, 5, SHAPE), EXPTIME=stated_s)
        light = rng.normal(DARK_ADU + 20_000 * vignetting(), 100)
        write(root.layout.flats / f"f{n}.fits", "FLAT", light, EXPTIME=None)
    index_folder(root.catalogue, root.layout.darks, root.layout.flats, layout=root.layout)
    (flat,) = [o for o in root.build(num_darks=6, num_flats=6) if o.kind is FrameKind.FLAT]
    if stated_s is None:
        assert flat.status is Outcome.BUILT
    else:
        assert flat.status is Outcome.REFUSED
        assert flat.detail.startswith("exposure unknown (EXPTIME): ")
