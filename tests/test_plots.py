"""The pictures: legible colours, axes that tell the truth, outputs that carry their text alternative."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from itertools import combinations
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
from l2lab import dark, data, plots
from l2lab.measures import ridge_path

ALT = "Test error against λ: a U with its lowest point near 0.01."
LAMS = np.r_[0, np.logspace(-4, 1, 11)]


@pytest.fixture(autouse=True)
def _style():
    plots.use_style()
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


# ---------------------------------------------------------------- colours


def linear(color):
    c = np.array(to_rgb(color))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast_on_white(color):
    return 1.05 / (linear(color) @ [0.2126, 0.7152, 0.0722] + 0.05)


def test_colours_are_legible_on_white():
    for name, color in plots.COLORS.items():
        assert contrast_on_white(color) >= 3, name
    assert contrast_on_white(plots.COLORS["vermillion"]) >= 4.3  # carries the number of exact zeros, bold


# Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB
BLINDNESS = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    f = np.cbrt(np.clip(xyz / [0.9505, 1, 1.089], 0, None))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", BLINDNESS)
def test_curves_that_share_a_picture_differ_for_every_eye(eye):
    looks = plots._looks(["train", "test", "valid"])
    for a, b in combinations(looks.values(), 2):
        seen = [lab(np.clip(np.array(BLINDNESS[eye]) @ linear(look["color"]), 0, 1)) for look in (a, b)]
        assert np.linalg.norm(seen[0] - seen[1]) > 15
        assert a["linestyle"] != b["linestyle"]
        assert a["marker"] != b["marker"]


def test_looks_are_fixed_for_known_names_and_never_shared():
    alone, mixed = plots._looks(["test"]), plots._looks(["mine", "test", "other", "train"])
    assert alone["test"] == mixed["test"]
    assert len({look["color"] for look in mixed.values()}) == 4


def test_text_is_at_least_nine_points():
    for key in ("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"):
        assert mpl.rcParams[key] >= 9


def test_use_style_forgets_what_was_set_before():
    mpl.rcParams["axes.titlesize"] = 40
    mpl.rcParams["image.cmap"] = "jet"
    plots.use_style()
    assert mpl.rcParams["axes.titlesize"] < 12
    assert mpl.rcParams["image.cmap"] == "viridis"


# ---------------------------------------------------------------- λ axis


def tick_texts(axis):
    axis.axes.figure.canvas.draw()
    return [t.get_text() for t in axis.get_ticklabels()]


def test_lam_axis_gives_zero_a_place_of_its_own(ax):
    x = plots.lam_axis(ax, LAMS)
    np.testing.assert_array_equal(x[1:], LAMS[1:])
    assert 0 < x[0] < LAMS[1]
    assert ax.get_xscale() == "log"
    left, right = ax.get_xlim()
    assert left < x[0]
    assert right > x[-1]
    texts = tick_texts(ax.xaxis)
    assert texts[0] == "0"
    assert ax.get_xticks()[0] == x[0]
    assert texts[1:] == [f"$10^{{{k}}}$" for k in range(-4, 2)]
    assert sum(t.get_text() == "/" for t in ax.texts) == 2  # the break in the axis


def test_lam_axis_without_zero_is_an_ordinary_log_axis(ax):
    x = plots.lam_axis(ax, LAMS[1:], label="weight decay λ")
    np.testing.assert_array_equal(x, LAMS[1:])
    assert "0" not in tick_texts(ax.xaxis)
    assert not ax.texts
    assert ax.get_xlabel() == "weight decay λ"


@pytest.mark.parametrize(
    ("lams", "texts"),
    [([0.02, 0.05], ["0.02", "0.05"]), ([0.1], ["$10^{-1}$"]), (np.logspace(-12, 12, 25), None)],
    ids=["no decade", "one value", "25 decades"],
)
def test_lam_axis_has_a_readable_number_of_ticks(ax, lams, texts):
    plots.lam_axis(ax, lams)
    got = tick_texts(ax.xaxis)
    assert 1 <= len(got) <= 9
    assert texts is None or got == texts


@pytest.mark.parametrize("lams", [[], [0], [-1, 1], [1, 0.1], [0.1, 0.1], [0.1, np.nan], [[0.1]]], ids=str)
def test_lam_axis_refuses(ax, lams):
    with pytest.raises(ValueError, match=r"λ|lams"):
        plots.lam_axis(ax, lams)


# ---------------------------------------------------------------- curves


def test_u_curve_draws_median_and_range(ax):
    values = np.random.default_rng(0).random((12, 5))
    plots.u_curve(ax, LAMS, {"test": values, "train": values[:, 0]}, best="test", ylabel="error")
    curve = next(line for line in ax.lines if line.get_label() == "test")
    np.testing.assert_array_equal(curve.get_xdata(), LAMS[1:])
    np.testing.assert_array_equal(curve.get_ydata(), np.median(values, axis=1)[1:])
    (band,) = [c for c in ax.collections if c.get_paths()[0].vertices.shape[0] > 10]
    inside = band.get_paths()[0].vertices[:, 1]
    assert inside.min() == values[1:].min()
    assert inside.max() == values[1:].max()
    where = LAMS[np.median(values, axis=1).argmin()]
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert texts == ["test", "train", f"best test: λ = {where:.2g}"]
    assert ax.get_legend().get_title().get_text() == "median and min–max of 5 seeds"
    assert ax.get_ylabel() == "error"


def test_u_curve_draws_mean_and_sample_deviation(ax):
    values = np.array([[1.0, 3.0], [4.0, 8.0], [2.0, 2.0]])
    plots.u_curve(ax, [0.1, 1, 10], {"loss": values}, spread="sd", best="loss", mode="max")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [2, 6, 2])
    y = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert y.min() == pytest.approx(2 - np.sqrt(2))
    assert y.max() == pytest.approx(6 + np.sqrt(8))
    assert ax.get_legend().get_texts()[1].get_text() == "best loss: λ = 1"
    assert ax.get_legend().get_title().get_text() == "mean ± 1 sd of 2 seeds"


def test_legend_goes_where_it_is_asked_to(ax):
    plots.u_curve(ax, LAMS, {"test": np.arange(12.0)}, legend="lower left")
    box, frame = (a.get_window_extent() for a in (ax.get_legend(), ax))
    assert box.x0 - frame.x0 < 0.1 * frame.width
    assert box.y0 - frame.y0 < 0.1 * frame.height
    other = plt.subplots()[1]
    plots.u_curve(other, LAMS, {"test": np.arange(12.0)}, legend=False)
    assert other.get_legend() is None


def test_u_curve_does_not_join_zero_to_the_rest(ax):
    plots.u_curve(ax, LAMS, {"test": np.arange(12.0)})
    lines = [line for line in ax.lines if line.get_color() == plots.COLORS["vermillion"]]
    assert [len(line.get_xdata()) for line in lines] == [11, 1]
    assert lines[1].get_ydata()[0] == 0


@pytest.mark.parametrize(
    ("curves", "options", "message"),
    [
        ({}, {}, "empty"),
        ({"a": np.ones(3)}, {}, "shape"),
        ({"a": np.ones((12, 2, 2))}, {}, "shape"),
        ({"a": np.ones(12)}, {"spread": "iqr"}, "minmax"),
        ({"a": np.ones(12)}, {"mode": "best"}, "'min' or 'max'"),
        ({"a": np.ones(12)}, {"best": "b"}, "best='b'"),
    ],
    ids=str,
)
def test_u_curve_refuses(ax, curves, options, message):
    with pytest.raises(ValueError, match=message):
        plots.u_curve(ax, LAMS, curves, **options)


def test_paths_tell_true_from_noise_by_more_than_colour(ax):
    coefs = np.random.default_rng(0).standard_normal((12, 6))
    support = np.array([True, False, False, True, False, False])
    plots.paths(ax, LAMS, coefs, groups=support)
    curves = [line for line in ax.lines if len(line.get_xdata()) == 11]
    assert len(curves) == 6
    true = [line for line in curves if line.get_color() == plots.COLORS["blue"]]
    np.testing.assert_array_equal(np.stack([t.get_ydata() for t in true], 1), coefs[1:][:, support])
    noise = [line for line in curves if line not in true]
    assert min(t.get_linewidth() for t in true) > 1.5 * max(t.get_linewidth() for t in noise)
    assert min(t.get_zorder() for t in true) > max(t.get_zorder() for t in noise)
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert texts == ["true features (2)", "noise features (4)"]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(np.sort([d.get_ydata()[0] for d in dots]), np.sort(coefs[0]))


def test_paths_with_names_and_without(ax):
    plots.paths(ax, LAMS[1:], np.ones((11, 3)), groups=["twin", "noise", "twin"], legend=False)
    assert ax.get_legend() is None
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.lines[1:]}
    assert len(styles) == 2
    other = plt.subplots()[1]
    plots.paths(other, LAMS[1:], np.ones((11, 3)))
    assert other.get_legend() is None


@pytest.mark.parametrize(
    ("coefs", "groups"), [(np.ones((3, 4)), None), (np.ones(12), None), (np.ones((12, 3)), [True, False])]
)
def test_paths_refuses(ax, coefs, groups):
    with pytest.raises(ValueError, match="shape"):
        plots.paths(ax, LAMS, coefs, groups=groups)


# ---------------------------------------------------------------- histogram


def test_histogram_has_a_log_axis_and_the_zeros_apart(ax):
    edges, counts = np.linspace(-2, 2, 6), np.array([1, 0, 800, 4, 1])
    plots.weight_histogram(ax, edges, counts, zeros=1234, label="λ = 0.1")
    assert ax.get_yscale() == "log"
    bottom, top = ax.get_ylim()
    assert 0 < bottom < 1 < 1234 < top  # a single weight is visible, the highest bar is not cut
    (stairs,) = [p for p in ax.patches if hasattr(p, "get_data")]
    np.testing.assert_array_equal(stairs.get_data().values, counts)
    np.testing.assert_array_equal(stairs.get_data().edges, edges)
    (bar,) = ax.containers[0]
    assert bar.get_x() > edges[-1]
    assert bar.get_y() + bar.get_height() == pytest.approx(1234)
    assert ax.texts[0].get_text() == "1,234"
    assert tick_texts(ax.xaxis)[-1] == "= 0"
    assert ax.get_title(loc="left") == "λ = 0.1"


def test_histogram_says_that_there_are_no_zeros(ax):
    plots.weight_histogram(ax, [-1, 0, 1], [3, 3], zeros=0)
    assert not ax.containers
    assert ax.texts[0].get_text() == "0"


def test_histogram_without_zeros_and_with_a_common_top(ax):
    plots.weight_histogram(ax, [-1, 0, 1], [3, 3], top=5000)
    assert not ax.texts
    assert ax.get_ylim()[1] == 5000
    assert ax.get_xlim() == (-1, 1)


@pytest.mark.parametrize(
    ("edges", "counts", "zeros", "message"),
    [
        ([0, 1], [1, 2], None, "shape"),
        ([0, 1, 2], [[1, 2]], None, "shape"),
        ([0, 1, 2], [1, -2], None, "negative"),
        ([0, 1, 2], [1, 2], -1, "negative"),
    ],
)
def test_histogram_refuses(ax, edges, counts, zeros, message):
    with pytest.raises(ValueError, match=message):
        plots.weight_histogram(ax, edges, counts, zeros=zeros)


# ---------------------------------------------------------------- show


def test_show_in_plain_python_closes_the_figure_and_says_nothing(ax, capsys):
    assert plots.show(ax.figure, alt=ALT, caption="A U.") is None
    assert not plt.get_fignums()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alt": ""}, "alt"),
        ({"alt": None}, "alt"),
        ({"alt": "a plot"}, "at least 20 characters"),
        ({"alt": "a" + " " * 30}, "at least 20 characters"),
        ({"caption": "  "}, "caption"),
        ({"name": ""}, "name"),
        ({"name": "Fig 1"}, "name"),
    ],
    ids=str,
)
def test_show_refuses(ax, options, message):
    with pytest.raises(ValueError, match=message):
        plots.show(ax.figure, **{"alt": ALT, "caption": "A U."} | options)


def test_show_needs_a_figure(ax):
    with pytest.raises(TypeError, match=r"ax\.figure"):
        plots.show(ax, alt=ALT, caption="A U.")


def test_same_figure_same_bytes(ax):
    plots.u_curve(ax, LAMS, {"test": np.arange(12.0)})
    first, second = (plots.pictures(ax.figure) for _ in range(2))
    assert first == second, "in dark colours too, which the figure does not keep"
    assert b"matplotlib" not in base64.b64decode(first[0]).lower()


def test_pictures_are_crisp_small_and_on_white():
    fig, axes = plt.subplots(1, 2)
    problem = data.sparse_regression()
    coefs = ridge_path(problem.X_train, problem.y_train, LAMS)
    for axis in axes:
        plots.paths(axis, LAMS, coefs, groups=problem.support)
    light, dark = map(base64.b64decode, plots.pictures(fig))
    image = Image.open(io.BytesIO(light))
    assert max(len(light), len(dark)) < 80_000
    np.testing.assert_allclose(image.size, (7.2 * 144, 3.6 * 144), atol=1)
    assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    # The palette must not shift the house colours: the line colour is still there, to the last bit.
    exact = tuple(round(255 * c) for c in to_rgb(plots.COLORS["blue"]))
    colours = np.array(image.convert("RGB")).reshape(-1, 3).astype(int)
    assert np.abs(colours - exact).max(axis=1).min() <= 2


# ---------------------------------------------------------------- dark pages


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
        lambda ax, c: ax.vlines([0, 1], 0, 1, color=c, lw=5),
        lambda ax, c: ax.stairs([1, 2], fill=True, color=c),
        lambda ax, c: ax.text(0.5, 0.5, "MMM", color=c, fontsize=60),
        lambda ax, c: ax.text(0.5, 0.5, "x", bbox={"facecolor": c}, fontsize=60),
        lambda ax, c: ax.annotate("", (0, 0), (1, 1), arrowprops={"color": c}),
        lambda ax, c: ax.plot([0], label="x", color=c) and ax.legend(),
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
    ids=["photograph", "digit", "viridis"],
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
    strong = mpl.colors.to_hex(dark.counterparts(mpl.colormaps["Blues"](1.0))[0])
    assert has(night, strong)


def test_inks_and_greys_keep_their_contrast_on_a_dark_page():
    for ink in ("#1F2328", "#4A5058", "#000000"):
        assert contrast(dark.counterparts(ink)[0, :3], to_rgb(dark.GROUND)) >= 7, ink
    for text in ("vermillion", "blue"):
        assert contrast(dark.counterparts(plots.COLORS[text])[0, :3], to_rgb(dark.GROUND)) >= 4.5
    pale = dark.counterparts("#E3E6EA")[0, :3]  # the grid
    assert 1.1 < contrast(pale, to_rgb(dark.GROUND)) < 2


def test_opacity_stays_and_what_is_invisible_stays_invisible(ax):
    _, _, (step,) = ax.hist([0, 1], histtype="step", color=plots.COLORS["blue"], alpha=0.5)
    with dark.dark_colours(ax.figure):
        assert step.get_facecolor()[3] == 0
        assert step.get_edgecolor()[3] == 0.5


def test_show_in_a_notebook_carries_alt_and_caption():
    code = f"""
