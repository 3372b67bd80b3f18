"""Codes: each has a text, an advice and its exit code (docs/contracts.md, "Reason codes")."""

import re

import pytest

from calibration.errors import FrameCode, GroupCode, HeaderError
from drivers.errors import CameraBusy, Cancelled, DriverCode, DriverError, FilterFailed, PanelFailed, Refused
from services.errors import (
    MEANINGS,
    ConfigInvalid,
    Exit,
    RunCode,
    RunStopped,
    ServiceError,
    StorageError,
    Usage,
    meaning,
)

EVERY_CODE = sorted({str(code) for codes in (FrameCode, GroupCode, RunCode, DriverCode) for code in codes})


@pytest.mark.parametrize("code", EVERY_CODE)
def test_every_code_is_explained(code: str) -> None:
    found = MEANINGS[code]
    for words in (found.text, found.advice):
        assert len(words.split()) > 1
        assert words == words.strip()
        assert not words.endswith(".")
        assert words[0].islower() or words.split()[0] == "MaxADU", "it goes on after a code or a colon"


def test_no_explanation_without_its_code() -> None:
    assert set(MEANINGS) == set(EVERY_CODE)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("config_invalid", 2), ("usage", 2), ("camera_busy", 3), ("device_lost", 3), ("device_missing", 3),
        ("wrong_device", 3), ("unsafe", 4), ("safety_stale", 4), ("disk_full", 5), ("write_failed", 5),
        ("read_failed", 5), ("interrupted", 130), ("too_dim", None), ("constant", None), ("no_cover", None),
    ],
)  # fmt: skip
def test_exits_are_those_of_the_contract(code: str, exit_code: int | None) -> None:
    assert meaning(code).exit == exit_code


def test_an_unknown_code_means_itself() -> None:
    assert meaning("moon_too_full").text == "moon too full"
    assert meaning("moon_too_full").exit is None


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ConfigInvalid("a.yaml:1:2: gain"), Exit.CONFIG),
        (Usage("--step what"), Exit.CONFIG),
        (StorageError("x"), Exit.STORAGE),
        (StorageError("x", code=RunCode.CAMERA_BUSY), Exit.DEVICE),
        (RunStopped("^C"), Exit.INTERRUPTED),
        (RunStopped("rain", code=RunCode.UNSAFE), Exit.UNSAFE),
        (ServiceError("x", code=RunCode.NO_COVER), Exit.SOME_FAILED),
    ],
)
def test_errors_carry_code_exit_and_detail(error: ServiceError, exit_code: int) -> None:
    assert error.exit == exit_code
    assert str(error) == error.detail
    assert isinstance(error, ServiceError)


def test_a_code_given_to_one_error_is_not_that_of_the_next() -> None:
    StorageError("x", code=RunCode.DISK_FULL)
    assert StorageError("x").code is RunCode.WRITE_FAILED


def test_driver_errors_name_the_device_and_show_ascom_numbers_in_hex() -> None:
    error = Refused(device="camera 0 at h:1", detail="invalid value", number=0x401)
    assert str(error) == "camera 0 at h:1: invalid value (0x401)"
    assert str(DriverError(device="d", detail="x", number=503)) == "d: x (503)"
    assert (error.device, error.number) == ("camera 0 at h:1", 0x401)
    for kind, code in ((CameraBusy, "camera_busy"), (FilterFailed, "filter_failed"), (PanelFailed, "panel_not_ready")):
        assert kind(device="d", detail="x").code == code
    assert Cancelled(device="d", detail="x").code == RunCode.INTERRUPTED


def test_a_header_error_says_what_was_found_and_wanted() -> None:
    assert re.search(
        r"EXPTIME = 'High': expected seconds", str(HeaderError(keyword="EXPTIME", found="High", wanted="seconds"))
    )
