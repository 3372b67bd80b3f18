"""What is installed: dependencies that are used, lock files with hashes, a wheel that holds every file."""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.places import ROOT
from tests.support.sources import SOURCES, imports

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
DEVELOPMENT = [Requirement(text) for text in PROJECT["dependency-groups"]["dev"]]
LOCKS = ("requirements.lock", "requirements-dev.lock")
SYSTEMS = [
    {"python_version": "3.11", "python_full_version": "3.11.9", "sys_platform": "linux"},
    {"python_version": "3.12", "python_full_version": "3.12.4", "sys_platform": "win32"},
    {"python_version": "3.13", "python_full_version": "3.13.1", "sys_platform": "darwin"},
]
IMPORT_NAMES = {"pyyaml": "yaml", "alpyca": "alpaca", "pillow": "PIL"}


def pins(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Return each pin of a lock file with its hashes."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    rows = [line.split(" --hash=") for line in text.splitlines() if line]
    return [(Requirement(first), [digest.strip() for digest in digests]) for first, *digests in rows]


def pinned(lock: str, requirement: Requirement, system: dict[str, str]) -> list[Requirement]:
    """Return the pins that serve a requirement on one system."""
    name = canonicalize_name(requirement.name)
    return [
        pin for pin, _ in pins(lock) if pin.name == name and (pin.marker is None or pin.marker.evaluate(dict(system)))
    ]


def requirements_of(name: str, extras: set[str]) -> Iterator[Requirement]:
    """Yield what an installed distribution requires on this system."""
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *extras)):
            yield requirement


def reachable(roots: list[Requirement]) -> set[str]:
    """Return the names of all that is needed here, directly or not."""
    found: set[tuple[str, str]] = set()
    waiting = list(roots)
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), set(requirement.extras)
        key = name, ",".join(sorted(extras))
        if key not in found:
            found.add(key)
            waiting.extend(requirements_of(name, extras))
    return {name for name, _ in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_exact_and_has_hashes(lock):
    for pin, hashes in pins(lock):
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), pin
        assert hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), pin
        assert pin.url is None


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_files_name_no_address(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|--index|--extra-index|--find-links|--trusted-host|#", text)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda s: f"{s['sys_platform']}-{s['python_version']}")
@pytest.mark.parametrize(
    ("lock", "wanted"), [(LOCKS[0], RUNTIME), (LOCKS[1], RUNTIME + DEVELOPMENT)], ids=("runtime", "development")
)
def test_every_dependency_is_pinned_once_within_its_range(lock, wanted, system):
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate(dict(system)):
            continue  # of another system
        found = pinned(lock, requirement, system)
        assert len(found) == 1, f"{requirement}: run .ci/lock"
        version = str(found[0].specifier).removeprefix("==")
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: run .ci/lock"


def test_the_development_lock_holds_the_runtime_lock():
    development = {(str(pin), tuple(hashes)) for pin, hashes in pins(LOCKS[1])}
    assert not {str(pin) for pin, hashes in pins(LOCKS[0]) if (str(pin), tuple(hashes)) not in development}


@pytest.mark.parametrize(
    ("lock", "wanted"), [(LOCKS[0], RUNTIME), (LOCKS[1], RUNTIME + DEVELOPMENT)], ids=("runtime", "development")
)
def test_nothing_is_missing_from_a_lock_file_and_nothing_is_left_over(lock, wanted):
    here = {pin.name for pin, _ in pins(lock) if pin.marker is None or pin.marker.evaluate()}
    assert here == reachable([each for each in wanted if each.marker is None or each.marker.evaluate()]), "run .ci/lock"


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    ours = {"calibration", "drivers", "services"} | sys.stdlib_module_names
    imported = {name.partition(".")[0] for path in SOURCES for name in imports(path)} - ours
    imported -= {"pydantic_core"}  # a part of pydantic, which pins it exactly
    declared = {IMPORT_NAMES.get(requirement.name, requirement.name) for requirement in RUNTIME}
    declared -= {"tzdata"}  # read by zoneinfo, where the system brings no time zones
    assert imported == declared


def test_the_wheel_holds_every_file_of_the_packages_and_says_that_they_are_typed():
    held = {file.distribution_path.replace("\\", "/") for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    packages = ("calibration", "drivers", "services")
    here = {p.relative_to(ROOT).as_posix() for package in packages for p in (ROOT / package).rglob("*") if p.is_file()}
    shipped = {"services/config/config_calibration_frames.yaml"}  # what a new user copies, and --simulator rehearses
    assert held == {path for path in here if "/__pycache__/" not in path} | shipped
    assert held >= {f"{package}/py.typed" for package in packages}
