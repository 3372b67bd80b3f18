"""Which nightcal this is: of the checkout when the code runs from one, else of the installed distribution."""

import re
from datetime import datetime
from pathlib import Path

BUILD_YEAR = 2026
"""Raised with every release: no clock that runs right says an earlier year."""


def is_credible(now: datetime) -> bool:
    """Whether a clock can be right; a computer without battery or network wakes up in 1970 or 2000."""
    return now.year >= BUILD_YEAR


def version() -> str:
    """Return the version, "unknown" when neither a checkout nor a distribution names one."""
    project = Path(__file__).resolve().parents[1] / "pyproject.toml"
    if project.is_file():
        found = re.search(r'^version = "([^"]+)"', project.read_text(encoding="utf-8"), re.MULTILINE)
        if found is not None:
            return found[1]
    from importlib import metadata

    try:
        return metadata.version("nightcal")
    except metadata.PackageNotFoundError:
        return "unknown"
