"""`--fresh`: which runs together take everything anew. One that was interrupted goes on with the sets it opened."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.catalogue.rows import RunRow
from services.config.models import Reuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Runs that together take everything anew: the first of them, and all so far."""

    first: str
    runs: frozenset[str]

    def opened(self, set_id: str) -> bool:
        """Whether a set was opened by one of its runs: a set's id begins with that of its run."""
        return set_id.rpartition("-")[0] in self.runs


def campaign_of(run_id: str, runs: Iterable[RunRow], *, now: datetime, reuse: Reuse) -> Campaign:
    """Return the campaign of a `--fresh` run that starts now.

    It is the last one, where that was interrupted (or ended in time) and is young enough for its sets to be continued;
    otherwise a new one.

    Parameters
    ----------
    run_id : str
        Of the run that starts.
    runs : iterable of RunRow
        Those before it, the newest first.
    now : datetime
    reuse : Reuse
    """
    before = [run for run in runs if run.campaign is not None and run.run_id != run_id]
    first = before[0].campaign if before else None
    if first is None or (before[0].code is None and not before[0].early):
        return Campaign(first=run_id, runs=frozenset({run_id}))
    members = [run for run in before if run.campaign == first]
    if now - members[-1].started_at > timedelta(hours=reuse.resume_within_hours):
        return Campaign(first=run_id, runs=frozenset({run_id}))
    return Campaign(first=first, runs=frozenset({run_id, *(run.run_id for run in members)}))
