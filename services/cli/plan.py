"""`nightcal plan`: what must exist, what serves, what is due and its cost; no device is asked, no lock is taken."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.parameters import ConfigFile, Simulator, TokenFile, loaded_config
from services.errors import Exit
from services.words import GAP, celsius, count, length, moment, seconds, size

if TYPE_CHECKING:
    from services.config import LoadedConfig
    from services.planning.wanted_master import Plan

_LACKS = ("due", "partial", "failed")


def plan(
    *,
    config: ConfigFile = None,
    simulator: Simulator = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object, for programs")] = False,
    remote: Annotated[str | None, typer.Option("--remote", metavar="URL", help="That of this daemon")] = None,
    token_file: TokenFile = None,
) -> int:
    """Show what the daemon would keep complete: what serves, what is due and why, with minutes and gigabytes."""
    from services.cli.daemon_client import daemon_of
    from services.events.records import json_value

    notes: tuple[str, ...] = ()
    if remote is not None:
        found = daemon_of(remote, token_file, None).get("/api/plan")
    else:
        loaded = loaded_config(config, simulator=simulator)
        found, notes = json_value(plan_now(loaded)), loaded.capture_notes
    print(json.dumps(found, indent=1) if as_json else "\n".join(table(found, shutil.get_terminal_size().columns)))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return Exit.DONE


def plan_now(loaded: "LoadedConfig") -> "Plan":
    """Return the plan of a configuration at this moment, as the daemon makes it; the catalogue is only read.

    Raises
    ------
    StorageError
        The catalogue cannot be read.
    """
    from services.catalogue.catalogue import Catalogue
    from services.daemon.failures import failures_from
    from services.daemon.reconciler import by_order_only, continued_in
    from services.daemon.state_file import read_state
    from services.daemon.windows import served
    from services.planning.look import Look
    from services.planning.programmes import programmed
    from services.planning.upkeep import CAPTURE, plan_of
    from services.root import Place, layout_of

    of = programmed(loaded)
    layout, serve = layout_of(of), served(of.config)
    remembered, _ = read_state(layout.hidden / "serve.json")
    with Catalogue(layout.catalogue, read_only=True) as catalogue:
        look = Look(of, catalogue, CAPTURE)
        return plan_of(
            of,
            Place(layout=layout, catalogue=catalogue),
            now=look.now,
            failures=failures_from(remembered.failures),
            continued_until=continued_in(of.config),
            by_order_only=by_order_only(serve),
            look=look,
        )


def table(found: Mapping[str, Any], columns: int) -> Iterator[str]:
    """Yield a plan as a table that fits into so many columns; it is read from its JSON, of this or another machine.

    Parameters
    ----------
    found : mapping
        A `Plan` as plain JSON values.
    columns : int
    """
    masters: Sequence[Mapping[str, Any]] = found["masters"]
    names = titles(masters)
    first = max((len(each) for each in names), default=6)
    yield f"{'master':<{first}}  {'serves':<8}{'age':>6}  {'happens':<9}{'frames':>9}  {'time':>10}"
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, each in zip(names, masters, strict=True):
        yield f"{name:<{first}}  {_row(each, found['at'])}".rstrip()
        if happens := _happens(each):
            reasons.setdefault((happens, each["happens_why"]), []).append(name)
    yield ""
    for (happens, why), names in reasons.items():
        yield from wrap(f"{happens}: {why}", columns, subsequent_indent="  ")
        whole = ", ".join(name.replace(" ", GAP) for name in names)  # a name is not broken over lines
        for line in wrap(whole, columns, initial_indent="    ", subsequent_indent="    "):
            yield line.replace(GAP, " ")
    for text in _sums(found):
        yield from wrap(text, columns)


def titles(masters: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of masters in the table, with those settings alone in which they differ.

    Parameters
    ----------
    masters : sequence of mapping
        Those of a `Plan` as plain JSON values.
    """
    settings: dict[str, Callable[[Any], str]] = {
        "gain": lambda value: f"g{value}",
        "offset": lambda value: f"o{value}",
        "readout_mode": lambda value: f"mode {value}",
        "binning": lambda value: f"bin {value}",
        "set_temp_c": celsius,
        "source": str,
    }
    wanted = [each["wanted"] for each in masters]
    differing = [name for name in settings if len({str(each[name]) for each in wanted if name in each}) > 1]
    if len({each.get("source") for each in wanted} - {None}) < 2:
        differing = [name for name in differing if name != "source"]
    return [
        " ".join(
            (
                each["kind"].lower(),
                _what(each),
                *(settings[name](each[name]) for name in differing if each[name] is not None),
            )
        )
        for each in wanted
    ]


def _what(wanted: Mapping[str, Any]) -> str:
    return str(wanted["filter"] or "-") if wanted["kind"] == "FLAT" else seconds(wanted["exposure_us"])


def _row(each: Mapping[str, Any], at: str) -> str:
    lacks = each["happens"] in _LACKS
    frames = f"{each['have']} of {each['wanted']['count']}" if each["have"] and lacks else str(each["cost"]["frames"])
    oldest, now = moment(each["oldest"]), moment(at)
    age = "" if oldest is None or now is None else f"{max(0, (now - oldest).days)} d"
    took = length(each["cost"]["seconds"]) if lacks else ""
    return f"{each['serves']:<8}{age:>6}  {_happens(each):<9}{frames if lacks else '':>9}  {took:>10}"


def _happens(each: Mapping[str, Any]) -> str:
    """Return what happens to a master, in a word; "" where nothing does."""
    return "build" if each["to_build"] else "" if each["happens"] == "nothing" else str(each["happens"])


def _sums(found: Mapping[str, Any]) -> Iterator[str]:
    masters, cost = found["masters"], found["cost"]
    lacking = [each for each in masters if each["happens"] in _LACKS]
    states = {name: sum(each["serves"] == name for each in masters) for name in ("fresh", "ageing", "stale", "none")}
    serving = ", ".join(f"{n} {'missing' if name == 'none' else name}" for name, n in states.items() if n)
    yield f"{count(len(masters), 'master')} wanted: {serving}." if masters else "No masters are wanted."
    if not lacking:
        yield "No frames are to be taken."
        return
    room = "size not known before the camera was seen" if found["frame_pixels"] is None else size(cost["bytes"])
    yield (
        f"{count(cost['frames'], 'frame')} of {count(len(lacking), 'master')} to take, "
        f"about {length(cost['seconds'])} with cooling, {room}."
    )
    if any(each["wanted"]["kind"] == "FLAT" for each in lacking):
        yield "Darks of the exposures that new flats find come on top."
    yield f"Plan {found['fingerprint']}."
