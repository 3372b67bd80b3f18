"""Tiles and previews, by a real child: right pixels, small files, and no picture for what is damaged."""

import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from services.daemon.tiles_client import Tiles
from services.files.layout import Layout
from tests.support.places import ROOT

SHAPE = (600, 900)


def master(layout: Layout, name: str, pixels: np.ndarray, mask: np.ndarray | None = None) -> str:
    path = layout.masters / name
    planes = layout.planes_path(path)
    planes.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(pixels.astype(np.float32)).writeto(path)
    flags = np.zeros(pixels.shape, np.uint16) if mask is None else mask
    units = [
        fits.ImageHDU(np.full(pixels.shape, 2.0, np.float32), name="SIGMA"),
        fits.ImageHDU(np.full(pixels.shape, 30, np.uint16), name="COUNT"),
        fits.ImageHDU(flags, name="MASK"),
    ]
    fits.HDUList([fits.PrimaryHDU(), *units]).writeto(planes)
    return layout.relative(path)


def made(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return 500 + 40 * np.exp(-((y - 100) ** 2 + (x - 800) ** 2) / 2e4) + rng.normal(0, 3, SHAPE)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("root"))
    flags = np.zeros(SHAPE, np.uint16)
    flags[300, 401] = 1
    flags[10, 10] = 32
    holes = made(1)
    holes[:20, :20] = np.nan
    master(layout, "one.fits", holes, flags)
    master(layout, "two.fits", made(2) + 10)
    master(layout, "small.fits", made(3)[:100, :90])
    return layout


@pytest.fixture(scope="module")
def tiles(layout: Layout):
    client = Tiles(layout)
    yield client
    client.close()


ONE, TWO = "master_frames/one.fits", "master_frames/two.fits"


def image(data: bytes | None) -> np.ndarray:
    assert data is not None
    assert len(data) <= 100_000
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def get(tiles: Tiles, view: str, level: int = 0, x: int = 0, y: int = 0, other: str | None = None, **more: bool):
    return tiles.of_master(ONE, view, level=level, x=x, y=y, other=other, **more)


@pytest.mark.parametrize("view", ["mean", "sigma", "count", "mask"])
def test_every_plane_has_tiles_of_every_level(tiles: Tiles, view: str) -> None:
    sizes = {(0, 0, 0): (256, 256), (0, 3, 2): (88, 132), (1, 1, 1): (44, 194), (2, 0, 0): (150, 225)}
    for (level, x, y), shape in sizes.items():
        found = get(tiles, view, level, x, y)
        assert found is not None
        assert found.media_type == "image/png"
        assert image(found.data).shape[:2] == shape
    assert get(tiles, view, 0, 4, 0) is None
    assert get(tiles, view, 3, 0, 0) is None, "on level 2 the whole image is one tile"


def test_the_glow_of_a_master_is_where_it_is(tiles: Tiles) -> None:
    shown = image(get(tiles, "mean", 2).data).astype(int)
    assert shown[25, 200, 0] > shown[120, 30, 0] + 60
    assert (shown[0, 0] == (40, 40, 90)).all(), "pixels that are not known have a colour of their own"
    assert (shown[60:, :, 0] == shown[60:, :, 2]).all()


def test_tiles_of_one_level_fit_together(tiles: Tiles) -> None:
    left, right = (image(get(tiles, "mean", 1, x, 0).data).astype(int) for x in (0, 1))
    step = abs(left[20:200, -1, 0] - right[20:200, 0, 0]).mean()
    assert step < 3 * abs(left[20:200, -1, 0] - left[20:200, -2, 0]).mean()