import matplotlib.pyplot as plt
from l2lab import plots
plots.use_style()
fig, ax = plt.subplots()
plots.show(fig, alt={ALT!r}, caption="A  *U*.", name="u-curve")
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    book = Path(plots.__file__).parents[1]
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(book)}}).execute()
    picture, caption = notebook.cells[0].outputs  # and no third: the figure is not drawn twice
    assert picture.output_type == caption.output_type == "display_data"
    assert set(picture.data) == {"image/png", "text/plain"}
    assert picture.data["text/plain"] == ALT
    assert picture.metadata["image/png"] == {"alt": ALT, "width": 691, "height": 346}
    mark = dict(picture.metadata["l2lab"])
    assert opened(mark.pop("dark")).getpixel((2, 2)) == rgb(dark.GROUND)
    assert mark == {"alt": ALT, "caption": "A *U*.", "name": "u-curve"}
    assert Image.open(io.BytesIO(base64.b64decode(picture.data["image/png"]))).format == "PNG"
    assert caption.data["text/markdown"] == "*A *U*.*"
    assert caption.metadata == {"l2lab": {"role": "caption"}}
    nbformat.validate(notebook)


def test_plots_work_without_ipython():
    code = (
        "import sys; sys.modules['IPython'] = None\n"
        "import matplotlib; matplotlib.use('Agg')\n"
        "import matplotlib.pyplot as plt\nfrom l2lab import plots\n"
        f"print(plots.show(plt.figure(), alt={ALT!r}, caption='A U.'))"
    )
    book = Path(plots.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=book, capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == "None", done.stderr
