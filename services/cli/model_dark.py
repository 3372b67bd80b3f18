"""`nightcal model dark`: the dark of each pixel against temperature and exposure."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.counting import bars
from services.cli.model_words import Base, Out, Refusals, SearchDepth, alarm_of, left_out_lines
from services.datasets import SEARCH_DEPTH
from services.errors import Exit, Usage
from services.words import count

if TYPE_CHECKING:
    from calibration.models.dark.model import Family
    from services.models.dark.evaluate import Evaluated
    from services.models.dark.model import Synthetic
    from services.models.dark.modes import Done, Mode
    from services.models.records import Fitted

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="The folder that `model dark fit` wrote")]
_MODES = (
    "full, synthetic_only, evaluation_only, evaluate_dark_current, fit_2d_model, evaluate_2d_model, synthetic_2d or "
    "synthetic_2d_single; all but the first work with a model that is there"
)


def fit_dark(
    base: Base,
    out: Out,
    *,
    mode: Annotated[str, typer.Option("--mode", metavar="MODE", help=_MODES)] = "full",
    model_dir: Annotated[
        Path | None, typer.Option("--model-dir", metavar="DIR", help="The folder of the model, where it is not OUT")
    ] = None,
    temps: Annotated[
        list[str] | None,
        typer.Option("--temps", metavar="CELSIUS", help='Temperatures of synthetic darks, e.g. "5" or "-5 5 15"'),
    ] = None,
    exposures: Annotated[
        list[str] | None,
        typer.Option("--exposures", metavar="SECONDS", help="Of synthetic_2d; 1, 5, 10, 20 and 25 by default"),
    ] = None,
    temp_single: Annotated[
        float | None, typer.Option("--temp-single", metavar="CELSIUS", help="Temperature of synthetic_2d_single")
    ] = None,
    exptime_single: Annotated[
        float | None, typer.Option("--exptime-single", metavar="SECONDS", help="Exposure of synthetic_2d_single")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            "--family", metavar="NAME", help="Fit this one, not that which predicts best what it has not seen"
        ),
    ] = None,
    corrected_darks: Annotated[
        bool,
        typer.Option("--corrected-darks", help="Write each dark less its bias too; how much they take is said before"),
    ] = False,
    search_depth: SearchDepth = SEARCH_DEPTH,
) -> int:
    """Fit the dark of each pixel against temperature and exposure, with errors; or do one part with a model.

    Biases beside the darks are taken off. The family is the one that predicts temperatures best that were left out.
    """
    from services.models.dark.modes import Asked, run

    asked = Asked(
        mode=_mode(mode),
        model=model_dir,
        temperatures_c=_numbers(temps, "--temps"),
        exposures_s=_numbers(exposures, "--exposures"),
        single_c=temp_single,
        single_s=exptime_single,
        family=None if family is None else _family(family),
        corrected=_said_before if corrected_darks else None,
        depth=search_depth,
    )
    refusals = Refusals()
    with bars() as progress:
        done = run(base, out.absolute(), asked, progress=progress, refused=refusals.hear)
    for line in _words_of(done):
        print(line)
    _show(done.synthetic)
    return refusals.end()


def _said_before(words: str) -> None:
    print(f"note: {words}", file=sys.stderr)


def _words_of(done: "Done") -> Iterator[str]:
    """Yield what a mode made, but for synthetic darks."""
    if done.fitted:
        yield from left_out_lines(done.fitted[0].sidecar["left_out"], done.fitted[0].remarks)
    for each in done.fitted:
        yield from _said_of(each)
    if done.evaluated is not None:
        yield from _table(done.evaluated)
    if not done.fitted:
        yield from map(str, done.files)


def _mode(words: str) -> "Mode":
    from services.models.dark.modes import Mode

    try:
        return Mode(words.replace("-", "_"))
    except ValueError:
        raise Usage(f"{words} is no mode", advice=f"name one of {', '.join(Mode)}") from None


def _family(words: str) -> "Family":
    from calibration.models.dark.model import Family

    try:
        return Family(words.replace("-", "_"))
    except ValueError:
        raise Usage(f"{words} is no family", advice=f"name one of {', '.join(Family)}") from None


def _numbers(words: Sequence[str] | None, option: str) -> tuple[float, ...]:
    """Return the numbers of an option that was given several times, or with several numbers."""
    parts = [part for each in words or () for part in re.split(r"[\s,;]+", each) if part]
    try:
        return tuple(dict.fromkeys(map(float, parts)))
    except ValueError:
        raise Usage(f"{option} {' '.join(parts)}: not all of these are numbers", advice="e.g. -5 5 15") from None


def _said_of(found: "Fitted") -> Iterator[str]:
    """Yield what a model is, what it does not know, and how well it predicts."""
    said: Mapping[str, Any] = found.sidecar
    domain, law = said["domain"], said["model"]["law"]
    darks = [row for row in said["inputs"] if row["kind"] == "dark"]
    temperatures = len({row["label_c"] for row in darks})
    exposures = len({row["exposure_s"] for row in darks})
    yield f"{found.folder}: {law['family'].replace('_', ' ')} in temperature{alarm_of(said)}"
    yield (
        f"  {count(len(darks), 'dark')} of {count(temperatures, 'temperature')} and {count(exposures, 'exposure')}, "
        f"{domain['coldest_c']:.1f} to {domain['warmest_c']:.1f} °C, to {domain['longest_s']:g} s"
    )
    yield from (f"  {note}" for note in said["notes"])
    yield from _holdout(said)


def _holdout(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield how the model predicts temperatures that were left out, by level of dark."""
    from services.models.dark.records import held_out_of

    every = held_out_of(said)
    rows = [row for row in every if row["counts"]]
    if every:
        yield "  temperatures predicted from the others: predicted over measured less 1, by level of dark:"
    for row in rows:
        beyond = "" if row["inside"] else "   from one side"
        yield (
            f"  {row['temperature_c']:8.1f} °C {row['level_adu']:10.1f} ADU  {_percent(row['error'])} "
            f"± {_percent(row['sigma'])}  {count(row['pixels'], 'pixel')}{beyond}"
        )
    if len(every) > len(rows):
        yield f"  {len(rows)} of {count(len(every), 'level')} stand out of the noise of the frames"


