"""Orders on masters: after any history one master at most is valid at an instant, and the sidecars know all of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from calibration.frames import FrameKind, GroupKey
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import USABLE, FrameRow, MasterRow, MasterStatus
from services.errors import StorageError
from services.files.fits import Plane, create_planes
from services.files.layout import Layout
from services.indexing.sidecar import read_sidecar, write_sidecar
from services.library.orders import Answer, MasterOrder, MasterWord, OrderCode, obey
from services.library.rejecting import MARKS, mark_frames
from services.library.standing import settle, standing
from services.root import Place
from tests.support.failing_disks import FullDisk

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = AT + timedelta(days=400)
KEY = GroupKey(
    kind=FrameKind.DARK, camera="cam", shape=(4, 6), binning=(1, 1), origin=(0, 0), gain=7, offset=30,
    readout_mode=None, exposure_us=3_000_000, temperature_c=-12.5,
)  # fmt: skip
KEYS = {
    "dark": KEY,
    "bias": replace(KEY, kind=FrameKind.BIAS, exposure_us=1000),
    "flat": replace(KEY, kind=FrameKind.FLAT, exposure_us=None, temperature_c=None, filter="Ha", source="sky"),
}


class Shelves:
    """A root with masters of a few pixels."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.place = Place(layout=self.layout, catalogue=Catalogue(self.layout.catalogue))
        self.number = 0

    def put(
        self, what: str, days: float, *, status: MasterStatus = MasterStatus.CERTIFIED, **more: object
    ) -> MasterRow:
        """Put a master whose frames were taken some days after the first on its shelf, as a build does."""
        self.number += 1
        path = self.layout.masters / f"master_{what}_{self.number:04d}.fits"
        taken = begins = AT + timedelta(days=days)
        key = KEYS[what]
        if key.kind is FrameKind.FLAT:
            begins = AT + timedelta(days=int(days))
            key = replace(key, night=f"{begins:%Y-%m-%d}")
        with create_planes(path, (Plane(name="MEAN"),), (4, 6)) as file:
            file.write("MEAN", 0, np.full((4, 6), self.number, np.float32))
            digest = file.finish().pixel_sha256
        row = MasterRow(**{
            "path": self.layout.relative(path), "key": key, "n": 3, "recipe": path.stem, "status": status,
            "built_at": taken + timedelta(hours=1, seconds=self.number), "valid_from": begins, "pixel_sha256": digest,
            "taken": taken, "begins": begins,
            "inputs": tuple(f"{self.number}{letter}" for letter in "abc"),
        } | more)  # fmt: skip
        write_sidecar(self.layout, row)
        self.place.catalogue.add_master(row)
        settle(self.place)
        return row

    def say(self, word: str, *masters: MasterRow | str, days: float | None = None, **more: object) -> Answer:
        names = tuple(each if isinstance(each, str) else Path(each.path).name for each in masters)
        since = None if days is None else AT + timedelta(days=days)
        order = MasterOrder(order=MasterWord(word), masters=names, since=since, **more)
        again = MasterOrder.from_dict(json.loads(json.dumps(order.to_dict())))
        assert again == order
        return obey(self.place, again, at=NOW)

    def valid(self, kind: FrameKind, days: float) -> list[str]:
        """Return the numbers of the masters that are valid some days after the first moment, whatever they are."""
        at = AT + timedelta(days=days)
        rows = self.place.catalogue.masters(kind=kind, at=at)
        assert all(row.may_serve for row in rows), [(row.path, row.status) for row in rows]
        return sorted(row.path[-9:-5].lstrip("0") for row in rows)

    def status(self, row: MasterRow) -> str:
        (found,) = self.place.catalogue.masters(path=row.path)
        assert read_sidecar(self.layout.sidecar_path(self.layout.absolute(row.path))) == found
        return str(found.status)


@pytest.fixture
def shelves(tmp_path: Path):
    made = Shelves(tmp_path)
    yield made
    made.place.catalogue.close()


