"""Published masters: names that stay, files that never disappear, and nobody else's file touched."""

import errno
import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from calibration.frames import FrameKind, GroupKey
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import MasterRow, MasterStatus
from services.files.disk import REAL_DISK, Disk
from services.files.layout import Layout
from services.library.publish import publish, published_names, valid_now
from services.root import Place
from tests.support.failing_disks import FullDisk

AT = datetime(2026, 11, 1, tzinfo=UTC)
KEY = GroupKey(
    kind=FrameKind.DARK, camera="cam", shape=(4, 6), binning=(1, 1), origin=(0, 0), gain=26, offset=30,
    readout_mode=None, exposure_us=300_000_000, temperature_c=-10.0,
)  # fmt: skip


def row(name: str = "a", *, days: int = 0, status: MasterStatus = MasterStatus.CERTIFIED, **key: object) -> MasterRow:
    of = replace(KEY, **key)
    at = AT + timedelta(days=days)
    path = f"master_frames/{name}.fits"
    return MasterRow(
        path=path, key=of, n=30, recipe=name, built_at=at, status=status, valid_from=at, exposure_us=of.exposure_us
    )


class NoLinks(Disk):
    """A file system without hard links, as a memory card has."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(target))


class FullWithoutLinks(FullDisk):
    """The same, that runs full."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(target))


class Library:
    def __init__(self, root: Path, disk: Disk = REAL_DISK) -> None:
        self.layout = Layout(root)
        self.catalogue = Catalogue(self.layout.catalogue)
        self.place = Place(layout=self.layout, catalogue=self.catalogue, disk=disk)
        self.folder = root.parent / "published"

    def put(self, *rows: MasterRow) -> None:
        for each in rows:
            path = self.layout.absolute(each.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(f"the pixels of {path.name:<20}".encode())
            self.catalogue.add_master(each)

    def publish(self, disk: Disk | None = None) -> object:
        return publish(self.place if disk is None else replace(self.place, disk=disk), self.folder)

    def shown(self) -> dict[str, str]:
        return {p.name: p.read_text().removeprefix("the pixels of ").strip() for p in self.folder.glob("*.fits")}


@pytest.fixture
def library(tmp_path: Path):
    made = Library(tmp_path / "root")
    yield made
    made.catalogue.close()


FLAT = {"kind": FrameKind.FLAT, "exposure_us": None, "temperature_c": None, "source": "panel"}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ({}, "master_dark_300s_g26_T-10.fits"),
        ({"exposure_us": 1500}, "master_dark_0.0015s_g26_T-10.fits"),
        ({"gain": None, "temperature_c": None}, "master_dark_300s.fits"),
        ({"temperature_c": -0.04}, "master_dark_300s_g26_T0.fits"),
        ({"temperature_c": 12.34}, "master_dark_300s_g26_T12.3.fits"),
        ({"binning": (2, 2)}, "master_dark_300s_g26_T-10_b2x2.fits"),
        ({"kind": FrameKind.BIAS, "exposure_us": 100}, "master_bias_g26_T-10.fits"),
        ({**FLAT, "filter": "Ha"}, "master_flat_Ha_g26.fits"),
        ({**FLAT, "filter": "L", "source": "sky"}, "master_flat_L_sky_g26.fits"),
        (FLAT, "master_flat_nofilter_g26.fits"),
    ],
)
def test_a_name_says_what_the_master_is(key: dict, name: str) -> None:
    assert list(published_names([row(**key)])) == [name]


@pytest.mark.parametrize(
    "other",
    [{"offset": 50}, {"readout_mode": "Fast"}, {"camera": "cam 2"}, {"origin": (8, 0)}, {"shape": (2, 6)},
     {"pedestal_adu": 100.0}, {"row_order": "TOP-DOWN"}],
)  # fmt: skip
def test_masters_that_differ_in_a_setting_never_share_a_name(other: dict) -> None:
    first, second = row("a"), row("b", **other)
    names = published_names([first, second])
    assert len(names) == 2
    assert {each.recipe for each in names.values()} == {"a", "b"}
    assert published_names([second, first]) == names


