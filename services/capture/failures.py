"""How a capture can end early, beside the trees of `drivers.errors` and `services.errors`.

::

    GroupFailed     this group cannot be had; others go on (carries a frame, group or driver code)
    UntilReached    the time of `--until` has come; a `RunStopped` at a frame's edge
"""

from services.errors import RunStopped


class GroupFailed(Exception):
    """One group cannot be taken; the run goes on with the next.

    Parameters
    ----------
    code : str
        A group or driver code (docs/contracts.md, "Reason codes").
    detail : str
        What happened, in one sentence.
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = str(code)
        self.detail = detail
        super().__init__(f"{self.code}: {detail}")


class UntilReached(RunStopped):
    """The time given by `--until` has come: no failure, but not all was taken."""
