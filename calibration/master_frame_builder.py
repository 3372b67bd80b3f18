"""The guide's integration names for masters: `MasterFrameCreator`, `load_master_dark`, `load_master_flat`.

A door to `services`: the library gives no master that does not fit, and says what there is instead.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from services.planning.request import RunResult


class MasterFrameCreator:
    """Masters of a configuration.

    Parameters
    ----------
    config : path, mapping, LoadedConfig or None
        None: `config_calibration_frames.yaml` in the working folder.
    """

    def __init__(self, config: Any = None) -> None:
        self._config = config

    def create_all_master_frames(self) -> "RunResult":
        """Build the masters that are missing, and return how it ended."""
        from services.cli.doors import run_step
        from services.config import as_loaded
        from services.planning.request import Step

        return run_step(Step.MASTERS, as_loaded(self._config))


def load_master_dark(exposure_time: float, config: Any = None, **which: Any) -> NDArray[np.float32]:
    """Return the newest master dark of an exposure.

    Parameters
    ----------
    exposure_time : float
        Seconds; equal within 0.5 ms or 0.1 %, never a nearest one.
    config : path, mapping, LoadedConfig or None
    **which
        `gain`, `temperature_c`, `camera`, `offset`, `readout_mode`, `binning`, `shape`, `origin`, `row_order`: needed
        where there are masters of several.

    Returns
    -------
    ndarray of float32, shape (y, x)
        ADU, with the pedestal.

    Raises
    ------
    StorageError
        There is none, or several that differ in more than their time; the message lists those there are.
    """
    from services.config import as_loaded
    from services.library.lookup import open_library

    with open_library(as_loaded(config)) as library:
        return library.dark(exposure_time, alike=True, **which).pixels


def load_master_flat(filter: str | None = None, config: Any = None, **which: Any) -> NDArray[np.float32]:  # noqa: A002
    """Return the newest master flat, normalised.

    Parameters
    ----------
    filter : str, optional
        May be left out when there are flats of one filter only.
    config : path, mapping, LoadedConfig or None
    **which
        Those of `load_master_dark` but `temperature_c`; also `source`, `night`, `rotator_angle_deg`.

    Returns
    -------
    ndarray of float32, shape (y, x)
        1 at the configured statistic (`normalization_method`); NaN where there is no data.

    Raises
    ------
    StorageError
        There is none, or there are several filters and none is named, or several that differ in more than their time.
    """
    from services.config import as_loaded
    from services.library.lookup import open_library

    with open_library(as_loaded(config)) as library:
        return library.flat(filter, alike=True, **which).pixels
