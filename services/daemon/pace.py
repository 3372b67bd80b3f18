"""When the daemon asks the devices and looks at what is due: together, at the same moments.

What wakes a sleeping computer costs more than what is done then. A run of its own needs none of this: it looks at all
of it when it begins, and asks the safety monitor as often as `safety_monitor.poll` says.
"""

POLL_S = 30.0
"""Seconds of the daemon's clock between two questions to safety, roof, mount, camera and disk."""
APART_S = 0.1
"""Seconds from the question to one of them to that to the next."""
AGAIN_S = 2.5
"""Seconds to the next question after one that had no answer."""
AGAIN = 4
"""Questions that follow so soon; then it is asked no more often than any other."""
LOOK_AFTER_S = 1.0
"""Seconds from the first question to a look at what is due: the answers are new then."""


def to_next_s(now_s: float, *, after_s: float, every_s: float = POLL_S) -> float:
    """Return the seconds to the next moment that lies `after_s` after a multiple of a period."""
    return every_s - (now_s - after_s) % every_s
