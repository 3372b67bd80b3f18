"""Charts and tables are light: the daemon draws with them what the night report shows."""

import subprocess
import sys

from tests.support.places import ROOT

HEAVY = ("numba", "scipy", "astropy", "photutils", "matplotlib", "PIL", "services.bands", "services.capture")


def test_charts_and_tables_load_nothing_heavy() -> None:
    imports = "from services.reports import figures, parts, tables"
    program = f"import sys\n{imports}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    loaded = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True, timeout=100)
    assert loaded.split() == []
