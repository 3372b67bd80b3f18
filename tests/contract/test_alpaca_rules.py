"""Every member of every simulated device against the rules of ASCOM, over real sockets, from one table.

The rules are those of the Alpaca API reference (version 10), of the interface definitions (ICameraV4 and its siblings)
and of the checker ConformU in its strict mode. `MEMBERS` names each property with its type, `NOT_OFFERED` what an
observatory refuses, `METHODS` the form of each PUT with values that are refused. All else is the same for everybody.
"""

import http.client
import json
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest

from drivers.clock import ManualClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.discovery import DiscoveryResponder
from drivers.simulator.presets import preset
from drivers.simulator.server import AlpacaServer

NOT_IMPLEMENTED, INVALID_VALUE, NOT_CONNECTED, INVALID_OPERATION, NO_SUCH_ACTION = 0x400, 0x401, 0x407, 0x40B, 0x40C

# --- the table --------------------------------------------------------------------------------------------------------

EVERYWHERE = {
    "bool": "connected connecting",
    "int": "interfaceversion",
    "text": "description driverinfo driverversion name",
    "texts": "supportedactions",
    "state": "devicestate",
}
MEMBERS = {
    "camera": {
        "bool": "canabortexposure canasymmetricbin canfastreadout cangetcoolerpower canpulseguide cansetccdtemperature"
        " canstopexposure cooleron fastreadout hasshutter imageready ispulseguiding",
        "int": "bayeroffsetx bayeroffsety binx biny camerastate cameraxsize cameraysize gain gainmax gainmin maxadu"
        " maxbinx maxbiny numx numy offset offsetmax offsetmin percentcompleted readoutmode sensortype startx starty",
        "real": "ccdtemperature coolerpower electronsperadu exposuremax exposuremin exposureresolution"
        " fullwellcapacity heatsinktemperature lastexposureduration pixelsizex pixelsizey setccdtemperature"
        " subexposureduration",
        "text": "lastexposurestarttime sensorname",
        "texts": "gains offsets readoutmodes",
        "image": "imagearray imagearrayvariant",
    },
    "filterwheel": {"int": "position", "ints": "focusoffsets", "texts": "names"},
    "covercalibrator": {
        "bool": "calibratorchanging covermoving",
        "int": "brightness calibratorstate coverstate maxbrightness",
    },
    "safetymonitor": {"bool": "issafe"},
    "dome": {
        "bool": "athome atpark canfindhome canpark cansetaltitude cansetazimuth cansetpark cansetshutter canslave"
        " cansyncazimuth slaved slewing",
        "int": "shutterstatus",
        "real": "altitude azimuth",
    },
    "telescope": {
        "bool": "athome atpark canfindhome canpark canpulseguide cansetdeclinationrate cansetguiderates cansetpark"
        " cansetpierside cansetrightascensionrate cansettracking canslew canslewaltaz canslewaltazasync canslewasync"
        " cansync cansyncaltaz canunpark doesrefraction ispulseguiding slewing tracking",
        "int": "alignmentmode equatorialsystem sideofpier slewsettletime trackingrate",
        "ints": "trackingrates",
        "real": "altitude aperturearea aperturediameter azimuth declination declinationrate focallength"
        " guideratedeclination guideraterightascension rightascension rightascensionrate siderealtime siteelevation"
        " sitelatitude sitelongitude targetdeclination targetrightascension",
        "text": "utcdate",
    },
}
PLATFORM_7 = {"connecting", "devicestate", "calibratorchanging", "covermoving", "connect", "disconnect"}
PLATFORM_7_FROM = {"camera": 4, "filterwheel": 3, "covercalibrator": 2, "safetymonitor": 3, "dome": 3, "telescope": 4}
BEFORE_CONNECTING = {"connected", "connecting", *" ".join(EVERYWHERE.values()).split()} - {"devicestate"}
AFTER_A_FRAME = {"lastexposureduration", "lastexposurestarttime", "imagearray", "imagearrayvariant"}
LIMITS = {
    **dict.fromkeys(("binx", "biny", "maxbinx", "maxbiny", "maxadu", "cameraxsize", "cameraysize"), (1, 2**31 - 1)),
    **dict.fromkeys(("camerastate", "sensortype", "calibratorstate", "coverstate", "shutterstatus"), (0, 5)),
    **dict.fromkeys(("percentcompleted", "coolerpower"), (0, 100)),
    **dict.fromkeys(("bayeroffsetx", "bayeroffsety"), (0, 1)),
    **dict.fromkeys(("ccdtemperature", "heatsinktemperature", "setccdtemperature"), (-273.15, 100)),
}

