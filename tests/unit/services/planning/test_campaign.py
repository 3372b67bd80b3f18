"""`--fresh` that was interrupted goes on with the sets it opened; one that reached its end begins anew."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.catalogue.rows import RunRow
from services.config.models import Reuse
from services.planning.campaign import campaign_of

NOW = datetime(2026, 5, 6, 2, tzinfo=UTC)


def run(name: str, hours: float, *, campaign: str | None, code: str | None = "interrupted", early: bool = False):
    return RunRow(run_id=name, started_at=NOW - timedelta(hours=hours), campaign=campaign, code=code, early=early)


def runs_of(*before: RunRow) -> set[str]:
    return set(campaign_of("z", before, now=NOW, reuse=Reuse()).runs)


def test_interrupted_killed_and_early_runs_are_gone_on_with():
    for code in ("interrupted", "worker_died", "disk_full", "device_lost"):
        assert runs_of(run("b", 1, campaign="a", code=code), run("a", 3, campaign="a")) == {"z", "a", "b"}
    early = run("a", 3, campaign="a", code=None, early=True)
    assert runs_of(early) == {"z", "a"}
    assert runs_of(run("plain", 1, campaign=None, code=None), early) == {"z", "a"}
    found = campaign_of("z", [early], now=NOW, reuse=Reuse())
    assert (found.first, found.opened("a-0f1e2d"), found.opened("z-0f1e2d"), found.opened("b-0f1e2d")) == (
        "a", True, True, False,
    )  # fmt: skip


def test_a_run_that_reached_its_end_or_began_long_ago_is_not():
    assert runs_of(run("b", 1, campaign="a", code=None), run("a", 3, campaign="a")) == {"z"}
    assert runs_of(run("b", 1, campaign="a"), run("a", 18.1, campaign="a")) == {"z"}
    assert runs_of(run("plain", 1, campaign=None)) == {"z"}
    assert runs_of() == {"z"}
    assert replace(run("b", 1, campaign="b"), code=None).early is False
