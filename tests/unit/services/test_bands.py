"""Row bands: raw reads equal whole reads, order and failures of the loop, memory as a setting."""

import errno
import pickle
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from calibration.frames import Frame, FrameHeader, FrameKind
from services import platform
from services.bands import (
    Band,
    OpenSource,
    Source,
    ahead,
    bands_of,
    held_open,
    map_bands,
    plane_of,
    read_band,
    read_rows,
    rows_for,
    source_of,
)
from services.errors import RunCode, RunStopped, StorageError
from services.files.fits import write_frame

SHAPE = (23, 31)


def write(path: Path, pixels: np.ndarray) -> Path:
    write_frame(path, Frame(header=FrameHeader(kind=FrameKind.DARK, shape=SHAPE), pixels=pixels))
    return path


@pytest.fixture
def cameras(tmp_path: Path) -> tuple[np.ndarray, tuple[Source, ...]]:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 65536, (4, *SHAPE), dtype=np.uint16)
    sources = tuple(source_of(write(tmp_path / f"{i}.fits", f), tmp_path / "scratch") for i, f in enumerate(frames))
    return frames, sources


def total(sources: tuple[Source, ...], band: Band) -> np.ndarray:
    """Return sums over the frames of a band (module-level, as `map_bands` asks)."""
    return read_band(sources, band).sum(axis=0, dtype=np.int64)


def fail_below(sources: int, band: Band) -> int:
    """Fail from a row on."""
    if band.start >= sources:
        raise ValueError(f"row {band.start}")
    return band.start


@pytest.mark.parametrize("rows", [1, 5, 23, 100])
def test_bands_of_a_camera_are_its_rows(cameras: tuple[np.ndarray, tuple[Source, ...]], rows: int) -> None:
    frames, sources = cameras
    parts = [read_band(sources, band).copy() for band in bands_of(SHAPE[0], rows)]
    assert parts[0].dtype == np.uint16
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), frames)


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_threads_and_processes_give_the_same(
    cameras: tuple[np.ndarray, tuple[Source, ...]], pool: type[Executor]
) -> None:
    frames, sources = cameras
    found = np.zeros(SHAPE, np.int64)
    with pool(2) as executor:  # type: ignore[call-arg]
        map_bands(
            sources, total, lambda b, r: found.__setitem__(slice(b.start, b.stop), r), executor, bands_of(SHAPE[0], 4)
        )
    np.testing.assert_array_equal(found, frames.sum(axis=0, dtype=np.int64))


def test_sink_sees_bands_in_order_and_in_the_callers_thread() -> None:
    seen: list[tuple[int, int]] = []
    with ThreadPoolExecutor(4) as executor:
        map_bands(
            1000,
            fail_below,
            lambda b, r: seen.append((r, threading.get_ident())),
            executor,
            bands_of(100, 3),
            workers=4,
        )
    assert [start for start, _ in seen] == list(range(0, 100, 3))
    assert {thread for _, thread in seen} == {threading.get_ident()}


def test_first_failure_is_raised_and_the_rest_is_not_begun() -> None:
    seen: list[int] = []
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="row 40"):
        map_bands(40, fail_below, lambda b, r: seen.append(r), executor, bands_of(10_000, 10), workers=1)
    assert seen == [0, 10, 20, 30]


def test_stop_ends_the_loop() -> None:
    wake = threading.Event()
    with ThreadPoolExecutor(1) as executor, pytest.raises(RunStopped):
        map_bands(10**6, fail_below, lambda b, r: wake.set(), executor, bands_of(10**6, 1), workers=1, wake=wake)


def test_only_a_few_bands_are_in_flight() -> None:
    class Counting(Executor):
        submitted = 0

        def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
            self.submitted += 1
            future: Future[object] = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    executor, ahead = Counting(), []
    map_bands(
        10**6, fail_below, lambda b, r: ahead.append(executor.submitted - r), executor, bands_of(50, 1), workers=2
    )
    assert max(ahead) <= 6


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_other_types_of_pixels_are_read_as_float(tmp_path: Path, dtype: type) -> None:
    pixels = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 200
    sources = (source_of(write(tmp_path / "a.fits", pixels.astype(dtype)), tmp_path),)
    found = read_band(sources, Band(start=2, stop=9))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], pixels[2:9])


def test_compressed_and_scaled_files_are_unpacked_once(tmp_path: Path) -> None:
    pixels = np.arange(SHAPE[0] * SHAPE[1], dtype=np.int16).reshape(SHAPE)
    fits.CompImageHDU(pixels, compression_type="GZIP_2").writeto(tmp_path / "a.fits")
    scaled = fits.PrimaryHDU(pixels)
    scaled.header["BSCALE"] = 2.0
    scaled.writeto(tmp_path / "b.fits", output_verify="ignore")
    sources = tuple(source_of(tmp_path / name, tmp_path / "scratch") for name in ("a.fits", "b.fits"))
    assert len(list((tmp_path / "scratch").iterdir())) == 2
    found = read_band(sources, Band(start=1, stop=4))
    np.testing.assert_array_equal(found[0], pixels[1:4])