def test_one_bad_pixel_is_seen_at_every_level(tiles: Tiles) -> None:
    for level in (0, 1, 2):
        at = (300 >> level, 401 >> level)
        shown = image(get(tiles, "mask", level, at[1] // 256, at[0] // 256).data)
        assert tuple(shown[at[0] % 256, at[1] % 256]) == (255, 200, 60)
    assert tuple(image(get(tiles, "mask", 2).data)[2, 2]) == (255, 60, 60)


@pytest.mark.parametrize("view", ["difference", "ratio"])
def test_two_masters_are_compared(tiles: Tiles, view: str) -> None:
    shown = image(get(tiles, view, 2, other=TWO).data).astype(int)
    assert shown[60:].max() < 140, "an equal shift is the middle of the scale: means of 16 pixels are all near it"
    assert get(tiles, view, 2) is None
    assert get(tiles, view, 2, other="master_frames/small.fits") is None


@pytest.mark.parametrize("view", ["mean", "sigma", "count", "mask", "difference"])
def test_in_night_mode_there_is_red_alone(tiles: Tiles, view: str) -> None:
    shown = image(get(tiles, view, 1, other=TWO, red=True).data)
    assert shown[..., 1:].max() == 0
    assert shown[..., 0].max() > 0
    assert image(tiles.preview(ONE, red=True).data)[..., 1:].max() < 30, "as near as a JPEG comes"


def test_a_preview_is_small(tiles: Tiles) -> None:
    found = tiles.preview(ONE)
    assert found.media_type == "image/jpeg"
    assert image(found.data).shape == (150, 225, 3)


def test_a_preview_that_a_run_has_made_is_taken(tiles: Tiles, layout: Layout) -> None:
    from services.files.previews import previews_of

    previews_of(layout).keep("darks/gone.fits", b"made")
    assert tiles.preview("darks/gone.fits").data == b"made"
    assert tiles.preview("darks/never.fits") is None


def test_what_was_rendered_is_kept_and_needs_no_child(tiles: Tiles, layout: Layout) -> None:
    data = get(tiles, "mean", 1).data
    alone = Tiles(layout, module="no.such.module")
    assert get(alone, "mean", 1).data == data
    assert get(alone, "mean", 1, red=True) is None, "this one has to be rendered"
    alone.close()


@pytest.mark.parametrize("how", ["cut", "text", "gone", "empty"])
def test_a_damaged_master_is_no_picture_and_no_harm(tiles: Tiles, layout: Layout, how: str) -> None:
    path = layout.masters / f"{how}.fits"
    whole = (layout.masters / "one.fits").read_bytes()
    if how != "gone":
        path.write_bytes({"cut": whole[:5000], "text": b"no FITS" * 1000, "empty": b""}[how])
    assert tiles.of_master(f"master_frames/{how}.fits", "mean", level=0, x=0, y=0, other=None) is None
    assert tiles.of_master(f"master_frames/{how}.fits", "mask", level=0, x=0, y=0, other=None) is None
    assert get(tiles, "mean", 0, 1, 1) is not None


def test_a_child_that_was_killed_is_started_again(layout: Layout) -> None:
    from drivers.clock import ManualClock

    client = Tiles(layout, clock=(clock := ManualClock()))
    assert get(client, "count", 1, 0, 1) is not None
    client._kill()
    clock.advance(60.0)
    assert any(get(client, "sigma", 1, x, y) is not None for x, y in ((0, 1), (1, 0), (1, 1)))
    client.close()


def test_equal_requests_are_rendered_once(layout: Layout) -> None:
    client = Tiles(layout)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(get(client, "ratio", 0, 1, 1, TWO))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({each.data for each in found}) == 1
    assert next(client._numbers) == 2
    client.close()


def test_the_child_ends_with_its_input_and_answers_nonsense() -> None:
    said = b'{"id": 1}\n[]\nnull\n\xff\xfe\n{"id": 2, "path": "/x", "planes": null, "other": null, "stamp": "",'
    said += b' "view": "?", "level": -1, "x": 0, "y": 0, "red": false}\n'
    command = [sys.executable, "-m", "services.daemon.tiles"]
    done = subprocess.run(command, input=said, capture_output=True, cwd=ROOT, timeout=60, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["id"] for each in answers] == [1, None, None, None, 2]
    assert all(each["data"] is None and each["problem"] for each in answers)


def test_what_cannot_be_kept_costs_nothing(tmp_path: Path) -> None:
    from services.files.previews import Cache

    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "x", most=10, most_bytes=1000)
    cache.keep("a", b"a")
    assert cache.read("a") is None
    cache = Cache(tmp_path / "kept", most=60, most_bytes=10_000)
    for number in range(400):
        cache.keep(str(number), bytes(100))
    assert cache.read("399") is not None
    assert cache.read("0") is None
    assert len(list((tmp_path / "kept").iterdir())) <= 110
