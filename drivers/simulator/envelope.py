"""The JSON of an answer: compact, for clients that search it by pattern, and with a Value even in an error.

Clients that read Value before ErrorNumber, as strict checkers do, find the default of the member's type there.
"""

import json
from dataclasses import dataclass
from typing import Any

from drivers.simulator.errors import AscomError

_FALSE = (
    "calibratorchanging canabortexposure canasymmetricbin canfastreadout cangetcoolerpower canpulseguide"
    " cansetccdtemperature canstopexposure commandbool connected connecting cooleron covermoving fastreadout"
    " hasshutter imageready ispulseguiding issafe"
    " athome atpark canfindhome canpark canunpark cansetaltitude cansetazimuth cansetpark cansetshutter canslave"
    " cansyncazimuth slaved slewing tracking cansettracking cansetdeclinationrate cansetguiderates cansetpierside"
    " cansetrightascensionrate canslew canslewaltaz canslewaltazasync canslewasync cansync cansyncaltaz doesrefraction"
)
_ZERO = (
    "bayeroffsetx bayeroffsety binx biny brightness calibratorstate camerastate cameraxsize cameraysize coverstate"
    " gain gainmax gainmin interfaceversion maxadu maxbinx maxbiny maxbrightness numx numy offset offsetmax"
    " offsetmin percentcompleted position readoutmode sensortype startx starty"
    " alignmentmode equatorialsystem shutterstatus sideofpier slewsettletime trackingrate"
)
_NOUGHT = (
    "ccdtemperature coolerpower electronsperadu exposuremax exposuremin exposureresolution fullwellcapacity"
    " heatsinktemperature lastexposureduration pixelsizex pixelsizey setccdtemperature subexposureduration"
    " altitude aperturearea aperturediameter azimuth declination declinationrate focallength guideratedeclination"
    " guideraterightascension rightascension rightascensionrate siderealtime siteelevation sitelatitude sitelongitude"
    " targetdeclination targetrightascension"
)
_NO_TEXT = "action commandstring description driverinfo driverversion lastexposurestarttime name sensorname utcdate"
_NO_ITEMS = (
    "devicestate focusoffsets gains imagearray imagearrayvariant names offsets readoutmodes supportedactions"
    " trackingrates"
)
_BY_DEFAULT: tuple[tuple[Any, str], ...] = (
    (False, _FALSE),
    (0, _ZERO),
    (0.0, _NOUGHT),
    ("", _NO_TEXT),
    ([], _NO_ITEMS),
)
DEFAULTS: dict[str, Any] = {name: value for value, names in _BY_DEFAULT for name in names.split()}
"""What Value is when a member answers with an error."""

IMAGE_HEAD: dict[str, Any] = {"Type": 2, "Rank": 2}
"""What precedes the Value of an image: 32-bit integers in two dimensions."""


@dataclass(frozen=True, slots=True)
class Ids:
    """The transaction's number of the client and that of the server."""

    client: int
    server: int


def envelope(ids: Ids, *, error: AscomError | None = None) -> dict[str, Any]:
    """Return what every answer carries besides its Value."""
    return {
        "ClientTransactionID": ids.client,
        "ServerTransactionID": ids.server,
        "ErrorNumber": 0 if error is None else int(error.number),
        "ErrorMessage": "" if error is None else error.message,
    }


def compact(content: Any) -> bytes:
    """Return JSON without spaces."""
    return json.dumps(content, separators=(",", ":")).encode()
