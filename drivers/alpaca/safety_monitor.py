"""An Alpaca safety monitor: each answer is asked for now, once, and short of patience.

An answer that comes late, was given before, or is not plainly true or false, is no answer: `DeviceLost`. What a
missing answer means is for the supervisor to say (unsafe).
"""

from drivers.alpaca.device import AlpacaDevice
from drivers.alpaca.transport import Endpoint, SafetyMonitorWire, Timeouts
from drivers.alpaca.values import text
from drivers.clock import Clock
from drivers.errors import DeviceLost


class AlpacaSafetyMonitor(AlpacaDevice[SafetyMonitorWire]):
    """A `drivers.base.SafetyMonitor` over Alpaca.

    Parameters
    ----------
    endpoint : Endpoint
    clock : Clock
    timeouts : Timeouts, optional
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        *,
        timeouts: Timeouts | None = None,
    ) -> None:
        # no second attempts: the supervisor asks again by itself, and a late answer is worth nothing
        wire = SafetyMonitorWire(endpoint, clock, timeouts=timeouts, retries=False)
        super().__init__(wire)

    def connect(self) -> None:
        """Connect; raises `DeviceLost`, `DeviceMissing`, `WrongDevice`."""
        self._wire.open()
        self.recognise(name=self._wire.ask("Name", text), unique_id=self.read_unique_id())

    def is_safe(self) -> bool:
        """Read IsSafe afresh; raises `DeviceLost` or `Refused` rather than answer from memory."""
        return self._wire.ask("IsSafe", self._plainly)

    def _plainly(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise DeviceLost(device=self._wire.label, detail=f"IsSafe is {value!r}, neither true nor false")
        return value