_VALUE_MODE, _MONOCHROME = "gains offsets", "bayeroffsetx bayeroffsety"
_NEVER = "fastreadout subexposureduration pulseguide"
NOT_OFFERED = {  # the members that each observatory answers with 0x400
    "qhy600m": f"{_NEVER} {_VALUE_MODE} {_MONOCHROME}",
    "osc": f"{_NEVER} {_VALUE_MODE}",
    "ccd": f"{_NEVER} {_VALUE_MODE} {_MONOCHROME} gain gainmin gainmax offset offsetmin offsetmax",
    "uncooled": f"{_NEVER} {_VALUE_MODE} {_MONOCHROME} setccdtemperature cooleron coolerpower heatsinktemperature",
    "index_gain": f"{_NEVER} {_MONOCHROME} gainmin gainmax offsetmin offsetmax",
    "no_cover": f"{_NEVER} {_VALUE_MODE} {_MONOCHROME} opencover closecover haltcover",
    "no_panel": f"{_NEVER} {_VALUE_MODE} {_MONOCHROME} brightness maxbrightness calibratoron calibratoroff",
    "old": f"{_NEVER} {_VALUE_MODE} {_MONOCHROME}",
}
NOT_OFFERED_OF = {  # what no simulated roof or mount has
    "dome": "altitude athome atpark azimuth findhome park setpark slewtoaltitude slewtoazimuth synctoazimuth",
    "telescope": "aperturearea aperturediameter azimuth declination declinationrate focallength guideratedeclination"
    " guideraterightascension ispulseguiding rightascension rightascensionrate sideofpier siderealtime siteelevation"
    " sitelatitude sitelongitude slewsettletime targetdeclination targetrightascension utcdate findhome setpark"
    " slewtocoordinatesasync slewtoaltazasync pulseguide moveaxis",
}
STATE = {  # DeviceState, letter by letter
    "camera": "CameraState CCDTemperature CoolerPower HeatSinkTemperature ImageReady IsPulseGuiding PercentCompleted",
    "filterwheel": "Position",
    "covercalibrator": "Brightness CalibratorState CoverState CalibratorChanging CoverMoving",
    "safetymonitor": "IsSafe",
    "dome": "Altitude AtHome AtPark Azimuth ShutterStatus Slewing",
    "telescope": "Altitude AtHome AtPark Azimuth Declination IsPulseGuiding RightAscension SideOfPier SiderealTime"
    " Slewing Tracking UTCDate",
}


@dataclass(frozen=True)
class Method:
    """A PUT: the fields of a good form, the values of its first field that are refused, the type of its answer."""

    form: dict[str, object] = field(default_factory=dict)
    refused: tuple[object, ...] = ()
    answers: str = ""
    code: int = 0


