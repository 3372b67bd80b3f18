"""Orders to the daemon: `nightcal status`, `pause`, `resume`, `yield`, `cancel`, `abort`, `retry`, and runs by order.

Without `--remote` they go to the daemon of the configuration's folder. A command that ends a run waits until the camera
is free, and shows meanwhile what `nightcal run` would show.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.failures import complain
from services.cli.parameters import ConfigFile, TokenFile
from services.cli.prompts import is_terminal
from services.errors import Exit, Usage
from services.words import activity, both_clocks, count, length

if TYPE_CHECKING:
    from services.cli.daemon_client import Daemon, EventStream
    from services.cli.progress import Display

Remote = Annotated[
    str | None,
    typer.Option("--remote", metavar="URL", help="The daemon [default: that of the folder]", show_default=False),
]
RunName = Annotated[
    str | None, typer.Option("--run", metavar="RUN_ID", help="Only if this run is at work", show_default=False)
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until the run has ended")]
_SPAN = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[smhd])")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def status(
    *,
    remote: Remote = None,
    token_file: TokenFile = None,
    config: ConfigFile = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on showing what happens, until Ctrl-C")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object, for programs")] = False,
) -> int:
    """Say what the daemon does, why, and what comes next."""
    daemon = _daemon(remote, token_file, config)
    state = daemon.get("/api/state")
    print(json.dumps(state, indent=1) if as_json else "\n".join(in_words(state)), flush=True)
    if follow:
        with closing(daemon.events()) as events, (display := _display()).showing():
            for event in events:
                if event is not None:
                    display(event)
    return Exit.DONE


def pause(
    *, remote: Remote = None, token_file: TokenFile = None, config: ConfigFile = None, no_wait: NoWait = False
) -> int:
    """End the run in order, hold the cooler, and begin nothing before `nightcal resume`."""
    return _given(_daemon(remote, token_file, config), {"order": "pause"}, waits=not no_wait)


def resume(*, remote: Remote = None, token_file: TokenFile = None, config: ConfigFile = None) -> int:
    """Go on after a pause, or give the camera back after `nightcal yield`."""
    return _given(_daemon(remote, token_file, config), {"order": "resume"}, waits=False)


def yield_camera(
    *,
    remote: Remote = None,
    token_file: TokenFile = None,
    config: ConfigFile = None,
    hours: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long: 8h, 30m, 1.5h, 1d", show_default=False)
    ] = "8h",
    no_wait: NoWait = False,
) -> int:
    """Leave the camera to another program for a time [8 h]; returns when it is free.

    A frame of which more than a minute is left is given up. `nightcal resume` gives the camera back earlier.
    """
    order = {"order": "yield", "for_s": span_s(hours)}
    return _given(_daemon(remote, token_file, config), order, waits=not no_wait)


def cancel(
    *,
    remote: Remote = None,
    token_file: TokenFile = None,
    config: ConfigFile = None,
    run: RunName = None,
    no_wait: NoWait = False,
) -> int:
    """End the run after this frame; nothing more is begun in this window."""
    return _given(_daemon(remote, token_file, config), {"order": "cancel", "run_id": run}, waits=not no_wait)


def abort(
    *,
    remote: Remote = None,
    token_file: TokenFile = None,
    config: ConfigFile = None,
    run: RunName = None,
    no_wait: NoWait = False,
) -> int:
    """End the run now: this frame is given up; nothing more is begun in this window."""
    return _given(_daemon(remote, token_file, config), {"order": "abort", "run_id": run}, waits=not no_wait)


def retry(
    items: Annotated[
        list[str] | None, typer.Argument(metavar="[ITEM]...", help="As `nightcal plan` names them [default: all]")
    ] = None,
    *,
    remote: Remote = None,
    token_file: TokenFile = None,
    config: ConfigFile = None,
) -> int:
    """Try again what has failed, without waiting."""
    daemon = _daemon(remote, token_file, config)
    return _given(daemon, {"order": "retry", "items": _keys(daemon, items or ())}, waits=False)


def run_by_order(url: str, token_file: Path | None, items: Sequence[str], plan: str | None) -> int:
    """Let a daemon take what is due, or named items whether due or not; show it; return the run's exit code.

    With `plan`, a fingerprint, it is refused when the plan has changed since somebody looked at it.
    """
    daemon = _daemon(url, token_file, None)
    return _given(daemon, {"order": "run", "items": _keys(daemon, items), "plan": plan}, waits=True)


def _keys(daemon: "Daemon", items: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of items that are named as the table of the plan does; what is none of these stays as it is."""
    from services.cli.daemon_client import OrderRefused
    from services.cli.plan import titles

    try:
        masters = daemon.get("/api/plan")["masters"] if items else ()
    except OrderRefused:  # there is no plan yet
        masters = ()
    named = dict(zip(titles(masters), (each["key"] for each in masters), strict=True))
    return tuple(named.get(" ".join(item.split()), item) for item in items)


