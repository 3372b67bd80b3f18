"""Roof and mount of the simulated observatory: what their scripts say, unless a client orders something else.

An imaging program can open the roof, park the mount and have it track, over the wire. What nightcal never reads and no
such program needs for that (coordinates, slews, a rotating dome) is not implemented, as ASCOM allows.
"""

from typing import Any

from drivers.simulator.device import Device, PutMember, World, number, truth, whole
from drivers.simulator.errors import AscomError, ErrorNumber, not_implemented
from drivers.simulator.faults import DeviceKind
from drivers.simulator.params import DomeParameters, TelescopeParameters
from drivers.surroundings import ShutterStatus

_ROOF_CANNOT = "canfindhome canpark cansetaltitude cansetazimuth cansetpark canslave cansyncazimuth slaved"
_MOUNT_CANNOT = (
    "athome canfindhome canpulseguide cansetdeclinationrate cansetguiderates cansetpark cansetpierside"
    " cansetrightascensionrate canslew canslewaltaz canslewaltazasync canslewasync cansync cansyncaltaz doesrefraction"
    " slewing"
)
_MOUNT_HAS_NO = (
    "aperturearea aperturediameter azimuth declination declinationrate focallength guideratedeclination"
    " guideraterightascension ispulseguiding rightascension rightascensionrate sideofpier siderealtime siteelevation"
    " sitelatitude sitelongitude slewsettletime targetdeclination targetrightascension utcdate"
)
_MOUNT_STATE = (
    "Altitude AtHome AtPark Azimuth Declination IsPulseGuiding RightAscension SideOfPier SiderealTime Slewing Tracking"
    " UTCDate"
)


class SimulatedDome(Device):
    """IDome: a roll-off roof."""

    def __init__(self, world: World, params: DomeParameters) -> None:
        super().__init__(
            world,
            DeviceKind.DOME,
            name=params.name,
            description="nightcal simulated roof",
            interface_version=params.interface_version,
            modern=params.interface_version >= 3,
        )
        self._p = params
        self.readers |= dict.fromkeys(_ROOF_CANNOT.split(), lambda: False)
        self.readers |= {
            "cansetshutter": lambda: params.has_shutter,
            "shutterstatus": self._shutter,
            "slewing": lambda: params.has_shutter and self._shutter() in (ShutterStatus.OPENING, ShutterStatus.CLOSING),
        }
        self.refuse("altitude", "athome", "atpark", "azimuth")
        self.writers |= {
            "openshutter": PutMember((), lambda: self._move(ShutterStatus.OPENING, ShutterStatus.OPEN)),
            "closeshutter": PutMember((), lambda: self._move(ShutterStatus.CLOSING, ShutterStatus.CLOSED)),
            "abortslew": PutMember((), self._halt),
        }
        for member in ("findhome", "park", "setpark"):
            self.refuse_put(member)
        self.refuse_put("slaved", ("Slaved", truth))
        self.refuse_put("slewtoaltitude", ("Altitude", number))
        self.refuse_put("slewtoazimuth", ("Azimuth", number))
        self.refuse_put("synctoazimuth", ("Azimuth", number))

    def state_members(self) -> tuple[tuple[str, str], ...]:
        """Return DeviceState's items."""
        names = ("Altitude", "AtHome", "AtPark", "Azimuth", "ShutterStatus", "Slewing")
        return tuple((name, name.lower()) for name in names)

    def _shutter(self) -> int:
        if not self._p.has_shutter:
            raise not_implemented("ShutterStatus")
        return int(self.world.scene.roof.at(self.world.t_s()))

    def _move(self, way: ShutterStatus, end: ShutterStatus) -> None:
        if self._shutter() in (way, end):
            return
        t, roof = self.world.t_s(), self.world.scene.roof
        roof.change(t, way)
        roof.announce(t + self._p.moves_s, end)

    def _halt(self) -> None:
        if self._p.has_shutter and self._shutter() in (ShutterStatus.OPENING, ShutterStatus.CLOSING):
            self.world.scene.roof.change(self.world.t_s(), ShutterStatus.ERROR)


class SimulatedTelescope(Device):
    """ITelescope: a mount that parks and tracks."""

    def __init__(self, world: World, params: TelescopeParameters) -> None:
        super().__init__(
            world,
            DeviceKind.TELESCOPE,
            name=params.name,
            description="nightcal simulated mount",
            interface_version=params.interface_version,
            modern=params.interface_version >= 4,
        )
        self._p = params
        self._ordered: tuple[bool, bool] | None = None
        self._add_facts()
        self.readers |= {
            "atpark": lambda: self._state()[0],
            "tracking": lambda: self._state()[1],
            "altitude": lambda: params.park_altitude_deg if self._state()[0] else params.work_altitude_deg,
        }
        self.writers |= {
            "park": PutMember((), self._parking(parked=True)),
            "unpark": PutMember((), self._parking(parked=False)),
            "tracking": PutMember((("Tracking", truth),), self._track),
            "abortslew": PutMember((), lambda: None),
        }
        self._refuse_movements()

    def state_members(self) -> tuple[tuple[str, str], ...]:
        """Return DeviceState's items."""
        names = (
            "Altitude AtHome AtPark Azimuth Declination IsPulseGuiding RightAscension SideOfPier SiderealTime Slewing"
        )
        return tuple((name, name.lower()) for name in [*names.split(), "Tracking", "UTCDate"])

    def _add_facts(self) -> None:
        self.readers |= dict.fromkeys(_MOUNT_CANNOT.split(), lambda: False)
        can_park = self._p.can_park
        self.readers |= {
            "canpark": lambda: can_park,
            "canunpark": lambda: can_park,
            "cansettracking": lambda: True,
            "trackingrate": lambda: 0,
            "trackingrates": lambda: [0],
            "equatorialsystem": lambda: 1,
            "alignmentmode": lambda: 2,
        }
        self.refuse(*_MOUNT_HAS_NO.split())

    def _refuse_movements(self) -> None:
        for member in ("findhome", "setpark", "slewtotarget", "slewtotargetasync", "synctotarget"):
            self.refuse_put(member)
        for member in ("slewtocoordinates", "slewtocoordinatesasync", "synctocoordinates"):
            self.refuse_put(member, ("RightAscension", number), ("Declination", number))
        for member in ("slewtoaltaz", "slewtoaltazasync", "synctoaltaz"):
            self.refuse_put(member, ("Azimuth", number), ("Altitude", number))
        self.refuse_put("moveaxis", ("Axis", whole), ("Rate", number))
        self.refuse_put("pulseguide", ("Direction", whole), ("Duration", whole))

    def _state(self) -> tuple[bool, bool]:
        """Return whether it is parked, and whether it tracks."""
        t = self.world.t_s()
        if self._ordered is not None:
            return self._ordered
        at_work = any(span.from_s <= t < span.to_s for span in self._p.at_work)
        return self._p.can_park and not at_work, at_work

    def _parking(self, *, parked: bool) -> Any:
        def go() -> None:
            if not self._p.can_park:
                raise not_implemented("Park")
            self._ordered = (parked, False)

        return go

    def _track(self, tracking: bool) -> None:  # noqa: FBT001 - the ASCOM property is a boolean
        parked = self._state()[0]
        if parked and tracking:
            raise AscomError(ErrorNumber.PARKED, "The mount is parked.")
        self._ordered = (parked, tracking)
