"""What becomes one master each: told from the sets, and the same as if every frame had been looked at."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.frames import FrameKind
from calibration.grouping import group
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import Flag, FrameRow, MasterRow, Origin
from services.files.layout import Layout
from services.planning.master_groups import MasterGroup, master_groups
from services.planning.master_plan import MasterPlan
from services.planning.master_settings import MasterSettings
from services.root import Place

AT = datetime(2026, 1, 1, 18, tzinfo=UTC)
FRAME = FrameRow(
    path="", pixel_sha256="", size=1, mtime_ns=1, kind=FrameKind.DARK, camera="c", instrument="c", height=4, width=5,
    night="2026-01-01",
)  # fmt: skip

FRAMES = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from([FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT]),
            "set_id": st.sampled_from(["a", "b", "foreign_c", None]),
            "set_temp_c": st.sampled_from([None, -10.0, -10.0, -20.0]),
            "ccd_temp_c": st.sampled_from([None, -10.0, -10.1, -9.7, -9.4, -8.9, -20.0, 3.0]),
            "gain": st.sampled_from([None, 0, 0, 0, 26]),
            "egain_e_adu": st.sampled_from([None, 0.82, 0.82, 18.69]),
            "bayer_pattern": st.sampled_from([None, None, None, "RGGB"]),
            "calibrated": st.sampled_from([None, None, None, "BD"]),
            "unread": st.sampled_from([None, None, None, "OFFSET=High"]),
            "exposure_us": st.sampled_from([1_000_000, 1_000_000, 1_000_300, 2_000_000]),
            "filter": st.sampled_from([None, "L", "L"]),
            "night": st.sampled_from(["2026-01-01", "2026-01-01", "2026-01-02"]),
            "flag": st.sampled_from([Flag.OK, Flag.OK, Flag.OK, Flag.BAD]),
            "after_s": st.sampled_from([None, 0, 1, 2, 3]),
        }
    ),
    max_size=12,
)


def rows_of(frames: list[dict[str, object]], *, alike: bool) -> Iterator[FrameRow]:
    for number, values in enumerate(frames):
        known = (
            dict(frames[0], after_s=number, flag=values["flag"], ccd_temp_c=values["ccd_temp_c"]) if alike else values
        )
        after_s = known.pop("after_s") if alike else values["after_s"]
        fields = {name: value for name, value in known.items() if name != "after_s"}
        origin = Origin.FOREIGN if str(fields["set_id"]).startswith("foreign") else Origin.OWN
        at = None if after_s is None else AT + timedelta(seconds=int(str(after_s)))
        yield replace(
            FRAME, **fields, origin=origin, path=f"{number}", frame_no=number, pixel_sha256=f"{number}", date_obs=at,
            level_adu=500.0 + number,
        )  # fmt: skip


def told(groups: list[MasterGroup]) -> list[object]:
    return [
        (
            g.product, g.key, g.temperature_c, g.own, g.exposure_us, g.started, g.recipe({}), len(g.rows),
            [(row.path, row.night) for row in g.rows], [m.level_adu for m in g.members],
            list(g.exposures_us), [g.temperature_at(each) for each in g.exposures_us],
        )
        for g in groups
    ]  # fmt: skip


def by_every_frame(catalogue: Catalogue, kind: FrameKind) -> list[tuple[object, ...]]:
    """Return the groups of each set, by `calibration.grouping` alone: key and frames."""
    sets: defaultdict[str, list[FrameRow]] = defaultdict(list)
    for row in catalogue.frames(kind=kind, flag=Flag.OK):
        sets[f"{row.set_id} {row.night if row.set_id is None else ''}"].append(row)
    found = []
    for rows in sets.values():
        own = rows[0].set_id is not None and all(row.origin is Origin.OWN for row in rows)
        first = min(rows, key=lambda row: str(row.date_obs))
        of_one_night = [replace(row, night=first.night) for row in rows] if own else rows
        found += [(key, [row.path for row in each]) for key, each in group(of_one_night, FrameRow.header).items()]
    return sorted(found, key=str)


@given(FRAMES, st.booleans())
@settings(deadline=3000, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_groups_told_from_sets_are_those_of_every_frame(
    tmp_path: Path, frames: list[dict[str, object]], alike: bool
) -> None:
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        catalogue.clear()
        catalogue.add_frames(rows_of(frames, alike=alike and bool(frames)))
        for kind in (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT):
            groups = master_groups(catalogue, kind)
            assert sorted(((g.key, [row.path for row in g.rows]) for g in groups), key=str) == by_every_frame(
                catalogue, kind
            )
            read = [replace(g, rows=tuple(g.rows)) for g in groups]
            assert told(groups) == told(read)
            some = [g for g in groups if g.rows[0].set_id in {"a", "foreign_c"}]
            assert told(master_groups(catalogue, kind, {"a", "foreign_c"})) == told(some)


def test_the_frames_of_a_set_that_is_alike_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [{**FRAMES_ALIKE, "after_s": n, "ccd_temp_c": -10.0 + 0.01 * n} for n in range(5)]
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        catalogue.add_frames(rows_of(frames, alike=False))
        asked: list[object] = []
        frames_of = catalogue.frames
        monkeypatch.setattr(catalogue, "frames", lambda **filters: asked.append(filters) or frames_of(**filters))
        (found,) = master_groups(catalogue, FrameKind.DARK, {"a"})
        assert (len(found.rows), found.key.temperature_c, found.recipe({})) == (5, -10.0, found.recipe({}))
        assert asked == []
        assert [row.path for row in found.rows] == ["0", "1", "2", "3", "4"]
        assert len(asked) == 1


LEVELS = st.lists(st.sampled_from([900.0, 5000.0, 9000.0, 20_000.0, 39_000.0, 40_000.0]), min_size=5, max_size=12)


@given(LEVELS, st.sampled_from([1_000_000, None]))
@settings(deadline=3000, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flats_are_chosen_by_the_sums_of_their_set_as_by_every_frame(
    tmp_path: Path, levels: list[float], dark_us: int | None
) -> None:
    frames = [{**FRAMES_ALIKE, "kind": FrameKind.FLAT, "filter": "L", "after_s": n} for n in range(len(levels))]
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        catalogue.clear()
        rows = rows_of(frames, alike=False)
        catalogue.add_frames(replace(row, level_adu=level) for row, level in zip(rows, levels, strict=True))
        if dark_us is not None:
            key = replace(FRAME, gain=26, exposure_us=dark_us).key(-10.0)
            dark = MasterRow(path="d", key=key, n=5, recipe="r", built_at=AT, statistics={"level_adu": 500.0})
            catalogue.add_master(dark)
        place = Place(layout=Layout(tmp_path), catalogue=catalogue)
        plan = MasterPlan(MasterSettings(), place, is_whole=lambda _row, _path: True)
        (flats,) = plan.groups()
        by_sums, by_frames = plan.chosen(flats), plan.chosen(flats, levels)
        assert by_sums is not None
        assert by_frames is not None
        assert [row.path for row in by_sums.group.rows] == [row.path for row in by_frames.group.rows]
        assert [each.detail for each in by_sums.left_out] == [each.detail for each in by_frames.left_out]
        assert [each.name for each in by_sums.distinct_darks] == [each.name for each in by_frames.distinct_darks]
        assert bool(by_sums.group.rows) is (dark_us is not None)


FRAMES_ALIKE = {
    "kind": FrameKind.DARK, "set_id": "a", "set_temp_c": -10.0, "gain": 26, "exposure_us": 1_000_000, "filter": None,
    "night": "2026-01-01", "flag": Flag.OK,
}  # fmt: skip
