"""`nightcal model flat`: flats of a dataset, normalised and taken apart, and flats that nobody measured."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calibration.models.flat.model import Norm
from services.cli.counting import bars
from services.cli.model_words import Out, Refusals, SearchDepth, left_out_lines
from services.datasets import SEARCH_DEPTH
from services.errors import Exit, Usage

if TYPE_CHECKING:
    from services.models.flat.job import FlatMade

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="The folder that `model flat fit` wrote")]
_MODES = (
    "full, full_no_vignetting, reduce_only, normalize_only, vignetting_only, make_master, fit_model or evaluate_model"
)


def fit_flat(
    base: Annotated[
        Path,
        typer.Argument(
            metavar="BASE", help="An index.csv, the folder of a dataset or of frames, a nightcal root: flats and darks"
        ),
    ],
    out: Out,
    *,
    mode: Annotated[str, typer.Option("--mode", help=_MODES)] = "full",
    flat_type: Annotated[str, typer.Option("--flat-type", help="sky, lab or satellite")] = "lab",
    dark_files_json: Annotated[
        Path | None,
        typer.Option("--dark-files-json", metavar="FILE", help="Darks in place of those of BASE, a list"),
    ] = None,
    norm_method: Annotated[str, typer.Option("--norm-method", help="max, mean or robust")] = "max",
    lensfun_json: Annotated[
        Path | None, typer.Option("--lensfun-json", metavar="FILE", help="Vignetting: k1, k2, k3 of lensfun's model pa")
    ] = None,
    radial_json: Annotated[
        Path | None,
        typer.Option("--radial-json", metavar="FILE", help="Vignetting: a radial polynomial"),
    ] = None,
    empirical_json: Annotated[
        Path | None, typer.Option("--empirical-json", metavar="FILE", help="Vignetting: a map that was measured")
    ] = None,
    master_method: Annotated[str, typer.Option("--master-method", help="median or mean")] = "median",
    t_ref: Annotated[float, typer.Option("--t-ref", help="°C at which A is the flat")] = 0.0,
    exp_ref: Annotated[float, typer.Option("--exp-ref", help="Seconds at which A is the flat")] = 0.0,
    save_eval_fits: Annotated[
        bool, typer.Option("--save-eval-fits", help="Write each temperature and exposure as the others predict it")
    ] = False,
    no_save_plots: Annotated[bool, typer.Option("--no-save-plots", help="Draw no report beside the model")] = False,
    search_depth: SearchDepth = SEARCH_DEPTH,
) -> int:
    """Fit the flat of each pixel against temperature and exposure, and take it apart; or do one step of that."""
    from services.models.flat.given import GivenFiles
    from services.models.flat.masters import MasterMethod
    from services.models.flat.model import FlatAsked, FlatMode, fit
    from services.models.flat.plan import FlatType

    asked = FlatAsked(
        mode=FlatMode(_one_of("--mode", mode, list(FlatMode))),
        kind=FlatType(_one_of("--flat-type", flat_type, list(FlatType))),
        darks=dark_files_json,
        norm=Norm(_one_of("--norm-method", norm_method, list(Norm))),
        vignetting=GivenFiles(lensfun=lensfun_json, radial=radial_json, empirical=empirical_json),
        method=MasterMethod(_one_of("--master-method", master_method, list(MasterMethod))),
        t_ref=t_ref,
        exp_ref=exp_ref,
        evaluation=save_eval_fits,
        plots=not no_save_plots,
    )
    refusals = Refusals()
    with bars() as progress:
        found = fit(base, out.absolute(), asked, depth=search_depth, progress=progress, refused=refusals.hear)
    _print(found)
    return refusals.end()


def _one_of(option: str, word: str, known: Sequence[str]) -> str:
    if word not in known:
        raise Usage(f"{option} {word} is not known", advice=f"name {', '.join(known[:-1])} or {known[-1]}")
    return word


def _print(found: "Sequence[FlatMade]") -> None:
    rows = {path: why for made in found for path, why in made.left_out.items()}
    remarks = tuple(dict.fromkeys(remark for made in found for remark in made.remarks))
    for line in left_out_lines([{"path": path, "reason": why} for path, why in rows.items()], remarks):
        print(line)
    for made in found:
        print(f"{made.folder}:")
        for line in made.lines:
            print(f"  {line}")


def synth_flat(
    model: Model,
    *,
    temperature: Annotated[
        list[float], typer.Option("--temperature", metavar="CELSIUS", help="Of the sensor; may be given several times")
    ],
    exposure: Annotated[float, typer.Option("--exposure", metavar="SECONDS", help="Exposure of the flat")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of the flats")],
) -> int:
    """Write the flat that a model predicts at a temperature and an exposure, with a plane SIGMA: its error.

    What is outside of the flats that were measured is flagged in the header (MODEXTRA) and named.
    """
    from services.models.flat.files import extrapolation
    from services.models.flat.records import Loaded
    from services.models.flat.synthesis import synthesise

    labels = [(celsius, exposure) for celsius in temperature]
    made = synthesise(model, labels, out)
    loaded = Loaded.load(model)
    for label, path in zip(labels, made, strict=True):
        print(path)
        if not loaded.model.holds_at(*label):
            print(f"note: {extrapolation(loaded.model, label)}", file=sys.stderr)
    return Exit.DONE


def evaluate_flat(
    model: Model,
    *,
    save_eval_fits: Annotated[
        bool, typer.Option("--save-eval-fits", help="Write each temperature and exposure as the others predict it")
    ] = False,
) -> int:
    """Predict each temperature and exposure of a model's flats from the others, and say how far that is from them."""
    from services.models.flat.model import FlatAsked, FlatMode, fit

    asked = FlatAsked(mode=FlatMode.EVALUATE_MODEL, evaluation=save_eval_fits)
    with bars() as progress:
        found = fit(model, model.absolute(), asked, progress=progress)
    _print(found)
    return Exit.DONE


def report_flat(
    model: Model, out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of the report")]
) -> int:
    """Draw a model: an HTML page with vignetting, dust, gains, and how well it predicts."""
    from services.files.disk import REAL_DISK
    from services.models.flat.report import report

    for path in report(model, out, REAL_DISK):
        print(path)
    return Exit.DONE