@pytest.mark.parametrize("names", [("R", "r"), ("O III", "O-III"), ("Hα 3nm", "Hα-3nm")])
def test_filters_that_a_file_system_may_take_for_one_have_two_names(names: tuple[str, str]) -> None:
    found = published_names([row(name, **FLAT, filter=name) for name in names])
    assert len({name.lower() for name in found}) == 2


def test_of_flats_of_several_nights_the_newest_is_published() -> None:
    rows = [row(f"n{i}", days=i, **FLAT, filter="L", night=f"2026-11-{i:02}") for i in (1, 3, 2)]
    assert [each.recipe for each in published_names(valid_now(rows)).values()] == ["n3"]


def test_what_does_not_serve_is_not_published() -> None:
    ended = replace(row("old"), status=MasterStatus.SUPERSEDED, valid_until=AT + timedelta(days=1))
    waits = replace(row("waits"), valid_until=AT)
    rows = [ended, waits, row("s", status=MasterStatus.SUSPECT), row("b", status=MasterStatus.BAD)]
    assert valid_now(rows) == []


@pytest.mark.parametrize("disk", [REAL_DISK, NoLinks()], ids=["links", "copies"])
def test_a_new_master_takes_the_name_and_what_ends_leaves(library: Library, disk: Disk) -> None:
    library.put(row("one"), row("short", exposure_us=60_000_000))
    done = library.publish(disk)
    assert (len(done.written), done.problems) == (2, ())
    shown = {"master_dark_300s_g26_T-10.fits": "one.fits", "master_dark_60s_g26_T-10.fits": "short.fits"}
    assert library.shown() == shown
    reader = (library.folder / "master_dark_300s_g26_T-10.fits").open("rb")
    library.put(
        replace(row("one"), status=MasterStatus.SUPERSEDED, valid_until=AT), row("two", days=1),
        replace(row("short", exposure_us=60_000_000), status=MasterStatus.SUSPECT),
    )  # fmt: skip
    done = library.publish(disk)
    assert (done.written, done.removed) == (
        ("master_dark_300s_g26_T-10.fits",), ("master_dark_60s_g26_T-10.fits",),
    )  # fmt: skip
    assert library.shown() == {"master_dark_300s_g26_T-10.fits": "two.fits"}
    with reader:
        assert b"one.fits" in reader.read(), "who was reading goes on with the old one"
    assert not list(library.folder.glob(".*.part"))


@pytest.mark.parametrize("disk", [REAL_DISK, NoLinks()], ids=["links", "copies"])
def test_a_second_time_nothing_is_written(library: Library, disk: Disk) -> None:
    library.put(row("one"))
    library.publish(disk)
    before = {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in library.folder.iterdir()}
    done = library.publish(disk)
    assert (done.written, done.kept, done.problems) == ((), 1, ())
    assert {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in library.folder.iterdir()} == before


def test_a_link_takes_no_room(library: Library) -> None:
    library.put(row("one"))
    library.publish()
    assert (library.folder / "master_dark_300s_g26_T-10.fits").samefile(
        library.layout.absolute("master_frames/one.fits")
    )


@pytest.mark.parametrize("disk", [REAL_DISK, NoLinks()], ids=["links", "copies"])
def test_files_of_others_are_never_touched(library: Library, disk: Disk) -> None:
    library.folder.mkdir()
    theirs = library.folder / "master_dark_300s_g26_T-10.fits"
    theirs.write_text("mine")
    (library.folder / "master_dark_1s.fits").write_text("mine too")
    library.put(row("one"), row("short", exposure_us=60_000_000))
    done = library.publish(disk)
    assert theirs.read_text() == "mine"
    assert "somebody else's" in done.problems[0]
    assert done.written == ("master_dark_60s_g26_T-10.fits",)
    ours = library.folder / "master_dark_60s_g26_T-10.fits"
    ours.unlink()
    ours.write_text("somebody has put another one there")
    library.put(replace(row("short", exposure_us=60_000_000), status=MasterStatus.BAD))
    assert library.publish(disk).removed == ()
    assert ours.exists()
    theirs.unlink()
    assert library.publish(disk).written == ("master_dark_300s_g26_T-10.fits",), "the next time it is tried again"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {"../x.fits": [[1, 2, "x"]]}}', '{"files": 3}', "\x00"])
