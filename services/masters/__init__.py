"""Masters: groups of the catalogue become files, by way of the pure parts of `calibration`."""

from services.masters.build_all import build_all
from services.masters.build_one import MasterOutcome, Outcome
from services.planning.master_settings import MasterSettings

__all__ = ["MasterOutcome", "MasterSettings", "Outcome", "build_all"]
