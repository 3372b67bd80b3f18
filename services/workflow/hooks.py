"""Commands and addresses of the site, called at fixed moments: the mount, the roof and the lights are not ours.

A hook has a time limit and a policy. A command is started without a shell, so nothing in the configuration is ever
interpreted by one. What a hook may want to know (`hook`, `run_id`, and for `after_run` how the run ended) a command
finds in environment variables (`NIGHTCAL_EXIT_CODE` …) and as JSON on its standard input, an address in headers
(`X-Nightcal-Exit-Code` …, percent-encoded).
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import quote

from services.config.models import Hook, Hooks
from services.errors import RunCode, RunStopped
from services.events.bus import WORTH_SAYING_S, Events
from services.events.records import Waiting, WarningRaised
from services.planning.request import ALL_STEPS, Step

Facts = Mapping[str, str | int | None]


def call_hook(hooks: Hooks, moment: str, events: Events, facts: Facts | None = None) -> bool:
    """Call the hook of a moment (`before_flats` …), if there is one; return whether all is well.

    Parameters
    ----------
    hooks : Hooks
        The section of the configuration.
    moment : str
        Name of one of its keys.
    events : Events
        Hears of a failure as `warning.raised`.
    facts : mapping, optional
        How the run ended, for the hook to know. The run is then over, so that nothing waits for the hook.

    Raises
    ------
    RunStopped
        The hook failed and its policy is `stop`.
    """
    hook: Hook | None = getattr(hooks, moment)
    if hook is None:
        return True
    if hook.timeout > WORTH_SAYING_S and facts is None:  # real seconds, whatever the run's clock does: no "until"
        events.emit(Waiting(wait_s=hook.timeout, at_most=True, detail=f"the hook {moment} ends"))
    known = {"hook": moment, "run_id": events.run_id, **(facts or {})}
    problem = _command(hook, known) if hook.command is not None else _address(hook, known)
    if problem is None:
        return True
    detail = f"hook {moment}: {problem}"
    events.emit(WarningRaised(code=RunCode.HOOK_FAILED, detail=detail))
    if hook.on_failure == "stop":
        raise RunStopped(detail, code=RunCode.HOOK_FAILED)
    return False


def missing_programs(hooks: Hooks, steps: Collection[Step] = ALL_STEPS) -> Iterator[str]:
    """Yield which commands of the hooks of a run of some steps cannot be started now, in words."""
    for moment, hook in hooks:
        if moment.partition("_")[2] not in {"run", *steps}:
            continue
        if hook is not None and hook.command is not None and shutil.which(hook.command[0]) is None:
            then = "ends there" if hook.on_failure == "stop" else "goes on without it"
            yield f"hooks.{moment}.command: there is no program {hook.command[0]} now: a run that lacks it {then}"


def _text(value: str | int | None) -> str:
    return "" if value is None else str(value)


def _command(hook: Hook, facts: Facts) -> str | None:
    assert hook.command is not None  # noqa: S101 - the model allows a command or an address, never neither
    variables = {f"NIGHTCAL_{name.upper()}": _text(value) for name, value in facts.items()}
    try:
        # The command is the user's own, from the user's own file; that is what a hook is for.
        done = subprocess.run(  # noqa: S603
            hook.command,
            timeout=hook.timeout,
            check=False,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **variables},
            input=json.dumps(facts) + "\n",
        )
    except subprocess.TimeoutExpired:
        return f"{hook.command[0]} did not end within {hook.timeout:g} s"
    except OSError as error:
        return f"{hook.command[0]} cannot be started: {error.strerror or error}"
    if done.returncode == 0:
        return None
    last = (done.stderr or done.stdout).strip().splitlines()[-1:]
    return f"{hook.command[0]} ended with {done.returncode}" + (f": {last[0]}" if last else "")


def _address(hook: Hook, facts: Facts) -> str | None:
    import requests  # only who has such a hook pays for it

    assert hook.url is not None  # noqa: S101 - as above
    headers = {
        f"X-Nightcal-{name.replace('_', '-').title()}": quote(_text(value), safe=" /:;,.()")
        for name, value in facts.items()
    }
    try:
        with requests.get(
            hook.url, timeout=hook.timeout, headers=headers, stream=True
        ) as answer:  # no body is waited for
            return None if answer.ok else f"{_shown(hook.url)} answered {answer.status_code}"
    except requests.RequestException as error:
        return f"{_shown(hook.url)} does not answer: {type(error).__name__}"


def _shown(url: str) -> str:
    """Return an address without what may hold a secret: user, password and query."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url).partition("?")[0]
