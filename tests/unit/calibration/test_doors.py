"""The guide's scripts and integration names, used as the guide uses them: from any folder, installed or not."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog

from calibration.dark_capture import DarkCapture
from calibration.flat_capture import FlatCapture
from calibration.master_frame_builder import MasterFrameCreator, load_master_dark, load_master_flat
from drivers.clock import SystemClock
from services.errors import ConfigInvalid, StorageError
from tests.support.fakes import INFO, FakeCamera
from tests.support.places import ROOT

SCRIPTS = ("calibration_workflow.py", "dark_capture_runner.py", "flat_capture_runner.py", "master_frame_runner.py")
SMALL = """\
dark_capture: {num_darks: 5, science_exposure_time: 2.0, exposure_factors: [1.0], persistence_wait: 0}
flat_capture: {num_flats: 5, filters: [L]}
filter_wheel: {}
reuse: {flat_hours: 8760, resume_within_hours: 8760}  # half a minute of a busy machine is 18 hours at this rate
camera:
  camera_type: simulator
  simulator: {rate: 2000, width: 64, height: 48}
"""


def script(name: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script of the guide as a program of its own, with nothing on the path but what it finds itself."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, str(ROOT / "calibration" / name), *words],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_answers_from_any_folder(name: str, tmp_path: Path):
    done = script(name, "--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {name} [OPTIONS]")


def test_a_script_does_not_take_the_folder_it_stands_in_for_a_package(tmp_path: Path):
    code = (
        "import runpy, sys; sys.argv = ['x', '--help']; here = sys.argv and r'{folder}'; sys.path.insert(0, here)\n"
        "try: runpy.run_path(here + '/calibration_workflow.py', run_name='__main__')\n"
        "except SystemExit: print(sys.path[0], here in sys.path)"
    ).format(folder=ROOT / "calibration")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{ROOT} False"


def test_a_relative_config_starts_in_the_working_folder(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("dark_capture: {num_darks: x}\n", encoding="utf-8")
    done = script("calibration_workflow.py", "--config", "mine.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert "mine.yaml:1:27: dark_capture.num_darks: found 'x'" in done.stderr


def test_the_steps_one_by_one_fill_the_guides_tree(tmp_path: Path):
    (tmp_path / "c.yaml").write_text(SMALL, encoding="utf-8")
    for name in ("flat_capture_runner.py", "dark_capture_runner.py", "master_frame_runner.py"):
        done = script(name, "--config", "c.yaml", "--no-confirm", folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "darks" / "exp_0.001s").glob("bias_*.fits"))) == 5
    assert len(list((tmp_path / "darks" / "exp_2.000s").glob("dark_*.fits"))) == 5
    assert len(list((tmp_path / "flats" / "L").glob("flat_*.fits"))) == 5

    config = tmp_path / "c.yaml"
    dark, flat = load_master_dark(2.0, config=config), load_master_flat(config=str(config))
    assert dark.shape == flat.shape == (48, 64)
    assert np.issubdtype(flat.dtype, np.floating)
    assert np.nanmean(flat) == pytest.approx(1.0, abs=0.1)
    assert load_master_flat(filter="L", config=config).shape == flat.shape
    with pytest.raises(StorageError, match=r"no master dark of 7\.000 s; there are: "):
        load_master_dark(7.0, config=config)
    with pytest.raises(StorageError, match="no master flat of filter R"):
        load_master_flat("R", config=config)


def test_a_program_that_calls_us_reads_what_a_user_reads(tmp_path: Path):
    # the integration names used to print lines of the log as they were: "[info     ] device.connected   device=camera"
    (tmp_path / "c.yaml").write_text(SMALL, encoding="utf-8")
    code = "from calibration.flat_capture import FlatCapture; print(FlatCapture(config='c.yaml').capture_flats().code)"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert last == "None"
    assert all(re.match(r"\d\d:\d\d:\d\d  \S", line) for line in lines), done.stdout
    assert any(line.endswith("camera connected: Simulated QHY600M") for line in lines)
    (log,) = (tmp_path / "logs").iterdir()
    assert "flat.settled" in log.read_text(encoding="utf-8")


def test_a_program_that_called_us_still_hears_its_own_log_and_warnings(tmp_path: Path):
    """A door's run left the program deaf: `basicConfig` did nothing, and what it logged afterwards went nowhere."""
    code = (
        "import logging, warnings; from calibration.master_frame_builder import MasterFrameCreator\n"
        "MasterFrameCreator(config={'storage': {'root': '.'}}).create_all_master_frames()\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "warnings.warn('dew point near'); logging.warning('roof is open')\n"
        "logging.getLogger('host').info('next target')\n"
    )
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "always::UserWarning", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "UserWarning: dew point near" in done.stderr
    assert "WARNING:root:roof is open" in done.stderr
    assert "INFO:host:next target" in done.stderr


