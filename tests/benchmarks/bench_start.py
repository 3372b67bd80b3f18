"""How long the command line takes to answer, against an interpreter that does nothing."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.benchmarks.harness import Row, alternated

REPOSITORY = Path(__file__).resolve().parents[2]
GOAL_S = 0.3


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield one row."""
    runs = {"help": partial(_python, "-m", "services.cli.main", "--help"), "python": partial(_python, "-c", "pass")}
    found = alternated(runs, repeats=5 if quick else 11)
    yield Row(
        figure="nightcal --help",
        goal="<= 0.3 s",
        measured=str(found["help"]),
        peer=f"python -c pass {found['python']}",
        ratio=found["help"] / found["python"],
        met=found["help"].median <= GOAL_S,
    )


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
