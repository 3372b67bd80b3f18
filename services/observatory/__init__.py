"""Config turned into devices, clock and interlock: the only composition of hardware there is."""

from services.observatory.composition import Observatory, open_observatory
from services.observatory.foreknown import Foreknown, known_without_devices
from services.observatory.interlock import Interlock

__all__ = ["Foreknown", "Interlock", "Observatory", "known_without_devices", "open_observatory"]
