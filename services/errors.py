"""Reason codes of a run, what they mean to an observer, and how the program ends.

::

    ServiceError
    ├── ConfigInvalid       the YAML, with file:line:column and what is allowed
    ├── Usage               the command line
    ├── StorageError        disk full, write failed, lock held, catalogue unreadable
    └── RunStopped          a run ended early: unsafe, stale safety, interrupted, until reached

The same codes are used in the log, the events, the report, the API and the exit message; codes of `drivers` and
`calibration` join here to a text and an advice.
"""

import errno
from dataclasses import dataclass
from enum import StrEnum


class RunCode(StrEnum):
    """Why a run stopped (first block, with the orders from outside), or what it warned of (second)."""

    CONFIG_INVALID = "config_invalid"
    USAGE = "usage"
    NOTHING_THERE = "nothing_there"
    CAMERA_BUSY = "camera_busy"
    ACCESS_DENIED = "access_denied"
    LOGIN_REFUSED = "login_refused"
    DEVICE_LOST = "device_lost"
    DEVICE_MISSING = "device_missing"
    WRONG_DEVICE = "wrong_device"
    UNSAFE = "unsafe"
    SAFETY_STALE = "safety_stale"
    DISK_FULL = "disk_full"
    WRITE_FAILED = "write_failed"
    READ_FAILED = "read_failed"
    DAEMON_UNREACHABLE = "daemon_unreachable"
    ORDER_REFUSED = "order_refused"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    YIELDED = "yielded"
    INTERNAL_ERROR = "internal_error"
    HOOK_FAILED = "hook_failed"
    WORKER_DIED = "worker_died"
    NOTHING_TAKEN = "nothing_taken"

    CLOCK_JUMP = "clock_jump"
    EXPOSURE_CLIPPED = "exposure_clipped"
    SETPOINT_ROUNDED = "setpoint_rounded"
    NO_SETPOINT = "no_setpoint"
    FLAT_EXPOSURE_ASSUMED = "flat_exposure_assumed"
    NO_COVER = "no_cover"
    NO_SITE = "no_site"
    MAXADU_WRONG = "maxadu_wrong"
    FOREIGN_CLIENT = "foreign_client"
    ENDING_FAILED = "ending_failed"
    LEFT_UNSAFE = "left_unsafe"
    FRAME_COPIED = "frame_copied"
    FOREIGN_MASTER = "foreign_master"
    LIGHT_FRAME = "light_frame"
    TYPE_UNKNOWN = "type_unknown"
    CARD_UNKNOWN = "card_unknown"
    SEVERAL_IMAGES = "several_images"
    IMAGE_BESIDE = "image_beside"
    ALREADY_CALIBRATED = "already_calibrated"
    NOT_RAW = "not_raw"
    UNUSED_DEVICE = "unused_device"
    UNEVEN_DARK = "uneven_dark"
    SUSPECT_MASTER = "suspect_master"
    FORM_NOT_READ = "form_not_read"
    LINK_NOT_FOLLOWED = "link_not_followed"
    OTHER_FILE = "other_file"
    COARSE_MEDIAN = "coarse_median"
    OUTLIERS_UNSEEN = "outliers_unseen"
    MODEL_DAMAGED = "model_damaged"
    DEVICE_LIMITED = "device_limited"
    LOGIN_READABLE = "login_readable"
    NOT_PUBLISHED = "not_published"
    FILTER_NAMES = "filter_names"