_COMMAND = {"Command": "x", "Raw": "true"}
METHODS_EVERYWHERE = {
    "connected": Method({"Connected": "True"}),
    "connect": Method(),
    "action": Method({"Action": "nosuch", "Parameters": ""}, answers="text", code=NO_SUCH_ACTION),
    "commandblind": Method(_COMMAND, code=NOT_IMPLEMENTED),
    "commandbool": Method(_COMMAND, answers="bool", code=NOT_IMPLEMENTED),
    "commandstring": Method(_COMMAND, answers="text", code=NOT_IMPLEMENTED),
}
METHODS = {
    "camera": {
        "binx": Method({"BinX": 1}, (0, 5, -1)),
        "biny": Method({"BinY": 1}, (0, 5, -1)),
        "cooleron": Method({"CoolerOn": "false"}),
        "fastreadout": Method({"FastReadout": "true"}),
        "gain": Method({"Gain": 1}, (-1, 101)),
        "numx": Method({"NumX": 24}),
        "numy": Method({"NumY": 16}),
        "offset": Method({"Offset": 1}, (-1, 256)),
        "readoutmode": Method({"ReadoutMode": 0}, (-1, 2)),
        "setccdtemperature": Method({"SetCCDTemperature": "-5.5"}, (-280, 100)),
        "startx": Method({"StartX": 0}),
        "starty": Method({"StartY": 0}),
        "subexposureduration": Method({"SubExposureDuration": 1}),
        "abortexposure": Method(),
        "pulseguide": Method({"Direction": 0, "Duration": 1}),
        "startexposure": Method({"Duration": 1, "Light": "false"}, (-1, 3601)),
        "stopexposure": Method(),
    },
    "filterwheel": {"position": Method({"Position": 0}, (-1, 99))},
    "covercalibrator": {
        "calibratoron": Method({"Brightness": 1}, (-1, 256)),
        "calibratoroff": Method(),
        "opencover": Method(),
        "haltcover": Method(),
        "closecover": Method(),
    },
    "safetymonitor": {},
    "dome": {
        "abortslew": Method(),
        "closeshutter": Method(),
        "findhome": Method(),
        "openshutter": Method(),
        "park": Method(),
        "setpark": Method(),
        "slewtoaltitude": Method({"Altitude": 10}),
        "slewtoazimuth": Method({"Azimuth": 10}),
        "synctoazimuth": Method({"Azimuth": 10}),
    },
    "telescope": {
        "abortslew": Method(),
        "findhome": Method(),
        "moveaxis": Method({"Axis": 0, "Rate": 1}),
        "park": Method(),
        "pulseguide": Method({"Direction": 0, "Duration": 1}),
        "setpark": Method(),
        "slewtoaltazasync": Method({"Azimuth": 10, "Altitude": 10}),
        "slewtocoordinatesasync": Method({"RightAscension": 1, "Declination": 1}),
        "unpark": Method(),
        "tracking": Method({"Tracking": "true"}),
    },
}
BAD_IDS = ("", "   ", "-12345", "NASDAQ", "1.5", "4294967296")
BAD_VALUES = ("", "asduio6fghZZ", "1_0", "٣", "1,5")

# --- asking -----------------------------------------------------------------------------------------------------------

DEFAULT: dict[str, Any] = {"bool": False, "int": 0, "real": 0.0, "text": ""}
DEFAULT |= {"texts": [], "ints": [], "state": [], "image": []}
KIND = {"bool": bool, "int": int, "real": (int, float), "text": str}
UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")


@dataclass(frozen=True)
class Answer:
    """What came back, and whose question it was."""

    asked: str
    status: int
    kind: str
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body) if self.status == 200 and self.kind == "application/json" else {}

    @property
    def code(self) -> int | None:
        return self.json.get("ErrorNumber")

    @property
    def value(self) -> Any:
        return self.json.get("Value")


class Client:
    """One connection, no library."""

    def __init__(self, name: str, server: AlpacaServer) -> None:
        self.name, self.server = name, server
        self.clock = server.observatory.clock
        self.devices = [device.kind.value for device in server.observatory.devices()]
        self._line = http.client.HTTPConnection(server.host, server.port, timeout=20)
        self._modern = [d for d in self.devices if self.get(d, "interfaceversion").value >= PLATFORM_7_FROM[d]]

    def close(self) -> None:
        self._line.close()

    def ask(self, method: str, path: str, fields: dict[str, object] | None = None, **headers: str) -> Answer:
        text = urlencode(fields or {})
        if method == "PUT":
            headers |= {"Content-Type": "application/x-www-form-urlencoded"}
        where = f"{path}?{text}" if text and method == "GET" else path
        self._line.request(method, where, body=text if method == "PUT" else None, headers=headers)
        reply = self._line.getresponse()
        return Answer(f"{method} {path} {text}", reply.status, reply.headers.get_content_type(), reply.read())

    def get(self, device: str, member: str, fields: dict[str, object] | None = None) -> Answer:
        return self.ask("GET", f"/api/v1/{device}/0/{member}", fields)

    def put(self, device: str, member: str, fields: dict[str, object] | None = None) -> Answer:
        return self.ask("PUT", f"/api/v1/{device}/0/{member}", fields)

    def has(self, device: str, member: str) -> bool:
        """Whether the interface of this device has a member: those of Platform 7 came later."""
        return device in self._modern or member not in PLATFORM_7

    def properties(self, device: str) -> dict[str, str]:
        """Return the type of each property of a device."""
        rows = [*EVERYWHERE.items(), *MEMBERS[device].items()]
        found = {member: kind for kind, names in rows for member in names.split()}
        return {member: kind for member, kind in found.items() if self.has(device, member)}

    def methods(self, device: str) -> dict[str, Method]:
        found = METHODS_EVERYWHERE | METHODS[device]
        return {member: method for member, method in found.items() if self.has(device, member)}

    def refuses(self, device: str, member: str) -> bool:
        """Whether this observatory has no such thing. "gain" is no part of "gains"."""
        return member in NOT_OFFERED_OF.get(device, NOT_OFFERED[self.name]).split()

    def connect(self, *, on: bool = True) -> None:
        for device in self.devices:
            assert self.put(device, "connected", {"Connected": on}).code == 0
        self.clock.advance(10)  # the wheel has homed

    def start(self, seconds: float = 4.0) -> None:
        assert self.put("camera", "startexposure", {"Duration": seconds, "Light": "true"}).code == 0

    def finish(self, seconds: float = 20.0) -> None:
        self.clock.advance(seconds)
        assert any(self.get("camera", "imageready").value for _ in range(100))


