"""The guide's script: `python calibration/calibration_workflow.py --config FILE`, from any folder, installed or not.

The same as `nightcal run`; only the door to it.
"""

import sys
from pathlib import Path


def main() -> int:
    """Run the workflow with the words of the command line and return the exit code."""
    from services.cli.runners import workflow

    return workflow()


if __name__ == "__main__":
    # Python puts this script's folder at the head of the path; the packages stand one folder up.
    here = Path(__file__).resolve().parent
    sys.path = [str(here.parent), *(entry for entry in sys.path if Path(entry or ".").resolve() != here)]
    sys.exit(main())
