"""Damaged configurations, journals and lock records: a refusal with its place, a report of what is left, a message."""

import copy
import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.catalogue.catalogue import Catalogue
from services.config import load, loads
from services.errors import ConfigInvalid, StorageError
from services.events.devices import CoolingChanged, DetectorMeasured, DeviceConnected
from services.events.modelled import ModelFitted, ModelLacking
from services.events.records import (
    FlatExposureAdjusted,
    FlatSettled,
    FrameRefused,
    FrameStored,
    GroupFinished,
    GroupStarted,
    MasterBuilt,
    MasterRefused,
    RunFinished,
    RunProgress,
    RunStarted,
    StepFinished,
    StorageLow,
    WarningRaised,
)
from services.files.layout import Layout
from services.files.locks import RootLock
from services.reports.night import build_report
from services.reports.page import render
from tests.support.places import ROOT

SHIPPED = ROOT / "config_calibration_frames.yaml"
RUN = "20260101T180000-abcd"
AT = datetime(2026, 1, 1, 18, tzinfo=UTC)

few = partial(settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# --- the configuration ------------------------------------------------------------------------------------------------

PIECES = [b": ", b"- ", b"\n", b"\t", b"  ", b"[", b"]", b"{", b"}", b"&a ", b"*a", b"!!python/name:os.system ",
          b"<<: *a\n",
          b"'", b'"', b"#", b"|\n", b">-\n", b"---\n", b"...\n", b"%YAML 9.9\n", b"\xff", b"\xef\xbb\xbf", b"\0", b"? ",
          b"null", b"~", b".nan", b".inf", b"-1e400", b"0x7fffffffffffffffffff", b"1:30:00", b"2026-13-45", b"yes",
          b"9" * 5000]  # fmt: skip


def damaged_config(tmp_path: Path, data: st.DataObject) -> None:
    """Change the file we ship in a few places and load it."""
    content = bytearray(SHIPPED.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        cut = data.draw(st.integers(0, 30))
        content[at : at + cut] = data.draw(st.sampled_from(PIECES) | st.binary(max_size=6))
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with suppress(ConfigInvalid):
            assert load(path).config
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@given(st.data())
@few(max_examples=80)
def test_a_damaged_configuration_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    damaged_config(tmp_path, data)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(st.data())
@few(max_examples=8000)
def test_many_damaged_configurations_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    damaged_config(tmp_path, data)


KEYS = ["dark_capture: {num_darks: %s}", "dark_capture: {science_exposure_time: %s}", "storage: {root: %s}",
        "flat_capture: {filters: %s}", "camera: {camera_type: simulator, simulator: {width: %s}}",
        "cooling: {target_temperature: %s}", "site: {latitude: %s, longitude: 0}",
        "reuse: {bias: %s}", "gains: %s", "flat_capture: {output_dir: %s}",
        "camera: {camera_type: simulator, simulator: {rate: %s}}", "darkness: %s"]  # fmt: skip
VALUES = st.sampled_from(["1e308", "-1", ".nan", ".inf", "9" * 400, "[]", "{}", "''", "'\\0'", "[[1]]", "true",
                          "1e-400", "[.nan, 1]", "'../../../etc'", "'CON'", "2026-01-01", "0o777", "1_000", "'x' ",
                          "[" + "1," * 9999 + "1]"])  # fmt: skip


@given(st.sampled_from(KEYS), VALUES | st.text(alphabet="0123456789.,-+eE[]{}'\" xnaif", max_size=12))
@few(max_examples=150)
def test_any_value_of_a_key_is_taken_or_refused_by_name(key: str, value: str) -> None:
    with suppress(ConfigInvalid):
        assert loads(key % value, Path("f.yaml")).config


# --- reports of journals ----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
GROUP = {"set_id": "s", "kind": "FLAT", "filter": "L", "exposure_us": 10, "gain": 5, "set_temp_c": -10.0}
STATISTICS = {
    "verdict": "suspect", "verdicts": ["constant"], "median_adu": 500.0, "pair_noise_adu": 4.0, "hot": 3, "dead": 0,
    "noisy": 2, "master_noise_adu": 1.0, "corner_centre_ratio": 0.9, "row_pattern_adu": 0.1, "column_pattern_adu": 0.2,
    "rejected_fraction": 0.01, "net_level_adu": 30_000.0, "normalised_by": 3.0, "snr": 3.0, "dust_shadows": 2,
}  # fmt: skip
HONEST: dict[str, dict[str, Any]] = {
    RunStarted.name: {"steps": ["darks"], "config": "c", "root": "r", "simulated": True, "software": "n",
                            "night": "2026-01-01", "settings": {"a": {"b": 1}}},
    RunFinished.name: {"exit_code": 1, "code": None, "detail": "x"},
    GroupStarted.name: {**GROUP, "wanted": 4, "have": 1},
    GroupFinished.name: {**GROUP, "status": "partial", "code": "too_dim", "accepted": 3, "refused": 1,
                               "panel_brightness": 9, "detail": "d", "there": False},
    FrameStored.name: {**GROUP, "path": "flats/x.fits", "level_adu": 5.0, "sigma_adu": 1.0, "ccd_temp_c": 1.0,
                             "frame_no": 1, "wanted": 3, "seconds": 1.0, "cooler_power_pct": 4.0},
    FrameRefused.name: {**GROUP, "path": None, "codes": ["constant"], "level_adu": 3.0,
                              "verdicts": [{"code": "constant", "measured": 1.0, "limit": 2.0, "detail": ""}]},
    FlatExposureAdjusted.name: {"filter": "L", "exposure_us": 5, "level_adu": 2.0, "target_adu": 3.0,
                                       "panel_brightness": 3, "attempt": 1},
    FlatSettled.name: {"filter": "L", "exposure_us": 5, "panel_brightness": 3, "attempts": 2, "level_adu": 2.0},
    CoolingChanged.name: {"ccd_temp_c": 1.0, "set_point_c": 0.0, "target_c": -5.0, "cooler_power_pct": 3.0},
    DetectorMeasured.name: {"bias_adu": 500.0, "saturation_adu": 65535, "step_adu": 1, "k_adu_e": 2.0, "gain": 5},
    DeviceConnected.name: {"device": "camera", "device_name": "x", "unique_id": "u"},
    MasterBuilt.name: {"path": "master_frames/m.fits", "kind": "FLAT", "exposure_us": 4, "filter": "L", "gain": 5,
                             "n": 4, "rejected": 1, "status": "built", "statistics": STATISTICS},
    MasterRefused.name: {"kind": "FLAT", "filter": "L", "exposure_us": 3, "code": "no_frames", "detail": ""},
    StepFinished.name: {"step": "masters", "kept": ["master_frames/m.fits"]},
    ModelFitted.name: {"path": "models/b", "kind": "bias", "family": "linear", "n": 4, "temperatures": 2,
                             "coldest_c": -10.0, "warmest_c": 0.0, "notes": ["x"], "kept": False,
                             "moved": [{"what": "level", "unit": "ADU", "before": 1.0, "after": 2.0, "sigma": 0.1}]},
    ModelLacking.name: {"kind": "dark", "detail": "x"},
    WarningRaised.name: {"code": "no_cover", "detail": "x"},
    StorageLow.name: {"free_mb": 3},
    RunProgress.name: {"done": 1, "wanted": 4, "sets": [{**GROUP, "wanted": 4, "have": 0, "why": ["x"]}]},
}  # fmt: skip


def damaged_journal(data: st.DataObject) -> list[str]:
    """Return an honest journal in which some members, or members of these, are anything."""
    common = {"run_id": RUN, "seq": 1, "at": AT.isoformat()}
    events = [{"name": str(name), **common, **copy.deepcopy(told)} for name, told in HONEST.items()]
    for _ in range(data.draw(st.integers(1, 6))):
        event = data.draw(st.sampled_from(events))
        inner = [value for value in event.values() if isinstance(value, dict) and value]
        inner += [value[0] for value in event.values() if isinstance(value, list) and value]
        place = data.draw(st.sampled_from([event, *(i for i in inner if isinstance(i, dict) and i)]))
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    return [json.dumps(event) for event in events]


def report_of(tmp_path: Path, data: st.DataObject) -> None:
    layout = Layout(tmp_path)
    journal = layout.events(RUN)
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text("\n".join(damaged_journal(data)), encoding="utf-8")
    with Catalogue(layout.catalogue) as catalogue:
        report = build_report(layout, catalogue, RUN)
        json.loads(report.to_json())
        assert render(report, layout).rstrip().endswith("</html>")


@given(st.data())
@few(max_examples=60)
def test_a_journal_of_any_values_becomes_a_report(tmp_path: Path, data: st.DataObject) -> None:
    report_of(tmp_path, data)


@pytest.mark.long
@pytest.mark.timeout(3600)
@given(st.data())
@few(max_examples=3000)
def test_many_journals_of_any_values_become_reports(tmp_path: Path, data: st.DataObject) -> None:
    report_of(tmp_path, data)


# --- who holds a lock -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda p: p.write_text("[" * 100_000), lambda p: p.write_text("null"), lambda p: p.write_text('{"pid": {}}'),
        lambda p: p.write_bytes(b"\xff\xfe"), lambda p: p.unlink(), lambda p: (p.unlink(), p.mkdir()),
        lambda p: p.write_text(json.dumps(dict.fromkeys(("command", "pid", "host", "since"), "\x1b[2J" * 5000))),
    ],
)  # fmt: skip
def test_a_lock_names_its_holder_or_another_program(tmp_path: Path, write: Callable[[Path], object]) -> None:
    with RootLock(tmp_path):
        write(tmp_path / ".nightcal" / "lock.json")
        with pytest.raises(StorageError, match="in use by") as caught:
            RootLock(tmp_path).acquire()
        assert len(caught.value.detail) < 2000
        assert "\x1b" not in caught.value.detail
