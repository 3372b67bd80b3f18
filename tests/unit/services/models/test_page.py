"""The page of a model: its parts for any kind of model, and that of a bias as a whole."""

import re
from pathlib import Path

import numpy as np
import pytest

from calibration.models.linear import ModelBit
from services.files.planes import Plane, create_planes
from services.models.drawing import Plot, new_figure, residuals, scale_of
from services.models.misfits import misfit_section, misfits_of
from services.models.page import ModelPage, Section, Shown, table_of, write_page
from services.reports.summary import Headline

HEADLINE = Headline(look="ok", text="It holds", detail="")


def test_a_page_loads_nothing_and_escapes_what_files_say(tmp_path: Path) -> None:
    plot = Plot(name="a/plot.png", draw=lambda: new_figure(2, 1)[0], title="A plot", caption="What is seen.")
    left_out = [{"path": f"/frames/<b>{i}</b>.fits", "reason": "too & warm"} for i in range(300)]
    shown = ModelPage(
        title="Model <1>",
        base=tmp_path,
        headline=HEADLINE,
        notes=("nothing is known.", "all is well"),
        sections=(Section(title="Part", sentences=("Words.",), plots=(plot,)),),
        left_out=left_out,
    )
    assert write_page(shown, tmp_path / "out") == [tmp_path / "out/a/plot.png", tmp_path / "out/report.html"]
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="(.{0,5})', page)) == {"data:"}
    assert "Model &lt;1&gt;" in page
    assert "<li>Nothing is known.</li>" in page
    assert "<li>All is well.</li>" in page
    assert "<b>0" not in page
    assert "300 files" in page
    assert "And 100 more" in page


def test_no_plot_leaves_half_a_row_empty(tmp_path: Path) -> None:
    wide = {"a": False, "b": False, "c": False, "d": True, "e": False, "f": True, "g": False, "h": False}
    plots = tuple(Plot(name=f"{n}.png", draw=lambda: new_figure(1, 1)[0], title=n, wide=w) for n, w in wide.items())
    sections = (Section(title="One", plots=plots), Section(title="None"), Section(title="Two", plots=plots[-1:]))
    write_page(ModelPage(title="M", base=tmp_path, headline=HEADLINE, sections=sections), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<figure class="card plot alone">\s*<header><h3>(.)<', page) == ["c", "e", "h"]


def test_a_table_has_words_for_what_is_not_a_number() -> None:
    rows = [{"t": -5.0, "inside": True, "error": None}, {"t": 5, "inside": False, "error": float("nan")}]
    found = table_of(
        rows, [Shown(name="t", head="°C", decimals=1), Shown(name="inside", head="in"), Shown(name="error", head="e")]
    )
    assert found.rows == (("−5.0", "yes", None), ("5.0", "no", None))
    assert found.numbers == {0, 2}


def planes(path: Path, mask: np.ndarray, chi_square: np.ndarray) -> Path:
    shape = (mask.shape[0], mask.shape[1])
    made = (Plane(name="A"), Plane(name="CHI2"), Plane(name="MASK", dtype=np.uint16))
    with create_planes(path, made, shape) as file:
        file.write("A", 0, np.arange(mask.size, dtype=np.float32).reshape(shape))
        file.write("CHI2", 0, chi_square)
        file.write("MASK", 0, mask)
        file.finish()
    return path


def test_pixels_that_a_model_does_not_fit_are_counted_placed_and_ranked(tmp_path: Path) -> None:
    mask, chi_square = np.zeros((90, 60), np.uint16), np.ones((90, 60), np.float32)
    spots = [(y, x) for y in range(0, 90, 10) for x in (1, 5, 59)]
    for rank, (y, x) in enumerate(spots):
        mask[y, x], chi_square[y, x] = ModelBit.MISFIT | ModelBit.OUTLIER, 10 + rank
    mask[4, 4], chi_square[4, 4] = ModelBit.NO_DATA, np.nan
    found = misfits_of(planes(tmp_path / "model.fits", mask, chi_square), ["A"])
    assert found.counts[ModelBit.MISFIT] == found.counts[ModelBit.OUTLIER] == len(spots)
    assert found.counts[ModelBit.NO_DATA] == 1
    assert found.cells.sum() == len(spots)
    assert [(row["y"], row["x"]) for row in found.worst] == spots[::-1][:20]
    assert found.worst[0]["A"] == 80 * 60 + 59
    section = misfit_section(found, [Shown(name="A", head="A")])
    assert "Not fitted by the model: 27 of 5\u202f400 pixels" in " ".join(section.sentences)
    assert section.plots[0].draw() is not None


def test_a_model_that_fits_all_pixels_says_so_without_a_map(tmp_path: Path) -> None:
    made = planes(tmp_path / "model.fits", np.zeros((5, 5), np.uint16), np.ones((5, 5), np.float32))
    section = misfit_section(misfits_of(made, []), [])
    assert section.sentences == (
        "Not fitted by the model: 0 of 25 pixels (0\u00a0%). Their groups scatter about it as noise never makes them.",
    )
    assert not section.plots


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_residuals_are_drawn_also_where_there_are_none(value: float) -> None:
    figure = residuals({-5.0: np.full((3, 4), value), 5.0: np.zeros((3, 4))}, "t", "x", "y")
    assert len(figure.axes) == 1


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1.02] * 100, (1.0098, 1.0302)),
        ([1.0] * 99 + [0.88], (0.88, 1.0)),
        ([0.0] * 9, (-0.5, 0.5)),
        (range(101), (2.0, 98.0)),
        ([], (0.0, 1.0)),
    ],
)
def test_the_scale_of_a_map_shows_what_there_is(values, scale):
    assert scale_of(np.array(values, np.float64)) == pytest.approx(scale)
