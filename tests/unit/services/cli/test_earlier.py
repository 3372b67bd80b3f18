"""Command lines of earlier programs mean what they meant there."""

import pytest

from services.cli.earlier import as_arguments
from services.cli.failures import run_app
from services.cli.main import app


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ("--basepath B --output-dir OUT --mode full", "B OUT --mode full"),
        ("--output_dir OUT --mode full --basepath B", "B OUT --mode full"),
        ("--basepath=B --output_dir=O=2 --temps 20.0", "B O=2 --temps 20.0"),
        ("B OUT --model_dir M", "B OUT --model_dir M"),
        ("B --output-dir", "B --output-dir"),
    ],
)
def test_base_and_out_are_arguments(earlier: str, now: str):
    assert as_arguments(earlier.split()) == now.split()


@pytest.mark.parametrize(
    "words",
    [
        "bias fit --basepath {0} --output-dir {0}/out --save_eval_fits",
        "dark fit --basepath {0} --output_dir {0}/out --mode full",
        "dark fit --mode synthetic_2d_single --basepath {0} --output_dir {0}/out --temp_single 20 --exptime_single 10",
        "dark fit --mode synthetic_only --basepath {0} --output_dir {0}/out --model_dir {0}/m --temps 20.0",
        "flat fit --basepath {0} --output_dir {0}/out --mode full --flat_type lab --no_save_plots",
        "structure fit {0} {0}/out --search_depth 2",
        "outgassing fit {0} --calibrate --output_dir {0}/out",
    ],
)
def test_the_earlier_spellings_reach_the_program(words: str, tmp_path, capsys):
    """The folder is empty: what is refused is what is in it, and no option."""
    assert run_app(app, ["model", *words.format(tmp_path.as_posix()).split()], name="nightcal") == 2
    said = capsys.readouterr().err
    assert "holds no " in said or "is no dark model" in said, said
