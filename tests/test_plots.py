"""The pictures: axes that tell the truth, outputs that carry their text alternative, dark counterparts."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from nbclient import NotebookClient
from PIL import Image

from colours import contrast
from l2lab import dark, plots

ALT = "Test error against λ: a U with its lowest point near 0.01."
LAMS = np.r_[0, np.logspace(-4, 1, 11)]


@pytest.fixture
def ax():
    mpl.rcParams["axes.titlesize"] = 40
    plots.use_style()
    assert mpl.rcParams["axes.titlesize"] < 12  # what was set before is forgotten
    yield plt.subplots()[1]
    plt.close("all")


def tick_texts(axis):
    axis.axes.figure.canvas.draw()
    return [t.get_text() for t in axis.get_ticklabels()]


def test_lam_axis_gives_zero_a_place_of_its_own(ax):
    x = plots.lam_axis(ax, LAMS)
    np.testing.assert_array_equal(x[1:], LAMS[1:])
    assert ax.get_xlim()[0] < x[0] < LAMS[1]
    assert tick_texts(ax.xaxis) == ["0", *(f"$10^{{{k}}}$" for k in range(-4, 2))]
    assert ax.get_xticks()[0] == x[0]
    assert sum(t.get_text() == "/" for t in ax.texts) == 2  # the break in the axis


@pytest.mark.parametrize(
    ("lams", "texts"),
    [([0.02, 0.05], ["0.02", "0.05"]), ([0.1], ["$10^{-1}$"]), (np.logspace(-12, 12, 25), None)],
)
def test_lam_axis_without_zero_has_a_readable_number_of_ticks(ax, lams, texts):
    np.testing.assert_array_equal(plots.lam_axis(ax, lams, label="weight decay λ"), lams)
    got = tick_texts(ax.xaxis)
    assert 1 <= len(got) <= 9
    assert "0" not in got
    assert texts is None or got == texts
    assert not ax.texts
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "weight decay λ")


def test_u_curve_draws_median_and_range_and_does_not_join_zero_to_the_rest(ax):
    values = np.random.default_rng(0).random((12, 5))
    plots.u_curve(ax, LAMS, {"test": values, "train": values[:, 0]}, ylabel="error")
    red = [line for line in ax.lines if line.get_color() == plots.COLORS["vermillion"]]
    assert [line.get_xdata().size for line in red] == [11, 1]
    np.testing.assert_array_equal(np.r_[red[1].get_ydata(), red[0].get_ydata()], np.median(values, axis=1))
    (band,) = [c for c in ax.collections if c.get_paths()[0].vertices.shape[0] > 10]
    inside = band.get_paths()[0].vertices[:, 1]
    assert (inside.min(), inside.max()) == (values[1:].min(), values[1:].max())
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["test", "train"]
    assert ax.get_legend().get_title().get_text() == "median and min–max of 5 seeds"
    assert ax.get_ylabel() == "error"
    other = plt.subplots()[1]
    plots.u_curve(other, LAMS, {"test": np.arange(12.0)}, legend=False)
    assert other.get_legend() is None


def test_histogram_has_a_log_axis_and_the_zeros_apart(ax):
    edges, counts = np.linspace(-2, 2, 6), np.array([1, 0, 800, 4, 1])
    plots.weight_histogram(ax, edges, counts, zeros=1234, label="λ = 0.1")
    assert ax.get_yscale() == "log"
    bottom, top = ax.get_ylim()
    assert 0 < bottom < 1 < 1234 < top  # a single weight is visible, the highest bar is not cut
    (stairs,) = [p for p in ax.patches if hasattr(p, "get_data")]
    np.testing.assert_array_equal(stairs.get_data().values, counts)
    (bar,) = ax.containers[0]
    assert bar.get_x() > edges[-1]
    assert bar.get_y() + bar.get_height() == pytest.approx(1234)
    assert ax.texts[0].get_text() == "1,234"
    assert tick_texts(ax.xaxis)[-1] == "= 0"
    assert ax.get_title(loc="left") == "λ = 0.1"
    other = plt.subplots()[1]
    plots.weight_histogram(other, [-1, 0, 1], [3, 3], zeros=0, top=5000)
    assert (other.containers, other.texts[0].get_text(), other.get_ylim()[1]) == ([], "0", 5000)


REFUSED = {
    "increase": lambda ax: plots.lam_axis(ax, [0.1, 0.1]),
    "one of them positive": lambda ax: plots.lam_axis(ax, [0]),
    "finite": lambda ax: plots.lam_axis(ax, [0.1, np.nan]),
    "curve 'a' must have shape": lambda ax: plots.u_curve(ax, LAMS, {"a": np.ones(3)}),
    "counts must have shape": lambda ax: plots.weight_histogram(ax, [0, 1], [1, 2]),
    "at least 20 characters": lambda ax: plots.show(ax.figure, alt="a" + " " * 30, caption="A U."),
    "give a caption": lambda ax: plots.show(ax.figure, alt=ALT, caption="  "),
    "name must be": lambda ax: plots.show(ax.figure, alt=ALT, caption="A U.", name="Fig 1"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused(ax, message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message](ax)


def test_show_in_a_notebook_carries_alt_and_caption():
    code = "import matplotlib.pyplot as plt\nfrom l2lab import plots\nplots.use_style()\n"
    code += f"plots.show(plt.figure(), alt={ALT!r}, caption='A  *U*.', name='u-curve')"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    book = Path(plots.__file__).parents[1]
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(book)}}).execute()
    picture, caption = notebook.cells[0].outputs  # and no third: the figure is not drawn twice
    assert set(picture.data) == {"image/png", "text/plain"}
    assert picture.data["text/plain"] == ALT
    assert picture.metadata["image/png"] == {"alt": ALT, "width": 691, "height": 346}
    mark = dict(picture.metadata["l2lab"])
    assert opened(mark.pop("dark")).getpixel((2, 2)) == rgb(dark.GROUND)
    assert mark == {"alt": ALT, "caption": "A *U*.", "name": "u-curve"}
    assert opened(picture.data["image/png"]).getpixel((2, 2)) == (255, 255, 255)
    assert caption.data["text/markdown"] == "*A *U*.*"
    assert caption.metadata == {"l2lab": {"role": "caption"}}


def test_pictures_are_small_and_sharp_and_the_same_for_the_same_figure(ax):
    plots.u_curve(ax, LAMS, {"train": np.arange(12.0)})
    first, second = (plots.pictures(ax.figure) for _ in range(2))
    assert first == second, "in dark colours too, which the figure does not keep"
    assert max(map(len, first)) < 80_000
    plots.show(ax.figure, alt=ALT, caption="A U.")
    assert not plt.get_fignums()
    assert b"matplotlib" not in base64.b64decode(first[0]).lower()
    image = opened(first[0])
    np.testing.assert_allclose(image.size, (7.2 * 144, 3.6 * 144), atol=1)
    assert image.getpixel((2, 2)) == (255, 255, 255)
    assert has(image, plots.COLORS["blue"]), "the palette must not shift the house colours"


def opened(picture: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")


def rgb(color: str) -> tuple[int, ...]:
    return tuple(round(255 * c) for c in to_rgb(color))


def has(image: Image.Image, color: str) -> bool:
    """Whether a colour is there, but for what the palette of 256 takes from it."""
    pixels = np.array(image).reshape(-1, 3).astype(int)
    return bool(np.abs(pixels - rgb(color)).max(axis=1).min() <= 2)


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax, c: ax.plot([0, 1], [0, 1], "o-", color=c, lw=5),
        lambda ax, c: ax.hist([0, 1], color=c, hatch="//", edgecolor="white"),
        lambda ax, c: ax.fill_between([0, 1], [0, 1], color=c),
        lambda ax, c: ax.text(0.5, 0.5, "x", bbox={"facecolor": c}, fontsize=60),
        lambda ax, c: ax.annotate("", (0, 0), (1, 1), arrowprops={"color": c}),
        lambda ax, c: ax.plot([0], color=c, label="x") and ax.legend(),
        lambda ax, c: ax.spines["left"].set(color=c, linewidth=6),
    ],
)
def test_whatever_is_drawn_has_its_dark_counterpart(ax, draw):
    blue = plots.COLORS["blue"]
    draw(ax, blue)
    light, night = map(opened, plots.pictures(ax.figure))
    assert has(light, blue)
    assert has(night, dark.PAIRS[blue.lower()])
    assert not has(night, blue)
    assert not has(night, "white")


@pytest.mark.parametrize(
    "picture",
    [{"X": np.full((2, 2, 3), [0.9, 0.2, 0.1])}, {"X": np.eye(2), "cmap": "gray_r"}, {"X": np.eye(2)}],
)
def test_a_picture_in_a_figure_is_not_inverted_nor_what_is_drawn_on_it(ax, picture):
    ax.imshow(**picture)
    ax.grid(False)
    ax.plot([0, 1], [0, 1], color=plots.COLORS["blue"], lw=9)
    inside = ax.get_window_extent()
    parts = []
    for image in map(opened, plots.pictures(ax.figure)):
        top = image.height - inside.y1
        parts.append(image.crop((inside.x0 + 9, top + 9, inside.x1 - 9, top + inside.height - 9)))
    light, night = (np.array(part).astype(int) for part in parts)
    assert np.abs(light - night).max() <= 20, "more than two palettes differ"


def test_a_map_that_fades_into_paper_fades_into_the_dark_page(ax):
    """With the numbers on it: those of a confusion matrix must still be read."""
    ax.imshow(np.array([[0.0, 1.0]]), cmap="Blues")
    ax.text(0, 0, "MM", color=mpl.colormaps["Blues"](1.0), fontsize=40, ha="center")
    light, night = map(opened, plots.pictures(ax.figure))
    assert has(light, "#f7fbff")
    assert not has(night, "#f7fbff")
    assert has(night, mpl.colors.to_hex(dark.counterparts(mpl.colormaps["Blues"](1.0))[0]))


def test_inks_and_greys_keep_their_contrast_on_a_dark_page():
    ground = to_rgb(dark.GROUND)
    for ink in ("#1F2328", "#4A5058", "#000000"):
        assert contrast(dark.counterparts(ink)[0, :3], ground) >= 7, ink
    for text in ("vermillion", "blue"):
        assert contrast(dark.counterparts(plots.COLORS[text])[0, :3], ground) >= 4.5
    assert 1.1 < contrast(dark.counterparts("#E3E6EA")[0, :3], ground) < 2  # the grid


def test_opacity_stays_and_what_is_invisible_stays_invisible(ax):
    _, _, (step,) = ax.hist([0, 1], histtype="step", color=plots.COLORS["blue"], alpha=0.5)
    with dark.dark_colours(ax.figure):
        assert step.get_facecolor()[3] == 0
        assert step.get_edgecolor()[3] == 0.5
