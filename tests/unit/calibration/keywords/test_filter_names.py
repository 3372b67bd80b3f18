"""Names of filters: distinct, the same in the header as at the wheel, and the wheel's own word beside them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.frames import FrameHeader, FrameKind
from calibration.keywords import from_cards, to_cards
from calibration.keywords.filters import distinct_names, filter_name
from calibration.keywords.letters import ascii_text
from calibration.keywords.values import text


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["L", "R", "Ha"], ("L", "R", "Ha")),
        (["R", "r", "  L  ", "l"], ("R", "r", "L", "l")),
        (["", "Empty", "Empty", "  L  "], ("Filter 0", "Empty (position 1)", "Empty (position 2)", "L")),
        (["Hα", "Ha", "红"], ("Ha (position 0)", "Ha (position 1)", "红")),
        (["N/A", "None", "-"], ("Filter 0", "Filter 1", "Filter 2")),
        (["", "Filter 0"], ("Filter 0 (position 0)", "Filter 0 (position 1)")),
    ],
)
def test_positions_of_a_wheel_get_names_of_their_own(labels: list[str], expected: tuple[str, ...]) -> None:
    assert distinct_names(labels) == expected


@given(st.lists(st.text(max_size=80), max_size=9))
def test_no_two_positions_share_a_name_in_a_header_either(labels: list[str]) -> None:
    names = distinct_names(labels)
    written = [ascii_text(name) for name in names]
    assert len(set(written)) == len(labels)
    assert [text(each) for each in written] == list(names)


@pytest.mark.parametrize(
    ("label", "name"), [("Hα", "Ha"), ("红", "红"), ("Empty", "Empty (position 2)"), ("Фильтр №3", "Фильтр №3")]
)
def test_the_wheels_own_word_is_had_back_from_a_second_card(label: str, name: str) -> None:
    header = FrameHeader(kind=FrameKind.FLAT, shape=(2, 2), filter=name, filter_label=label)
    cards = to_cards(header)
    assert all(str(card.value).isascii() for card in cards)
    found = from_cards({card.keyword: card.value for card in cards}, shape=(2, 2))
    assert (found.filter, found.filter_label) == (name, label)


def test_a_long_name_is_not_cut_within_a_letter() -> None:
    name = filter_name("红外截止滤镜红外截止滤镜") or ""
    assert name == "红外截止滤镜红外"
    assert filter_name(name) == name