def test_no_room_to_unpack_is_a_matter_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits.CompImageHDU(np.zeros(SHAPE, np.int16), compression_type="RICE_1").writeto(tmp_path / "a.fits")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError) as failure:
        source_of(tmp_path / "a.fits", tmp_path / "scratch")
    assert failure.value.code == RunCode.DISK_FULL


def test_file_that_became_shorter_is_unreadable(cameras: tuple[np.ndarray, tuple[Source, ...]]) -> None:
    _, sources = cameras
    whole = sources[1].path.read_bytes()
    sources[1].path.write_bytes(whole[: sources[1].location.offset + 100])
    with pytest.raises(StorageError) as failure:
        read_band(sources, Band(start=10, stop=12))
    assert failure.value.code is RunCode.READ_FAILED
    assert "1.fits" in failure.value.detail


def test_files_are_held_open_here_and_opened_by_path_elsewhere(
    cameras: tuple[np.ndarray, tuple[Source, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, sources = cameras
    with held_open(sources) as opened:
        assert all(isinstance(source, OpenSource) for source in opened)
        np.testing.assert_array_equal(read_band(opened, Band(start=3, stop=8)), pixels[:, 3:8])
        assert pickle.loads(pickle.dumps(opened)) == sources  # noqa: S301 - our own
    monkeypatch.setattr(platform, "raise_open_file_limit", lambda: len(sources))
    with held_open(sources) as plain:
        assert plain == sources


def test_files_that_are_gone_are_not_held_open(cameras: tuple[np.ndarray, tuple[Source, ...]]) -> None:
    _, sources = cameras
    sources[2].path.unlink()
    with pytest.raises(StorageError, match=r"2\.fits"), held_open(sources):
        pass


def test_rows_are_asked_for_ahead_of_the_band_but_not_far(
    cameras: tuple[np.ndarray, tuple[Source, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sources = cameras
    row_bytes = sources[0].location.row_bytes
    monkeypatch.setattr("services.bands._PIECE_BYTES", (1, 3 * row_bytes))
    asked: list[int] = []
    told = threading.Semaphore(0)

    def read_ahead(_: int, offset: int, size: int) -> None:
        assert size == 3 * row_bytes
        asked.append((offset - sources[0].location.offset) // row_bytes)
        told.release()

    monkeypatch.setattr(platform, "read_ahead", read_ahead)
    bands = ahead(sources, bands_of(SHAPE[0], 4))
    assert next(bands) == Band(start=0, stop=4)
    assert all(told.acquire(timeout=60) for _ in range(4 * len(sources)))
    assert sorted(asked) == [first for first in (0, 3, 6, 9) for _ in sources]  # the next begins 6 rows after 4
    assert list(bands) == list(bands_of(SHAPE[0], 4))[1:]
    assert not [thread for thread in threading.enumerate() if thread.name == "nightcal-read-ahead"]


def test_work_that_goes_on_is_waited_for_when_a_band_fails() -> None:
    begun, ended = threading.Event(), []

    def work(_: int, band: Band) -> None:
        if band.start == 0:
            begun.wait(60)
            raise ValueError("the first band")
        begun.set()
        ended.append(band.start)

    with ThreadPoolExecutor(2) as executor:
        with pytest.raises(ValueError, match="first band"):
            map_bands(0, work, lambda *_: None, executor, bands_of(2, 1), workers=2)
        assert ended == [1]


def test_plane_by_name(tmp_path: Path) -> None:
    planes = [fits.PrimaryHDU(np.zeros(SHAPE, np.float32)), fits.ImageHDU(np.full(SHAPE, 7, np.uint16), name="COUNT")]
    fits.HDUList(planes).writeto(tmp_path / "p.fits")
    source = plane_of(tmp_path / "p.fits", "COUNT")
    rows = read_rows(source, Band(start=3, stop=5))
    assert rows.dtype == np.uint16
    assert (rows == 7).all()
    with pytest.raises(StorageError, match="MASK"):
        plane_of(tmp_path / "p.fits", "MASK")


def test_memory_is_a_setting() -> None:
    assert rows_for(memory_mb=256, frames=40, columns=9576, workers=2) == 10
    assert rows_for(memory_mb=16, frames=1000, columns=9576, workers=2) == 1
    assert rows_for(memory_mb=16, frames=5, columns=100, workers=2) == 2000
    for memory in (16, 64, 256, 1024):
        for frames in (1, 40, 1000):
            rows = rows_for(memory_mb=memory, frames=frames, columns=9576, workers=2)
            assert rows == 1 or rows * frames * 9576 * 8 * 2 <= memory * 1e6
