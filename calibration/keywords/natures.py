"""What the name of a card says of it, where nobody knows the card: a setting, a remark, or what varies by nature."""

import re

VARIES, REMARK, SETTING, TEMPERATURE = "varies", "remark", "setting", "temperature"

_SURROUNDINGS = (
    r"(?<![CL])AMB|(?:^|[-_ ])OUT[SDT]|HUM|WIND(?!OW)|PRESS|PRES$|VACU|BAROM|DEW|CLOUD|(?<![DGT])RAIN|SEEING|MPSAS|MOON"
    r"|SUN|BOLT|TUBE|MIRR|ENVIR|GPS|TWILIGHT|TRANSPAR|PHOTOM|^COND|ROOF|^(?:WEA|WMS|ENC|TCS|AOC)"
)
_MOUNT = (
    r"^(?:RA(?=$|[-_HDTOR])|DEC(?=$|[-_DTOR])|OBJCT|ALT|AZ|EL$|PA$|AIR|CENT(?!.*WAV)|AG(?!AIN)|ZD|PARANG|POSANG|GLAT|GLON"
    r"|DOM(?!.*(?:LAMP|FLAT|SCREEN|LIGHT))|TRACK|TRK|SLEW|ROT|M[12](?!\d)|TEL(?!ESC|.*(?:FOC|APT|RATIO))|MOUNT|MNT)"
    r"|PIER|PARKED|ATHOME|SOLV|GUID|DITH|FOC(?!AL|RAT|RED|LEN)"
)
_SUPPLY = r"COOL|POWER|PWR|HEAT|FAN|VOLT|CURRENT|CURR$|AMPERE|(?<!N)AMPS$|BATT|DOWNLOAD"
_EXPOSED = (
    r"(?:EXP(?:OS(?:URE)?)?|INT(?:EG(?:R\w*)?)?|SHU?T(?:TER)?|^ON|^OPEN|^LIVE)[-_ ]?(?:TIME?|TM)[-_ ]?"
    r"(?:[MU]?S|SEC|\d)*$|^ITIME|^TIME?[-_ ]?(?:OF)?[-_ ]?(?:EXP|INT)"
)
_MOMENTS = (
    r"(?<!OP)(?<!ES)TIM(?!.*MOD)|(?:^|[-_ ])TM|(?<!U)TM$|DATE(?!.*MOD)|JD|STAMP"
    r"|^(?:EXP|OBS|INT)[-_ ]?(?:UTC?|ST|MID|DAY)$|SHUT.*(?:OPEN|CLOS)"
    r"|^(?![XY]|.*(?:WIN|ROI|SUBF|ROW|COL)).*(?:START|BEGIN|BEG|(?<!T)END|(?<!F)STOP)$"
    r"|ELAPS|REMAIN|HOURS?$|HRS$"
)
_COUNTERS = (
    r"SEQ|COUNT|CNT|INDEX|IDX$|(?<!SUB)FRAMES?$|^(?:NO|NR|NUM|ID)$|^N(?:UM)?[-_]?(?:EXP|IMG|IMAGE|FRAME|SUB|SHOT)S?$|DATASET"
    r"|(?:EXP(?:OS(?:URE)?)?|IMAGE|IMG|^IM|FRAME?|FRM|OBS|SUB|SHOT|PIC|^SET|GROUP|GRP|BLO?C?K|RUN|LOOP|CYCLE|STEP|REPEAT"
    r"|JOB|TASK|TARG(?:ET)?|SCAN|SERIES|NIGHT|VISIT)[-_ ]?(?:U?ID|NO|NUM(?:BER)?|NR|N)$"
    r"|SCHED|SCRIPT|QUEUE|CAMPAIGN|^PLAN(?!E)|^REQ|PROP(?:OSAL)?[-_ ]?ID|CONDIT|QUALITY|QLTY"
    r"|FILE|FNAME|PATH|FOLDER|DIRECT|UUID|HASH|MD5|CHECKSUM|DATASUM"
)
_MEASURED = (
    r"MEAN|MEDIAN|AVG|AVERAGE|RMS|SIGMA|STD(?:DEV|EV)?$|SKEW|KURT|^(?:DATA|PIX|IM|IMG|IMAGE|FLAT|DARK|BIAS|CCD|DET)[-_]?"
    r"(?:MIN|MAX|MED|AVE|STD|SIG|LEV|LVL|ADU|VAL)|CBLACK|CWHITE|MIPS|FWHM|HFD|HFR|STARS|SNR|ENC$|ENCOD|ERR(?:OR)?S?$"
    r"|^(?!.*(?:LAMP|PANEL|LIGHT|FLAT|COVER|FIL|FLIP|HDR|GAIN|MODE)).*STAT(?:E|US)?\d?$|STRETCH"
    r"|^ESO (?:OBS|TPL|TEL|ADA|GEN|LOG|OCS|QC|INS SENS|INS THER|DET TLM)\d*\b"
)
_FILTERS = r"FIL(?![ELM])|FLT|INSFL|WHEEL|^FW\d?(?:POS|SLOT|NUM)?$|BAND(?:$|P|[-_ ]?(?:ID|NO|NAME|NUM))|PASSB"
_OPTICS = (
    r"(?<!^C)LAMP|PANEL|LIGHT|FLAT|SLIT|(?<!INTE)GRAT|GRISM|DISPER|(?:^|[-_ ])AP(?:T|ERT)|LENS|TELESC"
    r"|DICH|MASK|BEAM|(?:^|[-_ ])ARM$|FOC(?:AL|RAT|RED|LEN)|F(?:NUM|STOP|[-_]?RATIO)|REDUCER"
    r"|BARLOW|WAVEL|LAMBDA|POLAR|^HWP"
)
_PARTS_OF_SENSOR = (
    r"WIN(?!D(?!OW))|ROI|CROP|SUBF|SEC\d*$|^[XY][-_]?(?:START|ORI?G|0|BEG|END|OFF)|^(?:START|ORI?G|FRAME)[XY]$"
    r"|(?<!MER)(?<!PIER)FLIP"
)
_READOUT = (
    r"MOD(?!EL|IF|UL)|RDM|READ(?!Y|ER)|SPE?E?D|(?<!IB)(?<!PE)(?<!NE)RATE|AMP|CHAN(?!GE)|PORT|TAP|WELL|HDR|FREQ|[KM]HZ$"
    r"|PIX.*CLO?C?K|COADD|FOWLER|MULTISAM|^NDR|BIT[-_]?DEP|BITS$|CDS$|OVERSC|RBI|FLUSH|PREFL|^[HL]CG|^[HV]SHIFT"
)
_BELONGS_TO_FILE = (
    r"^(?:HISTORY|COMMENT|CONTINUE|HIERARCH|BLANK|EXTEND|SIMPLE|BITPIX|NAXIS|GCOUNT|PCOUNT|BSCALE|BZERO|XTENSION|EXTN"
    r"|INHERIT|LONGSTRN|TIMESYS|BUNIT|Z[A-Z]+\d*$|T(?:TYPE|FORM|FIELDS)\d*|CR(?:VAL|PIX|OTA|DELT)|CD\d|PC\d|CTYPE"
    r"|CUNIT|CDELT|WCS|RADE|SECPIX|PIXSCA|SCALE|EPOCH|EQUINOX|DATA|MIN|MAX|STD|BACKGR|BKG|ADU)"
)
_PEOPLE_AND_PROGRAMS = (
    r"^(?:OBSERV|AUTHOR|USER|OWNER|SITE|LAT|LON|ELEV|OBSGEO|ORIGIN|SW|SOFT|PROG|CREAT|WRITER|DRIVER|SBST|PROJ|PROP|PI$"
    r"|UT|LST|LOCAL|HA$|ST$|RUN)|SKY|USB|CLOCK|VERSION|OPERAT|HOST|NTP|SAFE|LOG$|UPLOAD|BACKUP|ARCHIV"
)
_RECORDS = (
    r"ASTRONOM|OPERAT|SUPPORT|TELOP|ASSIST|^PI(?:$|[-_ ]?(?:COI|NAME))|CONTACT|COPYR"
    r"|(?:TAKEN|SAVED|MADE|CREATED)[-_ ]?BY$|^SWSER|(?<![OI])(?<!RE)VERS?$|FIRMW|PLATFORM|COMPUTER|MACHINE|APP$"
    r"|^JOB|TASK|(?:ORIG|ROOT|CAT)[-_ ]?NAME|SEMEST|LOCATION|^(?:UTC|GMT|DST|TZ)[-_ ]?OFF"
)
_NAMES = tuple(
    (nature, re.compile(pattern))
    for nature, pattern in (
        (VARIES, rf"{_SURROUNDINGS}|{_MOUNT}|{_SUPPLY}|{_RECORDS}"),  # with their modes, gains and exposures
        (TEMPERATURE, r"(?<!AT)TEMP(?![LOT])|TMP|CELS|KELVIN|^T[-_]?(?:CCD|DET|CHIP|SENS)"),
        ("exposure", _EXPOSED),
        (VARIES, rf"{_MOMENTS}|{_COUNTERS}|{_MEASURED}"),  # of the exposure, of the camera, of the lamp
        (REMARK, r"^(?:OBJECT|OBJNAME|TARGET|TITLE|REMARK|DESCR|LABEL|MEMO|INFO|MSG|STATUS|STATE)|NOTE"),
        ("filter", _FILTERS),
        (
            "exposure",
            r"EXP(?!ER|LOR|ECT|ORT|IR|.*(?:MOD|TYP|NAME))|INTEG|INTTIM|SHUT(?!.*MOD)|^DUR|SECONDS|^SECS?$|^T_?INT",
        ),
        (SETTING, rf"{_OPTICS}|{_PARTS_OF_SENSOR}"),
        ("offset", r"OFFS|BLACK|BLKL|^CLAMP"),
        ("gain", r"GAIN|(?:^|[-_ ])ISO|PREAMP|SENSITIV"),
        ("binning", r"(?<!COM)BIN"),
        ("readout_mode", _READOUT),
        ("camera", r"CCD|CAM(?!PA)|CHIP|DET|SENS|SERIAL|SERNO|SERNUM"),
        ("bayer_pattern", r"BAY|CFA|COLO"),
        (SETTING, r"SET|CONF"),
        (VARIES, rf"{_BELONGS_TO_FILE}|{_PEOPLE_AND_PROGRAMS}"),
    )
)
"""What the name of a card says of it: the first row that is found in it decides, so that a setting's name wins over
what stands below it. The words are those of `keywords.ALIASES`, where it seems to be one of these facts."""

SAID_OF_SETTINGS = re.compile(
    r"gain|fast|slow|\bhigh\b|\blow\b|mode|[km]?hz\b|\bbits?\b|conversion|readout|\bISO\b|HDR|HCG|LCG|\bbin|\bx\d|\dx\d",
    re.IGNORECASE,
)
"""Words that are said of how a camera is set."""

OF_LIGHT = re.compile(rf"{_FILTERS}|{_OPTICS}|OBJECT|COVER")


def nature_of(keyword: str) -> str:
    """Return what a card seems to be, by its name: a row of the table; "" where the name does not say."""
    return next((nature for nature, pattern in _NAMES if pattern.search(keyword)), "")
