"""The daemon's process is light: nothing that it imports brings compilers, FITS, pictures or the camera's code."""

import pkgutil
import subprocess
import sys

import services.daemon
from tests.support.places import ROOT

IN_CHILDREN = {"worker", "secure", "observatory", "tiles"}
HEAVY = (
    "numba", "llvmlite", "scipy", "astropy", "photutils", "matplotlib", "PIL", "services.capture", "services.masters",
    "services.bands", "drivers.simulator.server",
)  # fmt: skip


def test_the_light_modules_of_the_daemon_load_nothing_heavy() -> None:
    names = [module.name for module in pkgutil.iter_modules(services.daemon.__path__) if module.name not in IN_CHILDREN]
    assert {"supervisor", "loop", "messages"} <= set(names)
    imports = "\n".join(f"import services.daemon.{name}" for name in names)
    program = f"import sys\n{imports}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    loaded = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True, timeout=100)
    assert loaded.split() == []
