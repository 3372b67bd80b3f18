"""How a group that becomes no master is refused, and how something that is no failure is reported."""

from collections.abc import Callable

Warn = Callable[[str, str], None]
"""Reports something that is not a failure to the run: a code and a detail."""


class GroupRefused(Exception):
    """A group that becomes no master: a code, and a detail that says why."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(detail)
