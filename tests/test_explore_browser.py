"""The λ explorer seen from a browser: a page as the book's site writes it, opened in headless Chromium."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from ipywidgets import IntSlider
from ipywidgets.embed import dependency_state

from conftest import run_axe
from l2lab.budget import decay_budget, decay_limits, lam_needed, remaining_share
from l2lab.explore import (
    LambdaExplorer,
    bars_panel,
    budget_panel,
    compact_state,
    curves_panel,
    field_panel,
    fit_panel,
    geometry_panel,
    heatmap_panel,
    hist_panel,
    lasso_2d,
    paths_panel,
    ridge_2d,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

LOADER = Path(__file__).resolve().parents[1] / "book" / "_offline" / "vendor" / "widgets-offline.js"
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
L = 31
LAMS = np.logspace(-5, 1, L)
HESSIAN, W_STAR = np.array([[1.6, 0.7], [0.7, 0.5]]), np.array([1.2, 0.5])
HEAT_LAMS, HEAT_ROWS = np.r_[0, np.logspace(-5, 1, 13)], np.array([0.01, 0.03, 0.1, 0.3, 1.0])
GEOMETRY_LAMS = np.r_[0, np.logspace(-2, 1, 30)]

HEAD = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Harness</title>
<link rel="icon" href="data:,"><style>
html { background: #fff; color: #222832; --pst-color-background: #fff; --pst-color-text-base: #222832; }
html[data-theme=dark] { background: #14181e; color: #ced6dd; --pst-color-background: #14181e;
  --pst-color-text-base: #ced6dd; }
body { font-family: system-ui, sans-serif; margin: 0 auto; max-width: 768px; padding: 0 14px; }
img { max-width: 100%; } a { color: inherit; }</style>
<script src="widgets-offline.js"></script></head><body><main><h1>Harness</h1>
<p><a href="#b:lam=0.1">set λ = 0.1</a> <a href="#heading-b">go to the heading</a></p>"""


def make_data() -> SimpleNamespace:
    rng = np.random.default_rng(0)
    d = SimpleNamespace()
    d.coefs = rng.normal(size=(L, 12)) * (1 / (1 + LAMS))[:, None]
    d.coefs[np.abs(d.coefs) < 0.2 * LAMS[:, None] ** 0.3] = 0
    d.groups = np.arange(12) < 4
    d.train = np.log1p(LAMS)[:, None] + 0.1 + 0.02 * rng.random((L, 4))
    d.valid = (np.log10(LAMS)[:, None] + 2) ** 2 / 9 + 0.4 + 0.02 * rng.random((L, 4))
    d.edges = np.linspace(-1, 1, 42)
    weights = rng.normal(size=900) * 0.5
    shrunk = [weights / (1 + lam) for lam in LAMS]
    kept = [v[np.abs(v) > 0.01 * lam] for v, lam in zip(shrunk, LAMS, strict=True)]
    d.counts = np.stack([np.histogram(np.clip(v, -0.999, 0.999), d.edges)[0] for v in kept])
    d.zeros = 900 - d.counts.sum(axis=1)
    d.x = np.linspace(-1, 1, 81)
    d.fits = np.sin(3 * d.x) / (1 + LAMS)[:, None]
    d.points = np.c_[np.linspace(-1, 1, 12), np.sin(3 * np.linspace(-1, 1, 12)) + 0.2 * rng.normal(size=12)]
    gx, gy = np.meshgrid(np.linspace(-2, 2, 33), np.linspace(-1, 1, 25))
    d.logit = (np.sin(2 * gx) - 2 * gy)[None] * (1 / (1 + LAMS))[:, None, None] + 0.4 * np.log10(LAMS)[
        :, None, None
    ]
    # best at a product lr·λ of 10⁻³, diverged where it is large; the last λ has no finite run
    power = np.log10(np.maximum(HEAT_LAMS, 1e-6))[:, None] + np.log10(HEAT_ROWS)
    d.heat = np.where(power > -0.3, np.nan, 0.91 - 0.03 * (power + 3) ** 2)
    d.heat[-1] = np.nan
    d.sites = np.c_[rng.uniform(-1.9, 1.9, 40), rng.uniform(-0.95, 0.95, 40), rng.integers(0, 2, 40)]
    return d


DATA = make_data()


def make_explorers() -> list[LambdaExplorer]:
    d = DATA
    a = LambdaExplorer(
        LAMS,
        [
            fit_panel(d.x, d.fits, d.points, np.sin(3 * d.x)),
            curves_panel({"train": d.train, "validation": d.valid}, best="validation", ylabel="loss"),
            hist_panel(d.edges, d.counts, d.zeros, notes=[f"Note {k}." for k in range(L)]),
            field_panel(1 / (1 + np.exp(-d.logit)), (-2, 2, -1, 1), d.sites),
        ],
        name="a",
        label="λ (weight decay)",
        alt="Fit, losses, weights and boundary as the penalty grows",
    )
    b = LambdaExplorer(
        np.r_[0, LAMS],
        [
            paths_panel(np.r_[d.coefs[:1], d.coefs], groups=d.groups),
            bars_panel(
                np.r_[d.coefs[:1], d.coefs], groups=d.groups, labels=[f"feature {k}" for k in range(12)]
            ),
            curves_panel(
                {"test": np.linspace(0.5, 0.97, L + 1)}, percent=True, ylabel="accuracy", title="Accuracy"
            ),
        ],
        name="b",
        alt="Coefficient paths and bars on a grid that begins with zero",
    )
    c = LambdaExplorer(
        GEOMETRY_LAMS,
        [
            geometry_panel(HESSIAN, W_STAR, norms=["l2"]),
            geometry_panel(HESSIAN, W_STAR, norms=["l1"]),
            geometry_panel(HESSIAN, W_STAR),
        ],
        name="c",
        alt="Loss contours touching the ball and the diamond",
    )
    e = LambdaExplorer(
        LAMS,
        None,
        name="e",
        alt="Losses that a live kernel can train again",
        controls={"noise": [0.0, 0.5], "width": [8, 16]},
        compute=lambda noise, width: [curves_panel({"train": (1 + noise) * d.train})],
    )
    f = LambdaExplorer(
        HEAT_LAMS,
        [
            heatmap_panel(d.heat, HEAT_ROWS, title="Accuracy"),
            budget_panel(),
            heatmap_panel(
                1 - d.heat,
                HEAT_ROWS,
                title="Error",
                zlabel="test error (%)",
                percent=True,
                best="min",
                marks={"article": (4, 2), "default": (0, 1)},
            ),
        ],
        name="f",
        label="λ (weight decay)",
        alt="Accuracy over the penalty and the learning rate, and a decay budget",
    )
    return [a, b, c, e, f]