def test_a_rejected_master_gives_its_time_back_to_the_one_before_and_takes_it_again(shelves: Shelves):
    first, second = shelves.put("dark", 0), shelves.put("dark", 60)
    assert (shelves.valid(FrameKind.DARK, 59.999), shelves.valid(FrameKind.DARK, 60)) == (["1"], ["2"])
    answer = shelves.say("reject", second, reason="fog", by="K")
    assert (answer.ok, [row.status for row in answer.masters]) == (True, ["bad"])
    assert {row.path for row in answer.changed} == {first.path, second.path}
    assert (shelves.status(first), shelves.valid(FrameKind.DARK, 61)) == ("certified", ["1"])
    assert shelves.say("certify", second).code == OrderCode.NOT_POSSIBLE
    assert shelves.say("unreject", second).ok
    assert (shelves.status(first), shelves.status(second)) == ("superseded", "certified")
    assert shelves.valid(FrameKind.DARK, 61) == ["2"]
    assert shelves.say("unreject", second).code == OrderCode.NOT_POSSIBLE


def test_a_suspect_master_serves_from_its_first_frame_on_once_it_is_certified(shelves: Shelves):
    old = shelves.put("bias", 0)
    new = shelves.put("bias", 80, status=MasterStatus.SUSPECT, statistics={"compared_with": old.path, "verdicts": [
        {"code": "level_changed", "measured": 40.0, "limit": 12.5, "detail": "40 ADU higher"}]})  # fmt: skip
    assert (shelves.status(old), shelves.status(new), shelves.valid(FrameKind.BIAS, 90)) == (
        "certified",
        "suspect",
        ["1"],
    )
    (row,) = shelves.place.catalogue.masters(path=new.path)
    assert row.detail == "unlike master_bias_0001.fits: level changed: 40 ADU higher"
    assert shelves.say("certify", new, by="K", reason="new offset").ok
    assert (shelves.status(old), shelves.status(new), shelves.valid(FrameKind.BIAS, 90)) == (
        "superseded",
        "certified",
        ["2"],
    )
    assert shelves.say("uncertify", new).ok
    assert (shelves.status(new), shelves.valid(FrameKind.BIAS, 90)) == ("suspect", ["1"])
    assert shelves.say("uncertify", new).code == OrderCode.NOT_POSSIBLE


def test_what_an_older_version_certified_can_be_taken_back_and_serves_as_it_was_built(shelves: Shelves):
    row = shelves.put("dark", 0)
    automatic = shelves.put("bias", 0, statistics={"compared_with": None})
    assert shelves.say("uncertify", row).ok
    assert (shelves.status(row), shelves.valid(FrameKind.DARK, 1)) == ("built", ["1"])
    refused = shelves.say("uncertify", automatic)
    assert (refused.ok, "its own check certified it: reject it" in refused.detail) == (False, True)


def test_cleaned_filters_end_older_flats_and_leave_them_to_the_nights_before(shelves: Shelves):
    first, second = shelves.put("flat", 0), shelves.put("flat", 7.7)
    dark = shelves.put("dark", 0)
    answer = shelves.say("invalidate", kind=FrameKind.FLAT, days=8, reason="filters cleaned")
    assert {row.path for row in answer.masters} == {first.path, second.path}
    (row,) = shelves.place.catalogue.masters(path=second.path)
    assert row.detail == "invalidated from 2026-03-09 12:00 UTC on: filters cleaned"
    assert [shelves.valid(FrameKind.FLAT, days) for days in (-0.1, 0, 6.9, 7, 7.9, 8)] == [
        [],
        ["1"],
        ["1"],
        ["2"],
        ["2"],
        [],
    ]
    shelves.put("flat", 9.6)
    assert [shelves.valid(FrameKind.FLAT, days) for days in (8.5, 9)] == [[], ["4"]]
    shelves.say("invalidate", kind=FrameKind.FLAT, days=10.4, reason="filters cleaned again, in the afternoon")
    shelves.put("flat", 10.6)
    evening = [shelves.valid(FrameKind.FLAT, days) for days in (10.3, 10.4, 10.6)]
    assert evening == [["4"], ["5"], ["5"]], "flats of that evening belong to the cleaned filters, not to before"
    shelves.say("revalidate", kind=FrameKind.FLAT)
    assert [shelves.valid(FrameKind.FLAT, days) for days in (9.9, 10, 10.4)] == [["4"], ["5"], ["5"]]
    assert shelves.valid(FrameKind.DARK, 99) == ["3"], dark.path
    assert shelves.say("invalidate", kind=FrameKind.FLAT, days=401, reason="x").code == OrderCode.NOT_POSSIBLE
    assert shelves.say("revalidate", kind=FrameKind.FLAT).ok
    assert shelves.valid(FrameKind.FLAT, 8.5) == ["2"]
    assert shelves.say("revalidate", kind=FrameKind.FLAT).code == OrderCode.NOT_POSSIBLE