class Exit:
    """Exit codes of every command."""

    DONE = 0
    SOME_FAILED = 1
    CONFIG = 2
    DEVICE = 3
    UNSAFE = 4
    STORAGE = 5
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code means and what to do; `exit` None for codes that concern a group only."""

    text: str
    advice: str
    exit: int | None = None


MEANINGS: dict[str, Meaning] = {
    "config_invalid": Meaning("the configuration cannot be used", "correct what is named above", Exit.CONFIG),
    "usage": Meaning("the command line cannot be used", "see --help", Exit.CONFIG),
    "nothing_there": Meaning("there is nothing to look at yet", "run the capture steps first", Exit.CONFIG),
    "camera_busy": Meaning(
        "another program uses the camera or this folder", "close the other program, then run again", Exit.DEVICE
    ),
    "access_denied": Meaning(
        "a server does not let nightcal in",
        "name user and password in the section of the device: `user_env` and `password_env` (environment variables), "
        "or `password_file` (a file that holds the password alone)",
        Exit.DEVICE,
    ),
    "login_refused": Meaning(
        "a server refuses the user and the password that nightcal gives it",
        "correct them where the line above says that they are read; if they are right, allow this user, and the way of "
        "signing in that is called Basic, on the server",
        Exit.DEVICE,
    ),
    "device_lost": Meaning(
        "a device does not answer",
        "check power, cable, server, host and port, then run again: what is stored is kept",
        Exit.DEVICE,
    ),
    "device_missing": Meaning(
        "something that the configuration names is not there",
        "list what answers with `nightcal devices`; the line above says what was looked for",
        Exit.DEVICE,
    ),
    "wrong_device": Meaning(
        "the device that answers is another one", "check host, port and device_id in the configuration", Exit.DEVICE
    ),
    "unsafe": Meaning(
        "the safety monitor said unsafe", "run again when it is safe: what is stored is kept", Exit.UNSAFE
    ),
    "safety_stale": Meaning(
        "the safety monitor does not answer",
        "look after the monitor, its server and the network, then run again",
        Exit.UNSAFE,
    ),
    "disk_full": Meaning(
        "the disk is full",
        "make room, or leave less of it free (storage.min_free_mb), then run again: what is stored is kept",
        Exit.STORAGE,
    ),
    "write_failed": Meaning("a file could not be written", "check the disk and its permissions", Exit.STORAGE),
    "read_failed": Meaning("a file cannot be read", "look at the file; a damaged one may be deleted", Exit.STORAGE),
    "daemon_unreachable": Meaning(
        "no daemon answers",
        "start it with `nightcal serve`, or name its address with --remote",
        Exit.DEVICE,
    ),
    "order_refused": Meaning("the daemon refuses the order", "see `nightcal status`", Exit.SOME_FAILED),
    "interrupted": Meaning("stopped by the user", "run the same command again to continue", Exit.INTERRUPTED),
    "cancelled": Meaning("cancelled by order", "run again to continue: what is stored is kept", Exit.DONE),
    "paused": Meaning("paused by order", "resume it, or run again to continue", Exit.DONE),
    "yielded": Meaning("ended to let another job have the devices", "it is continued after that one", Exit.DONE),
    "internal_error": Meaning(
        "nightcal itself failed", "what is stored is kept; report it with the log file", Exit.SOME_FAILED
    ),
    "hook_failed": Meaning(
        "a hook of the site failed", "see what it printed; `on_failure: continue` goes on without it", Exit.SOME_FAILED
    ),
    "worker_died": Meaning(
        "the program was killed, or lost power, before it could end the run",
        "run again to continue: what is stored is kept",
        Exit.SOME_FAILED,
    ),
    "clock_jump": Meaning("the computer's clock jumped", "check its time service"),
    "exposure_clipped": Meaning(
        "an exposure is outside of what the configuration or the camera allows",
        "widen min_exposure..max_exposure, or drop what is named; what the camera cannot do stays so",
    ),
    "flat_exposure_assumed": Meaning(
        "no flats to match: 1.0 s was assumed", "take flats first, or set flat_exposure_time"
    ),
    "no_site": Meaning(
        "nobody knows where the sun stands, so a cover is opened by day too",
        "give latitude and longitude in `site`, or set flat_panel.open_by_day",
    ),
    "no_cover": Meaning("there is no cover", "make sure by other means that it is dark"),
    "maxadu_wrong": Meaning("the camera's MaxADU is not its saturation", "the measured value is used instead"),
    "foreign_client": Meaning("something else changed a device", "close other programs that use it"),
    "ending_failed": Meaning("a device was not let go as it should be", "see to it if it happens again"),
    "left_unsafe": Meaning(
        "a device could not be left in a known state", "go and see: lamp off, cover closed, cooler off", Exit.DEVICE
    ),
    "frame_copied": Meaning("a file holds the same frame as another one", "it is counted once: delete the copy"),
    "foreign_master": Meaning("a file is a master or a stack of another program", "masters are built of raw frames"),
    "light_frame": Meaning(
        "a file is no calibration frame",
        "keep light frames out of these folders; write FLAT, DARK or BIAS into IMAGETYP where they are none",
    ),
    "type_unknown": Meaning(
        "the header says a type of frame that is not known", "write BIAS, DARK or FLAT into IMAGETYP, or move the file"
    ),
    "card_unknown": Meaning(
        "the header states something in a form that is not known", "correct the card that is named"
    ),
    "several_images": Meaning("a file holds several images", "write each image into a file of its own, or join them"),
    "image_beside": Meaning("a file holds more than the frame", "the frame is used, what is beside it is not"),
    "already_calibrated": Meaning(
        "another program has calibrated a frame", "give raw frames: what was subtracted cannot be used twice"
    ),
    "not_raw": Meaning("the values of a file are none of a camera", "give the frame as the camera program wrote it"),
    "unused_device": Meaning(
        "a device answers that the configuration says nothing of",
        "give it its section; `enabled: false` in it leaves the device alone",
    ),
    "device_limited": Meaning(
        "a device lacks something that others of its kind have", "nothing is wrong: the run does without it"
    ),
    "login_readable": Meaning(
        "the file of a password can be read by others", "let its owner alone read it: chmod 600 FILE"
    ),
    "not_published": Meaning(
        "a master is not in the folder of published masters",
        "see to the folder that serve.publish names: the next master or order tries again, and so does "
        "`nightcal library publish`",
    ),
    "filter_names": Meaning(
        "filters of the wheel have no names of their own", "give each position a name of its own in the wheel's driver"
    ),
    "coarse_median": Meaning("the noise is too low for a median", "choose another `rejection_method`: all others work"),
    "outliers_unseen": Meaning(
        "a master has few frames for the way in which outliers are left out",
        "the master is built and serves; take more frames, or choose another `rejection_method`",
    ),
    "model_damaged": Meaning("a damaged model is not used", "fit it anew with `nightcal run --step models`"),
    "uneven_dark": Meaning(
        "the darks are uneven", "look at one: a light leak is to be closed, a glow of the sensor is usual"
    ),
    "form_not_read": Meaning(
        "a file is of a form that is not read", "save it as FITS, as it is or packed as .gz, .bz2 or .fz"
    ),
    "link_not_followed": Meaning("a link is not followed", "put the files themselves into the folder"),
    "other_file": Meaning("a file is no frame", "it may stay where it is"),
    "suspect_master": Meaning(
        "a master is suspect", "look at it: `nightcal certify` accepts it, `nightcal reject` refuses it or frames of it"
    ),
    "exposure_failed": Meaning(
        "the camera refuses an exposure", "the line above has its driver's words; check the exposure times"
    ),
    "bad_image": Meaning(
        "the camera sends another image than it announces",
        "correct the driver: its binning, subframe and overscan, or the order of the axes; update it, or its server",
    ),
    "too_bright": Meaning(
        "the light is too bright at the shortest exposure", "dim the panel or lower flat min_exposure"
    ),
    "too_dim": Meaning(
        "the light is too dim at the longest exposure",
        "brighten the panel (with a `flat_panel` section nightcal does it), or raise flat max_exposure",
    ),
    "no_light": Meaning(
        "no light reaches the sensor", "see that the panel shines: its power and cable, its cover, what lies before it"
    ),
    "resolution": Meaning(
        "the camera's steps of exposure are too coarse for the tolerance", "dim the panel, or raise count_tolerance"
    ),
    "no_convergence": Meaning("the exposure search did not settle", "raise max_adjustment_attempts; look at the lamp"),
    "unstable_lamp": Meaning(
        "the lamp flickers or drifts", "let it warm up; choose a longer exposure at less brightness"
    ),
    "lamp_changed": Meaning("the lamp is not as bright as when the set was begun", "a new set is taken"),
    "panel_not_ready": Meaning("the flat panel or cover did not get ready", "check its power and its driver"),
    "filter_failed": Meaning("the filter wheel did not reach its position", "check the wheel"),
    "setting_refused": Meaning("the camera does not keep a setting", "check gain, offset, binning and readout_mode"),
    "not_dark": Meaning("it is not dark", "close the cover, switch lights off, look for a light leak"),
    "cooler_limit": Meaning(
        "the cooler cannot reach the set-point",
        "choose one within its reach: no colder than full power holds, no warmer than the air, for it cannot heat",
    ),
    "setpoint_rounded": Meaning(
        "the camera rounds the set-point", "frames are taken at what it makes of it; name that in the configuration"
    ),
    "no_setpoint": Meaning(
        "the camera cannot be set to a temperature", "frames are taken, and compared, as warm as the sensor is"
    ),
    "not_steady": Meaning(
        "the temperature is not steady in time",
        "give it more time (cooling_timeout), or ask for less (stable_time, stabilization_tolerance)",
    ),
    "sensor_stuck": Meaning(
        "the temperature reading is stuck or implausible, also after an exposure", "switch the camera off and on"
    ),
    "cooler_lost": Meaning("the cooler lost its power", "check the cooler's supply"),
    "too_many_refused": Meaning("too many frames were refused", "see the reasons per frame in the report"),
    "no_matching_dark": Meaning(
        "no dark fits these flats",
        "run the flats and the darks step: flats that were taken too warm are taken anew, and darks get the times that "
        "the flats used",
    ),
    "nothing_taken": Meaning("a run took no frame of what is due", "see its report; it is tried again later"),
    "too_few_frames": Meaning("too few frames for a master", "complete the set, or lower the number wanted"),
    "no_frames": Meaning("there are no frames", "run the capture steps first"),
    "unlike_frames": Meaning(
        "frames of another program are not alike", "name the card in `header_aliases`, or keep the frames apart"
    ),
    "master_differs": Meaning(
        "the new master differs from the last certified one",
        "look at both: `nightcal certify` accepts the new one, `nightcal reject` refuses it",
    ),
    "constant": Meaning(
        "all pixels have one value",
        "switch the camera off and on if it repeats; a simulator needs its noise switched on",
    ),
    "partial": Meaning("part of the frame is missing", "check cable and USB traffic"),
    "duplicate_frame": Meaning(
        "the frame equals the one before",
        "the camera returned its buffer twice: if that goes on, switch it off and on",
    ),
    "too_fast": Meaning("the frame came back faster than its exposure", "the camera returned an old buffer"),
    "saturated_lines": Meaning("rows or columns are saturated", "check cable and power"),
    "level_off": Meaning(
        "the level is outside its tolerance",
        "the lamp or the sky changed; in a dark or bias, light came in or a setting changed",
    ),
    "pedestal_off": Meaning(
        "the pedestal does not fit gain and offset",
        "the camera may have changed its gain; a lasting change is believed from the next night on, or with --fresh",
    ),
    "noise_off": Meaning("the noise does not fit gain and level", "the camera may have changed its gain"),
    "light_leak": Meaning("light falls on a dark frame", "close the cover, switch lights off"),
    "temperature_off": Meaning("the sensor was too far from its set-point", "wait for the cooler"),
    "exposure_mismatch": Meaning(
        "the camera exposed another time than asked for",
        "ask for exposures that it has (min_exposure, science_exposure_time); does its driver read a decimal point?",
    ),
    "size_changed": Meaning("the frame has another size than asked for", "check binning and subframe"),
    "lamp_drift": Meaning("the lamp drifts within the series", "let it warm up"),
}


def meaning(code: str) -> Meaning:
    """Return what a code means; unknown codes (a newer catalogue) mean themselves."""
    return MEANINGS.get(code, Meaning(code.replace("_", " "), "see the log"))


def how_ended(code: str) -> str:
    """Return how a run with this code ended: "stopped by the user", "stopped: the disk is full"."""
    text = meaning(code).text
    if code == RunCode.LEFT_UNSAFE:
        return f"finished, but {text}"
    return text if code == RunCode.INTERRUPTED else f"stopped: {text}"


class ServiceError(Exception):
    """Root of this package's errors: a code, a detail that names the thing, and advice if the code's does not fit."""

    code: RunCode = RunCode.WRITE_FAILED

    def __init__(self, detail: str, *, code: RunCode | None = None, advice: str = "") -> None:
        if code is not None:
            self.code = code
        self.detail = detail
        self.advice = advice
        super().__init__(detail)

    @property
    def exit(self) -> int:
        """The program's exit code for this error."""
        known = meaning(self.code).exit
        return Exit.SOME_FAILED if known is None else known


class ConfigInvalid(ServiceError):
    """The configuration cannot be used; `detail` has one line per error, each with file:line:column."""

    code = RunCode.CONFIG_INVALID


class Usage(ServiceError):
    """The command line cannot be used."""

    code = RunCode.USAGE


class StorageError(ServiceError):
    """A file, the catalogue or a lock."""

    code = RunCode.WRITE_FAILED


_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}


def storage_error(what: object, error: OSError) -> StorageError:
    """Return the system's error about `what` (a path, mostly) as ours: `disk_full` or `write_failed`."""
    code = RunCode.DISK_FULL if error.errno in _FULL else RunCode.WRITE_FAILED
    return StorageError(f"{what}: {error.strerror or error}", code=code)


class RunStopped(ServiceError):
    """A run ended early for a reason that is no failure of ours: unsafe, stale safety, interrupted."""

    code = RunCode.INTERRUPTED
