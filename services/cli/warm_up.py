"""`nightcal warm-up`: compiles what a run would compile while the camera cools."""

import os

from services.errors import Exit


def warm_up() -> int:
    """Compile, and say how long it took and where it is kept."""
    from drivers.clock import SystemClock
    from services.platform import prepare_numba_cache
    from services.workflow.warm_up import warm_up as compile_all

    prepare_numba_cache()
    clock = SystemClock()
    start_s = clock.real()
    compile_all()
    kept = os.environ.get("NUMBA_CACHE_DIR") or "beside the program"
    print(f"compiled in {clock.real() - start_s:.1f} s, kept {'in ' if os.sep in kept else ''}{kept}")
    return Exit.DONE
