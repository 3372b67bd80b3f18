"""What the errors of drivers say."""

import pytest

from drivers.errors import Refused


@pytest.mark.parametrize(
    ("detail", "number", "shown"),
    [
        ("it is closed", 0x40B, "camera: it is closed (0x40B)"),
        ("gain: HTTP 400: no such gain", 400, "camera: gain: HTTP 400: no such gain"),
        ("no answer for 15 s", 5, "camera: no answer for 15 s (5)"),
        ("it is closed", None, "camera: it is closed"),
    ],
    ids=["ASCOM", "HTTP", "digits that are no number of an error", "none"],
)
def test_the_number_of_an_error_is_said_once(detail: str, number: int | None, shown: str) -> None:
    assert str(Refused(device="camera", detail=detail, number=number)) == shown