def span_s(text: str) -> float:
    """Return the seconds of `8h`, `30m`, `45s`, `1.5h` or `1d`.

    Raises
    ------
    Usage
        The text is none of these.
    """
    found = _SPAN.fullmatch(text.strip().lower())
    seconds = 0.0 if found is None else float(found["number"]) * _UNITS_S[found["unit"]]
    if not 0 < seconds <= 30 * _UNITS_S["d"]:
        raise Usage(f"--for: found {text!r} — allowed: a time such as 8h, 30m or 1d, 30 days at most")
    return seconds


def _daemon(remote: str | None, token_file: Path | None, config: Path | None) -> "Daemon":
    from services.cli.daemon_client import daemon_of

    return daemon_of(remote, token_file, config)


def _display() -> "Display":
    from services.cli.progress import Bars, Lines

    return Bars() if is_terminal(sys.stdout) else Lines(sys.stdout, shows_end=False)


@dataclass(slots=True)
class _Followed:
    """What events say of the run that an order begins or ends."""

    was_busy: bool
    run_id: str | None = None
    has_ended: bool = False

    def hear(self, event: Any) -> None:
        """Take an event."""
        from services.events.records import RunStarted
        from services.events.serving import ActivityChanged

        match event.what:
            case RunStarted():
                self.was_busy, self.run_id = True, event.run_id
            case ActivityChanged(activity="idle"):
                self.has_ended |= self.was_busy
            case ActivityChanged():
                self.was_busy = True


def _given(daemon: "Daemon", order: Mapping[str, Any], *, waits: bool) -> int:
    """Give an order, say its answer, and where it begins or ends a run, show that to its end; return the exit code."""
    if not waits:
        print(daemon.order(**order)["detail"])
        return Exit.DONE
    with closing(daemon.events()) as events:
        followed = _Followed(_is_busy(daemon.get("/api/state")))
        answer = daemon.order(**order)
        print(answer["detail"], flush=True)
        if answer.get("is_done", True):
            return Exit.DONE
        followed.run_id = answer.get("run_id")
        try:
            _show(daemon, events, followed)
        except KeyboardInterrupt:
            print("the daemon goes on: `nightcal status` shows it, `nightcal cancel` ends its run", file=sys.stderr)
            return Exit.INTERRUPTED
    ended = _ended(daemon, followed.run_id, is_wanted=order["order"] != "run")
    return ended if order["order"] == "run" else Exit.DONE


def _show(daemon: "Daemon", events: "EventStream", followed: _Followed) -> None:
    """Show what happens until the run has ended."""
    display = _display()
    with display.showing():
        for event in events:
            if event is None:
                followed.has_ended |= followed.was_busy and not _is_busy(daemon.get("/api/state"))
            else:
                followed.hear(event)
                display(event)
            if followed.has_ended:
                return


def _is_busy(state: Mapping[str, Any]) -> bool:
    return bool((state.get("activity") or {}).get("name") != "idle")


_BY_ORDER = {"paused", "yielded", "cancelled"}


