"""What becomes of masters that are compared with those before them: their records, and the sentences for these."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import ClassVar

from services.events.findings import Finding
from services.events.records import OfMaster, Record
from services.events.sentences import finding, sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterCertified(OfMaster):
    """A master serves from its first frame on: it is like `before`, or the first one and good by itself.

    `notes` say what is new in it and no reason to doubt it, such as the dust of a flat.
    """

    name: ClassVar[str] = "master.certified"
    path: str | None
    before: str | None = None
    notes: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterSuperseded(Record):
    """A master serves only what was taken before `until`; `detail` says what has taken its place."""

    name: ClassVar[str] = "master.superseded"
    path: str | None
    until: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterSuspect(OfMaster):
    """A new master is unlike the one before it, which serves on until somebody certifies or rejects the new one."""

    name: ClassVar[str] = "master.suspect"
    path: str | None
    before: str | None = None
    doubts: tuple[Finding, ...] = ()


def _name(path: str | None) -> str:
    return PurePosixPath(path or "").name


@sentence.register
def _(what: MasterCertified) -> str:
    like = f"it is like {_name(what.before)}" if what.before else "it is the first, and nothing speaks against it"
    return f"{_name(what.path)} is certified: {'; '.join((like, *map(finding, what.notes)))}"


@sentence.register
def _(what: MasterSuperseded) -> str:
    until = f" serves until {what.until:%Y-%m-%d %H:%M} UTC" if what.until is not None else " serves no more"
    return f"{_name(what.path)}{until}{f': {what.detail}' if what.detail else ''}"


@sentence.register
def _(what: MasterSuspect) -> str:
    found = "; ".join(map(finding, what.doubts))
    serves = f" {_name(what.before)} serves on." if what.before else ""
    decide = f"`nightcal certify {_name(what.path)}` accepts it, `nightcal reject {_name(what.path)}` refuses it"
    return f"{_name(what.path)} is suspect: {found}.{serves} Look at it: {decide}"
