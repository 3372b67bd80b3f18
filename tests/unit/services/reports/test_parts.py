"""The parts that pages are made of: every text is escaped, whatever it is shown as, and nothing heavy is loaded."""

import subprocess
import sys

import pytest
from jinja2 import UndefinedError

from services.reports.figures import Figure, Shape
from services.reports.parts import Cell, Column, Mark, Table, page, templates
from tests.support.places import ROOT

HOSTILE = '"><script>alert(1)</script>'


def made(macro: str, *shown: object) -> str:
    parts = templates().get_template("parts.html").module
    return str(getattr(parts, macro)(*shown))


@pytest.mark.parametrize(
    ("macro", "shown"),
    [
        ("mark", Mark(text=HOSTILE, look=HOSTILE)),
        ("table", Table(columns=(Column(name=HOSTILE, meaning=HOSTILE),), rows=((HOSTILE,),), note=HOSTILE)),
        ("table", Table(columns=(Column(name="a"),), rows=((Cell(text="b", reasons=(HOSTILE,)),),))),
        ("cell", Cell(text=HOSTILE, code=True, lines=((HOSTILE, HOSTILE),), notes=(HOSTILE,))),
        ("lines", [(HOSTILE, HOSTILE)]),
        ("svg", Figure(shapes=(Shape("text", {"x": HOSTILE}, HOSTILE),), height=1, label=HOSTILE)),
    ],
)
def test_texts_and_attributes_are_escaped(macro, shown):
    text = made(macro, shown)
    assert "<script" not in text
    assert "&#34;&gt;&lt;script&gt;" in text


def test_a_cell_without_a_value_shows_a_dash():
    assert "<td>–</td>" in made("table", Table(columns=(Column(name="a"), Column(name="b")), rows=(("x", None),)))


def test_a_name_that_a_page_does_not_give_is_an_error():
    with pytest.raises(UndefinedError, match="summary"):
        page("night.html", {})


def test_charts_and_templates_load_neither_astropy_nor_numba():
    """A daemon that shows pages all day is to stay small."""
    code = "import sys, services.reports.figures, services.reports.parts, services.words; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"numpy", "astropy", "numba", "scipy", "matplotlib", "PIL"} & set(done.stdout.split())