def _ended(daemon: "Daemon", run_id: str | None, *, is_wanted: bool) -> int:
    """Say how a run ended; return its exit code. `is_wanted`: its end was ordered, and is nothing to complain of."""
    last = daemon.get("/api/state").get("last_run") or {}
    if run_id is not None and last.get("run_id") != run_id:  # one that only built masters is none of its last runs
        last = _recorded(daemon, run_id)
        if last.get("exit_code") is None:
            complain("worker_died", f"nothing is known of the end of run {run_id}")
            return Exit.SOME_FAILED
    if last.get("code") and not (is_wanted and last["code"] in _BY_ORDER):
        complain(last["code"], last.get("detail") or "")
    elif last.get("detail"):
        print(last["detail"])
    return int(last.get("exit_code") or 0)


def _recorded(daemon: "Daemon", run_id: str) -> Mapping[str, Any]:
    """Return what the catalogue of a daemon says of a run; nothing where it does not know the run."""
    from services.cli.daemon_client import OrderRefused

    try:
        found: Mapping[str, Any] = daemon.get(f"/api/runs/{run_id}")["run"]
    except OrderRefused:
        return {}
    return found


def in_words(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield the state of a daemon as lines for people."""
    mode, now, run = (state.get(name) or {} for name in ("mode", "activity", "run"))
    yield _activity(now)
    if mode.get("name") == "held" and now.get("name") != "idle":  # else that is why it is idle
        yield f"held ({mode.get('why')}) by {mode.get('by') or 'somebody'}{_until(mode.get('until'))}"
    if run:
        yield from _of_run(run)
    yield from _of_plan(state.get("plan") or {})
    for window in state.get("windows") or ():
        if window.get("open"):
            yield f"window {window.get('name')}: open{_until(window.get('closes_at'))}"
        else:
            yield f"window {window.get('name')}: closed{_moment(', opens', window.get('opens_at'))}"
    for name, reading in (state.get("devices") or {}).items():
        if reading.get("problem"):
            yield f"{name}: {reading['problem']}"
    if last := state.get("last_run"):
        how = str(last.get("code") or "done").replace("_", " ")
        what = f" ({last['detail']})" if last.get("detail") else ""
        yield f"last run for frames, {last.get('run_id')}: {how}{_moment(' at', last.get('finished_at'))}{what}"
    for warning in state.get("warnings") or ():
        yield f"warning: {warning.get('detail') or warning.get('code')}"


def _activity(now: Mapping[str, Any]) -> str:
    """Return what the daemon does and why; the reason's own word stands where nothing is said of it."""
    try:
        until = None if now.get("until") is None else datetime.fromisoformat(now["until"])
    except ValueError:
        until = None
    detail = now.get("detail") or str(now.get("reason") or "").replace("_", " ")
    return activity(str(now.get("name", "")), detail, until)


def _of_run(run: Mapping[str, Any]) -> Iterator[str]:
    """Yield how far a run is: one that only builds masters, or has not begun, wants no frames."""
    left = run.get("remaining_s")
    ends = "" if left is None else f", about {length(left)} left"
    frames = f": {run.get('done', 0)} of {run['wanted']} frames{ends}" if run.get("wanted") else ""
    yield f"run {run.get('run_id') or '(starting)'} by {run.get('by')}{frames}"
    if run.get("set"):
        yield f"  {run['set']}: frame {run.get('frame')} of {run.get('frames')}"
    if run.get("waiting"):
        yield f"  waiting: {run['waiting']}"


def _of_plan(plan: Mapping[str, Any]) -> Iterator[str]:
    if plan.get("at") is None:
        return
    words = {"fresh": "fresh", "ageing": "ageing", "stale": "stale", "none": "missing"}
    serving = ", ".join(f"{plan.get(name, 0)} {word}" for name, word in words.items())
    due = plan.get("due") or ()
    cost = f", {length(plan['seconds'])}" if due and plan.get("seconds") else ""
    yield f"library: {serving}; due: {count(len(due), 'master')}{cost}"


def _moment(word: str, text: str | None) -> str:
    try:
        return "" if text is None else f"{word} {both_clocks(datetime.fromisoformat(text), '%Y-%m-%d %H:%M')}"
    except ValueError:
        return ""


def _until(text: str | None) -> str:
    return _moment(" until", text)