def _percent(share: float | None) -> str:
    return "    –  " if share is None else f"{100 * share:+6.2f} %"


def synth_dark(
    model: Model,
    *,
    temperature: Annotated[
        list[float], typer.Option("--temperature", metavar="CELSIUS", help="Of the sensor; may be given several times")
    ],
    exposure: Annotated[
        list[float], typer.Option("--exposure", metavar="SECONDS", help="May be given several times: a grid is made")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of the darks")],
) -> int:
    """Write the dark that a model predicts, above the bias, with planes SIGMA (its error) and MASK.

    Values are in ADU of the frames as they are stored. A temperature or exposure outside of those that were measured is
    flagged in the header (MODEXTRA) and named.
    """
    from services.models.dark.model import synthesise

    _show(synthesise(model, tuple(temperature), tuple(exposure), out))
    return Exit.DONE


def _show(made: "Sequence[Synthetic]") -> None:
    for each in made:
        print(each.path)
        if each.extrapolation:
            print(f"note: {each.extrapolation}", file=sys.stderr)


def evaluate_dark(
    model: Model,
    base: Base,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of tables and pictures")],
    *,
    search_depth: SearchDepth = SEARCH_DEPTH,
) -> int:
    """Hold a model against frames: errors by temperature, exposure and level of dark, with pictures.

    Half of the frames of each temperature and exposure sort the pixels by their level, the other half judge.
    """
    from services.models.dark.compared import compared
    from services.models.dark.evaluate import evaluate

    with bars() as progress:
        evaluated = evaluate(model, base, out.absolute(), depth=search_depth, progress=progress)
    for line in _table(evaluated):
        print(line)
    for path in compared(evaluated, out.absolute()):
        print(path)
    return Exit.DONE


def _table(evaluated: "Evaluated") -> Iterator[str]:
    """Yield the errors at each temperature, exposure and level that the frames can show."""
    yield from _holdout(evaluated.loaded.said)
    yield from (f"note: {note}" for note in evaluated.notes)
    rows = [row for row in evaluated.rows if row.is_shown]
    if not rows:
        yield "no level of dark stands out of the noise of these frames"
        return
    yield "predicted over measured less 1, by level of dark (and what noise makes of it):"
    for row in rows:
        beyond = "" if row.inside else "   an extrapolation"
        yield (
            f"  {row.temperature_c:7.1f} °C {row.exposure_s:8g} s {row.level_adu:10.1f} ADU "
            f"{row.error_pct:+7.2f} % ({row.noise_pct:.2f} %)  {count(row.pixels, 'pixel')}{beyond}"
        )


def report_dark(
    model: Model, out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of the report")]
) -> int:
    """Draw a model: an HTML page with its plots and tables."""
    from services.models.dark.report import report

    for path in report(model, out):
        print(path)
    return Exit.DONE