def test_a_dark_that_is_made_of_biases_ends_with_them(shelves: Shelves):
    bias = shelves.put("bias", 0)
    shelves.put("dark", 0, inputs=bias.inputs)
    shelves.put("dark", 0.1, key=replace(KEY, gain=9))
    shelves.say("invalidate", kind=FrameKind.BIAS, days=5, reason="new power supply")
    assert (shelves.valid(FrameKind.BIAS, 6), shelves.valid(FrameKind.DARK, 6)) == ([], ["3"])


def test_a_name_that_is_none_and_an_order_on_nothing_change_nothing(shelves: Shelves):
    row = shelves.put("dark", 0)
    assert shelves.say("certify", "master_flat_*").code == OrderCode.UNKNOWN_MASTER
    assert shelves.say("reject", row, "master_dark_9999.fits").code == OrderCode.UNKNOWN_MASTER
    assert shelves.say("invalidate", kind=FrameKind.FLAT, reason="x").code == OrderCode.NOTHING_MEANT
    assert shelves.say("reject").code == OrderCode.NOTHING_MEANT
    refused = shelves.say("invalidate", row, days=-1, reason="x")
    assert "reject it, if it is bad" in refused.detail
    assert (
        obey(shelves.place, MasterOrder(order=MasterWord.REJECT, frames=("darks/x.fits",)), at=NOW).code
        == "unknown_frame"
    )
    assert shelves.status(row) == "certified"


STATUS = (*USABLE, MasterStatus.CERTIFIED, MasterStatus.CERTIFIED, MasterStatus.SUSPECT)
DOUBT = {"verdicts": [{"code": "noise_off"}]}


def step(shelves: Shelves, rng: np.random.Generator) -> None:
    """Do one thing of all that may happen to a library."""
    rows = shelves.place.catalogue.masters()
    one = rows[rng.integers(len(rows))] if rows else None
    days = float(rng.integers(0, 60)) + float(rng.choice([0.0, 0.3, 0.7]))
    what = rng.choice(["put", "put", "put", "certify", "uncertify", "reject", "unreject", "invalidate", "revalidate",
                       "every", "unevery", "mark", "unmark", "more"])  # fmt: skip
    if what == "put" or one is None:
        status = STATUS[rng.integers(len(STATUS))]
        statistics = DOUBT if status is MasterStatus.SUSPECT or rng.random() < 0.2 else {}
        shelves.put(str(rng.choice(list(KEYS))), days, status=status, statistics=statistics)
    elif what == "more":
        name = next(name for name, key in KEYS.items() if key.kind is one.kind)
        shelves.put(name, days, inputs=(*one.inputs, f"more{shelves.number}"), taken=one.taken, begins=one.begins)
    elif what in ("mark", "unmark"):
        sha = one.inputs[0]
        frame = FrameRow(path=f"darks/{sha}.fits", pixel_sha256=sha, size=1, mtime_ns=1, kind=FrameKind.DARK,
                         camera="cam", height=4, width=6)  # fmt: skip
        mark_frames(
            shelves.place, [frame], rejected=what == "mark", reason="r", at=NOW + timedelta(seconds=shelves.number)
        )
    elif what in ("every", "unevery"):
        kind = FrameKind(str(rng.choice([str(key.kind) for key in KEYS.values()])))
        word = "invalidate" if what == "every" else "revalidate"
        shelves.say(word, kind=kind, days=days if what == "every" else None, reason="cleaned")
    else:
        shelves.say(what, one, days=days if what == "invalidate" else None, reason="because")