def test_a_program_with_a_log_of_its_own_hears_us_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    heard: list[str] = []

    def take(_logger: object, _method: str, fields: dict[str, object]) -> dict[str, object]:
        heard.append(str(fields["event"]))
        raise structlog.DropEvent

    structlog.configure(processors=[take], cache_logger_on_first_use=False)
    try:
        result = MasterFrameCreator(config={"storage": {"root": str(tmp_path)}}).create_all_master_frames()
    finally:
        structlog.reset_defaults()
    assert result.exit_code == 0
    assert {"run.started", "run.finished"} <= set(heard)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "logs").exists()


def test_masters_before_anything_was_taken(tmp_path: Path):
    config = {"storage": {"root": str(tmp_path)}}
    result = MasterFrameCreator(config=config).create_all_master_frames()
    assert (result.exit_code, list(tmp_path.glob("master_frames/*.fits"))) == (0, [])
    assert result.detail == f"there are no frames in {tmp_path / 'darks'} or {tmp_path / 'flats'}"
    with pytest.raises(StorageError, match="there are no dark masters: run the masters step"):
        load_master_dark(5.0, config=config)
    with pytest.raises(StorageError, match="holds no catalogue: run the workflow first"):
        load_master_flat(config={"storage": {"root": str(tmp_path / "elsewhere")}})


def test_darks_with_a_camera_that_the_program_brings(tmp_path: Path):
    config = {
        "dark_capture": {
            "num_darks": 3,
            "science_exposure_time": 0.02,
            "exposure_factors": [1],
            "flat_exposure_time": 0.01,
        },
        "darkness": "none",
        "storage": {"root": str(tmp_path)},
    }
    darks = DarkCapture(config=config)
    darks.initialize(FakeCamera(SystemClock(), info=replace(INFO, unique_id=str(tmp_path))))
    result = darks.capture_darks()
    assert (result.exit_code, result.code) == (0, None), result.detail
    folders = sorted(path.name for path in (tmp_path / "darks").iterdir())
    assert folders == ["exp_0.001s", "exp_0.010s", "exp_0.020s"]


@pytest.mark.parametrize("door", [DarkCapture, FlatCapture])
@pytest.mark.parametrize("camera", ["QHY600M", 0, {"device_id": 0}, object()])
def test_initialize_refuses_what_is_no_camera_and_does_not_use_another_in_its_place(door, camera: object):
    made = door(config={})
    with pytest.raises(
        TypeError, match=rf"was given an object of type {type(camera).__name__}, which lacks connect, disconnect, "
    ):
        made.initialize(camera)


def test_initialize_names_the_methods_that_a_camera_lacks():
    class Half(FakeCamera):
        expose = None

    with pytest.raises(
        TypeError, match=r"was given an object of type Half, which lacks expose of drivers\.base\.Camera: "
    ):
        DarkCapture(config={}).initialize(Half(SystemClock()))


def test_a_program_without_a_configuration_hears_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for use in (DarkCapture().initialize, FlatCapture().capture_flats, MasterFrameCreator().create_all_master_frames):
        with pytest.raises(ConfigInvalid, match=r"config_calibration_frames\.yaml: there is no such file"):
            use()
    assert not list(tmp_path.iterdir())


def test_initialize_refuses_a_configuration_that_cannot_be_used():
    for door in (DarkCapture, FlatCapture):
        with pytest.raises(ConfigInvalid, match=r"config: dark_captur: unknown key — did you mean `dark_capture`\?"):
            door(config={"dark_captur": {}}).initialize()


def test_flats_of_the_configured_camera(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text(SMALL, encoding="utf-8")
    flats = FlatCapture(config=path)
    flats.initialize()
    result = flats.capture_flats()
    assert (result.exit_code, result.code) == (0, None), result.detail
    assert len(list((tmp_path / "flats" / "L").glob("flat_*.fits"))) == 5
    assert not (tmp_path / "darks" / "exp_2.000s").exists()
