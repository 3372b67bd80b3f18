"""Files that are no configuration end in a message, never in a traceback, a stall, or code that runs."""

import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.config import from_dict, load, loads
from services.config.positions import MAX_BYTES
from services.errors import ConfigInvalid

HERE = Path("f.yaml")


def refused(text: str) -> str:
    """Return the detail of the refusal."""
    with pytest.raises(ConfigInvalid) as caught:
        loads(text, HERE)
    return caught.value.detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n\tb: 2", "f.yaml:2:1: while scanning for the next token found character '\\t'"),
        ("darkness: [1, 2", "f.yaml:1:16:"),
        ("darkness: 'x", "f.yaml:1:13:"),
        ("a: *nope", "undefined alias"),
        ("a: \x07", "f.yaml:1:4: character #x0007 is not allowed"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: expected a single document"),
        ("a: !!python/object/apply:os.system [true]", "f.yaml:1:4: tag"),
        ("a: !mine x", "tag '!mine' — allowed: plain values"),
        ("? [1, 2]\n: 3", "a key must be a word"),
        ("<<: {a: 1}", "merge keys are not supported"),
        ("%YAML 2.0\n---\na: 1", "incompatible YAML document"),
    ],
)
def test_broken_syntax_is_placed(text: str, expected: str):
    assert expected in refused(text)


def test_a_tab_is_explained():
    assert "indent with spaces" in refused("dark_capture:\n\tnum_darks: 3\n")


def test_depth_ends_in_a_message_not_in_the_stack():
    for text in ("[" * 50_000, "a: " + "{b: " * 5_000, "&a [*a]", "x: &x {y: *x}"):
        assert "levels" in refused(text)


def test_aliases_that_multiply_are_refused():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(8)]
    assert "aliases counted" in refused("\n".join(lines))


def test_an_honest_alias_is_fine():
    config = loads("dark_capture: {num_darks: &n 12}\nflat_capture: {num_flats: *n}\n", HERE).config
    assert (config.dark_capture.num_darks, config.flat_capture.num_flats) == (12, 12)


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path):
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"# " + b"x" * (MAX_BYTES * 4))
    with pytest.raises(ConfigInvalid, match="larger than 256 kB"):
        load(path)
    assert "larger than" in refused("#" + "x" * MAX_BYTES)


def test_text_that_is_not_utf8_names_the_byte(tmp_path: Path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("darkness: cover\n# Sternwarte M\u00fcnchen\n".encode("latin-1"))
    with pytest.raises(ConfigInvalid, match=r"latin\.yaml:2:15: byte 0xFC is not UTF-8"):
        load(path)


def test_a_missing_file_a_folder_and_an_impossible_name(tmp_path: Path):
    with pytest.raises(ConfigInvalid, match="there is no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigInvalid, match="is a folder"):
        load(tmp_path)
    with pytest.raises(ConfigInvalid, match=r"there is no such file|cannot be read"):
        load(tmp_path / "file.yaml" / "below")
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load(tmp_path / "nul\0byte.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "dark_capture:\n" + "".join(f"  num_dark{n}: 1\n" for n in range(2_400)),
        "hooks: {" + ",".join(f"before_{n}: x" for n in range(2_400)) + "}",
        "darkness: cover\n" * 2_400,
        "dark_capture: {science_exposure_time: [" + "x," * 4_000 + "1]}",
        "dark_capture: {science_exposure_time: 1e" + "9" * 200_000 + "}",
        "".join(f"{'a' * 90}{n}: &a{n} x\n" for n in range(2_400)),
    ],
)
def test_thousands_of_mistakes_are_told_in_some_lines_and_soon(text: str):
    began = time.process_time()
    lines = refused(text).split("\n")
    assert len(lines) <= 51
    assert max(map(len, lines)) <= 1000
    assert time.process_time() - began < 20  # it was a minute on a machine that takes a second for this


def test_a_number_too_long_for_python_is_no_crash():
    assert "num_darks" in refused("dark_capture: {num_darks: " + "9" * 10_000 + "}")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab:-[]{}&*!|>'\"%@`#,?\n\t 01.~\u00e9\ufeff")), max_size=60))
def test_any_text_is_a_configuration_or_a_refusal(text: str):
    with suppress(ConfigInvalid):
        assert loads(text, HERE).config


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_sections = st.sampled_from(["dark_capture", "flat_capture", "camera", "video", "cooling", "reuse", "hooks", "gains"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_sections, _values, max_size=3))
def test_any_mapping_is_a_configuration_or_a_refusal(data: dict[str, object]):
    with suppress(ConfigInvalid):
        assert from_dict(data, HERE).config
