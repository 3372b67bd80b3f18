"""What the devices said last, as the board shows it: plain values."""

from collections.abc import Callable
from typing import Any

from drivers.surroundings import DomeState, TelescopeState
from services.daemon.board import Reading as Shown
from services.daemon.conditions import CameraUse, Reading


def shown(name: str, reading: Reading[Any]) -> Shown:
    """Return the reading of a device, by its name, as the board shows it."""
    value = None if reading.value is None else _PLAIN[name](reading.value)
    return Shown(value=value, at=reading.at, problem=reading.problem)


def _dome(state: DomeState) -> dict[str, Any]:
    return {"shutter": None if state.shutter is None else state.shutter.name.lower(), "at_park": state.at_park}


def _telescope(state: TelescopeState) -> dict[str, Any]:
    return {"at_park": state.at_park, "tracking": state.tracking, "altitude_deg": state.altitude_deg}


def _camera(use: CameraUse) -> str:
    return use.by_others or use.ours or "free"


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "safety": lambda safe: "safe" if safe else "unsafe",
    "dome": _dome,
    "telescope": _telescope,
    "camera": _camera,
}
