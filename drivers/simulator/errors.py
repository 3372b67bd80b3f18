"""What a simulated device may answer besides a value: ASCOM's error numbers, and requests that are no Alpaca at all."""

from enum import IntEnum


class ErrorNumber(IntEnum):
    """ASCOM's reserved error numbers."""

    NOT_IMPLEMENTED = 0x400
    INVALID_VALUE = 0x401
    NOT_CONNECTED = 0x407
    PARKED = 0x408
    INVALID_OPERATION = 0x40B
    ACTION_NOT_IMPLEMENTED = 0x40C
    DRIVER = 0x500


class AscomError(Exception):
    """A device's answer with an error number: HTTP 200, `ErrorNumber` ≠ 0."""

    def __init__(self, number: ErrorNumber, message: str) -> None:
        self.number = number
        self.message = message
        super().__init__(message)


class BadRequest(Exception):
    """A request that is malformed or asks for what no device has: HTTP 400 with a text."""


def not_implemented(what: str) -> AscomError:
    """Return the error of a member that this device does not offer."""
    return AscomError(ErrorNumber.NOT_IMPLEMENTED, f"{what} is not implemented by this device.")


def invalid_value(what: str, value: object, allowed: str) -> AscomError:
    """Return the error of a value outside what is allowed."""
    return AscomError(ErrorNumber.INVALID_VALUE, f"{what} = {value} is not valid: {allowed}.")


def invalid_operation(why: str) -> AscomError:
    """Return the error of a call at the wrong moment."""
    return AscomError(ErrorNumber.INVALID_OPERATION, why)
