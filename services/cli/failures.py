"""How a command ends: whatever is raised becomes a message that says what to do, and the exit code of the contract."""

import errno
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import typer
from typer.main import get_command

from services.errors import Exit, ServiceError, meaning
from services.signals import interrupt_on_signals, keep_exit_code

REHEARSE = "To rehearse without a camera, add --simulator."
_DEVICE_IS_THERE = {"camera_busy", "access_denied", "login_refused", "daemon_unreachable"}
"""Codes of devices that are there: nobody who reads one wants to rehearse."""


_COLLECTED_AFTER = 10_000
"""New objects after which the garbage collector looks through them: imports make 200,000 that stay, and by default it
would look 400 times."""


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None, *, name: str) -> int:
    """Parse, call, and return the exit code; never raises for what a user can cause."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a Windows console in an old code page lacks µ and °
            reconfigure(errors="replace")
    if arguments is not None:
        return _called(app, arguments, name)
    interrupt_on_signals()  # we are the program itself
    gc.set_threshold(_COLLECTED_AFTER)
    code = _called(app, sys.argv[1:], name)
    keep_exit_code(code)
    gc.freeze()  # the interpreter would look through all that is there once more, for a quarter of a second
    return code


def _called(app: typer.Typer, words: Sequence[str], name: str) -> int:
    try:
        code = get_command(app).main(list(words), prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except typer.Abort:
        return Exit.INTERRUPTED
    except KeyboardInterrupt:
        with suppress(KeyboardInterrupt):  # whoever presses the key once more gets the same end
            complain("interrupted")
        return Exit.INTERRUPTED
    except (BrokenPipeError, SystemExit) as end:
        return _ended(end)
    except Exception as error:  # noqa: BLE001 - sorted by _failed, which raises what no user can cause
        return _failed(error, words)
    return code if isinstance(code, int) else Exit.DONE


def _ended(end: BrokenPipeError | SystemExit) -> int:
    """Return the exit code of a program that was left: 0 where the reader (`| head`) has had enough."""
    cause = end.__context__ if isinstance(end, SystemExit) else end  # the parser makes a SystemExit of a broken pipe
    if isinstance(cause, OSError) and cause.errno == errno.EPIPE:
        # What is left must not be flushed into the closed pipe when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
        return Exit.DONE
    code = end.code if isinstance(end, SystemExit) else Exit.SOME_FAILED
    if isinstance(code, str):
        print(code, file=sys.stderr)
        return Exit.SOME_FAILED
    return code or Exit.DONE


def complain(code: str, detail: str = "", *, advice: str = "", rehearse: bool = False) -> None:
    """Print what a code means, the detail, and what to do (by default the code's advice), on standard error."""
    said, rows = meaning(code), (f"  {line}" for line in detail.splitlines())
    lines = [f"nightcal: {said.text}", *rows, f"What to do: {advice or said.advice}."]
    if rehearse:
        lines.append(REHEARSE)
    print("\n".join(lines), file=sys.stderr)


def concerns_camera(code: str | None) -> bool:
    """Whether a rehearsal would have gone on where this stopped."""
    return code is not None and meaning(code).exit == Exit.DEVICE and code not in _DEVICE_IS_THERE


def _failed(error: Exception, words: Sequence[str]) -> int:
    show = getattr(error, "show", None)
    if show is not None and hasattr(error, "exit_code"):  # a usage error of the parser, which knows its own text
        show()
        return int(error.exit_code)
    if isinstance(error, ServiceError):
        rehearse = concerns_camera(error.code) and "--simulator" not in words
        complain(error.code, error.detail, advice=error.advice, rehearse=rehearse)
        return error.exit
    from drivers.errors import DriverError

    if isinstance(error, DriverError):
        complain(error.code, str(error), rehearse=concerns_camera(error.code) and "--simulator" not in words)
        return meaning(error.code).exit or Exit.DEVICE
    raise error
