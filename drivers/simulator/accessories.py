"""Filter wheel, cover calibrator and safety monitor of the simulated observatory, as ASCOM interfaces."""

from typing import Any

from drivers.base import CalibratorStatus, CoverStatus
from drivers.simulator.device import Device, PutMember, World, in_range, whole
from drivers.simulator.errors import not_implemented
from drivers.simulator.faults import DeviceKind, FaultKind
from drivers.simulator.params import PanelParameters, SafetyParameters, WheelParameters
from drivers.simulator.scene import Lamp


class SimulatedWheel(Device):
    """IFilterWheel: it homes when it is connected, which Connect waits for, and takes its time for every slot."""

    def __init__(self, world: World, params: WheelParameters) -> None:
        super().__init__(
            world,
            DeviceKind.WHEEL,
            name=params.name,
            description="nightcal simulated filter wheel",
            interface_version=params.interface_version,
            modern=params.interface_version >= 3,
            connect_s=0.5 + params.homing_s,
        )
        self._p = params
        self._target = 0
        self._arrives_s = 0.0
        self.readers |= {
            "names": lambda: [f.name for f in params.filters],
            "focusoffsets": lambda: [0] * len(params.filters),
            "position": self._position,
        }
        self.writers["position"] = PutMember((("Position", whole),), self._move)

    def state_members(self) -> tuple[tuple[str, str], ...]:
        """Return DeviceState's items."""
        return (("Position", "position"),)

    def on_connect(self, waited_s: float) -> None:
        """Home, unless that is done."""
        self._travel(self._target, max(0.0, self._p.homing_s - waited_s))

    def settle(self) -> None:
        """Let the wheel slip that should not."""
        super().settle()
        slips = self._connected and self.world.faults.strikes(FaultKind.WHEEL_SLIPS, self.world.t_s())
        if slips:
            self._travel((self._target + int(slips.amount)) % len(self._p.filters), 0.0)

    def _position(self) -> int:
        return -1 if self.world.t_s() < self._arrives_s else self._target

    def _move(self, position: int) -> None:
        count = len(self._p.filters)
        in_range("Position", position, 0, count - 1)
        t = self.world.t_s()
        slow = self.world.faults.strikes(FaultKind.SLOW_WHEEL, t)
        wrong = self.world.faults.strikes(FaultKind.WRONG_POSITION, t)
        steps = abs(position - self._target)
        if wrong is not None:
            position = (position + int(wrong.amount)) % count
        self._travel(position, self._p.slot_s * min(steps, count - steps) + (slow.amount if slow else 0.0))

    def _travel(self, position: int, seconds: float) -> None:
        t = self.world.t_s()
        self._target, self._arrives_s = position, t + seconds
        self.world.scene.filter.change(t, None if seconds > 0 else position)
        self.world.scene.filter.announce(t + seconds, position)


