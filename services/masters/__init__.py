"""Masters: groups of the catalogue become files, by way of the pure parts of `calibration`."""

from services.masters.build_all import build_all, foresee_all
from services.masters.settings import MasterOutcome, MasterSettings, Outcome

__all__ = ["MasterOutcome", "MasterSettings", "Outcome", "build_all", "foresee_all"]
