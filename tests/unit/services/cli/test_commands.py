"""`nightcal config`, `devices`, `simulate`, `catalogue`, and how `run` ends, through the parser as a user does."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from calibration.frames import FrameKind
from drivers.alpaca.discovery import configured_devices
from drivers.clock import ManualClock
from drivers.simulator.devices import SimulatedObservatory
from drivers.simulator.params import ObservatoryParameters
from drivers.simulator.server import AlpacaServer
from services.catalogue.catalogue import Catalogue
from services.catalogue.rows import MasterStatus
from services.cli.failures import run_app
from services.cli.library import sized
from services.cli.main import app
from services.cli.run import settings_text
from services.config import load
from services.files.locks import RootLock
from tests.support.made_root import Root
from tests.support.places import ROOT


def nightcal(*words: str) -> int:
    """Return the exit code of a command."""
    return run_app(app, words, name="nightcal")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with a small configuration in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config_calibration_frames.yaml").write_text(
        "telescope: {focal_length: 400}\n"
        "dark_capture: {num_darks: 3, science_exposure_time: 1, exposure_factors: [1]}\n"
        "camera: {alpaca: {host: 127.0.0.1, port: 1}}\n",
        encoding="utf-8",
    )
    return tmp_path


def test_config_check_names_what_is_not_used(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert nightcal("config", "check") == 0
    said = capsys.readouterr().out.splitlines()
    lines = [line for line in said if not line.startswith(("serve: ", "programme "))]
    assert len(said) - len(lines) == 3  # what `nightcal serve` would do: tests/unit/services/daemon/test_in_words.py
    assert lines == [
        "telescope: accepted, not used",
        next(line for line in lines if line.startswith("darkness: cover: there is no `flat_panel` section")),
        f"config_calibration_frames.yaml: understood; files go to {folder}",
    ]


def test_config_check_says_which_user_or_password_is_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    path = folder / "config_calibration_frames.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("port: 1}", "port: 1, user_env: NC_USER, password_env: NC_PASS}"), encoding="utf-8")
    monkeypatch.setenv("NC_USER", "x")
    assert nightcal("config", "check") == 0
    said = "camera.alpaca.password_env: the environment variable NC_PASS is not set: a run would end at once"
    assert said in capsys.readouterr().out
    monkeypatch.setenv("NC_PASS", "hunter2")
    assert nightcal("config", "check") == 0
    out = capsys.readouterr().out
    assert "NC_PASS" not in out
    assert "hunter2" not in out


def test_config_check_says_what_stated_hours_cost_and_when_the_disk_is_full(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    text = (folder / "config_calibration_frames.yaml").read_text(encoding="utf-8")
    sensor = "camera: {sensor_width: 37.6, sensor_height: 25.0, pixel_size: 3.76, alpaca: {host: 127.0.0.1, port: 1}}"
    (folder / "c.yaml").write_text(
        f"{text.partition('camera:')[0]}{sensor}\nreuse: {{dark_hours: 30}}\n", encoding="utf-8"
    )
    assert nightcal("config", "check", "-c", "c.yaml") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "3 darks every 2 nights: 1 minute, 398 MB; without `dark_hours` every 60 days" in lines
    assert any(
        "GB to be left free (storage.min_free_mb). With such nights the disk is full in" in line for line in lines
    )


def test_config_check_of_a_broken_file_ends_with_2(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "x.yaml").write_text("dark_capture: {num_dark: 3}\ngains: true\n", encoding="utf-8")
    assert nightcal("config", "check", "--config", "x.yaml") == 2
    assert capsys.readouterr().err.splitlines() == [
        "nightcal: the configuration cannot be used",
        "  x.yaml:1:16: dark_capture.num_dark: unknown key — did you mean `num_darks`?",
        "  x.yaml:2:8: gains: found true — allowed: a whole number or text or a list, each a whole number or text",
        "What to do: correct what is named above.",
    ]


def test_config_check_looks_into_the_simulators_own_file(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "c.yaml").write_text("camera: {simulator: {config: sky/o.yaml}}\n", encoding="utf-8")
    assert nightcal("config", "check", "-c", "c.yaml") == 2
    assert "there is no such file" in capsys.readouterr().err
    (folder / "sky").mkdir()
    (folder / "sky" / "o.yaml").write_text("camera: {widht: 64}\n", encoding="utf-8")
    assert nightcal("config", "check", "-c", "c.yaml") == 2
    assert "o.yaml:1:10: camera.widht: unknown key" in capsys.readouterr().err


def test_config_show_prints_what_loads_again(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert nightcal("config", "show", "--simulator") == 0
    shown = folder / "shown.yaml"
    shown.write_text(capsys.readouterr().out, encoding="utf-8")
    config = load(shown).config
    assert config.camera.is_simulator
    assert config.dark_capture.num_darks == 3


def test_config_schema_is_json(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert nightcal("config", "schema") == 0
    assert "dark_capture" in json.loads(capsys.readouterr().out)["properties"]


def test_the_schema_of_events_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert nightcal("schema", "events") == 0
    printed = json.loads(capsys.readouterr().out)
    kinds = [printed["$defs"][each["$ref"].rpartition("/")[2]] for each in printed["oneOf"]]
    names = {kind["properties"]["name"]["const"] for kind in kinds}
    assert {"run.started", "frame.stored", "master.built", "progress"} <= names


def test_a_reader_who_has_had_enough_is_no_error():
    command = [sys.executable, "-m", "services.cli.main", "config", "schema"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_devices_lists_what_a_server_has(capsys: pytest.CaptureFixture[str]):
    with AlpacaServer(SimulatedObservatory(ObservatoryParameters(), ManualClock())) as server:
        assert nightcal("devices", "--host", "127.0.0.1", "--port", str(server.port)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["SERVER", "TYPE", "NUMBER", "NAME", "UNIQUE", "ID"]
    kinds = [line.split()[1] for line in lines[1:]]
    assert kinds == ["camera", "filterwheel", "covercalibrator", "safetymonitor", "dome", "telescope"]
    assert all(line.startswith(f"127.0.0.1:{server.port}  ") for line in lines[1:])


def test_devices_that_do_not_answer_end_with_3(capsys: pytest.CaptureFixture[str]):
    assert nightcal("devices", "--host", "127.0.0.1", "--port", "1") == 3
    assert "127.0.0.1:1" in capsys.readouterr().out


def test_a_run_without_its_camera_says_how_to_rehearse(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "c.yaml").write_text(
        "camera: {alpaca: {camera_name: no such camera}}\nflat_capture: {filters: [L]}\nfilter_wheel: {}\n",
        encoding="utf-8",
    )
    assert nightcal("run", "--config", "c.yaml", "--no-confirm") == 3
    err = capsys.readouterr().err
    assert "What to do: list what answers with `nightcal devices`;" in err
    assert "To rehearse without a camera, add --simulator." in err


@pytest.mark.parametrize(
    ("yaml", "file", "said"),
    [
        (
            "storage: {root: file/below}",
            "file",
            "storage.root: files cannot be stored in {0}/file/below: {0}/file is a",
        ),
        (
            "storage: {root: file}",
            "file",
            "storage.root: files cannot be stored in {0}/file: {0}/file is a file, not a",
        ),
        ("storage: {root: data}", "data/logs", "storage.root: files cannot be stored in {0}/data/logs: {0}/data/logs"),
        ("storage: {root: data}", "data/reports", "storage.root: files cannot be stored in {0}/data/reports: {0}/da"),
        ("{}", ".nightcal", "storage.root: files cannot be stored in {0}/.nightcal: {0}/.nightcal is a file, not a"),
        (
            "dark_capture: {output_dir: a/b}",
            "a",
            "dark_capture.output_dir: files cannot be stored in {0}/a/b: {0}/a is",
        ),
        ("flat_capture: {output_dir: a}", "a", "flat_capture.output_dir: files cannot be stored in {0}/a: {0}/a is a"),
        ("{}", "master_frames", "master_frames.output_dir: files cannot be stored in {0}/master_frames: {0}/master_fr"),
        (f"storage: {{root: {'x' * 300}}}", "other", "storage.root: files cannot be stored in {0}/" + "x" * 300),
    ],
)
def test_folders_in_which_nothing_can_be_stored_are_named_by_their_key_before_a_run(
    folder: Path, capsys: pytest.CaptureFixture[str], yaml: str, file: str, said: str
):
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("", encoding="utf-8")
    camera = "" if yaml == "{}" else f"{yaml}\n"
    (folder / "c.yaml").write_text(f"{camera}camera: {{camera_type: simulator}}\n", encoding="utf-8")
    key = said.partition(":")[0]
    for words in (("config", "check"), ("run", "--no-confirm"), ("run", "--dry-run"), ("run", "--step", "masters")):
        assert nightcal(*words, "--config", "c.yaml") == 2
        shown = capsys.readouterr().err
        assert f"c.yaml: {said.replace('/', os.sep).format(folder)}" in shown
        assert f"What to do: put that right, or name another folder in {key}." in shown
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        {"c.yaml", "config_calibration_frames.yaml", Path(file).parts[0]}
    )


def test_a_link_to_nothing_is_no_root(folder: Path, capsys: pytest.CaptureFixture[str]):
    try:
        (folder / "nas").symlink_to(folder / "not mounted")
    except OSError:
        pytest.skip("this user may not make links")
    (folder / "c.yaml").write_text("storage: {root: nas/frames}\n", encoding="utf-8")
    assert nightcal("config", "check", "--config", "c.yaml") == 2
    assert f"{folder / 'nas'} is a link to something that is not there" in capsys.readouterr().err


def test_an_observatory_that_is_not_there_is_named_by_its_key(folder: Path, capsys: pytest.CaptureFixture[str]):
    text = "camera: {camera_type: simulator, simulator: {config: gone.yaml}}\n"
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    for words in (("config", "check"), ("run", "--no-confirm", "--skip-cooling")):
        assert nightcal(*words, "--config", "c.yaml") == 2
        shown = capsys.readouterr().err
        assert "c.yaml: camera.simulator.config:" in shown
        assert "gone.yaml: there is no such file" in shown
        assert "--config" not in shown


def test_a_hook_whose_program_is_not_there_is_named_by_its_key(folder: Path, capsys: pytest.CaptureFixture[str]):
    hooks = (
        f"{{before_run: {{command: [{json.dumps(sys.executable)}]}}, after_flats: {{command: [no-such-lamp, off]}}, "
    )
    hooks += "before_darks: {command: [./close], on_failure: stop}, after_run: {url: http://site/}}"
    camera = "camera: {alpaca: {host: 127.0.0.1, port: 1}}"
    (folder / "c.yaml").write_text(f"hooks: {hooks}\n{camera}\n", encoding="utf-8")
    assert nightcal("config", "check", "--config", "c.yaml") == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("hooks.")] == [
        "hooks.after_flats.command: there is no program no-such-lamp now: a run that lacks it goes on without it",
        "hooks.before_darks.command: there is no program ./close now: a run that lacks it ends there",
    ]
    for step, are_told in (("flats", True), ("masters", False)):
        assert nightcal("run", "--dry-run", "--step", step, "--config", "c.yaml") == 0
        out = capsys.readouterr().out
        assert ("note: hooks.after_flats.command: there is no program no-such-lamp now" in out) is are_told
        assert ("note: darkness: cover: " in out) is are_told, "what concerns devices is no matter of masters"
        assert "hooks.before_darks" not in out


def test_a_dry_run_prints_the_plan_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert nightcal("run", "--dry-run", "--simulator") == 0
    out = capsys.readouterr().out
    assert "bias" in out
    assert "flat" in out
    assert [path.name for path in folder.iterdir()] == ["config_calibration_frames.yaml"]


def test_a_dry_run_beside_a_damaged_catalogue_counts_the_frames_and_says_that_a_run_mends_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    root = Root(folder)
    root.add(FrameKind.BIAS, 0.001, 5)
    root.catalogue.close()
    assert nightcal("run", "--step", "masters", "--dry-run") == 0
    plan = capsys.readouterr().out
    assert "to build" in plan
    path = root.layout.catalogue
    path.write_bytes(path.read_bytes()[:6000])
    assert nightcal("run", "--step", "masters", "--dry-run") == 0
    note, _, found = capsys.readouterr().out.partition("knows the masters again\n")
    assert f"note: {path}: " in note
    assert found == plan[plan.index(found[:20]) :]


def test_a_dry_run_names_the_files_that_the_run_would_not_use(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "darks").mkdir()
    for name in ("cut.fits", "b.pdf", "a.pdf", "c.pdf"):
        (folder / "darks" / name).write_bytes(b"no header")
    assert nightcal("run", "--step", "masters", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "darks/cut.fits: " in out
    assert "3 files (darks/a.pdf, darks/b.pdf, darks/c.pdf): .pdf: it is no FITS file" in out
    assert nightcal("run", "--step", "darks", "--dry-run") == 0
    out = capsys.readouterr().out
    assert ("cut.fits" in out, ".pdf" in out) == (True, False)


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("darks", "darks"),
        (".", ""),
        ("flats/for_me --simulator", "flats"),
        ("simulated/logs --simulator", "simulated/logs"),
    ],
)
def test_nothing_is_published_among_frames_neither_real_nor_rehearsed(
    folder: Path, capsys: pytest.CaptureFixture[str], words: str, taken: str
):
    assert nightcal("library", "publish", *words.split()) == 2
    assert f"a folder of its own, apart from {folder / taken}\n" in capsys.readouterr().err
    assert nightcal("library", "publish", "simulated/published", "--simulator") == 2
    assert "there is no frame and no master" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("report", 2, "there is no run below {0} yet"),
        ("report 20260101T000000-abcd", 2, "there is no run below {0} yet"),
        ("reject", 0, "no frame is rejected"),
        ("reject dark_* --reason leak", 2, "there is no frame and no master below {0} yet"),
        ("reject dark_1.fits --undo", 2, "there is no frame and no master below {0} yet"),
        ("certify", 0, "no master that may serve"),
        ("library certify master_dark_*", 2, "there is no frame and no master below {0} yet"),
        ("library list", 0, "no master that may serve"),
        ("library list --all", 0, "no master that may serve"),
        ("library archive", 0, "0 frames to pack"),
        ("library archive --dry-run", 0, "0 frames to pack"),
        ("library publish published", 2, "there is no frame and no master below {0} yet"),
        ("catalogue rebuild", 2, "there is no frame and no master below {0} yet"),
        ("config check", 0, "understood"),
        ("config show", 0, "num_darks"),
        ("run --dry-run --step darks", 0, "frames to take"),
        ("run --dry-run --step masters", 0, ""),
    ],
)
def test_what_only_reads_or_finds_nothing_to_do_makes_nothing_in_a_new_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], words: str, code: int, said: str
):
    path = folder / "config_calibration_frames.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "storage: {keep_raw: 30}\n", encoding="utf-8")
    assert nightcal(*words.split()) == code
    shown = capsys.readouterr()
    assert said.format(folder) in shown.out + shown.err
    if code == 2:
        assert "What to do: make it by `nightcal run`; if it is in another folder, go there" in shown.err
        assert "looked at with --simulator" in shown.err
        assert "--help" not in shown.err
    assert list(folder.iterdir()) == [path]


def test_masters_are_listed_from_their_files_where_there_is_no_catalogue(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    root = Root(folder)
    frames = root.add(FrameKind.BIAS, 0.001, 5)
    root.build(num_darks=5, by_hand=True)
    root.catalogue.close()
    for path in frames:
        path.unlink()
    shutil.rmtree(folder / ".nightcal")
    assert nightcal("library", "list") == 0
    assert "master_bias_" in capsys.readouterr().out
    assert not (folder / ".nightcal").exists()


def test_a_certified_master_is_still_certified_when_the_index_was_rebuilt(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    root = Root(folder)
    root.add(FrameKind.BIAS, 0.001, 5)
    root.build(num_darks=5, by_hand=True)
    sidecars = sorted((folder / "master_frames").glob("*.json"))
    before = [json.loads(path.read_text(encoding="utf-8")) for path in sidecars]
    root.catalogue.close()
    with RootLock(folder):  # a run is at work: masters can be listed all the same
        assert nightcal("library", "list") == 0
    assert nightcal("certify") == 0
    told = "0.001 s gain 10 -10 °C 64x48, 5 frames"
    names = [path.with_suffix(".fits").name for path in sidecars]
    bias, dark = (f"built      {name}  {told}" for name in names)
    assert capsys.readouterr().out.splitlines() == 2 * [bias, dark]
    assert nightcal("library", "certify", "master_bias_*") == 0
    assert nightcal("catalogue", "rebuild") == 0
    with Catalogue(folder / ".nightcal" / "catalogue.sqlite", read_only=True) as catalogue:
        states = {row.kind: row.status for row in catalogue.masters()}
    assert states == {FrameKind.BIAS: MasterStatus.CERTIFIED, FrameKind.DARK: MasterStatus.BUILT}
    after = [json.loads(path.read_text(encoding="utf-8")) for path in sidecars]
    said = [{**a, "status": "built", "judged": None, "certified": None} for a in after]
    assert said == before, "what was thought of a master stays"
    assert [a["certified"] and a["certified"]["by"] for a in after] == ["command line", None]
    assert nightcal("certify", "master_flat_L*") == 2


def test_masters_are_listed_without_their_catalogue_and_an_empty_folder_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nightcal("library", "list") == 0
    assert "no master that may serve" in capsys.readouterr().out
    biases(folder)
    (folder / ".nightcal" / "catalogue.sqlite").unlink()
    assert nightcal("library", "list") == 0
    assert capsys.readouterr().out.count("built") == 2


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [((0,), ""), ((0, 0), ""), ((8640,), ", 8.6 kB"), ((1_300_000_000, 640_000_000), ", 1.3 GB → 640 MB")],
)
def test_a_size_is_never_a_row_of_zeros(sizes: tuple[int, ...], shown: str) -> None:
    assert sized(*sizes) == shown


def test_packing_nothing_says_so_without_gigabytes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "c.yaml").write_text("storage: {keep_raw: 30}", encoding="utf-8")
    for words in ([], ["--dry-run"]):
        assert nightcal("library", "archive", "--config", "c.yaml", *words) == 0
    assert capsys.readouterr().out.splitlines() == ["0 frames to pack", "0 frames to pack"]


def test_debug_shows_the_settings_in_force_and_no_secret_of_a_hook(folder: Path) -> None:
    (folder / "c.yaml").write_text("hooks: {after_run: {url: 'http://site/off?token=s3cret'}}", encoding="utf-8")
    loaded = load(folder / "c.yaml", overrides={"dark_capture.num_darks": ("--num-darks", 17)})
    shown = settings_text(loaded)
    assert "num_darks: 17" in shown
    assert "min_free_mb: 2000" in shown, "defaults too"
    assert "s3cret" not in shown


def biases(folder: Path) -> tuple[Path, Path]:
    """Make a master bias, and the dark that it is as well."""
    root = Root(folder)
    root.add(FrameKind.BIAS, 0.001, 5)
    root.build(num_darks=5, by_hand=True)
    root.catalogue.close()
    bias, dark = sorted((folder / "master_frames").glob("*.fits"))
    return bias, dark


def states(folder: Path) -> list[MasterStatus]:
    with Catalogue(folder / ".nightcal" / "catalogue.sqlite", read_only=True) as catalogue:
        return sorted(row.status for row in catalogue.masters())


def test_a_master_that_was_deleted_by_hand_is_not_certified(folder: Path, capsys: pytest.CaptureFixture[str]):
    """It was, and then the archive packed its frames."""
    bias, dark = biases(folder)
    bias.unlink()
    assert nightcal("certify") == 0
    assert capsys.readouterr().out == f"built      {dark.name}  0.001 s gain 10 -10 °C 64x48, 5 frames\n"
    assert nightcal("certify", dark.name, bias.name) == 2
    assert f"no master {bias.name} that may serve" in capsys.readouterr().err
    assert states(folder) == [MasterStatus.BUILT] * 2, "one of two names is wrong: none is marked"


def test_a_master_whose_pixels_rotted_unseen_is_not_certified(folder: Path, capsys: pytest.CaptureFixture[str]):
    bias, dark = biases(folder)
    status = dark.stat()
    with dark.open("r+b") as file:
        file.seek(-5000, os.SEEK_END)
        file.write(b"rotten")
    os.utime(dark, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert nightcal("certify", bias.name, dark.name) == 5
    assert "its pixels are not those that were written" in capsys.readouterr().err
    assert states(folder) == [MasterStatus.BUILT] * 2


def test_certify_takes_the_sidecars_that_a_shell_names_with_the_masters(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    biases(folder)
    names = [str(path) for path in sorted((folder / "master_frames").glob("master_*"))]
    assert {Path(name).suffix for name in names} == {".fits", ".json"}
    assert nightcal("certify", *names) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert states(folder) == [MasterStatus.CERTIFIED] * 2


def test_simulate_serves_until_it_is_told_to_end():
    command = [sys.executable, "-m", "services.cli.main", "simulate", "--port", "0", "--no-discovery", "--rate", "10"]
    group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, creationflags=group) as process:
        try:
            assert process.stdout is not None
            port = re.match(r"simulated observatory at http://127\.0\.0\.1:(\d+), 10 ", process.stdout.readline())
            assert port is not None
            assert nightcal("devices", "--host", "127.0.0.1", "--port", port[1]) == 0
            process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


def test_a_simulated_observatory_on_a_port_of_its_own_is_another_one():
    """Two of one seed, served side by side, had one UniqueID: one lock, and discovery hid the second."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "services.cli.main", "simulate", "--port", str(port), "--no-discovery"]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process,
        SimulatedObservatory(ObservatoryParameters(), ManualClock(), f":{port}") as same,
        SimulatedObservatory(ObservatoryParameters(), ManualClock()) as other,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            ids = {device.unique_id for device in configured_devices("127.0.0.1", port)}
        finally:
            process.kill()
        assert ids == {device.unique_id for device in same.devices()}, "the same at each start"
        assert ids.isdisjoint(device.unique_id for device in other.devices())


def test_simulate_on_a_port_that_is_taken_ends_with_2(capsys: pytest.CaptureFixture[str]):
    with AlpacaServer(SimulatedObservatory(ObservatoryParameters(), ManualClock())) as server:
        assert nightcal("simulate", "--port", str(server.port), "--no-discovery") == 2
    assert "allowed: a free port, or 0" in capsys.readouterr().err