@contextmanager
def serving(name: str, *, discovery_port: int | None = None, host: str = "127.0.0.1") -> Iterator[Client]:
    params = preset(name, width=24, height=16)
    params = replace(params, camera=replace(params.camera, exposure_max_s=3600.0))
    with (
        SimulatedObservatory(params, ManualClock()) as observatory,
        AlpacaServer(observatory, host=host, discovery_port=discovery_port) as server,
    ):
        client = Client(name, server)
        yield client
        client.close()


@pytest.fixture(scope="module", params=list(NOT_OFFERED))
def site(request: pytest.FixtureRequest) -> Iterator[Client]:
    with serving(request.param) as client:
        yield client


@pytest.fixture(scope="module")
def qhy() -> Iterator[Client]:
    with serving("qhy600m") as client:
        yield client


# --- the rules of an answer -------------------------------------------------------------------------------------------


def faults_of_envelope(answer: Answer, *, answers: str, code: int, transaction: int = 7) -> Iterator[str]:
    """Yield what is wrong with an answer that must have this error number and a Value of this type ("": none)."""
    reply = answer.json
    if not reply:
        yield f"{answer.asked}: HTTP {answer.status} {answer.kind}"
        return
    if reply.get("ClientTransactionID") != transaction or reply.get("ServerTransactionID", 0) < 1:
        yield f"{answer.asked}: transaction ids"
    if reply.get("ErrorNumber") != code or bool(reply.get("ErrorMessage")) != bool(code):
        yield f"{answer.asked}: error {reply.get('ErrorNumber'):#x} {reply.get('ErrorMessage')!r}, not {code:#x}"
    if bool(answers) != ("Value" in reply):
        yield f"{answer.asked}: Value is {'missing' if answers else 'not asked for'}"
    elif code and answers and reply["Value"] != DEFAULT[answers]:
        yield f"{answer.asked}: Value of an error is {reply['Value']!r}"
    elif answers and not is_of(answers, reply["Value"]):
        yield f"{answer.asked}: {reply['Value']!r} is no {answers}"
    if answers == "image" and not answer.body.startswith(b'{"Type":2,"Rank":2,"Value":'):
        yield f"{answer.asked}: Type and Rank do not come first"
    if b": " in answer.body.split(b'"ErrorMessage"')[0]:
        yield f"{answer.asked}: spaces that clients which search by pattern do not expect"


def is_of(kind: str, value: Any) -> bool:
    if kind in KIND:
        return isinstance(value, KIND[kind]) and (kind == "bool" or not isinstance(value, bool))
    if kind == "image":
        return isinstance(value, list) and all(is_of("ints", column) for column in value)
    of = {"texts": "text", "ints": "int"}.get(kind)
    return isinstance(value, list) and (of is None or all(is_of(of, each) for each in value))


def faults_of_reading(client: Client, *, connected: bool, exposed: bool) -> Iterator[str]:
    """Yield what is wrong with the answers to GET of all members in one state."""
    for device in client.devices:
        for member, kind in client.properties(device).items():
            answer = client.get(device, member, {"ClientID": 1, "ClientTransactionID": 7})
            expected = NOT_IMPLEMENTED if client.refuses(device, member) else 0
            if not exposed and member in AFTER_A_FRAME:
                expected = INVALID_OPERATION
            if not connected and member not in BEFORE_CONNECTING:
                expected = NOT_CONNECTED
            yield from faults_of_envelope(answer, answers=kind, code=expected)
            low, high = LIMITS.get(member, (None, None))
            if not expected and low is not None and not low <= answer.value <= high:
                yield f"{answer.asked}: {answer.value} is not from {low} to {high}"


