"""What the lines of a run say of a model: its family in an observer's words."""

from itertools import combinations

import pytest

from calibration.models import bias
from calibration.models.dark.model import Family
from calibration.models.flat.model import Term
from services.events.modelled import ModelFitted, family_words
from services.events.sentences import sentence
from services.reports.models import models_table


def test_no_family_is_said_in_letters_or_with_underscores() -> None:
    flats = [("flat", " + ".join((Term.A, *more))) for n in range(3) for more in combinations((Term.B, Term.C), n)]
    for kind, family in (*flats, *(("dark", each) for each in Family), *(("bias", each) for each in bias.Family)):
        words = family_words(kind, family)
        assert len(words) > 5, family
        assert not {"_", "+"} & {*words}, family


@pytest.mark.parametrize(
    ("family", "words"), [("A", "fixed gains"), ("A + C", "gains that change with exposure"), (None, "")]
)
def test_line_and_report_say_the_same(family: str | None, words: str) -> None:
    what = ModelFitted(path="models/flat_1", kind="flat", family=family, n=12, temperatures=1, coldest_c=-10.0,
                       warmest_c=-10.0)  # fmt: skip
    of = "12 flats at 1 temperature, -10.0 °C"
    assert sentence(what) == (f"model flat_1: {words} of {of}" if words else f"model flat_1: {of}")
    row = models_table(
        [{"path": "models/flat_1", "kind": "flat", "family": family, "n": 12, "outcome": "kept", "words": []}]
    ).rows[0]
    assert row[2] == words