def state_of(*widgets: object) -> dict:
    return {"version_major": 2, "version_minor": 0, "state": dependency_state(widgets, drop_defaults=False)}


def cell(widget: LambdaExplorer) -> str:
    data, _ = widget._repr_mimebundle_()
    return (
        f'<h2 id="heading-{widget.name}">Section {widget.name}</h2><p>Text before it.</p><div class="output">'
        f'<div class="widget-fallback docutils container"><img alt="{widget.alt}" '
        f'src="data:image/png;base64,{data["image/png"]}"></div>'
        f'<script type="{VIEW}">{json.dumps(data[VIEW])}</script></div>'
    )


def document(cells: str, state: dict) -> str:
    text = json.dumps(state).replace("</", "<\\/")
    return f'{HEAD}{cells}</main><script type="{STATE}">{text}</script></body></html>'


@pytest.fixture(scope="module")
def explorers() -> list[LambdaExplorer]:
    return make_explorers()


@pytest.fixture(scope="module")
def folder(explorers: list[LambdaExplorer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harness")
    shutil.copy(LOADER, folder)
    cells, state = "".join(map(cell, explorers)), state_of(*explorers)
    (folder / "index.html").write_text(document(cells, compact_state(state)), encoding="utf-8")
    (folder / "full.html").write_text(document(cells, state), encoding="utf-8")
    (folder / "host.html").write_text(document("", {"state": {}}), encoding="utf-8")
    broken = json.loads(json.dumps(state))
    for model in broken["state"].values():
        if model["state"].get("name") == "a":
            model["state"]["_esm"] = "export default { render() { throw new Error('broken on purpose') } }"
    slider = IntSlider()
    broken["state"] |= dependency_state([slider], drop_defaults=False)
    core = (
        '<div class="output"><div class="widget-fallback"><img alt="a slider" src="data:,"></div>'
        f'<script type="{VIEW}">{json.dumps({"model_id": slider.model_id})}</script></div>'
    )
    (folder / "broken.html").write_text(document(cells + core, broken), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path, serve: Callable[[Path], str]) -> str:
    return serve(folder)


@pytest.fixture
def said(page: Page, url: str) -> Iterator[list[str]]:
    """Collect what a page must not do; the test fails if it did anything."""
    wrong: list[str] = []
    page.on(
        "request", lambda r: r.url.startswith((url, "data:", "blob:")) or wrong.append(f"asks for {r.url}")
    )
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("console", lambda m: m.type in ("error", "warning") and wrong.append(m.text))
    yield wrong
    assert wrong == []


@pytest.fixture
def opened(page: Page, url: str, said: list[str]) -> Page:
    return open_page(page, f"{url}/index.html")


@pytest.fixture(scope="module")
def standing(browser: Browser, url: str) -> Iterator[Page]:
    """One page for tests that set what they look at and leave nothing behind."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield open_page(context.new_page(), f"{url}/index.html")
    context.close()


def open_page(page: Page, address: str, n: int = 5) -> Page:
    page.goto(address, wait_until="load")
    page.wait_for_function(
        "n => document.querySelectorAll('.lx .lx-stage > svg > *').length && "
        "document.querySelectorAll('.lx').length === n",
        arg=n,
    )
    settle(page)
    return page


def settle(page: Page) -> None:
    """Wait until the frame that follows is painted."""
    page.evaluate(
        "() => new Promise(ok => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(ok))))"
    )


def part(page: Page, name: str) -> Locator:
    return page.locator(f".lx#{name}")


def slider(page: Page, name: str) -> Locator:
    return part(page, name).locator(".lx-slide input")


def readout(page: Page, name: str) -> str:
    return part(page, name).locator(".lx-bar output").inner_text()


def notes(page: Page, name: str) -> list[str]:
    settle(page)
    return part(page, name).locator(".lx-note").all_inner_texts()


def put_at(page: Page, name: str, index: int) -> None:
    slider(page, name).evaluate(
        "(e, i) => { e.value = i; e.dispatchEvent(new Event('input', {bubbles: true})) }", index
    )
    settle(page)


def drawings(page: Page, name: str) -> list[str]:
    """Everything that a panel shows, as text."""
    return (
        part(page, name)
        .locator(".lx-stage")
        .evaluate_all(
            "a => a.map(e => e.innerHTML + [...e.querySelectorAll('canvas')].map(c => c.toDataURL()).join())"
        )
    )


def numbers(text: str) -> list[float]:
    """Numbers of a read-out, of which some are written as powers of ten."""
    table = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
    text = re.sub(r"(?:([\d.]+)·)?10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: f"{m[1] or 1}e{m[2].translate(table)}", text)
    return [
        float(v)
        for v in re.findall(r"(?<![\w₁₂])-?\d+(?:\.\d+)?(?:e-?\d+)?", text.translate(table).replace(",", ""))
    ]


class TestStands:
    def test_widgets_replace_pictures(self, opened: Page) -> None:
        assert opened.locator(".lx").count() == 5
        for picture in opened.locator(".widget-fallback").all():
            assert not picture.is_visible()
            assert "is-live" in picture.get_attribute("class")

    def test_full_and_compact_state_look_alike(self, page: Page, url: str, said: list[str]) -> None:
        looks = []
        for name in ("index", "full"):
            open_page(page, f"{url}/{name}.html")
            looks.append([re.sub(r"lx-\w+-\d+", "", t) for n in "abcef" for t in drawings(page, n)])
        assert looks[0] == looks[1]

    def test_two_views_of_one_model_stay_in_step(
        self, page: Page, url: str, folder: Path, said, explorers
    ) -> None:
        text = document(2 * cell(explorers[1]).split("</p>")[1], state_of(explorers[1]))
        (folder / "twice.html").write_text(text, encoding="utf-8")
        open_page(page, f"{url}/twice.html", 2)
        page.locator(".lx-slide input").first.press("End")
        settle(page)
        assert page.locator(".lx-bar output").all_inner_texts() == ["λ = 10", "λ = 10"]
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))

    def test_size(self, folder: Path) -> None:
        assert (folder / "index.html").stat().st_size + LOADER.stat().st_size < 1_000_000


class TestFailure:
    def test_without_scripts_pictures_stay(self, browser: Browser, url: str) -> None:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{url}/index.html")
        assert page.locator(".widget-fallback img").count() == 5
        assert all(e.is_visible() for e in page.locator(".widget-fallback img").all())
        context.close()

    def test_a_broken_widget_and_a_foreign_one_keep_their_pictures(self, page: Page, url: str) -> None:
        lines: list[tuple[str, str]] = []
        page.on("console", lambda m: lines.append((m.type, m.text)))
        open_page(page, f"{url}/broken.html", 4)
        page.wait_for_timeout(100)
        shown = [e.is_visible() for e in page.locator(".widget-fallback").all()]
        assert shown == [True, False, False, False, False, True]
        assert sum(kind == "error" and "broken on purpose" in text for kind, text in lines) == 1
        assert sum(kind == "warning" and "keep their picture" in text for kind, text in lines) == 1


class TestSlider:
    @pytest.mark.parametrize("name", ["a", "b", "c", "e", "f"])
    def test_keys_change_readout_and_every_panel(self, standing: Page, name: str) -> None:
        before, text = drawings(standing, name), readout(standing, name)
        slider(standing, name).focus()
        for _ in range(3):
            standing.keyboard.press("ArrowRight")
        settle(standing)
        assert readout(standing, name) != text
        assert all(x != y for x, y in zip(before, drawings(standing, name), strict=True))

    def test_keys(self, standing: Page) -> None:
        e = slider(standing, "a")
        seen = {}
        for key in ("Home", "ArrowRight", "ArrowUp", "PageUp", "ArrowLeft", "ArrowDown", "PageDown", "End"):
            e.press(key)
            seen[key] = int(e.input_value())
        assert seen["Home"] == 0
        assert seen["ArrowRight"] == 1
        assert seen["ArrowUp"] == 2
        assert seen["PageUp"] > 3
        assert seen["ArrowDown"] == seen["PageUp"] - 2
        assert seen["PageDown"] < seen["ArrowDown"]
        assert seen["End"] == L - 1
        settle(standing)
        assert readout(standing, "a") == "λ = 10"
        assert e.get_attribute("aria-valuetext") == "λ = 10"

    @pytest.mark.parametrize(
        ("index", "text"), [(0, "λ = 10⁻⁵"), (2, "λ = 2.51·10⁻⁵"), (15, "λ = 0.01"), (17, "λ = 0.0251")]
    )
    def test_readout(self, standing: Page, index: int, text: str) -> None:
        put_at(standing, "a", index)
        assert readout(standing, "a") == text

    def test_zero_comes_first(self, standing: Page) -> None:
        slider(standing, "b").press("Home")
        settle(standing)
        assert readout(standing, "b") == "λ = 0"

    def test_mouse_on_the_slider_and_on_a_curve(self, opened: Page) -> None:
        box = slider(opened, "a").bounding_box()
        opened.mouse.click(box["x"] + box["width"] - 12, box["y"] + box["height"] / 2)
        assert int(slider(opened, "a").input_value()) >= L - 2
        plot = part(opened, "a").locator("svg.scrub").first
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        opened.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60)
        opened.mouse.down()
        opened.mouse.move(box["x"] + 3, box["y"] + 60, steps=5)
        opened.mouse.up()
        assert int(slider(opened, "a").input_value()) == 0

    def test_finger(self, browser: Browser, url: str) -> None:
        context = browser.new_context(viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
        page = open_page(context.new_page(), f"{url}/index.html")
        plot = part(page, "b").locator("svg.scrub").first
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] - 20, box["y"] + 60)
        settle(page)
        assert readout(page, "b") == "λ = 10"
        context.close()

    def test_play_and_pause(self, opened: Page) -> None:
        put_at(opened, "a", 3)
        button = part(opened, "a").locator(".lx-play")
        assert button.get_attribute("aria-label") == "Play through λ"
        button.click()
        assert button.get_attribute("aria-label") == "Pause"
        opened.wait_for_function("Number(document.querySelector('#a .lx-slide input').value) >= 5")
        button.click()
        stopped = slider(opened, "a").input_value()
        opened.wait_for_timeout(500)
        assert slider(opened, "a").input_value() == stopped
        put_at(opened, "a", L - 3)
        button.click()
        opened.wait_for_function("document.querySelector('#a .lx-play').ariaLabel === 'Play through λ'")
        assert int(slider(opened, "a").input_value()) == L - 1

    def test_less_motion_means_steps(self, browser: Browser, url: str) -> None:
        context = browser.new_context(reduced_motion="reduce")
        page = open_page(context.new_page(), f"{url}/index.html")
        put_at(page, "a", 3)
        button = part(page, "a").locator(".lx-play")
        assert button.get_attribute("aria-label") == "Next λ"
        button.click()
        page.wait_for_timeout(600)
        assert slider(page, "a").input_value() == "4"
        context.close()


class TestNumbers:
    """What panels say is what Python says."""

    @pytest.mark.parametrize("i", [0, 12, 22, 30])
    def test_fit_curves_weights_field(self, standing: Page, i: int) -> None:
        put_at(standing, "a", i)
        fit, curves, hist, field = notes(standing, "a")
        d = DATA
        assert numbers(fit) == pytest.approx(
            [math.sqrt(np.mean((d.fits[i] - np.sin(3 * d.x)) ** 2))], rel=6e-3, abs=1e-5
        )
        best = int(d.valid.mean(axis=1).argmin())
        assert numbers(curves)[:2] == pytest.approx([d.train[i].mean(), d.valid[i].mean()], rel=6e-3)
        assert numbers(curves)[2] == pytest.approx(LAMS[best], rel=6e-3)
        assert numbers(hist) == [d.zeros[i], 900, 0, i]
        assert part(standing, "a").locator("svg text", has_text=re.compile(rf"^{d.zeros[i]}$")).count() >= 1
        k = np.round((d.sites[:, 0] + 2) / 4 * 32, 9), np.round((d.sites[:, 1] + 1) / 2 * 24, 9)
        j, r = k[0].astype(int), k[1].astype(int)
        u, v = k[0] - j, k[1] - r
        margin = 2 / (1 + np.exp(-d.logit[i])) - 1
        at = (
            margin[r, j] * (1 - u) * (1 - v) + margin[r, j + 1] * u * (1 - v)
            + margin[r + 1, j] * (1 - u) * v + margin[r + 1, j + 1] * u * v
        )  # fmt: skip
        clear = np.abs(at) > 0.01
        wrong = (at > 0) != (d.sites[:, 2] == 1)
        low, high = wrong[clear].sum(), wrong[clear].sum() + (~clear).sum()
        assert low <= numbers(field)[0] <= high
        assert numbers(field)[1] == 40

    @pytest.mark.parametrize("i", [1, 16, 31])
    def test_paths_and_bars_count_exact_zeros(self, standing: Page, i: int) -> None:
        put_at(standing, "b", i)
        c = DATA.coefs[i - 1]
        n = int((c != 0).sum())
        for text in notes(standing, "b")[:2]:
            if n == 12:
                assert text == "All 12 coefficients are nonzero, none is exactly 0."
            else:
                true, noise = int((c[:4] != 0).sum()), int((c[4:] != 0).sum())
                assert numbers(text) == [n, 12, true, 4, noise, 8, 12 - n, 0]
        assert numbers(notes(standing, "b")[2]) == pytest.approx(
            [100 * np.linspace(0.5, 0.97, L + 1)[i]], rel=6e-3
        )

    @pytest.mark.parametrize("i", [0, 5, 20, 30])
    def test_geometry(self, standing: Page, i: int) -> None:
        put_at(standing, "c", i)
        ridge, lasso, both = notes(standing, "c")
        r = ridge_2d(HESSIAN, W_STAR, GEOMETRY_LAMS[i])
        s = lasso_2d(HESSIAN, W_STAR, GEOMETRY_LAMS[i])
        assert numbers(ridge)[:2] == pytest.approx(r, rel=6e-3)
        assert numbers(lasso)[:2] == pytest.approx(s, rel=6e-3)
        assert both == f"{ridge} {lasso}"
        said = {0: "no weight is 0", 1: "is exactly 0", 2: "w₁ and w₂ are exactly 0"}[int((s == 0).sum())]
        assert said in lasso
        assert "no weight is 0" in ridge

    def test_picture_labels_tell_the_same(self, standing: Page) -> None:
        for name in "abcf":
            put_at(standing, name, 10)
            labels = (
                part(standing, name)
                .locator("svg[role=img]")
                .evaluate_all("a => a.map(e => e.getAttribute('aria-label'))")
            )
            for label, note in zip(labels, notes(standing, name), strict=True):
                assert note in label

    def test_live_region_waits(self, standing: Page) -> None:
        live = part(standing, "a").locator("[aria-live=polite]")
        standing.wait_for_timeout(500)
        before = live.inner_text()
        put_at(standing, "a", 25)
        assert live.inner_text() == before
        standing.wait_for_timeout(500)
        text = live.inner_text()
        assert text.startswith("λ = 1. ")
        assert all(note in text for note in notes(standing, "a"))


class TestHeatmap:
    @staticmethod
    def expected(i: int) -> tuple[str, list[float]]:
        """Opening words and numbers of the first map's read-out, from the array itself."""
        z = DATA.heat
        bi, br = np.unravel_index(np.nanargmax(z), z.shape)
        best = [HEAT_LAMS[bi], HEAT_ROWS[br], z[bi, br]]
        lost = HEAT_ROWS[np.isnan(z[i])]
        if len(lost) == len(HEAT_ROWS):
            return "Diverged at every learning rate.", best
        r = np.nanargmax(z[i])
        return "Best learning rate", [HEAT_ROWS[r], z[i, r], *lost, *(best if i != bi else [])]

    @pytest.mark.parametrize("i", [0, 1, 6, 9, 11, 12, 13])
    def test_readout(self, standing: Page, i: int) -> None:
        put_at(standing, "f", i)
        text = notes(standing, "f")[0]
        start, values = self.expected(i)
        assert text.startswith(start)
        assert numbers(text) == pytest.approx(values, rel=6e-3)
        assert ("diverged at" in text) == (0 < np.isnan(DATA.heat[i]).sum() < len(HEAT_ROWS))

    def test_smallest_is_best_and_marks_are_told_in_their_column(self, standing: Page) -> None:
        put_at(standing, "f", 4)
        text = notes(standing, "f")[2]
        r = int(np.nanargmax(DATA.heat[4]))
        assert text.startswith(f"Best learning rate {HEAT_ROWS[r]:g}, test error ")
        assert numbers(text)[1] == pytest.approx(100 * (1 - DATA.heat[4, r]), rel=6e-3)
        assert "article: learning rate 0.1, test error" in text
        assert numbers(text)[-1] == pytest.approx(100 * (1 - DATA.heat[4, 2]), rel=6e-3)
        assert "default" not in text

    def test_one_cell_for_each_run_and_a_cross_for_each_that_diverged(self, standing: Page) -> None:
        panel = part(standing, "f").locator(".lx-panel").first
        lost = int(np.isnan(DATA.heat).sum())
        assert panel.locator("rect.lost").count() == lost
        assert panel.locator("path.cross").get_attribute("d").count("M") == lost
        assert panel.locator("rect[fill^='rgb']").count() == DATA.heat.size - lost
        assert panel.locator(".lx-legend").inner_text().split("\n")[-1].strip().endswith("diverged")

    @pytest.mark.parametrize("i", [0, 7])
    def test_frame_and_ring_stand_at_the_column(self, standing: Page, i: int) -> None:
        put_at(standing, "f", i)
        x = standing.evaluate(
            """() => { const panel = document.querySelector('#f .lx-panel');
                const mid = e => { const r = e.getBoundingClientRect();
                    return [r.x + r.width / 2, r.y + r.height / 2] };
                return { frame: mid(panel.querySelector('.frame.over')),
                         ring: mid(panel.querySelector('.halo-ring')),
                         cells: [...panel.querySelectorAll('.lx-stage rect')].slice(0, 70).map(mid) } }"""
        )
        r = int(np.nanargmax(DATA.heat[i]))
        assert x["frame"][0] == pytest.approx(x["cells"][5 * i][0], abs=1.5)
        assert x["ring"] == pytest.approx(x["cells"][5 * i + r], abs=1.5)

    def test_numbers_in_cells_can_be_read_on_their_colour(self, standing: Page) -> None:
        pairs = standing.evaluate("""() => [...document.querySelectorAll('#f .lx-panel:last-child svg text')]
            .filter(t => t.style.fill && t.previousElementSibling.tagName === 'rect')
            .map(t => [t.textContent, t.style.fill, t.previousElementSibling.getAttribute('fill')])""")
        shown = DATA.heat[np.isfinite(DATA.heat)]
        assert [float(t) for t, *_ in pairs] == pytest.approx(100 * (1 - shown), rel=6e-3)

        def luminance(text: str) -> float:
            c = np.array([int(v) for v in re.findall(r"\d+", text)]) / 255
            return float(
                np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
            )

        for _, front, back in pairs:
            a, b = sorted((luminance(front), luminance(back)))
            assert (b + 0.05) / (a + 0.05) >= 4.5, back

    def test_a_click_on_a_column_sets_lambda(self, opened: Page) -> None:
        for i in (0, 9):
            cell = part(opened, "f").locator(".lx-panel").first.locator("svg rect").nth(5 * i + 2)
            cell.scroll_into_view_if_needed()
            box = cell.bounding_box()
            opened.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            settle(opened)
            assert int(slider(opened, "f").input_value()) == i


class TestBudget:
    """The browser computes; l2lab.budget, which is compared with torch, says what must come out."""

    RUNS = (
        {"lr": 0.1, "steps": 1000, "momentum": 0.9, "schedule": "constant", "optimizer": "sgd"},
        {"lr": 0.03, "steps": 333, "momentum": 0.0, "schedule": "cosine", "optimizer": "sgd"},
        {"lr": 0.5, "steps": 2000, "momentum": 0.5, "schedule": "linear", "optimizer": "sgd"},
        {"lr": 0.01, "steps": 20000, "momentum": 0.9, "schedule": "cosine", "optimizer": "adamw"},
    )
    LABELS: ClassVar = {"lr": "Learning rate", "steps": "Steps", "momentum": "Momentum"}

    def choose(self, page: Page, run: dict) -> None:
        form = part(page, "f").locator(".lx-form")
        form.get_by_label("Schedule").select_option(run["schedule"])
        form.get_by_label("Optimizer").select_option("sgd")  # else momentum could not be filled
        for key, label in self.LABELS.items():
            form.get_by_label(label).fill(str(run[key]))
        form.get_by_label("Optimizer").select_option(run["optimizer"])

    @staticmethod
    def part_of(text: str) -> float:
        """A share as it is written: per cent, or a power of ten."""
        value = numbers(text)[0]
        return value / 100 if "%" in text else value

    @staticmethod
    def first_below(share: np.ndarray, level: float) -> int | None:
        from_here = np.maximum.accumulate(share[::-1])[::-1]
        below = np.flatnonzero(from_here < level)
        return int(below[0]) if len(below) else None

    @pytest.mark.parametrize("run", RUNS, ids=lambda r: f"{r['optimizer']}-{r['schedule']}")
    def test_same_as_python(self, opened: Page, run: dict) -> None:
        self.choose(opened, run)
        limits = decay_limits(run["lr"], run["momentum"], run["optimizer"])
        for i in (0, 1, 5, 7, 9, 11, 13):
            lam = HEAT_LAMS[i]
            put_at(opened, "f", i)
            text = notes(opened, "f")[1]
            told = re.search(r"^B = (\S+?)[:,] ", text)
            assert numbers(told[1]) == pytest.approx([decay_budget(lam, **run)], rel=6e-3)
            need = re.search(r"in these steps: about (\S+?)[. ]?(?:$|\()", text)
            assert numbers(need[1]) == pytest.approx([lam_needed(1e-3, **run)], rel=6e-3)
            assert ("diverges" in text) == (lam >= limits[1])
            assert ("swings" in text) == (limits[0] < lam < limits[1])
            if lam >= limits[1]:
                continue
            share = np.abs(remaining_share(lam, **run))
            rule, left = re.search(r"e\^\(−B\) is (.+?); step by step (.+?) is left", text).groups()
            for said, value in ((rule, math.exp(-decay_budget(lam, **run))), (left, share[-1])):
                if value < 1e-30:
                    assert said == "less than 10⁻³⁰"
                else:
                    assert self.part_of(said) == pytest.approx(value, rel=6e-3)
            below = re.search(r"Below 10⁻³: (.+?); below 10⁻⁶: (.+?)\.", text).groups()
            for level, said in zip((1e-3, 1e-6), below, strict=True):
                step = self.first_below(share, level)
                assert said == ("not within these steps" if step is None else f"from step {step:,}")

    def test_values_stay_when_the_slider_moves_and_the_page_is_turned(self, opened: Page) -> None:
        form = part(opened, "f").locator(".lx-form")
        form.get_by_label("Steps").fill("250")
        opened.keyboard.press("Shift")
        slider(opened, "f").press("ArrowRight")
        opened.set_viewport_size({"width": 500, "height": 800})
        opened.wait_for_timeout(150)
        settle(opened)
        assert form.count() == 1
        assert form.get_by_label("Steps").input_value() == "250"
        assert "after 250 steps" in notes(opened, "f")[1]

    def test_what_is_not_valid_is_said_and_the_drawing_stays(self, opened: Page) -> None:
        form = part(opened, "f").locator(".lx-form")
        good = notes(opened, "f")[1]
        picture = part(opened, "f").locator(".lx-panel").nth(1).locator(".lx-stage > svg")
        drawn = picture.inner_html()
        for label, value, message in (
            ("Learning rate", "-1", "The learning rate must be above 0."),
            ("Learning rate", "", "The learning rate must be above 0."),
            ("Steps", "2.5", "Steps must be a whole number from 1 to 1,000,000."),
            ("Steps", "1e9", "Steps must be a whole number from 1 to 1,000,000."),
            ("Momentum", "1", "Momentum must be at least 0 and below 1."),
        ):
            field = form.get_by_label(label)
            before = field.input_value()
            field.fill(value)
            assert form.locator(".lx-wrong").inner_text() == f"{message} Drawn is the last valid run."
            assert field.get_attribute("aria-invalid") == "true"
            assert notes(opened, "f")[1] == good
            assert picture.inner_html() == drawn
            field.fill(before)
            settle(opened)
            assert form.locator(".lx-wrong").inner_text() == ""
            assert field.get_attribute("aria-invalid") == "false"
            drawn = re.sub(r"lx-\w+-\d+", "", drawn)
            assert re.sub(r"lx-\w+-\d+", "", picture.inner_html()) == drawn
            drawn = picture.inner_html()

    def test_adamw_has_no_momentum(self, opened: Page) -> None:
        form = part(opened, "f").locator(".lx-form")
        momentum = form.get_by_label("Momentum")
        assert momentum.is_enabled()
        momentum.fill("")
        form.get_by_label("Optimizer").select_option("adamw")
        assert momentum.is_disabled()
        assert form.locator(".lx-wrong").inner_text() == ""
        assert numbers(notes(opened, "f")[1])[0] == pytest.approx(
            decay_budget(HEAT_LAMS[7], 0.1, 1000, optimizer="adamw"), rel=6e-3
        )
        form.get_by_label("Optimizer").select_option("sgd")
        assert form.locator(".lx-wrong").inner_text().startswith("Momentum must be")

    def test_line_ends_where_the_share_says(self, opened: Page) -> None:
        put_at(opened, "f", 7)
        d = part(opened, "f").locator(".lx-panel").nth(1).locator(".line.bold").get_attribute("d")
        levels = part(opened, "f").locator(".lx-panel").nth(1).locator(".level").all()
        y3, y6 = (float(re.search(r"M\S+ ([\d.]+)H", e.get_attribute("d"))[1]) for e in levels)
        end = float(d.split()[-1])
        share = abs(remaining_share(HEAT_LAMS[7], 0.1, 1000)[-1])
        assert -3 - 3 * (end - y3) / (y6 - y3) == pytest.approx(math.log10(share), abs=0.01)


class TestGeometry:
    def test_drag_moves_the_optimum_in_all_panels(self, opened: Page) -> None:
        knobs = part(opened, "c").locator(".lx-knob")
        before = drawings(opened, "c")
        knobs.first.scroll_into_view_if_needed()
        box = knobs.first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        opened.mouse.move(x, y)
        opened.mouse.down()
        opened.mouse.move(x - 60, y + 40, steps=6)
        opened.mouse.up()
        settle(opened)
        texts = knobs.evaluate_all("a => a.map(e => e.getAttribute('aria-valuetext'))")
        assert len(set(texts)) == 1
        w = np.array(numbers(texts[0]))
        assert w[0] < W_STAR[0]
        assert w[1] < W_STAR[1]
        assert all(p != q for p, q in zip(before, drawings(opened, "c"), strict=True))
        i = int(slider(opened, "c").input_value())
        assert numbers(notes(opened, "c")[1])[:2] == pytest.approx(
            lasso_2d(HESSIAN, w, GEOMETRY_LAMS[i]), abs=0.02
        )

    def test_keys_move_it_and_home_puts_it_back(self, opened: Page) -> None:
        knob = part(opened, "c").locator(".lx-knob").first
        knob.focus()
        start = knob.get_attribute("aria-valuetext")
        assert start == "w star = 1.20, 0.50"
        for key in ("ArrowLeft", "ArrowDown", "ArrowDown"):
            opened.keyboard.press(key)
        settle(opened)
        assert numbers(knob.get_attribute("aria-valuetext")) == pytest.approx(
            [1.2 - 0.084, 0.5 - 0.168], abs=0.006
        )
        opened.keyboard.press("Home")
        settle(opened)
        assert knob.get_attribute("aria-valuetext") == start
        for _ in range(60):
            opened.keyboard.press("ArrowRight")
        settle(opened)
        assert numbers(knob.get_attribute("aria-valuetext"))[0] == pytest.approx(1.68)  # stays inside

    def test_drawn_ridge_solution_lies_on_its_ball(self, standing: Page) -> None:
        put_at(standing, "c", 18)
        panel = part(standing, "c").locator(".lx-panel").first
        d, place = panel.evaluate(
            """e => [e.querySelector('.ball').getAttribute('d'),
                     e.querySelector('circle.dot').getAttribute('transform')]"""
        )
        left, cy, radius = (float(v) for v in re.match(r"M([\d.]+) ([\d.]+)a([\d.]+)", d).groups())
        px, py = (float(v) for v in re.findall(r"[\d.]+", place))
        assert math.hypot(px - left - radius, py - cy) == pytest.approx(radius, abs=0.3)


class TestAddress:
    def test_state_is_read_and_shown(self, page: Page, url: str, said: list[str]) -> None:
        open_page(page, f"{url}/index.html#b:lam=0.03;a:lam=0.00011,x=1")
        assert readout(page, "b") == "λ = 0.0251"
        assert readout(page, "a") == "λ = 10⁻⁴"
        assert readout(page, "c") == f"λ = {GEOMETRY_LAMS[15]:.3g}"
        assert abs(part(page, "b").bounding_box()["y"] - 70) < 80  # scrolled to the first one named

    def test_optimum_is_read_and_cut(self, page: Page, url: str, said: list[str]) -> None:
        open_page(page, f"{url}/index.html#c:lam=0,w=-0.5:99")
        assert readout(page, "c") == "λ = 0"
        knob = part(page, "c").locator(".lx-knob").first
        assert numbers(knob.get_attribute("aria-valuetext")) == pytest.approx([-0.5, 1.68])

    def test_nonsense_changes_nothing(self, page: Page, url: str, said: list[str]) -> None:
        open_page(page, f"{url}/index.html#a:lam=x;%E0%A4%A")
        assert readout(page, "a") == "λ = 0.01"
        for text in ("a:lam=", "a:lam=-1", "%E0%A4%A", "a:;;=", "zz:lam=1", "a:lam=nan", "c:lam=1,w=1:x"):
            page.evaluate("text => { location.hash = text }", text)
            settle(page)
            assert readout(page, "a") == "λ = 0.01", text
        assert "1.20, 0.50" in part(page, "c").locator(".lx-knob").first.get_attribute("aria-valuetext")

    def test_state_is_written_late_and_without_history(self, opened: Page) -> None:
        length = opened.evaluate("history.length")
        slider(opened, "a").press("End")
        assert opened.evaluate("location.hash") == ""
        opened.wait_for_timeout(400)
        assert opened.evaluate("location.hash") == "#a:lam=10"
        slider(opened, "c").press("Home")
        knob = part(opened, "c").locator(".lx-knob").first
        knob.press("ArrowLeft")
        opened.wait_for_timeout(400)
        assert opened.evaluate("location.hash") == "#a:lam=10;c:lam=0,w=1.116:0.5"
        assert opened.evaluate("history.length") == length
        address = opened.url
        opened.goto("about:blank")
        open_page(opened, address)
        assert (readout(opened, "a"), readout(opened, "c")) == ("λ = 10", "λ = 0")
        assert "1.12" in part(opened, "c").locator(".lx-knob").first.get_attribute("aria-valuetext")

    def test_a_link_in_the_text_sets_lambda(self, opened: Page) -> None:
        opened.get_by_text("set λ = 0.1").click()
        settle(opened)
        assert readout(opened, "b") == "λ = 0.1"
        assert part(opened, "b").bounding_box()["y"] < 300

    def test_ordinary_anchors_still_work(self, page: Page, url: str, said: list[str]) -> None:
        open_page(page, f"{url}/index.html")
        page.get_by_text("go to the heading").click()
        page.wait_for_timeout(400)
        assert page.evaluate("location.hash") == "#heading-b"
        assert abs(page.locator("#heading-b").bounding_box()["y"]) < 30
        place = page.evaluate("scrollY")
        slider(page, "b").press("ArrowRight")
        page.wait_for_timeout(400)
        assert page.evaluate("scrollY") == place

    def test_copy_link(self, opened: Page) -> None:
        opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
        put_at(opened, "a", 0)
        part(opened, "a").locator(".lx-copy").click()
        opened.wait_for_function("document.querySelector('#a .lx-copy').innerText === 'Link copied'")
        assert opened.evaluate("navigator.clipboard.readText()").endswith("/index.html#a:lam=0.00001")


class TestLook:
    def test_theme_is_followed_live(self, opened: Page) -> None:
        get = """() => [getComputedStyle(document.querySelector('#a')).backgroundColor,
                        document.querySelector('#a canvas').toDataURL()]"""
        light = opened.evaluate(get)
        opened.evaluate("document.documentElement.dataset.theme = 'dark'")
        opened.wait_for_timeout(100)
        dark = opened.evaluate(get)
        assert (light[0], dark[0]) == ("rgb(255, 255, 255)", "rgb(20, 24, 30)")
        assert light[1] != dark[1]
        assert "dark" in part(opened, "a").get_attribute("class")
        opened.evaluate("document.documentElement.dataset.theme = 'light'")
        opened.wait_for_timeout(100)
        assert opened.evaluate(get) == light

    @pytest.mark.parametrize("width", [1280, 768, 360, 320])
    def test_nothing_is_cut_off(self, page: Page, url: str, said: list[str], width: int) -> None:
        page.set_viewport_size({"width": width, "height": 800})
        open_page(page, f"{url}/index.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = page.evaluate("""() => [...document.querySelectorAll('.lx-stage > svg')].flatMap(svg => {
            const box = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(t => t.textContent).filter(t => {
                const r = t.getBoundingClientRect();
                return r.left < box.left - 2 || r.right > box.right + 2
                    || r.top < box.top - 2 || r.bottom > box.bottom + 2;
            }).map(t => t.textContent); })""")
        assert outside == []
        small = page.evaluate("""() =>
            [...document.querySelectorAll('.lx :is(button, input, select, .lx-knob)')]
            .filter(e => Math.min(e.getBoundingClientRect().width, e.getBoundingClientRect().height) < 24)
            .map(e => e.className || e.type)""")
        assert small == []
        columns = page.evaluate(
            "getComputedStyle(document.querySelector('#a .lx-panels')).gridTemplateColumns.split(' ').length"
        )
        assert columns == (2 if width >= 768 else 1)

    def test_tick_labels_do_not_touch(self, standing: Page) -> None:
        touching = standing.evaluate("""() => [...document.querySelectorAll('svg, .lx-ticks')].flatMap(g => {
            const shown = [...g.querySelectorAll('text.tick, span')].filter(e => !e.getAttribute('transform')
                && e.textContent && getComputedStyle(e).visibility !== 'hidden');
            const all = shown.map(e => [e.textContent, e.getBoundingClientRect()]);
            const meet = (r, q) => r.left < q.right && q.left < r.right
                && r.top + 3 < q.bottom && q.top + 3 < r.bottom;
            return all.flatMap(([t, r], i) =>
                all.slice(i + 1).filter(u => meet(r, u[1])).map(u => [t, u[0]])); })""")
        assert touching == []

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_axe_finds_nothing(self, standing: Page, theme: str) -> None:
        standing.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        standing.wait_for_timeout(100)
        found = run_axe(standing)[0]["violations"]
        standing.evaluate("document.documentElement.dataset.theme = 'light'")
        assert [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in found] == []

    def test_focus_is_seen(self, opened: Page) -> None:
        for selector in ("#a .lx-play", "#a .lx-slide input", "#a .lx-copy", "#c .lx-knob", "#f select"):
            e = opened.locator(selector).first
            e.focus()
            opened.keyboard.press("Shift")  # a key makes the focus visible
            assert e.evaluate("e => parseFloat(getComputedStyle(e).outlineWidth)") >= 2, selector

    def test_print_shows_the_drawing_without_buttons(self, opened: Page) -> None:
        opened.evaluate("document.documentElement.dataset.theme = 'dark'")
        opened.emulate_media(media="print")
        opened.wait_for_timeout(100)
        assert not part(opened, "a").locator(".lx-play").is_visible()
        assert part(opened, "a").locator(".lx-stage").first.is_visible()
        assert part(opened, "a").locator(".lx-bar output").is_visible()
        assert (
            opened.evaluate("getComputedStyle(document.querySelector('#a')).getPropertyValue('--lx-1')")
            == "#0072b2"
        )


class TestHosts:
    """With a kernel: controls, messages, errors; the address is not touched."""

    HOST = """async ([state, blob]) => {
      document.body.innerHTML = '<div id=here></div>';
      const bytes = Uint8Array.from(atob(blob), c => c.charCodeAt(0));
      const s = {...state, blob: new DataView(bytes.buffer)}, heard = {};
      window.sent = [];
      window.model = {
        get: k => s[k],
        set: (k, v) => { if (s[k] !== v) { s[k] = v; (heard['change:' + k] || []).forEach(f => f()); } },
        on: (k, f) => (heard[k] ||= []).push(f), off: (k, f) => { heard[k] = heard[k].filter(g => g !== f); },
        save_changes: () => window.sent.push(JSON.parse(JSON.stringify({index: s.index, choice: s.choice}))),
      };
      const source = URL.createObjectURL(new Blob([state._esm], {type: 'text/javascript'}));
      document.head.append(Object.assign(document.createElement('style'), {textContent: state._css}));
      const el = document.getElementById('here');
      window.cleanup = (await import(source)).default.render({model: window.model, el});
      window.listeners = () => Object.values(heard).flat().length;
    }"""

    @pytest.fixture
    def hosted(self, page: Page, url: str, said: list[str], explorers: list[LambdaExplorer]) -> Page:
        page.goto(f"{url}/host.html")
        e = explorers[3]
        state = {k: getattr(e, k) for k in e.keys if k not in ("layout", "blob", "tabbable", "tooltip")}
        page.evaluate(self.HOST, [state, base64.b64encode(e.blob).decode()])
        settle(page)
        return page

    def test_controls_send_a_choice(self, hosted: Page) -> None:
        assert hosted.locator(".lx-copy, .lx-hint").count() == 0
        hosted.get_by_label("noise").select_option("0.5")
        assert hosted.evaluate("sent.at(-1).choice") == {"noise": 0.5, "width": 8}

    def test_while_busy_only_the_last_wish_is_kept(self, hosted: Page) -> None:
        hosted.evaluate("model.set('busy', true)")
        assert hosted.locator(".lx").get_attribute("aria-busy") == "true"
        assert hosted.locator(".lx-status").inner_text() == "computing …"
        hosted.get_by_label("noise").select_option("0.5")
        hosted.get_by_label("width").select_option("16")
        hosted.get_by_label("noise").select_option("0")
        assert hosted.evaluate("sent.length") == 0
        hosted.evaluate("model.set('busy', false)")
        assert hosted.evaluate("sent.map(m => m.choice)") == [{"noise": 0.0, "width": 16}]
        assert hosted.locator(".lx-status").inner_text() == ""

    def test_errors_are_shown_and_leave(self, hosted: Page) -> None:
        hosted.evaluate("model.set('error', 'RuntimeError: <b>no</b>')")
        alert = hosted.locator("[role=alert]")
        assert alert.inner_text() == "RuntimeError: <b>no</b>"
        hosted.evaluate("model.set('error', '')")
        assert not alert.is_visible()

    def test_new_panels_are_drawn(self, hosted: Page) -> None:
        fresh = LambdaExplorer(
            LAMS[:9], [paths_panel(np.ones((9, 2))), curves_panel({"test": LAMS[:9]})], name="x", alt="x" * 20
        )
        data = [fresh.lams, fresh.panels, base64.b64encode(fresh.blob).decode()]
        hosted.evaluate(
            """([lams, panels, blob]) => {
               model.set('lams', lams); model.set('panels', panels); model.set('index', 8);
               model.set('blob', new DataView(Uint8Array.from(atob(blob), c => c.charCodeAt(0)).buffer)) }""",
            data,
        )
        hosted.wait_for_function("document.querySelectorAll('.lx-panel').length === 2")
        settle(hosted)
        assert hosted.locator(".lx-bar output").inner_text() == "λ = 3.98·10⁻⁴"
        assert hosted.locator(".lx-slide input").get_attribute("max") == "8"
        assert numbers(hosted.locator(".lx-note").last.inner_text()) == [pytest.approx(LAMS[8], rel=6e-3)]

    def test_slider_is_sent_and_the_address_left_alone(self, hosted: Page) -> None:
        hosted.locator(".lx-slide input").press("End")
        hosted.wait_for_timeout(400)
        assert hosted.evaluate("sent.at(-1).index") == L - 1
        assert hosted.evaluate("location.hash") == ""

    def test_a_run_outlives_new_panels(self, hosted: Page) -> None:
        fresh = LambdaExplorer(LAMS[:9], [budget_panel()], name="x", alt="x" * 20)
        for steps in (1000, 20):
            hosted.evaluate(
                """([lams, panels]) => {
                   model.set('index', 0); model.set('lams', lams); model.set('panels', panels) }""",
                [fresh.lams, fresh.panels],
            )
            hosted.wait_for_function("document.querySelectorAll('.lx-form').length === 1")
            settle(hosted)
            field = hosted.get_by_role("spinbutton", name="Steps")
            assert field.input_value() == str(steps)
            field.fill("20")

    def test_keys_in_a_field_do_not_reach_the_notebook(self, hosted: Page) -> None:
        fresh = LambdaExplorer(LAMS, [budget_panel()], name="x", alt="x" * 20)
        hosted.evaluate("panels => model.set('panels', panels)", fresh.panels)
        hosted.wait_for_selector(".lx-form")
        hosted.evaluate("window.leaked = []; document.addEventListener('keydown', e => leaked.push(e.key))")
        hosted.get_by_role("spinbutton", name="Steps").press_sequentially("5d")
        assert hosted.evaluate("leaked") == []

    def test_keys_do_not_reach_the_notebook(self, hosted: Page) -> None:
        hosted.evaluate("window.leaked = []; document.addEventListener('keydown', e => leaked.push(e.key))")
        for key in ("ArrowRight", "PageDown", "Home"):
            hosted.locator(".lx-slide input").press(key)
        assert hosted.evaluate("leaked") == []

    def test_ids_differ_although_each_widget_imports_its_own_module(self, hosted: Page) -> None:
        hosted.evaluate("""async () => { const source = URL.createObjectURL(new Blob([model.get('_esm')],
            {type: 'text/javascript'})), el = document.createElement('div'); document.body.append(el);
            (await import(source)).default.render({model, el}); }""")
        settle(hosted)
        ids = hosted.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) > 4
        assert len(ids) == len(set(ids))

    def test_cleanup_lets_go(self, hosted: Page) -> None:
        assert hosted.evaluate("listeners()") > 0
        hosted.evaluate("cleanup()")
        assert hosted.evaluate("listeners()") == 0

    @pytest.mark.parametrize(
        ("site", "lab", "colab", "dark"),
        [
            (None, "false", None, True),
            ("dark", "true", None, False),
            ("dark", None, None, True),
            (None, None, "dark", True),
            (None, None, None, False),
        ],
    )
    def test_theme_of_each_host(self, hosted: Page, site, lab, colab, dark: bool) -> None:
        hosted.evaluate(
            """([site, lab, colab]) => {
               const put = (e, k, v) => v ? e.setAttribute(k, v) : e.removeAttribute(k);
               put(document.documentElement, 'data-theme', site);
               put(document.documentElement, 'theme', colab);
               put(document.body, 'data-jp-theme-light', lab); }""",
            [site, lab, colab],
        )
        hosted.wait_for_timeout(80)
        assert ("dark" in hosted.locator(".lx").get_attribute("class")) is dark

    def test_theme_of_the_system(self, hosted: Page) -> None:
        hosted.evaluate("document.documentElement.removeAttribute('data-theme')")
        hosted.emulate_media(color_scheme="dark")
        hosted.wait_for_timeout(80)
        assert "dark" in hosted.locator(".lx").get_attribute("class")


class TestSpeed:
    """From a key on the slider to the frame that shows the new drawing.

    On a 60 Hz display up to 16.7 ms of it are waiting for the next frame; the rest is work. Other programs on
    the machine only ever add, so the best of three runs counts, and the limits are generous.
    """

    MEASURE = """() => { window.times = []; addEventListener('input', ev => {
      const channel = new MessageChannel(); let frame;
      channel.port1.onmessage = () => {
        const end = performance.now(); times.push([end - ev.timeStamp, end - frame]); };
      // a message sent in a frame is handled after the drawing of that frame
      requestAnimationFrame(() => { frame = performance.now(); channel.port2.postMessage(0); }); }, true) }"""

    @pytest.mark.parametrize("name", ["a", "b", "c", "f"])
    def test_slider_to_painted_frame(self, opened: Page, name: str, capsys: pytest.CaptureFixture) -> None:
        opened.evaluate(self.MEASURE)
        slider(opened, name).press("Home")
        runs = []
        for _ in range(3):
            settle(opened)
            opened.evaluate("times.length = 0")
            for key in ("ArrowRight", "ArrowLeft"):
                for _ in range(25):
                    opened.keyboard.press(key)
                    opened.wait_for_timeout(20)  # a key held down repeats slower than this
            settle(opened)
            times = np.array(opened.evaluate("times"))
            assert len(times) == 2 * min(25, int(slider(opened, name).get_attribute("max")))
            runs.append([*np.percentile(times[:, 0], [50, 95]), *np.percentile(times[:, 1], [50, 95])])
            if runs[-1][1] < 20:
                break
        best = min(runs, key=lambda r: r[1])
        with capsys.disabled():
            print(
                f"\n  explorer {name}: key to painted frame p50 {best[0]:.1f} ms, p95 {best[1]:.1f} ms; "
                f"work in that frame p50 {best[2]:.1f} ms, p95 {best[3]:.1f} ms",
                end=" ",
            )
        assert best[1] < 100
        assert best[3] < 50