def faults_of_state(client: Client, device: str) -> Iterator[str]:
    """Yield what is wrong with DeviceState: all names, the values of the properties, a time."""
    answer = client.get(device, "devicestate").value or []
    items = {item["Name"]: item["Value"] for item in answer}
    known = [name for name in STATE[device].split() if not client.refuses(device, name.lower())]
    if list(items) != [*known, "TimeStamp"] and set(items) != {*known, "TimeStamp"}:
        yield f"{device}: DeviceState has {list(items)}, not {known} and TimeStamp"
    for name in set(known) & set(items):
        single = client.get(device, name.lower()).value
        if (items[name], type(items[name])) != (single, type(single)):
            yield f"{device}: {name} is {items[name]!r} in DeviceState, {single!r} by itself"
    if not re.fullmatch(UTC.pattern + "Z", str(items.get("TimeStamp"))):
        yield f"{device}: TimeStamp {items.get('TimeStamp')!r} is no UTC date and time"


def broken(faults: Iterator[str]) -> None:
    found = list(faults)
    assert not found, f"{len(found)} rules are broken:\n" + "\n".join(found)


# --- walks ------------------------------------------------------------------------------------------------------------


def test_every_member_is_read_by_the_rules_in_every_state(site: Client) -> None:
    broken(_walk(site))


def _walk(site: Client) -> Iterator[str]:
    yield from faults_of_reading(site, connected=False, exposed=False)
    site.connect()
    yield from faults_of_reading(site, connected=True, exposed=False)
    site.start()
    site.clock.advance(1)
    yield from faults_of_reading(site, connected=True, exposed=False)
    site.finish()
    yield from faults_of_reading(site, connected=True, exposed=True)
    for device in site.devices:
        if site.has(device, "devicestate"):
            yield from faults_of_state(site, device)
    yield from _faults_between_members(site)
    site.connect(on=False)
    yield from faults_of_reading(site, connected=False, exposed=False)


def _faults_between_members(site: Client) -> Iterator[str]:
    """Yield what contradicts itself."""
    v = {m: site.get("camera", m).value for m in site.properties("camera") if not site.refuses("camera", m)}
    rules = {
        "MaxBinX is MaxBinY without CanAsymmetricBin": v["canasymmetricbin"] or v["maxbinx"] == v["maxbiny"],
        "BayerOffset goes with a colour sensor": (v["sensortype"] > 1) == ("bayeroffsetx" in v),
        "ExposureMax is the largest": v["exposuremax"] > max(v["exposuremin"], v["exposureresolution"]),
        "CoolerPower goes with CanGetCoolerPower": v["cangetcoolerpower"] == ("coolerpower" in v),
        "SetCCDTemperature goes with CanSetCCDTemperature": v["cansetccdtemperature"] == ("setccdtemperature" in v),
        "FastReadout goes with CanFastReadout": v["canfastreadout"] == ("fastreadout" in v),
        "ReadoutMode is one of ReadoutModes": 0 <= v["readoutmode"] < len(v["readoutmodes"]),
        "no more than one way to set the gain": "gains" not in v or "gainmin" not in v,
        "GainMin and GainMax go together": ("gainmin" in v) == ("gainmax" in v) and ("gain" in v) >= ("gains" in v),
        "Description fits a FITS card": len(v["description"]) <= 64,
        "LastExposureDuration": v["lastexposureduration"] == pytest.approx(4.0, rel=0.02),
        "LastExposureStartTime is written as in FITS": UTC.fullmatch(v["lastexposurestarttime"]) is not None,
        "PercentCompleted of a frame that is there": v["percentcompleted"] == 100,
    }
    yield from (f"{site.name}: {rule}" for rule, holds in rules.items() if not holds)
    names, offsets = (site.get("filterwheel", m).value for m in ("names", "focusoffsets"))
    if len(names) != len(offsets) or not all(names):
        yield f"{site.name}: {names} and {offsets}"


def test_every_method_is_put_by_the_rules(site: Client) -> None:
    site.connect()
    broken(_faults_of_putting(site))
    site.connect(on=False)


def _faults_of_putting(site: Client) -> Iterator[str]:
    ids: dict[str, object] = {"ClientID": 1, "ClientTransactionID": 7}
    for device in site.devices:
        for member, method in site.methods(device).items():
            none = site.refuses(device, member)
            expected = NOT_IMPLEMENTED if none else method.code
            more = {"ExtraParameter": "x"}
            for form in (ids | method.form, dict(reversed((more | ids | method.form).items()))):
                answer = site.put(device, member, form)
                yield from faults_of_envelope(answer, answers=method.answers, code=expected)
                site.put(device, "abortexposure")
            for value in () if none or site.name != "qhy600m" else method.refused:
                first = next(iter(method.form))
                answer = site.put(device, member, ids | method.form | {first: value})
                yield from faults_of_envelope(answer, answers=method.answers, code=INVALID_VALUE)