def check(shelves: Shelves, rng: np.random.Generator) -> None:
    """Hold the catalogue against what must be true of any library, and against a catalogue made of the sidecars."""
    rows = shelves.place.catalogue.masters()
    marks = shelves.place.catalogue.marks()
    spoilt = {mark.pixel_sha256 for mark in marks}
    for kind in (FrameKind.DARK, FrameKind.BIAS, FrameKind.FLAT):
        claims = [r for r in rows if r.kind is kind and r.base in USABLE and not spoilt & set(r.inputs)]
        epochs = [s.since for r in rows if r.kind is kind for s in r.invalid if s.since is not None]
        for days in (-1.0, *rng.uniform(0, 70, 12), *range(0, 61, 4)):
            at = AT + timedelta(days=float(days))
            valid = shelves.valid(kind, float(days))
            begun = [r for r in claims if r.begins is not None and r.begins <= at]
            alive = [r for r in begun if all((r.first < since) == (at < since) for since in epochs)]
            assert len(valid) == bool(alive), (kind, days, valid, [r.path for r in alive])
    sidecars = [read_sidecar(path) for path in sorted(shelves.layout.masters.glob("*.json"))]
    order = rng.permutation(len(sidecars))
    again = standing([sidecars[i] for i in order], marks)
    assert sorted(again, key=lambda row: row.path) == sorted(rows, key=lambda row: row.path)


def frame(shelves: Shelves, sha: str) -> str:
    path = f"darks/{sha}.fits"
    shelves.place.catalogue.add_frames([FrameRow(
        path=path, pixel_sha256=sha, size=1, mtime_ns=1, kind=FrameKind.DARK, camera="cam", height=4, width=6,
        date_obs=AT,
    )])  # fmt: skip
    return path


def test_an_order_on_frames_and_a_master_that_is_none_leaves_nothing_behind(shelves: Shelves):
    row, path = shelves.put("dark", 0), frame(shelves, "1a")
    for masters, frames in (((row.path, "master_none.fits"), (path,)), ((row.path,), (path, "darks/none.fits"))):
        answer = obey(shelves.place, MasterOrder(order=MasterWord.REJECT, masters=masters, frames=frames), at=NOW)
        assert not answer.ok
        assert (shelves.status(row), shelves.place.catalogue.marks()) == ("certified", [])
        assert not shelves.layout.events(MARKS).exists(), "a catalogue that is rebuilt would take the frame for bad"
    both = MasterOrder(order=MasterWord.REJECT, masters=(row.path,), frames=(path,))
    assert obey(shelves.place, both, at=NOW).ok
    assert (shelves.status(row), len(shelves.place.catalogue.marks())) == ("bad", 1)


def test_frames_are_not_certified_and_that_is_said(shelves: Shelves):
    answer = obey(shelves.place, MasterOrder(order=MasterWord.CERTIFY, frames=(frame(shelves, "1a"),)), at=NOW)
    assert (answer.ok, answer.code) == (False, OrderCode.NOT_POSSIBLE)
    assert "darks/1a.fits" in answer.detail


def test_an_order_that_the_disk_has_no_room_for_is_not_carried_out_by_half(shelves: Shelves):
    rows = [shelves.put("dark", days) for days in (0, 60, 120)]
    before = [shelves.status(row) for row in rows]
    size = shelves.layout.sidecar_path(shelves.layout.absolute(rows[0].path)).stat().st_size
    disk = _OnceFull(int(2.5 * size))
    names = tuple(row.path for row in rows)
    with pytest.raises(StorageError):
        obey(replace(shelves.place, disk=disk), MasterOrder(order=MasterWord.REJECT, masters=names), at=NOW)
    assert disk.was_full
    assert [shelves.status(row) for row in rows] == before


class _OnceFull(FullDisk):
    """A disk that is full once: then somebody has made room."""

    was_full = False

    def take(self, size: int) -> int:
        room = super().take(size)
        if room < size:
            self.was_full = True
            self.free(1 << 20)
        return room


@pytest.mark.parametrize("seed", range(6))
def test_after_any_history_one_master_is_valid_at_an_instant_and_sidecars_alone_say_which(tmp_path: Path, seed: int):
    rng, shelves = np.random.default_rng(seed), Shelves(tmp_path)
    for _ in range(30):
        step(shelves, rng)
        check(shelves, rng)
    shelves.place.catalogue.close()
