"""The members of a simulated camera that concern its temperature, with what faults make of them."""

import math
from collections.abc import Callable

from drivers.simulator.device import PutMember, Reader, World, in_range, number, truth
from drivers.simulator.errors import not_implemented
from drivers.simulator.faults import FaultKind


class CoolingMembers:
    """CCDTemperature, SetCCDTemperature, CoolerOn, CoolerPower and HeatSinkTemperature.

    Parameters
    ----------
    world : World
    on_change : callable
        Called when the cooler is commanded.
    """

    def __init__(self, world: World, on_change: Callable[[], None]) -> None:
        self._world = world
        self._p = world.params.camera.cooler
        self._on_change = on_change
        self._frozen_c: float | None = None

    def readers(self) -> dict[str, Reader]:
        """Return the members that are read."""
        cooler, now, can_set = self._world.cooler, self._world.t_s, self._p.can_set
        return {
            "ccdtemperature": _offered(self._temperature_c, self._p.has_temperature, "CCDTemperature"),
            "setccdtemperature": _offered(lambda: cooler.set_point_c, can_set, "SetCCDTemperature"),
            "cooleron": _offered(lambda: cooler.on, can_set, "CoolerOn"),
            "coolerpower": _offered(self._power_pct, can_set and self._p.can_get_power, "CoolerPower"),
            "heatsinktemperature": _offered(
                lambda: cooler.ambient_c(now()) + 0.08 * cooler.power_pct(now()), can_set, "HeatSinkTemperature"
            ),
        }

    def writers(self) -> dict[str, PutMember]:
        """Return the members that are put."""
        return {
            "setccdtemperature": PutMember(
                (("SetCCDTemperature", number),), _offered(self._aim, self._p.can_set, "SetCCDTemperature")
            ),
            "cooleron": PutMember((("CoolerOn", truth),), _offered(self._switch, self._p.can_set, "CoolerOn")),
        }

    def settle(self) -> None:
        """Cut or restore the cooler's supply."""
        t = self._world.t_s()
        lost = self._world.faults.lasting(FaultKind.COOLER_POWER_LOSS, t) is not None
        self._world.cooler.supply(t, powered=not lost)

    def _temperature_c(self) -> float:
        t, lasting = self._world.t_s(), self._world.faults.lasting
        if lasting(FaultKind.TEMPERATURE_NAN, t) is not None:
            return math.nan
        implausible = lasting(FaultKind.TEMPERATURE_IMPLAUSIBLE, t)
        if implausible is not None:
            return implausible.amount
        reading_c = self._world.cooler.reading_c(t)
        if lasting(FaultKind.TEMPERATURE_FROZEN, t) is None:
            self._frozen_c = None
            return reading_c
        if self._frozen_c is None:
            self._frozen_c = reading_c
        return self._frozen_c

    def _power_pct(self) -> float:
        lost = self._world.faults.lasting(FaultKind.COOLER_POWER_LOSS, self._world.t_s())
        return self._world.cooler.power_pct(self._world.t_s()) if lost is None else lost.amount

    def _aim(self, celsius: float) -> None:
        in_range("SetCCDTemperature", celsius, self._p.set_point_min_c, self._p.set_point_max_c)
        self._world.cooler.aim(self._world.t_s(), celsius)
        self._on_change()

    def _switch(self, on: bool) -> None:  # noqa: FBT001 - the ASCOM property is a boolean
        self._world.cooler.switch(self._world.t_s(), on=on)
        self._on_change()


def _offered(call: Callable[..., object], offered: bool, name: str) -> Callable[..., object]:  # noqa: FBT001 - a table
    def refuse(*_: object) -> None:
        raise not_implemented(name)

    return call if offered else refuse