def test_identifiers_and_names_are_read_by_the_rules(qhy: Client) -> None:
    qhy.connect()
    broken(_faults_of_parameters(qhy))
    qhy.connect(on=False)


def _faults_of_parameters(qhy: Client) -> Iterator[str]:
    for device in qhy.devices:
        for member, kind in qhy.properties(device).items():
            for name in ("clienttransactionid", "CLIENTTRANSACTIONID"):
                if qhy.get(device, member, {"cLiEnTiD": 5, name: 9, "Extra": "x"}).json["ClientTransactionID"] != 9:
                    yield f"{device} {member}: {name} is not read"
            if kind == "bool":
                yield from _faults_of_bad_ids(qhy, "GET", device, member, {})
        for member, method in qhy.methods(device).items():
            yield from _faults_of_bad_ids(qhy, "PUT", device, member, method.form)
            small = {"clientid": 1, "clienttransactionid": 9}
            if qhy.put(device, member, small | method.form).json.get("ClientTransactionID") != 0:
                yield f"{device} {member}: a wrongly written ClientTransactionID is read"
            for name in method.form:
                yield from _faults_of_fields(qhy, device, member, method.form, name)
            qhy.put(device, "abortexposure")


def _faults_of_bad_ids(qhy: Client, verb: str, device: str, member: str, form: dict[str, object]) -> Iterator[str]:
    for name in ("ClientID", "ClientTransactionID"):
        for bad in BAD_IDS:
            answer = qhy.ask(verb, f"/api/v1/{device}/0/{member}", form | {name: bad})
            if (answer.status, answer.kind) != (400, "text/plain") or not answer.body:
                yield f"{answer.asked}: HTTP {answer.status} {answer.kind}"


def _faults_of_fields(qhy: Client, device: str, member: str, form: dict[str, object], name: str) -> Iterator[str]:
    """Yield which forms are taken though a field is missing, wrongly written or unreadable."""
    rest = {other: value for other, value in form.items() if other != name}
    forms: list[dict[str, object]] = [rest, rest | {name.swapcase(): form[name]}]
    if not (member == "action" or name == "Command"):  # any text is a command
        forms += [form | {name: bad} for bad in BAD_VALUES]
    for each in forms:
        answer = qhy.put(device, member, each)
        if (answer.status, answer.kind) != (400, "text/plain") or not answer.body:
            yield f"{answer.asked}: HTTP {answer.status} {answer.kind}"


def test_addresses_outside_the_rules_are_400_with_a_text(qhy: Client) -> None:
    paths = [
        "/apii/v1/{}/0/name", "/API/v1/{}/0/name", "/api/V1/{}/0/name", "/api/1/{}/0/name", "/api/v/{}/0/name",
        "/api/v2/{}/0/name", "/api/v1/{}x/0/name", "/api/v1/{}/1/name", "/api/v1/{}/-1/name", "/api/v1/{}/99999/name",
        "/api/v1/{}/A/name", "/api/v1/{}/00/name", "/api/v1/{}/0/descrip", "/api/v1/{}/0/Name", "/api/v1/{}/0/connect",
    ]  # fmt: skip
    answers = [qhy.ask("GET", path.format(device)) for device in qhy.devices for path in paths]
    answers += [qhy.ask("GET", f"/api/v1/{device.upper()}/0/name") for device in qhy.devices]
    broken(f"{a.asked}: HTTP {a.status} {a.kind}" for a in answers if (a.status, a.kind) != (400, "text/plain"))


def test_action_names_are_read_in_any_case(qhy: Client) -> None:
    qhy.connect()
    for device in qhy.devices:
        for action in qhy.get(device, "supportedactions").value:
            for spelt in (action, action.upper()):
                assert qhy.put(device, "action", {"Action": spelt, "Parameters": ""}).value
    qhy.connect(on=False)


