"""The PyPI package alpaca-simulators, run as a peer: a third party's Alpaca server in an environment of its own.

Its pins are not ours, so it gets a virtual environment in a cache folder, made once and used again. Light frames there
come from a star catalogue on the internet; here its way out is closed, so that they fail in the same way everywhere.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

VERSION = "1.3.2"
_INSTALL_S = 400
_START_S = 60


@contextlib.contextmanager
def running_peer() -> Iterator[int]:
    """Run the server on a free port of 127.0.0.1 and yield the port; skips the test where pip cannot install it."""
    python = peer_python()
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(python, Path(folder))
        port = _free_port()
        command = [str(python), "-m", "alpaca_simulators.run_simulator"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--config", str(settings)]
        nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
        with (Path(folder) / "log.txt").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=os.environ | nowhere)
            try:
                _wait_for(port, process)
                yield port
            finally:
                process.kill()  # asked politely it would first finish the exposures that tests gave up
                process.wait(30)


def peer_python() -> Path:
    """Return the interpreter of the peer's environment, made now if it is not there."""
    home = _cache() / f"alpaca-simulators-{VERSION}-py{sys.version_info.major}{sys.version_info.minor}"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = home / "complete"
    with FileLock(f"{home}.lock"):
        if done.exists() and python.exists():
            return python
        try:
            _run(sys.executable, "-m", "venv", "--clear", str(home))
            _run(str(python), "-m", "pip", "install", "--quiet", f"alpaca-simulators=={VERSION}")
        except (OSError, subprocess.SubprocessError) as error:
            told = getattr(error, "stderr", None) or b""
            pytest.skip(f"alpaca-simulators {VERSION} cannot be installed here: {error} {told[-300:]!r}")
        done.touch()
    return python


def _cache() -> Path:
    told = os.environ.get("NIGHTCAL_TEST_CACHE")
    base = Path(told) if told else Path(os.environ.get("LOCALAPPDATA") or Path.home() / ".cache") / "nightcal-tests"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError:
        base = Path(tempfile.gettempdir()) / "nightcal-tests"
        base.mkdir(parents=True, exist_ok=True)
    return base


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_S)


def _settings(python: Path, folder: Path) -> Path:
    """Write its own template again with a short patience for the star catalogue."""
    code = "from alpaca_simulators.config import Config; print(Config._DEFAULT_PATH.read_text('utf-8'))"
    found = subprocess.run([str(python), "-c", code], check=True, capture_output=True, timeout=60)
    lines = found.stdout.decode().splitlines()
    kept = [line for line in lines if not line.startswith("gaia_query_timeout")]
    path = folder / "peer.yaml"
    path.write_text("\n".join([*kept, "gaia_query_timeout: 2", ""]), encoding="utf-8")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1", timeout=5).close()
            return
        time.sleep(0.1)
    pytest.skip(f"alpaca-simulators {VERSION} does not start here (exit code {process.poll()})")
