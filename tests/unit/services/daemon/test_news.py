"""What the daemon says of its own accord is said once for each cause, and once when it is over."""

from datetime import UTC, datetime

from services.daemon.news import Weather, of_ages, of_failures
from services.daemon.orders import RefusalCode, Refused
from services.daemon.parts import Begin, Nothing, Outlook
from services.events.devices import SafetySafe, SafetyUnsafe
from services.events.sentences import sentence
from services.events.serving import ItemFailed, ItemRecovered, ItemStale

AGAIN = "2026-03-01T20:15:00+00:00"
FULL = {"code": "disk_full", "detail": "no room", "again_at": AGAIN}
DARK = {"code": "not_dark", "detail": "", "again_at": AGAIN}
RAIN = Refused(RefusalCode.UNSAFE, "it rains")
DRYING = Refused(RefusalCode.UNSAFE, "it is safe again", until=datetime(2026, 3, 1, 21, tzinfo=UTC))


def outlook(*obstacles: Refused, due: bool = True) -> Outlook:
    if due and not obstacles:
        return Outlook(choice=Begin(items=("dark_60s",)))
    reason = obstacles[0].code if due else "nothing_due"
    return Outlook(choice=Nothing(reason=reason), obstacles=obstacles)


def test_what_has_one_cause_is_said_once_for_all_items() -> None:
    said = list(of_failures({}, {"flat_L": FULL, "bias": FULL, "dark_60s": DARK, "flat_R": FULL}))
    again = datetime.fromisoformat(AGAIN)
    assert said == [
        ItemFailed(item="bias", others=("flat_L", "flat_R"), code="disk_full", detail="no room", again_at=again),
        ItemFailed(item="dark_60s", code="not_dark", again_at=again),
    ]
    assert (sentence(said[0]) or "").startswith("bias, flat_L, flat_R cannot be had: the disk is full")


def test_what_failed_before_is_not_said_again_and_what_can_be_had_is_said_together() -> None:
    assert list(of_failures({"bias": FULL}, {"bias": DARK})) == []
    assert list(of_failures({"flat_R": FULL, "bias": FULL}, {})) == [ItemRecovered(item="bias", others=("flat_R",))]


def test_masters_that_are_equally_old_are_said_together() -> None:
    stale = {"flat_L": "8 days", "bias": "91 days", "flat_R": "8 days", "dark_60s": "61 days"}
    assert list(of_ages(frozenset({"dark_60s"}), stale)) == [
        ItemStale(item="flat_L", others=("flat_R",), detail="8 days"),
        ItemStale(item="bias", detail="91 days"),
    ]


def test_unsafe_is_said_where_something_waits_for_it_and_safe_when_it_is_over() -> None:
    weather = Weather()
    assert list(weather.seen(outlook(RAIN, due=False))) == []
    assert list(weather.seen(outlook(RAIN))) == [SafetyUnsafe(detail="it rains")]
    assert list(weather.seen(outlook(DRYING))) == []
    assert list(weather.seen(outlook(RAIN))) == []  # it flickers
    assert list(weather.seen(outlook())) == [SafetySafe()]
    assert list(weather.seen(outlook())) == []


def test_the_rest_of_a_wait_is_not_unsafe_anew_after_a_restart() -> None:
    assert list(Weather().seen(outlook(DRYING))) == []


def test_that_it_is_safe_is_said_after_a_run_that_said_unsafe_by_itself() -> None:
    weather = Weather()
    weather.after_run("safety_stale")
    assert list(weather.seen(outlook(RAIN))) == []
    assert list(weather.seen(outlook())) == [SafetySafe()]
