"""How long the daemon waits for its children, in real seconds: each time is longer than what an orderly way takes.

What a run may have to do decides: its longest exposure, cooling and warming up, the hooks. A clock that runs faster
than the world's only makes that shorter.
"""

from dataclasses import dataclass

from services.config.models import Config
from services.planning.programmes import views

MARGIN_S = 900.0
"""For what no configuration names: a device that is away, an image that comes slowly, a file on a slow disk."""
WARM_UP_S = 1800.0
"""So long warming up takes at most."""
LOOKS_S = 3600.0
"""For what a run does without an event beside its longest exposure: looking through a large folder, or for light."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Real seconds of patience.

    Attributes
    ----------
    abort_s, hurry_s, finish_s : float
        For the end of a run that was ordered to end now (its sensor is warmed up), to hurry, or to end after its frame.
    look_s : float
        Between two looks whether a worker is alive.
    silent_s, still_s, eventless_s : float
        For a worker of which nothing is heard at all; whose work does not move although it is alive; and whose run says
        nothing.
    answer_s, short_s : float
        For an answer to an order on masters: of a run, and of a child that does nothing else and is ended then.
    secure_silent_s, secure_s : float
        For the first device that is safe, and for all of them (the sensor is warmed up).
    secure_pauses_s : tuple of float
        Before each attempt to make the devices safe.
    """

    abort_s: float = 3600.0
    hurry_s: float = 180.0
    finish_s: float = 7200.0
    look_s: float = 10.0
    silent_s: float = 300.0
    still_s: float = 1800.0
    eventless_s: float = 6 * 3600.0
    answer_s: float = 60.0
    short_s: float = 300.0
    secure_silent_s: float = 200.0
    secure_s: float = 3600.0
    secure_pauses_s: tuple[float, ...] = (0.0, 2.0, 10.0, 60.0)


def limits_of(config: Config) -> Limits:
    """Return how long a worker with this configuration is waited for."""
    end_s, frame_s = _leaving_s(config), longest_exposure_s(config)
    return Limits(
        abort_s=end_s,
        finish_s=frame_s + end_s,
        still_s=MARGIN_S + max(_hooks(config)),
        eventless_s=2 * frame_s + LOOKS_S + _cooling_s(config) + max(_hooks(config)),
    )


def longest_exposure_s(config: Config) -> float:
    """Return the longest exposure that any programme of a configuration may ask for, in seconds."""
    found = [0.0]
    for _, seen in views(config):
        dark, flat = seen.dark_capture, seen.flat_capture
        times = (time * factor for time in dark.science_exposure_time for factor in dark.exposure_factors)
        found += [time for time in times if time <= dark.max_exposure]
        found += [flat.max_exposure, dark.flat_exposure_time or 0.0]
    return max(found)


def _hooks(config: Config) -> tuple[float, ...]:
    found = (getattr(config.hooks, name) for name in type(config.hooks).model_fields)
    return (0.0, *(hook.timeout for hook in found if hook is not None))


def _leaving_s(config: Config) -> float:
    """Return what the end of a run may take: lamp off, cover closed, the sensor warmed up, the hooks after it."""
    panel = 0.0 if config.flat_panel is None else 2 * config.flat_panel.timeout
    warming = WARM_UP_S if config.cooling is not None and config.cooling.warmup_at_end else 0.0
    return MARGIN_S + panel + warming + sum(_hooks(config))


def _cooling_s(config: Config) -> float:
    return 0.0 if config.cooling is None else config.cooling.cooling_timeout + WARM_UP_S