# --- in time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", list(MEMBERS))
def test_connect_is_under_way_until_the_device_can_be_used(qhy: Client, device: str) -> None:
    assert qhy.put(device, "connect").code == 0
    while qhy.get(device, "connecting").value:
        assert qhy.get(device, "connected").value is False
        qhy.clock.advance(0.25)
    assert qhy.get(device, "connected").value is True
    assert device != "filterwheel" or qhy.get(device, "position").value >= 0
    assert qhy.put(device, "disconnect").code == 0
    assert [qhy.get(device, m).value for m in ("connecting", "connected")] == [False, False]


def test_a_wheel_reads_no_position_while_it_moves(qhy: Client) -> None:
    qhy.connect()
    assert qhy.put("filterwheel", "position", {"Position": 3}).code == 0
    assert qhy.get("filterwheel", "position").value == -1
    qhy.clock.advance(60)
    assert qhy.get("filterwheel", "position").value == 3
    qhy.connect(on=False)


def test_lamp_and_cover_say_that_they_change(qhy: Client) -> None:
    qhy.connect()
    lamp, cover = ("calibratorstate", "calibratorchanging"), ("coverstate", "covermoving")
    for method, (state, changing), after in (
        ("calibratoron", lamp, 3),
        ("opencover", cover, 3),
        ("closecover", cover, 1),
    ):
        assert qhy.put("covercalibrator", method, METHODS["covercalibrator"][method].form | {"Brightness": 9}).code == 0
        assert [qhy.get("covercalibrator", m).value for m in (state, changing)] == [2, True]
        broken(faults_of_state(qhy, "covercalibrator"))
        qhy.clock.advance(60)
        assert [qhy.get("covercalibrator", m).value for m in (state, changing)] == [after, False]
    assert qhy.get("covercalibrator", "brightness").value == 9
    qhy.put("covercalibrator", "calibratoroff")
    assert [qhy.get("covercalibrator", m).value for m in ("brightness", "calibratorstate")] == [0, 1]
    qhy.connect(on=False)


def test_exposures_are_refused_stopped_and_aborted_by_the_rules(qhy: Client) -> None:
    qhy.connect()
    frame: dict[str, object] = {"BinX": 1, "StartX": 0, "StartY": 0, "NumX": 24, "NumY": 16}
    for wrong in ({"NumX": 25}, {"NumY": 17}, {"NumX": 0}, {"StartX": 24}, {"StartY": -1}, {"BinX": 2}):
        for name, value in (frame | wrong).items():
            assert qhy.put("camera", name.lower(), {name: value}).code == 0
        assert qhy.put("camera", "startexposure", {"Duration": 1, "Light": "true"}).code == INVALID_VALUE, wrong
    for name, value in frame.items():
        qhy.put("camera", name.lower(), {name: value})
    for idle in ("stopexposure", "abortexposure"):
        assert qhy.put("camera", idle).code == 0
    qhy.start(10)
    assert qhy.put("camera", "startexposure", {"Duration": 1, "Light": "true"}).code == INVALID_OPERATION
    assert [qhy.get("camera", m).value for m in ("camerastate", "imageready")] == [2, False]
    broken(faults_of_state(qhy, "camera"))
    qhy.clock.advance(4)
    assert qhy.get("camera", "percentcompleted").value == 40
    assert qhy.put("camera", "stopexposure").code == 0
    qhy.finish()
    assert qhy.get("camera", "lastexposureduration").value == pytest.approx(4)
    qhy.start(10)
    assert qhy.put("camera", "abortexposure").code == 0
    assert [qhy.get("camera", m).value for m in ("camerastate", "imageready")] == [0, False]
    assert qhy.get("camera", "imagearray").code == INVALID_OPERATION
    qhy.connect(on=False)


def test_image_bytes_carry_pixels_and_errors(qhy: Client) -> None:
    qhy.connect()
    path, ids = "/api/v1/camera/0/imagearray", {"ClientID": 1, "ClientTransactionID": 7}
    accepts = ("application/imagebytes", "application/json, Application/ImageBytes;q=0.9")
    none = qhy.ask("GET", path, ids, Accept=accepts[0])
    head = np.frombuffer(none.body[:44], "<i4").tolist()
    assert (none.status, none.kind, head[:3]) == (200, "application/imagebytes", [1, INVALID_OPERATION, 7])
    assert none.body[head[4] :].decode()
    assert min(head) >= 0
    qhy.start(1)
    qhy.finish()
    columns = np.array(qhy.ask("GET", path, ids, Accept="application/json").value)
    for accept in accepts:
        answer = qhy.ask("GET", path, ids, Accept=accept)
        head = np.frombuffer(answer.body[:44], "<i4").tolist()
        assert (answer.kind, head[:3], head[5], head[7:]) == ("application/imagebytes", [1, 0, 7], 2, [2, 24, 16, 0])
        np.testing.assert_array_equal(np.frombuffer(answer.body, "<u2", offset=head[4]).reshape(24, 16), columns)
    assert qhy.ask("GET", path, ids, Accept="*/*").kind == "application/json"
    qhy.connect(on=False)


