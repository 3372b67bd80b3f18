"""What somebody has said of a master: that it is good, that it is bad, or that it holds no more from some time on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from calibration.frames import FrameKind
from services.catalogue.plain import parse_time
from services.catalogue.typed import check_types


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One word of an observer about a master, as its sidecar keeps it.

    Attributes
    ----------
    at : datetime or None
        When it was said; None where an older version did not note it.
    by : str
        Who said it.
    reason : str
    since : datetime or None
        Of an invalidation: from when on the master, and those before it, hold no more.
    kind : FrameKind or None
        Of an invalidation: the kind whose masters all end; None where it was said of single masters.
    """

    at: datetime | None = None
    by: str = ""
    reason: str = ""
    since: datetime | None = None
    kind: FrameKind | None = None

    @classmethod
    def from_dict(cls, record: Any) -> "Said | None":
        """Return what plain JSON values say; None for None.

        Raises
        ------
        KeyError, ValueError, TypeError
            The values are something else.
        """
        if record is None:
            return None
        if not isinstance(record, Mapping):
            raise TypeError("what was said of a master is an object")
        known = {name: record[name] for name in cls.__slots__ if name in record}
        known |= {name: parse_time(known.get(name)) for name in ("at", "since")}
        known["kind"] = None if known.get("kind") is None else FrameKind(known["kind"])
        said = cls(**known)
        check_types(said)
        return said
