"""What serves of each wanted master and what happens to it, asked of a real catalogue in memory."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from calibration.frames import FrameKind
from services.catalogue.catalogue import Catalogue
from services.catalogue.history import LISTED, NO_SENSOR_C, SENSOR_C
from services.catalogue.rows import FactRow, FrameRow, MasterRow, MasterStatus
from services.config import loads
from services.config.models import LoadedConfig
from services.planning.look import SENSOR_KNOWN
from services.planning.programmes import programmes_of
from services.planning.upkeep import plan_of
from services.planning.wanted_master import Failure, Happens, Plan, Serves, WantedMaster
from services.root import Place, layout_of

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DARK = "dark_60.000s_g26_o30_T-10"
BIAS = "bias_0.001s_g26_o30_T-10"
FLAT = "flat_Ha_g26_o30_T-10"
TEXT = """
camera: {camera_type: alpaca, alpaca: {host: h, gain: 26, offset: 30}}
cooling: {target_temperature: -10.0}
filter_wheel: {device_id: 0}
programmes:
  - {name: one, temperatures: [-10.0], bias: {frames: 4}, darks: {exposures: [60], frames: 3, max_age_days: 60},
     flats: {filters: [Ha], frames: 3}}
"""


class Library:
    """A catalogue in a folder, filled by hand."""

    def __init__(self, folder: Path, text: str = TEXT) -> None:
        loaded = loads(text, folder / "c.yaml")
        self.loaded = loaded.model_copy(
            update={"config": loaded.config.model_copy(update={"programmes": programmes_of(loaded.config)})}
        )
        layout = layout_of(self.loaded)
        self.place = Place(layout=layout, catalogue=Catalogue(layout.catalogue))
        self._n = 0

    def take(
        self, kind: FrameKind, n: int, at: datetime, exposure_s: float = 60.0, filter_name: str = "", **fields: Any
    ) -> list[FrameRow]:
        self._n += 1
        rows = [
            FrameRow(
                path=f"{kind}/{self._n}_{i}.fits",
                pixel_sha256=f"{self._n}-{i}",
                size=1,
                mtime_ns=1,
                kind=kind,
                camera="QHY",
                height=10,
                width=10,
                gain=26,
                offset=30,
                exposure_us=round(exposure_s * 1e6),
                filter=filter_name or None,
                source="panel" if kind is FrameKind.FLAT else None,
                instrument="QHY",
                set_id=f"s-{self._n}",
                run_id="s",
                frame_no=i,
                date_obs=at + timedelta(minutes=i),
                night="2026-05-31",
                **{"set_temp_c": -10.0, "ccd_temp_c": -10.0, **fields},
            )
            for i in range(n)
        ]
        self.place.catalogue.add_frames(rows)
        return rows

    def build(
        self, rows: list[FrameRow], status: MasterStatus = MasterStatus.CERTIFIED, temperature_c: float = -10.0
    ) -> MasterRow:
        first = rows[0]
        row = MasterRow(
            path=f"master_frames/{first.set_id}.fits",
            key=first.key(temperature_c),
            n=len(rows),
            recipe=first.set_id or "",
            built_at=(first.date_obs or NOW) + timedelta(hours=1),
            status=status,
            detail="noisier than the last one" if status is MasterStatus.SUSPECT else "",
            exposure_us=first.exposure_us,
            valid_from=first.date_obs,
            inputs=tuple(row.pixel_sha256 for row in rows),
            night=first.night,
        )
        self.place.catalogue.add_master(row)
        return row

    def plan(self, now: datetime = NOW, failures: dict[str, Failure] | None = None) -> Plan:
        return plan_of(self.loaded, self.place, now=now, failures=failures)

    def of(self, key: str, now: datetime = NOW, failures: dict[str, Failure] | None = None) -> WantedMaster:
        return next(each for each in self.plan(now, failures).masters if each.key == key)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = Library(tmp_path)
    yield made
    made.place.catalogue.close()


def days(n: float) -> timedelta:
    return timedelta(days=n)


def test_of_an_empty_library_everything_is_due_and_nothing_serves(library: Library) -> None:
    plan = library.plan()
    assert [each.key for each in plan.due] == [BIAS, FLAT, DARK]
    assert {(each.serves, each.serves_why) for each in plan.masters} == {(Serves.NONE, "there is no master yet")}
    assert plan.cost.frames == 10
    assert plan.cost.seconds > 180


def test_a_master_is_fresh_then_ageing_then_stale_by_its_oldest_frame(library: Library) -> None:
    library.build(library.take(FrameKind.DARK, 3, NOW))
    seen = [
        (library.of(DARK, NOW + days(d)).serves, library.of(DARK, NOW + days(d)).happens) for d in (1, 47, 49, 59, 61)
    ]
    assert seen == [
        (Serves.FRESH, Happens.NOTHING),
        (Serves.FRESH, Happens.NOTHING),
        (Serves.AGEING, Happens.DUE),
        (Serves.AGEING, Happens.DUE),
        (Serves.STALE, Happens.DUE),
    ]
    assert library.of(DARK, NOW + days(49)).is_anew
    assert "61 days old, only 60 days are allowed" in library.of(DARK, NOW + days(61)).serves_why


def test_a_begun_set_is_partial_and_a_complete_one_waits_for_its_master(library: Library) -> None:
    library.take(FrameKind.DARK, 2, NOW - timedelta(hours=2))
    partial = library.of(DARK)
    assert (partial.happens, partial.have, partial.happens_why) == (Happens.PARTIAL, 2, "2 of 3 frames are there")
    library.take(FrameKind.DARK, 3, NOW - timedelta(hours=1))
    complete = library.of(DARK)
    assert (complete.happens, complete.to_build) == (Happens.NOTHING, True)


def test_a_begun_set_that_is_too_old_is_begun_anew(library: Library) -> None:
    library.take(FrameKind.DARK, 2, NOW - days(2))
    assert library.of(DARK).happens is Happens.DUE


def test_windows_say_until_when_a_set_is_continued(library: Library) -> None:
    library.take(FrameKind.DARK, 2, NOW - days(2))
    for until, happens in ((NOW + days(1), Happens.PARTIAL), (NOW, Happens.DUE), (None, Happens.DUE)):
        plan = plan_of(library.loaded, library.place, now=NOW, continued_until=lambda _at, _kind, until=until: until)
        assert next(each for each in plan.masters if each.key == DARK).happens is happens


def test_a_suspect_master_leaves_the_old_one_serving_and_is_not_taken_again(library: Library) -> None:
    library.build(library.take(FrameKind.DARK, 3, NOW - days(50)))
    library.build(library.take(FrameKind.DARK, 3, NOW - days(1)), MasterStatus.SUSPECT)
    found = library.of(DARK)
    assert (found.serves, found.happens) == (Serves.AGEING, Happens.SUSPECT)
    assert "noisier than the last one" in found.happens_why
    assert library.of(DARK, NOW + days(20)).serves is Serves.STALE


def test_what_failed_waits_for_its_time_and_says_why(library: Library) -> None:
    failures = {
        DARK: Failure(code="not_dark", detail="light falls on the sensor", again_at=NOW + timedelta(minutes=15))
    }
    found = library.of(DARK, NOW, failures)
    assert (found.happens, found.again_at) == (Happens.FAILED, NOW + timedelta(minutes=15))
    assert "light falls on the sensor" in found.happens_why
    assert library.of(DARK, NOW + timedelta(minutes=15), failures).happens is Happens.DUE


def test_flats_bring_darks_of_the_exposures_that_they_found(library: Library) -> None:
    library.build(library.take(FrameKind.FLAT, 3, NOW - days(1), exposure_s=2.239, filter_name="Ha"))
    plan = library.plan()
    assert {each.key for each in plan.due} == {BIAS, DARK, "dark_2.239s_g26_o30_T-10"}
    assert library.of(FLAT).serves is Serves.FRESH


def test_a_wish_of_two_programmes_is_one_with_the_younger_age_and_the_larger_count(tmp_path: Path) -> None:
    text = TEXT + "  - {name: two, temperatures: [-10.0], darks: {exposures: [60], frames: 8, max_age_days: 10}}\n"
    library = Library(tmp_path, text)
    found = library.of(DARK)
    assert (found.wanted.count, found.max_age_days, found.programmes) == (8, 10.0, ("one", "two"))
    assert sum(each.key == DARK for each in library.plan().masters) == 1
    library.place.catalogue.close()


def test_a_renewal_that_was_broken_off_is_continued_although_the_older_set_is_complete(library: Library) -> None:
    library.build(library.take(FrameKind.DARK, 3, NOW - days(50)))  # of 60 days: ageing
    ageing = library.of(DARK)
    assert (ageing.serves, ageing.happens, ageing.is_anew) == (Serves.AGEING, Happens.DUE, True)
    begun = library.take(FrameKind.DARK, 2, NOW - timedelta(hours=2))
    found = library.of(DARK)
    assert (found.happens, found.have, found.set_id, found.is_anew) == (Happens.PARTIAL, 2, begun[0].set_id, True)
    assert found.begun_at == NOW - timedelta(hours=2)
    assert found.serves is Serves.AGEING
    late = library.of(DARK, NOW + timedelta(hours=30))
    assert (late.happens, late.have) == (Happens.DUE, 0)  # too old to be continued


def test_the_fingerprint_changes_with_what_is_due_and_not_with_time(library: Library) -> None:
    first = library.plan().fingerprint
    assert library.plan(NOW + timedelta(hours=1)).fingerprint == first
    library.take(FrameKind.DARK, 3, NOW)
    assert library.plan().fingerprint != first


def test_the_fingerprint_changes_with_how_frames_are_taken_and_not_with_who_is_called(tmp_path: Path) -> None:
    def of(more: str) -> str:
        library = Library(tmp_path, TEXT + more)
        found = library.plan().fingerprint
        library.place.catalogue.close()
        return found

    first = of("")
    assert of("flat_panel: {device_id: 0, brightness: 20}\n") != first
    assert of("serve: {keep_logs_days: 3}\n") == first


def test_an_existing_file_without_programmes_wants_what_it_says(tmp_path: Path) -> None:
    loaded: LoadedConfig = loads("camera: {alpaca: {host: h}}\nflat_capture: {filters: []}\n", tmp_path / "c.yaml")
    assert loaded.config.programmes == ()
    library = Library(tmp_path, "camera: {alpaca: {host: h}}\n")
    assert [each.wanted.exposure_us for each in library.plan().masters if each.kind is not FrameKind.FLAT] == [
        1000, 5_000_000, 2_500_000, 10_000_000, 20_000_000,
    ]  # fmt: skip
    library.place.catalogue.close()


def test_a_rejected_master_is_taken_anew_although_its_set_is_young(library: Library) -> None:
    library.build(library.take(FrameKind.DARK, 3, NOW - days(20)))
    library.build(library.take(FrameKind.DARK, 3, NOW - days(1)), MasterStatus.BAD)
    found = library.of(DARK)
    assert (found.serves, found.happens, found.is_anew, found.cost.frames) == (Serves.FRESH, Happens.DUE, True, 3)


def test_after_an_invalidation_a_new_set_is_due(library: Library) -> None:
    row = library.build(library.take(FrameKind.DARK, 3, NOW - days(20)))
    ended = replace(
        row,
        status=MasterStatus.SUPERSEDED,
        stood_as=row.status,
        valid_until=NOW - days(1),
        detail="invalidated: cleaned",
    )
    library.place.catalogue.add_master(ended)
    found = library.of(DARK)
    assert (found.serves, found.happens, found.is_anew) == (Serves.NONE, Happens.DUE, True)
    assert "invalidated: cleaned" in found.happens_why
    library.take(FrameKind.DARK, 3, NOW - timedelta(hours=1))
    assert library.of(DARK).to_build


def test_a_master_that_waits_to_be_certified_is_not_taken_again(library: Library) -> None:
    library.build(library.take(FrameKind.DARK, 3, NOW - days(50)))
    row = library.build(library.take(FrameKind.DARK, 3, NOW - days(1)), MasterStatus.BUILT)
    library.place.catalogue.add_master(replace(row, valid_until=row.valid_from, detail="the older one serves"))
    found = library.of(DARK)
    assert (found.serves, found.happens) == (Serves.AGEING, Happens.SUSPECT)
    assert "the older one serves" in found.happens_why


def test_a_master_with_a_rejected_frame_is_built_again_of_the_others(library: Library) -> None:
    row = library.build(library.take(FrameKind.DARK, 3, NOW - days(1)))
    spoilt = replace(row, status=MasterStatus.SUSPECT, stood_as=row.status, valid_until=row.valid_from)
    library.place.catalogue.add_master(spoilt)
    assert library.of(DARK).to_build


def test_what_stands_in_the_way_is_said_and_is_not_due(library: Library) -> None:
    plan = plan_of(
        library.loaded,
        library.place,
        now=NOW,
        by_order_only=lambda wanted: "by order only" if wanted.kind is FrameKind.FLAT else "",
    )
    flat = next(each for each in plan.masters if each.key == FLAT)
    assert (flat.happens, flat.happens_why) == (Happens.BLOCKED, "by order only")
    assert [each.key for each in plan.due] == [BIAS, DARK]
    assert plan.cost.frames == 7


def test_filters_that_nobody_knows_yet_block_flats(tmp_path: Path) -> None:
    text = "camera: {camera_type: alpaca, alpaca: {host: h}}\nfilter_wheel: {device_id: 0}\n"
    library = Library(tmp_path, text)
    (flat,) = (each for each in library.plan().masters if each.kind is FrameKind.FLAT)
    assert flat.happens is Happens.BLOCKED
    assert "the wheel's filters are not known yet" in flat.happens_why
    library.place.catalogue.close()


def test_the_number_of_a_gain_by_name_is_the_one_that_the_camera_listed_last(tmp_path: Path) -> None:
    text = "camera: {camera_type: alpaca, alpaca: {host: h, offset: 7}}\ncooling: {target_temperature: -10}\n"
    text += "programmes: [{name: a, gain: high, bias: {}}, {name: b, gain: Low, bias: {}}]\nfilter_wheel: null\n"
    library = Library(tmp_path, text)
    masters = library.plan().masters
    assert {each.happens for each in masters} == {Happens.BLOCKED}
    assert (
        masters[0].happens_why
        == "the number of gain 'high' is not known yet: give the number, or run `nightcal run` once"
    )
    catalogue = library.place.catalogue
    catalogue.add_fact(FactRow(camera="c", name=LISTED, value=1.0, at=NOW, settings={"gains": ["Low", "High"]}))
    assert [(each.key, each.happens) for each in library.plan().masters] == [
        ("bias_0.001s_g1_o7_T-10", Happens.DUE),
        ("bias_0.001s_g0_o7_T-10", Happens.DUE),
    ]
    catalogue.close()


def test_without_a_cooler_darks_are_wanted_of_the_temperature_at_which_the_sensor_is(tmp_path: Path) -> None:
    text = "camera: {camera_type: alpaca, alpaca: {host: h}}\nfilter_wheel: null\n"
    text += "programmes: [{name: a, temperatures: as_they_come, darks: {exposures: [60], frames: 3}}]\n"
    library = Library(tmp_path, text)
    rows = library.take(FrameKind.DARK, 3, NOW - days(1), set_temp_c=None, ccd_temp_c=8.3)
    library.build(rows, temperature_c=8.3)

    def seen() -> tuple[Serves, Happens]:
        (dark,) = (each for each in library.plan().masters if each.kind is FrameKind.DARK)
        return dark.serves, dark.happens

    fresh, none = (Serves.FRESH, Happens.NOTHING), (Serves.NONE, Happens.DUE)
    assert seen() == (Serves.FRESH, Happens.DUE)  # nobody has read how warm it is
    catalogue = library.place.catalogue
    for sensor_c, expected in ((8.0, fresh), (9.2, fresh), (9.4, none), (3.0, none), (8.1, fresh)):
        catalogue.add_fact(FactRow(camera="c", name=SENSOR_C, value=sensor_c, at=NOW))
        assert seen() == expected
    (dark,) = plan_of(library.loaded, library.place, now=NOW + SENSOR_KNOWN + timedelta(seconds=1)).masters
    assert (dark.serves, dark.happens) == (Serves.FRESH, Happens.DUE)
    catalogue.add_fact(FactRow(camera="c", name=NO_SENSOR_C, value=1.0, at=NOW + timedelta(seconds=1)))
    assert seen() == fresh  # a camera that never says it
    catalogue.close()
