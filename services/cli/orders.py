"""`nightcal certify` and `nightcal invalidate`: what an observer says of masters."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.library import line_of, opened, print_masters
from services.cli.parameters import ConfigFile, Simulator, loaded_config
from services.errors import Exit, Usage
from services.words import count

if TYPE_CHECKING:
    from calibration.frames import FrameKind
    from services.library.orders import Answer, MasterOrder
    from services.root import Place

_ADVICE = "name one that `nightcal library list` shows, or a pattern such as 'master_dark_*'"


def certify(
    masters: Annotated[
        list[str] | None, typer.Argument(metavar="[MASTER]...", help="Files, or patterns such as 'master_dark_*'")
    ] = None,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Take that back")] = False,
    config: ConfigFile = None,
    simulator: Simulator = False,
) -> int:
    """Mark masters as looked at and found good; without names list them.

    A master that is like the certified one before it is certified without you; one that is suspect waits for this
    command, or for `nightcal reject`. A pattern means the masters that may serve; a suspect or a superseded master is
    certified by its whole name. Masters of biases and darks that are certified give way only to newer ones that are.
    With `storage.keep_raw: until_certified` the frames of certified masters may be packed.
    """
    from services.library.orders import MasterOrder, MasterWord

    loaded = loaded_config(config, simulator=simulator)
    if not masters:
        print_masters(loaded)
        return Exit.DONE
    word = MasterWord.UNCERTIFY if undo else MasterWord.CERTIFY
    with opened(loaded) as place:
        answer = give(place, MasterOrder(order=word, masters=tuple(masters)))
    for row in {row.path: row for row in (*answer.masters, *answer.changed)}.values():
        print(line_of(row))
    return Exit.DONE


def invalidate(
    what: Annotated[list[str], typer.Argument(metavar="biases|darks|flats|MASTER...", help="Which masters end")],
    *,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="From when on: an ISO time, local or with Z; by default from now"),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="What has changed, e.g. filters cleaned")
    ] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the last one back, or that of --since TIME")] = False,
    config: ConfigFile = None,
    simulator: Simulator = False,
) -> int:
    """Let masters end at a time, because something has changed: filters cleaned, a camera opened.

    They go on serving what was taken before, and nothing that is taken after; new frames are wanted. A single master
    ends together with the older ones of its settings.
    """
    from services.library.orders import MasterOrder, MasterWord

    loaded = loaded_config(config, simulator=simulator)
    reason = " ".join(reason.split())
    if not undo and not reason:
        raise Usage("invalidate needs --reason TEXT: what has changed — or --undo, to take that back")
    order = MasterOrder(
        order=MasterWord.REVALIDATE if undo else MasterWord.INVALIDATE,
        masters=() if _kind(what) else tuple(what),
        kind=_kind(what),
        since=None if since is None else _time(since),
        reason=reason,
    )
    with opened(loaded) as place:
        answer = give(place, order)
    for row in answer.changed:
        print(line_of(row))
    print(f"{count(len(answer.masters), 'master')} {'no longer ' if undo else ''}invalidated")
    return Exit.DONE


def give(place: "Place", order: "MasterOrder") -> "Answer":
    """Have an order carried out, as one of the command line.

    Raises
    ------
    Usage
        It cannot be carried out; nothing is changed.
    """
    from dataclasses import replace

    from drivers.clock import SystemClock
    from services.library.orders import OrderCode, obey

    answer = obey(place, replace(order, by="command line"), at=SystemClock().now())
    if not answer.ok:
        raise Usage(answer.detail, advice=_ADVICE if answer.code == OrderCode.UNKNOWN_MASTER else "")
    return answer


def _kind(what: list[str]) -> "FrameKind | None":
    """Return the kind that the words mean, None where they name masters."""
    from calibration.frames import FrameKind

    kinds = {"biases": FrameKind.BIAS, "bias": FrameKind.BIAS, "darks": FrameKind.DARK, "dark": FrameKind.DARK,
             "flats": FrameKind.FLAT, "flat": FrameKind.FLAT}  # fmt: skip
    found = [kinds.get(word.lower()) for word in what]
    if any(found) and len(what) > 1:
        raise Usage(f"invalidate: found {' '.join(what)} — allowed: one of biases, darks and flats, or masters")
    if not any(found) and not any(Path(word).name.startswith(("master_", "*")) for word in what):
        raise Usage(f"invalidate: found {' '.join(what)} — allowed: biases, darks, flats, or the file of a master")
    return found[0]


def _time(text: str) -> datetime:
    """Return the moment that `--since` names; a time without a zone is local."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        allowed = "an ISO time such as 2026-01-31, 2026-01-31T15:30 (local) or 2026-01-31T14:30Z"
        raise Usage(f"--since: found {text!r} — allowed: {allowed}") from None
