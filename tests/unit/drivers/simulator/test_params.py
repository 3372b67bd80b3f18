"""Observatories from plain mappings: what a YAML may say, and how it is told wrong."""

import pytest

from drivers.base import SettingMode
from drivers.simulator.faults import DeviceKind, FaultKind
from drivers.simulator.params import ObservatoryParameters, Transmission
from drivers.simulator.presets import PRESETS, from_mapping, preset


def test_nothing_said_is_the_standard():
    assert from_mapping({}) == ObservatoryParameters() == preset("qhy600m")


def test_everything_can_be_said():
    made = from_mapping(
        {
            "preset": "osc",
            "seed": 7,
            "camera": {
                "width": 200,
                "detector": {"bits": 12, "nonlinearity": "1e-3", "colour_throughput": [0.4, 1, 0.5]},
                "gain": {"mode": "index", "names": ["a", "b"], "values": [0, 50], "default": 1},
                "transmission": "shrink",
                "readout_modes": [{"name": "fast", "read_noise_factor": 2}],
            },
            "wheel": {"filters": [{"name": "V", "throughput": 0.5}]},
            "panel": None,
            "scene": {"sky": {"latitude_deg": 28}, "leak_e_s": 0.5},
            "faults": [{"kind": "stall", "device": "camera", "member": "imagearray", "after_exposures": 3, "count": 1}],
        }
    )
    assert made.camera.colour
    assert made.camera.detector.nonlinearity == 0.001
    assert made.camera.detector.colour_throughput == (0.4, 1.0, 0.5)
    assert made.camera.gain.mode is SettingMode.INDEX
    assert made.camera.transmission is Transmission.SHRINK
    assert made.camera.readout_modes[0].read_noise_factor == 2.0
    assert made.wheel is not None
    assert made.wheel.filters[0].name == "V"
    assert made.panel is None
    assert made.scene.sky is not None
    assert made.scene.sky.latitude_deg == 28.0
    assert made.faults[0].kind is FaultKind.STALL
    assert made.faults[0].device is DeviceKind.CAMERA


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"camera": {"detector": {"bit": 12}}}, r"camera\.detector\.bit: unknown key; did you mean 'bits'"),
        ({"camera": {"detector": {"bits": 20}}}, r"camera\.detector: bits must be in 8\.\.16"),
        ({"camera": {"width": "wide"}}, r"camera\.width: 'wide' is not a whole number"),
        ({"camera": {"width": True}}, r"camera\.width: True is not a whole number"),
        ({"camera": {"colour": 1}}, r"camera\.colour: 1 is not true or false"),
        ({"camera": {"detector": {"prnu": "big"}}}, r"camera\.detector\.prnu: 'big' is not a number"),
        ({"camera": 5}, r"camera: 5 is not a mapping"),
        ({"wheel": {"filters": "L"}}, r"wheel\.filters: 'L' is not a list"),
        ({"wheel": {"filters": [{"throughput": 1}]}}, r"wheel\.filters\[0\]: name missing"),
        (
            {"wheel": {"filters": [{"name": "L", "throughput": 2}]}},
            r"wheel\.filters\[0\]: throughput must be in 0\.\.1",
        ),
        ({"faults": [{"kind": "explode"}]}, r"faults\[0\]\.kind: 'explode' is unknown; allowed: stall, drop"),
        ({"camera": {"detector": {"colour_throughput": [1, 1]}}}, r"colour_throughput: 2 values where 3 are wanted"),
        ({"preset": "hubble"}, r"preset: 'hubble' is unknown; allowed: qhy600m"),
        ({"seed": -1}, r"observatory: seed must be >= 0"),
        ({"camera": None}, r"camera: None is not a mapping"),
    ],
)
def test_every_error_names_its_key(mapping, told):
    with pytest.raises(ValueError, match=told):
        from_mapping(mapping)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_keep_their_size_and_seed(name):
    made = preset(name, width=64, height=48, seed=3)
    assert (made.camera.width, made.camera.height, made.seed) == (64, 48, 3)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="lying_maxadu"):
        preset("hubble")
