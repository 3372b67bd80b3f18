"""The guide's script: `python calibration/flat_capture_runner.py --config FILE`.

Takes the flats that are missing, and nothing else.
"""

import sys
from pathlib import Path


def main() -> int:
    """Run the step with the words of the command line and return the exit code."""
    from services.cli.runners import flat_runner

    return flat_runner()


if __name__ == "__main__":
    # Python puts this script's folder at the head of the path; the packages stand one folder up.
    here = Path(__file__).resolve().parent
    sys.path = [str(here.parent), *(entry for entry in sys.path if Path(entry or ".").resolve() != here)]
    sys.exit(main())
