"""Commands and addresses of the site, called at fixed moments: the mount, the roof and the lights are not ours.

A hook has a time limit and a policy. A command is started without a shell, so nothing in the configuration is ever
interpreted by one.
"""

import subprocess

from services.config.models import Hook, Hooks
from services.errors import RunCode, RunStopped
from services.events.bus import WORTH_TELLING_S, Events
from services.events.records import Waiting, WarningRaised


def call_hook(hooks: Hooks, moment: str, events: Events) -> None:
    """Call the hook of a moment (`before_flats` …), if there is one.

    Parameters
    ----------
    hooks : Hooks
        The section of the configuration.
    moment : str
        Name of one of its keys.
    events : Events
        Hears of a failure as `warning.raised`.

    Raises
    ------
    RunStopped
        The hook failed and its policy is `stop`.
    """
    hook: Hook | None = getattr(hooks, moment)
    if hook is None:
        return
    if hook.timeout > WORTH_TELLING_S:  # real seconds, whatever the run's clock does: no "until"
        events.emit(Waiting(wait_s=hook.timeout, at_most=True, detail=f"the hook {moment} ends"))
    problem = _command(hook) if hook.command is not None else _address(hook)
    if problem is None:
        return
    detail = f"hook {moment}: {problem}"
    events.emit(WarningRaised(code=RunCode.HOOK_FAILED, detail=detail))
    if hook.on_failure == "stop":
        raise RunStopped(detail, code=RunCode.HOOK_FAILED)


def _command(hook: Hook) -> str | None:
    assert hook.command is not None  # noqa: S101 - the model allows a command or an address, never neither
    try:
        # The command is the user's own, from the user's own file; that is what a hook is for.
        done = subprocess.run(  # noqa: S603
            hook.command, timeout=hook.timeout, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"{hook.command[0]} did not end within {hook.timeout:g} s"
    except OSError as error:
        return f"{hook.command[0]} cannot be started: {error.strerror or error}"
    if done.returncode == 0:
        return None
    last = (done.stderr or done.stdout).strip().splitlines()[-1:]
    return f"{hook.command[0]} ended with {done.returncode}" + (f": {last[0]}" if last else "")


def _address(hook: Hook) -> str | None:
    import requests  # only who has such a hook pays for it

    assert hook.url is not None  # noqa: S101 - as above
    try:
        answer = requests.get(hook.url, timeout=hook.timeout)
    except requests.RequestException as error:
        return f"{hook.url} does not answer: {type(error).__name__}"
    return None if answer.ok else f"{hook.url} answered {answer.status_code}"