# --- management and discovery -----------------------------------------------------------------------------------------


def test_management_and_setup_pages(qhy: Client) -> None:
    def asked(path: str) -> Any:
        answer = qhy.ask("GET", path, {"clientid": 1, "ClientTransactionID": 7})
        assert (answer.status, answer.kind, answer.json["ClientTransactionID"]) == (200, "application/json", 7)
        return answer.value

    assert asked("/management/apiversions") == [1]
    described = asked("/management/v1/description")
    assert set(described) == {"ServerName", "Manufacturer", "ManufacturerVersion", "Location"}
    assert all(described.values())
    devices = asked("/management/v1/configureddevices")
    assert [d["DeviceType"].lower() for d in devices] == qhy.devices
    assert all(set(d) == {"DeviceName", "DeviceType", "DeviceNumber", "UniqueID"} for d in devices)
    assert len({d["UniqueID"] for d in devices if len(d["UniqueID"]) >= 12}) == len(devices)
    for path in ("/setup", *(f"/setup/v1/{d}/0/setup" for d in qhy.devices)):
        page = qhy.ask("GET", path)
        assert (page.status, page.kind) == (200, "text/html")
        assert described["Manufacturer"] in page.body.decode()
    for path in ("/setup/v1/focuser/0/setup", "/setup/v1/camera/1/setup", "/setup/v2/camera/0/setup"):
        assert (qhy.ask("GET", path).status, qhy.ask("GET", path).kind) == (403, "text/html")
    for bad in BAD_IDS:
        assert qhy.ask("GET", "/management/apiversions?ClientID=" + quote(bad)).status == 400


def _discovered(where: str, port: int, family: int = socket.AF_INET, *, awaited: int = 1) -> set[bytes]:
    """Ask an address and return the answers; an address that cannot be asked on this machine skips the test."""
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        if family == socket.AF_INET:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        else:
            asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 0)  # no further than this machine
        try:
            asking.sendto(b"alpacadiscovery1", (where, port))
        except OSError as error:
            pytest.skip(f"{where} cannot be asked here: {error}")
        return {asking.recv(1024) for _ in range(awaited)}


@contextmanager
def responding(host: str, alpaca_port: int, port: int = 0) -> Iterator[int]:
    try:
        responder = DiscoveryResponder(host, port, alpaca_port)
    except OSError as error:
        pytest.skip(f"there is no {host} here: {error}")
    yield responder.port
    responder.stop()


@pytest.mark.skipif(sys.platform == "darwin", reason="this system has no broadcasts on loopback")
def test_a_broadcast_on_loopback_discovers_the_server() -> None:
    with serving("camera_only", discovery_port=0) as client:
        answers = _discovered("127.255.255.255", client.server.discovery_port or 0)
        assert answers == {b'{"AlpacaPort":%d}' % client.server.port}


@pytest.mark.parametrize(
    ("host", "where", "family"),
    [
        ("127.0.0.1", "127.0.0.1", socket.AF_INET),
        ("localhost", "127.0.0.1", socket.AF_INET),
        ("", "127.0.0.1", socket.AF_INET),
        ("::1", "::1", socket.AF_INET6),
        ("::", "ff12::a1:9aca", socket.AF_INET6),
    ],
)
def test_discovery_answers_with_its_json_and_nothing_else(host: str, where: str, family: int) -> None:
    with responding(host, 11111) as port:
        with socket.socket(family, socket.SOCK_DGRAM) as another:
            another.sendto(b"alpacadiscover", ("::1" if ":" in where else "127.0.0.1", port))
        assert _discovered(where, port, family) == {b'{"AlpacaPort":11111}'}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one of the servers takes the question alone")
def test_two_servers_on_the_discovery_port_both_answer_a_broadcast() -> None:
    with responding("127.0.0.1", 11111) as port, responding("127.0.0.1", 22222, port):
        answers = _discovered("127.255.255.255", port, awaited=2)
    assert answers == {b'{"AlpacaPort":11111}', b'{"AlpacaPort":22222}'}