class SimulatedPanel(Device):
    """ICoverCalibrator: a light, a cover, or both in one (a flip-flat)."""

    def __init__(self, world: World, params: PanelParameters) -> None:
        super().__init__(
            world,
            DeviceKind.PANEL,
            name=params.name,
            description="nightcal simulated flat panel",
            interface_version=params.interface_version,
            modern=params.interface_version >= 2,
        )
        self._p = params
        self._brightness = 0
        self._light = CalibratorStatus.OFF if params.has_calibrator else CalibratorStatus.NOT_PRESENT
        self._ready_s = 0.0
        self._cover = CoverStatus.CLOSED if params.has_cover else CoverStatus.NOT_PRESENT
        self._cover_end = self._cover
        self._cover_s = 0.0
        self.readers |= {
            "calibratorstate": lambda: int(self._light),
            "coverstate": lambda: int(self._cover),
            "brightness": self._lit(lambda: self._brightness),
            "maxbrightness": self._lit(lambda: params.max_brightness),
        }
        self.writers |= {
            "calibratoron": PutMember((("Brightness", whole),), self._lit(self._on)),
            "calibratoroff": PutMember((), self._lit(self._off)),
            "opencover": PutMember((), lambda: self._move(CoverStatus.OPEN)),
            "closecover": PutMember((), lambda: self._move(CoverStatus.CLOSED)),
            "haltcover": PutMember((), self._halt),
        }
        if params.interface_version >= 2:
            self.readers["calibratorchanging"] = lambda: self._light is CalibratorStatus.NOT_READY
            self.readers["covermoving"] = lambda: self._cover is CoverStatus.MOVING

    def state_members(self) -> tuple[tuple[str, str], ...]:
        """Return DeviceState's items."""
        names = ("Brightness", "CalibratorState", "CalibratorChanging", "CoverState", "CoverMoving")
        return tuple((n, n.lower()) for n in names)

    def settle(self) -> None:
        """Let the lamp get ready and the cover arrive."""
        super().settle()
        t = self.world.t_s()
        never = self.world.faults.lasting(FaultKind.PANEL_NEVER_READY, t) is not None
        if self._light is CalibratorStatus.NOT_READY and t >= self._ready_s and not never:
            self._light = CalibratorStatus.READY
        if self._cover is CoverStatus.MOVING and t >= self._cover_s:
            self._cover = self._cover_end

    def _lit(self, call: Any) -> Any:
        def checked(*values: int) -> Any:
            if not self._p.has_calibrator:
                raise not_implemented("the calibrator")
            return call(*values)

        return checked

    def _on(self, brightness: int) -> None:
        in_range("Brightness", brightness, 0, self._p.max_brightness)
        t = self.world.t_s()
        if self._p.on_closes_cover and self._p.has_cover:
            self._move(CoverStatus.CLOSED if self._p.on_cover else CoverStatus.OPEN)
        self._brightness = brightness
        if self.world.faults.strikes(FaultKind.PANEL_ERROR, t):
            self._light = CalibratorStatus.ERROR
            self._shine(t, 0)
            return
        self._light, self._ready_s = CalibratorStatus.NOT_READY, t + self._p.ready_s
        self._shine(t, brightness)

    def _off(self) -> None:
        if self.world.faults.strikes(FaultKind.PANEL_STAYS_ON, self.world.t_s()):
            return
        self._light, self._brightness = CalibratorStatus.OFF, 0
        self._shine(self.world.t_s(), 0)

    def _shine(self, t: float, brightness: int) -> None:
        before = self.world.scene.lamp.at(t)
        lit_at_s = before.lit_at_s if before.brightness and brightness else t  # a lamp already warm stays warm
        self.world.scene.lamp.change(t, Lamp(brightness=brightness, lit_at_s=lit_at_s))

    def _move(self, end: CoverStatus) -> None:
        if not self._p.has_cover:
            raise not_implemented("the cover")
        t = self.world.t_s()
        if self._cover is end or (self._cover is CoverStatus.MOVING and self._cover_end is end):
            return
        stuck = self.world.faults.strikes(FaultKind.COVER_STUCK, t)
        self._cover, self._cover_s = CoverStatus.MOVING, t + self._p.cover_s
        self._cover_end = CoverStatus.ERROR if stuck else end
        self.world.scene.cover.change(t, CoverStatus.MOVING)
        self.world.scene.cover.announce(self._cover_s, self._cover_end)

    def _halt(self) -> None:
        if not self._p.has_cover:
            raise not_implemented("the cover")
        if self._cover is CoverStatus.MOVING:
            self._cover = self._cover_end = CoverStatus.UNKNOWN
            self.world.scene.cover.change(self.world.t_s(), CoverStatus.UNKNOWN)


class SimulatedSafety(Device):
    """ISafetyMonitor: safe, unless a fault says otherwise."""

    def __init__(self, world: World, params: SafetyParameters) -> None:
        super().__init__(
            world,
            DeviceKind.SAFETY,
            name=params.name,
            description="nightcal simulated safety monitor",
            interface_version=params.interface_version,
            modern=params.interface_version >= 3,
        )
        self.readers["issafe"] = self._is_safe

    def state_members(self) -> tuple[tuple[str, str], ...]:
        """Return DeviceState's items."""
        return (("IsSafe", "issafe"),)

    def _is_safe(self) -> bool:
        return self.world.faults.lasting(FaultKind.UNSAFE, self.world.t_s()) is None
