"""Which nightcal this is: of the checkout when the code runs from one, else of the installed distribution."""

import re
from pathlib import Path


def version() -> str:
    """Return the version, "unknown" when neither a checkout nor a distribution tells."""
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
