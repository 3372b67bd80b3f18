"""`nightcal model`: models of a detector, fitted to frames, asked for what nobody measured, and drawn."""

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.counting import bars
from services.cli.model_words import Base, Out, Refusals, SearchDepth, alarm_of, left_out_lines
from services.datasets import SEARCH_DEPTH
from services.errors import Exit
from services.words import count

if TYPE_CHECKING:
    from services.models.records import Fitted

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="The folder that `model bias fit` wrote")]


def fit_bias(
    base: Base,
    out: Out,
    *,
    hot_pixel_mask: Annotated[
        Path | None,
        typer.Option(
            "--hot-pixel-mask", metavar="FILE", help="A FITS image; its pixels that are not 0 have no map values"
        ),
    ] = None,
    generate_set: Annotated[
        bool, typer.Option("--generate-set", help="Write the predicted bias at each temperature of the frames, too")
    ] = False,
    save_eval_fits: Annotated[
        bool,
        typer.Option("--save-eval-fits", help="Write each temperature as the others predict it, and the difference"),
    ] = False,
    search_depth: SearchDepth = SEARCH_DEPTH,
) -> int:
    """Fit the bias of each pixel against temperature, with errors.

    The family (linear, quadratic, exponential) is the one that predicts temperatures best that were left out.
    """
    from services.models.bias.model import Asked, fit

    asked = Asked(hot=hot_pixel_mask, synthetic=generate_set, evaluation=save_eval_fits)
    refusals = Refusals()
    with bars() as progress:
        found = fit(base, out.absolute(), asked, depth=search_depth, progress=progress, refused=refusals.hear)
    for line in left_out_lines(found[0].sidecar["left_out"], found[0].remarks):
        print(line)
    for each in found:
        for line in _said_of(each):
            print(line)
    return refusals.end()


def _said_of(found: "Fitted") -> Iterator[str]:
    """Yield what a model is, what it does not know, and how well it predicts."""
    said: Mapping[str, Any] = found.sidecar
    domain, model = said["domain"], said["model"]
    temperatures = {row["label_c"] for row in said["inputs"]}
    yield f"{found.folder}: {model['family']} in temperature{alarm_of(said)}"
    yield (
        f"  {count(len(said['inputs']), 'frame')} at {count(len(temperatures), 'temperature')} "
        f"from {domain['coldest_c']:.1f} to {domain['warmest_c']:.1f} °C"
    )
    yield from (f"  {note}" for note in said["notes"])
    rows = [row for row in said["holdout"] if row["family"] == model["family"]]
    if rows:
        yield "  temperatures predicted from the others (rms over the pixels, and what noise alone makes of it):"
        for row in rows:
            beyond = "" if row["inside"] else "   from one side"
            known = math.isfinite(row["level_adu"])
            level = f"{row['level_adu']:+8.2f} ADU" if known else "of its session is not known from the others"
            yield (
                f"  {row['temperature_c']:8.1f} °C  {row['pattern_adu']:8.2f} ADU ({row['expected_adu']:.2f})"
                f"  level {level}{beyond}"
            )


def synth_bias(
    model: Model,
    *,
    temperature: Annotated[
        list[float], typer.Option("--temperature", metavar="CELSIUS", help="Of the sensor; may be given several times")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of the biases")],
) -> int:
    """Write the bias that a model predicts at a temperature, with a plane SIGMA: its error.

    A temperature outside of those that were measured is flagged in the header (MODEXTRA) and named.
    """
    from services.models.bias.files import extrapolation
    from services.models.bias.model import synthesise
    from services.models.bias.records import Loaded

    made = synthesise(model, tuple(temperature), out)
    loaded = Loaded.load(model)
    for celsius, path in zip(temperature, made, strict=True):
        print(path)
        if not loaded.model.holds_at(celsius):
            print(f"note: {extrapolation(loaded.model, celsius)}", file=sys.stderr)
    return Exit.DONE


def report_bias(
    model: Model, out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of the pictures")]
) -> int:
    """Draw a model, and write bias_stats.json: the levels and the scatter at each temperature."""
    from services.models.bias.report import report

    for path in report(model, out):
        print(path)
    return Exit.DONE
