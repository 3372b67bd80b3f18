"""The journal of a small run: a detector that was measured and a frame that was refused."""

from datetime import datetime

from calibration.frames import FrameKind
from drivers.clock import ManualClock
from services.events.bus import Events
from services.events.devices import DetectorMeasured
from services.events.findings import Finding
from services.events.records import FrameRefused, RunFinished, RunStarted
from services.files.layout import Layout


def write_small_journal(layout: Layout, run_id: str, at: datetime) -> None:
    """Write a run from its beginning to its good end."""
    events = Events(run_id=run_id, clock=ManualClock(at), journal=layout.events(run_id))
    events.emit(RunStarted(steps=("darks",), software="nightcal"))
    events.emit(DetectorMeasured(bias_adu=500.5, saturation_adu=None, gain=26))
    refused = FrameRefused(
        path=None, set_id="s", kind=FrameKind.DARK, filter=None, exposure_us=5, level_adu=0.0, codes=("constant",),
        verdicts=(Finding(code="constant"),),
    )  # fmt: skip
    events.emit(refused)
    events.emit(RunFinished(exit_code=0, code=None, detail=""))
    events.close()
