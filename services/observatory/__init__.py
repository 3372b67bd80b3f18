"""Config turned into devices, clock and interlock: the only composition of hardware there is."""

from services.observatory.composition import Observatory, newest_of, open_observatory
from services.observatory.interlock import Interlock

__all__ = ["Interlock", "Observatory", "newest_of", "open_observatory"]
