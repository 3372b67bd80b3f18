"""Errors of devices, translated once at the wire.

::

    DriverError                     a device did not do what was asked
    ├── DeviceLost                  no usable answer: refused, dropped, timed out, HTTP 5xx (retried by the ladder)
    ├── DeviceMissing               the server answers, but has no such device, or discovery found none
    ├── WrongDevice                 the device that answers is not the one that was there before
    ├── AccessDenied                the server wants a user and a password (never tried again)
    │   └── LoginRefused            it refuses those that it was given
    ├── CameraBusy                  another program uses the camera
    ├── NotOffered                  HTTP 200 with an error number on an optional member: the device has no such thing
    ├── Refused                     the device answered with an error number: bad value, not connected, bad moment
    ├── SettingRefused              the value read back differs from the value set, twice
    ├── SizeRefused                 the camera has no images of this size; the next `apply` sets a smaller one
    ├── ExposureFailed              the camera says that this exposure failed (error state, ImageReady raises)
    ├── ExposureStalled             the deadline of an exposure or of its download has passed
    ├── BadImage                    the image that came is malformed or of an unknown kind
    │   └── WrongSize               it is of another size than announced
    ├── FilterFailed                the wheel did not reach its position
    ├── PanelFailed                 panel or cover did not reach the state asked for
    └── Cancelled                   a stop was requested; the exposure was aborted
"""

from enum import StrEnum


class DriverCode(StrEnum):
    """Reason codes of this tree; `services.errors` joins them to texts, advice and exits."""

    DEVICE_LOST = "device_lost"
    DEVICE_MISSING = "device_missing"
    WRONG_DEVICE = "wrong_device"
    ACCESS_DENIED = "access_denied"
    LOGIN_REFUSED = "login_refused"
    CAMERA_BUSY = "camera_busy"
    SETTING_REFUSED = "setting_refused"
    EXPOSURE_FAILED = "exposure_failed"
    BAD_IMAGE = "bad_image"
    FILTER_FAILED = "filter_failed"
    PANEL_NOT_READY = "panel_not_ready"
    INTERRUPTED = "interrupted"


def _number_text(number: int) -> str:
    """Return an error number as ASCOM writes its own; HTTP's are decimal."""
    return f"0x{number:X}" if 0x400 <= number <= 0xFFF else str(number)


class DriverError(Exception):
    """Root of this package's errors.

    Parameters
    ----------
    device : str
        Which device, as a user names it ("camera 0 at 127.0.0.1:11111").
    detail : str
        What happened, in one sentence.
    number : int, optional
        The ASCOM error number or HTTP status, when there was one.
    """

    code: DriverCode = DriverCode.DEVICE_LOST

    def __init__(self, *, device: str, detail: str, number: int | None = None) -> None:
        self.device = device
        self.detail = detail
        self.number = number
        shown = "" if number is None or f"HTTP {number}" in detail else f" ({_number_text(number)})"
        super().__init__(f"{device}: {detail}{shown}")


class DeviceLost(DriverError):
    """No usable answer came: connection refused or dropped, time-out, HTTP 5xx, unreadable reply."""


class DeviceMissing(DriverError):
    """The server has no such device, or discovery found none."""

    code = DriverCode.DEVICE_MISSING


class WrongDevice(DriverError):
    """The device that answers is not the one that was there before, or not the one named."""

    code = DriverCode.WRONG_DEVICE


class AccessDenied(DriverError):
    """The server wants a user name and a password, or refuses those that it was given."""

    code = DriverCode.ACCESS_DENIED


class LoginRefused(AccessDenied):
    """The server refuses the user and the password that it was given, or the way in which they are given."""

    code = DriverCode.LOGIN_REFUSED


class CameraBusy(DriverError):
    """Another program exposes with the camera or changes its settings."""

    code = DriverCode.CAMERA_BUSY


class NotOffered(DriverError):
    """The device does not offer this optional member."""

    code = DriverCode.SETTING_REFUSED


class Refused(DriverError):
    """The device answered with an error number."""

    code = DriverCode.SETTING_REFUSED


class SettingRefused(DriverError):
    """The value read back differs from the value set, twice."""

    code = DriverCode.SETTING_REFUSED


class SizeRefused(DriverError):
    """The camera has no images of the size that nobody asked for; the next `apply` sets a smaller one."""

    code = DriverCode.SETTING_REFUSED


class ExposureFailed(DriverError):
    """The camera says that this exposure failed."""


class ExposureStalled(DriverError):
    """The deadline of an exposure or of its download has passed."""


class BadImage(DriverError):
    """The image that came is malformed or of an unknown kind."""

    code = DriverCode.BAD_IMAGE


class WrongSize(BadImage):
    """The image is of another size than announced.

    Parameters
    ----------
    device : str
    size, announced : (int, int)
        Columns and rows.
    """

    def __init__(self, *, device: str, size: tuple[int, int], announced: tuple[int, int]) -> None:
        self.size = size
        shown, wanted = (f"{x} x {y}" for x, y in (size, announced))
        swapped = ": its axes are swapped" if size == announced[::-1] else ""
        detail = f"the image is {shown} pixels, not {wanted} as announced{swapped}"
        super().__init__(device=device, detail=detail)


class FilterFailed(DriverError):
    """The wheel did not reach its position in time, or reports another one."""

    code = DriverCode.FILTER_FAILED


class PanelFailed(DriverError):
    """Panel or cover did not reach the state asked for."""

    code = DriverCode.PANEL_NOT_READY


class Cancelled(DriverError):
    """A stop was requested while waiting."""

    code = DriverCode.INTERRUPTED