def test_a_damaged_manifest_costs_nothing(library: Library, text: str) -> None:
    library.put(row("one"), row("short", exposure_us=60_000_000))
    library.publish()
    (manifest,) = library.folder.glob(".nightcal-published-*.json")
    manifest.write_text(text)
    outside = library.folder.parent / "x.fits"
    outside.write_text("x")
    library.put(replace(row("one"), status=MasterStatus.SUPERSEDED, valid_until=AT), row("two", days=1))
    done = library.publish()
    assert done.problems == () or "somebody" in done.problems[0]
    assert outside.exists()
    if '"../' not in text:
        assert library.shown()["master_dark_300s_g26_T-10.fits"] == "two.fits"
    assert json.loads(manifest.read_text())["files"]


def test_a_full_disk_leaves_the_old_master_and_is_tried_again(library: Library) -> None:
    library.put(row("one"))
    library.publish(NoLinks())
    library.put(replace(row("one"), status=MasterStatus.SUPERSEDED, valid_until=AT), row("two", days=1))
    full = FullWithoutLinks(after_bytes=400)
    full.take(400 - 150)
    done = library.publish(full)
    assert "full" in done.problems[0] or "space" in done.problems[0]
    assert library.shown() == {"master_dark_300s_g26_T-10.fits": "one.fits"}
    full.free(10_000)
    assert library.publish(full).problems == ()
    assert library.shown() == {"master_dark_300s_g26_T-10.fits": "two.fits"}


def test_a_copy_that_the_disk_has_no_room_for_leaves_nothing_behind(library: Library) -> None:
    library.put(row("one"))
    library.layout.absolute(row("one").path).write_bytes(bytes(100_000))
    done = library.publish(FullWithoutLinks(after_bytes=10_000))
    assert len(done.problems) == 1
    assert str(replace(done, problems=())) == "no master is valid"
    assert (done.written, str(done)) == ((), "nothing is published")
    assert [path.suffix for path in library.folder.iterdir()] == [".json"]


def test_a_master_that_becomes_shorter_while_it_is_copied_is_not_published(library: Library) -> None:
    library.put(row("one"))
    path = library.layout.absolute(row("one").path)

    class Shortens(NoLinks):
        def link(self, source: Path, target: Path) -> None:
            path.write_bytes(b"half")
            super().link(source, target)

    done = library.publish(Shortens())
    assert "changed while it was copied" in done.problems[0]
    assert library.shown() == {}


def test_a_folder_that_takes_no_file_is_not_tried_for_each_of_many(library: Library) -> None:
    library.put(*(row(f"m{n}", exposure_us=n * 1_000_000) for n in range(1, 8)))
    done = library.publish(_Held())
    assert (len(done.problems), library.shown()) == (3, {})
    done = library.publish()
    assert (len(done.written), str(done)) == (7, "7 masters published")
    library.put(row("m1", exposure_us=1_000_000, status=MasterStatus.BAD))
    assert str(library.publish()) == "1 removed, 6 as they were"


class _Held(Disk):
    """A folder in which another program holds every file, as programs on Windows may."""

    def replace(self, source: Path, target: Path) -> None:
        if target.suffix == ".fits":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
        super().replace(source, target)


def test_a_file_that_another_program_holds_leaves_the_old_master_and_nothing_hidden(library: Library) -> None:
    library.put(row("old"))
    library.publish()
    library.put(row("old", status=MasterStatus.SUPERSEDED), row("new", days=1))
    done = library.publish(_Held())
    assert len(done.problems) == 1
    assert list(library.shown().values()) == ["old.fits"]
    assert not list(library.folder.glob(".*.part"))
    library.publish()
    assert list(library.shown().values()) == ["new.fits"]


