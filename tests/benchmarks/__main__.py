"""All benchmarks in one table: `python -m tests.benchmarks [NAME ...] [--quick]`.

Each runs in a process of its own. Seconds are this machine's; ratios are against a peer or a limit in the same run.
The exit code is 1 when a goal is missed. `--quick` takes small frames, to see that they still run: goals for 61
megapixels mean little there.
"""

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.harness import heading, show

HERE = Path(__file__).parent
NAMES = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(NAMES)} [default: all]")
    parser.add_argument("--quick", action="store_true", help="small frames, few repeats")
    parser.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        module = importlib.import_module(f"tests.benchmarks.bench_{options.one}")
        return 0 if show(module.rows(quick=options.quick), quick=options.quick) else 1
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"no such benchmark: {', '.join(unknown)} (there are: {', '.join(NAMES)})")
    if options.quick:
        print("small frames: goals, which are for 61 megapixels, are not judged\n")
    print(heading(), flush=True)
    start = time.perf_counter()
    missed = [name for name in options.names or NAMES if _run(name, quick=options.quick)]
    print(f"\n{time.perf_counter() - start:.0f} s", f"; goals missed in: {', '.join(missed)}" if missed else "", sep="")
    return 1 if missed else 0


def _run(name: str, *, quick: bool) -> int:
    command = [sys.executable, "-m", "tests.benchmarks", "--one", name, *(["--quick"] if quick else [])]
    return to_its_end(command)


def to_its_end(command: list[str]) -> int:
    """Run a command and return its exit code; after a Ctrl-C, which it hears too, wait until it has tidied up.

    `subprocess.run` would kill it a quarter of a second later: gigabytes of frames would be left behind.
    """
    with subprocess.Popen(command, cwd=HERE.parents[1]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