def test_a_part_that_a_kill_has_left_goes_with_its_master(library: Library) -> None:
    library.put(row("old"))
    library.publish()
    (name,) = library.shown()
    (library.folder / f".{name}.part").write_bytes(b"half a master")
    library.put(row("old", status=MasterStatus.BAD))
    library.publish()
    assert [path.suffix for path in library.folder.iterdir()] == [".json"]


def test_a_kill_between_two_files_is_made_good(library: Library) -> None:
    """The manifest names what is about to come before it comes: a copy without an entry would be somebody else's."""

    class Killed(NoLinks):
        def replace(self, source: Path, target: Path) -> None:
            super().replace(source, target)
            if target.suffix == ".fits":
                raise KeyboardInterrupt

    library.put(row("one"))
    with pytest.raises(KeyboardInterrupt):
        library.publish(Killed())
    library.put(replace(row("one"), status=MasterStatus.SUPERSEDED, valid_until=AT), row("two", days=1))
    assert library.publish(NoLinks()).problems == ()
    assert library.shown() == {"master_dark_300s_g26_T-10.fits": "two.fits"}


def test_a_master_whose_file_is_gone_stays_published(library: Library) -> None:
    library.put(row("one"))
    library.publish()
    library.layout.absolute("master_frames/one.fits").unlink()
    assert "one.fits is not published" in library.publish().problems[0]
    assert library.shown() == {"master_dark_300s_g26_T-10.fits": "one.fits"}


@pytest.mark.parametrize("what", ["no parent", "a file"])
def test_a_folder_that_cannot_be_used_is_a_warning(library: Library, what: str) -> None:
    library.put(row("one"))
    if what == "a file":
        library.folder.write_text("x")
    else:
        library.folder = library.folder / "share" / "masters"
    done = library.publish()
    assert "tried again" in done.problems[0]
    assert str(library.folder) in done.problems[0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_read_only_folder_is_a_warning(library: Library) -> None:
    library.put(row("one"))
    library.folder.mkdir(mode=0o500)
    assert "tried again" in library.publish().problems[0]


def test_a_copy_of_the_library_by_hard_links_is_somebodys(library: Library) -> None:
    library.put(row("master_dark_old", status=MasterStatus.BAD), row("master_dark_new"))
    library.folder.mkdir()
    for path in library.layout.masters.glob("*.fits"):
        (library.folder / path.name).hardlink_to(path)
    done = library.publish()
    assert (len(done.written), done.removed) == (1, ())
    assert {"master_dark_old.fits", "master_dark_new.fits"} < set(library.shown())


def test_the_masters_themselves_are_never_taken_for_what_was_published(library: Library) -> None:
    """Another way to their folder - a link, a mount, a name in other letters - is found by no rule of paths."""
    library.put(row("master_dark_old", status=MasterStatus.BAD), row("master_dark_new"))
    library.folder.symlink_to(library.layout.masters, target_is_directory=True)
    before = {path: path.read_bytes() for path in library.layout.masters.iterdir()}
    done = library.publish()
    assert len(done.problems) == 1
    assert {path: path.read_bytes() for path in library.layout.masters.iterdir()} == before


def test_two_cameras_publish_into_one_folder(library: Library, tmp_path: Path) -> None:
    second = Library(tmp_path / "second")
    library.put(row("one"))
    second.put(row("other", exposure_us=1_000_000, camera="cam 2"))
    for each in (library, second, library, second):
        assert each.publish().problems == ()
    assert len(library.shown()) == 2
    second.catalogue.close()


def test_a_thousand_masters_take_seconds(library: Library) -> None:
    library.put(*(row(f"m{i}", exposure_us=1_000_000 * (i + 1)) for i in range(1000)))
    start = time.process_time()
    assert len(library.publish().written) == 1000
    assert library.publish().kept == 1000
    assert time.process_time() - start < 5.0
