"""Pages with explorers as the book's site writes them, and what tests do with them in headless Chromium."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ipywidgets import IntSlider
from ipywidgets.embed import dependency_state

from l2lab import explore
from l2lab.explore import LambdaExplorer, compact_state

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

LOADER = Path(__file__).resolve().parents[1] / "book" / "_site" / "widgets-offline.js"
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

MOVE = "(e, i) => { e.value = i; e.dispatchEvent(new Event('input', {bubbles: true})) }"

# A host with a kernel: shows a widget from its state and buffer, and keeps what the widget sends.
HOST = """async ([state, blob]) => {
  document.body.innerHTML = '<div id=here></div>';
  const bytes = Uint8Array.from(atob(blob), c => c.charCodeAt(0));
  const view = new DataView(bytes.buffer), s = {...state, blob: view, digits: view}, heard = {};
  window.sent = [];
  window.model = {
    get: k => s[k],
    set: (k, v) => { if (s[k] !== v) { s[k] = v; (heard['change:' + k] || []).forEach(f => f()); } },
    on: (k, f) => (heard[k] ||= []).push(f), off: (k, f) => { heard[k] = heard[k].filter(g => g !== f); },
    save_changes: () => {
      const { index, choice, state } = s;
      window.sent.push(JSON.parse(JSON.stringify({ index, choice, state }))); },
  };
  const source = URL.createObjectURL(new Blob([state._esm], {type: 'text/javascript'}));
  document.head.append(Object.assign(document.createElement('style'), {textContent: state._css}));
  const el = document.getElementById('here');
  window.cleanup = (await import(source)).default.render({model: window.model, el});
  window.listeners = () => Object.values(heard).flat().length;
}"""


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
    logit = (np.sin(2 * gx) - 2 * gy) / (1 + LAMS)[:, None, None] + 0.4 * np.log10(LAMS)[:, None, None]
    d.field = 1 / (1 + np.exp(-logit))
    # best at a product lr·λ of 10⁻³
    power = np.log10(np.maximum(HEAT_LAMS, 1e-6))[:, None] + np.log10(HEAT_ROWS)
    d.heat = 0.91 - 0.03 * (power + 3) ** 2
    d.pixels = rng.random((L, 3, 4)) / (1 + LAMS)[:, None, None]
    d.marks = np.arange(12).reshape(3, 4) % 5 == 0
    return d


DATA = make_data()


@pytest.fixture(scope="module")
def explorers() -> list[LambdaExplorer]:
    d, notes = DATA, [f"Note {k}." for k in range(L + 1)]
    truth, coefs = np.sin(3 * d.x), np.r_[d.coefs[:1], d.coefs]
    losses = explore.curves_panel({"train": d.train, "validation": d.valid}, best="validation", ylabel="loss")
    accuracy = {"test": np.linspace(0.5, 0.97, L + 1)}
    panels = {
        "a": [
            explore.fit_panel(d.x, d.fits, d.points, truth, ylim=(-1.5, 1.5)),
            losses,
            explore.hist_panel(d.edges, d.counts, d.zeros),
            explore.field_panel(d.field, (-2, 2, -1, 1), notes=notes[:L]),
        ],
        "b": [
            explore.paths_panel(coefs, groups=d.groups, notes=notes),
            explore.bars_panel(coefs, labels=list("abcdefghijkl"), ylim=(-3, 3)),
            explore.curves_panel(accuracy, percent=True, ylabel="accuracy", title="Accuracy"),
        ],
        "c": [
            explore.geometry_panel(HESSIAN, W_STAR, norms=norms)
            for norms in (["l2"], ["l1"], ["linf"], ["l2", "l1", "linf"])
        ],
        "e": [
            explore.curves_panel({"train": d.train}),
            explore.pixels_panel(d.pixels, d.marks, title="Pixels"),
        ],
        "f": [
            explore.heatmap_panel(d.heat, HEAT_ROWS, title="Accuracy", zlim=(0.5, 0.92)),
            explore.calculator_panel(),
            explore.heatmap_panel(
                1 - d.heat, HEAT_ROWS, title="Error", zlabel="test error (share)", zlim=(0, 0.5)
            ),
        ],
        "g": [explore.calculator_panel(schedule="cosine")],
    }
    live = {
        "controls": {"noise": [0.0, 0.5], "width": [8, 16]},
        "compute": lambda noise, width: [explore.curves_panel({"train": (1 + noise) * d.train})],
    }
    grids = {"b": np.r_[0, LAMS], "c": GEOMETRY_LAMS, "f": HEAT_LAMS, "g": HEAT_LAMS}
    alt = "What explorer {} shows as the penalty grows, for a test"
    return [
        LambdaExplorer(grids.get(k, LAMS), p, name=k, alt=alt.format(k), **(live if k == "e" else {}))
        for k, p in panels.items()
    ]


def state_of(*widgets: object) -> dict:
    return {"version_major": 2, "version_minor": 0, "state": dependency_state(widgets, drop_defaults=False)}


def cell(widget: LambdaExplorer) -> str:
    """A heading and the widget's view, with a white pixel as its picture (drawing it would take long)."""
    return (
        f'<h2 id="heading-{widget.name}">Section {widget.name}</h2><p>Text before it.</p><div class="output">'
        f'<div class="widget-fallback docutils container"><img alt="{widget.alt}" width="9" height="9" '
        f'src="data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="></div>'
        f'<script type="{VIEW}">{json.dumps({"model_id": widget.model_id})}</script></div>'
    )


def write(file: Path, cells: str, state: dict) -> None:
    text = json.dumps(state).replace("</", "<\\/")
    page = f'{HEAD}{cells}</main><script type="{STATE}">{text}</script></body></html>'
    file.write_text(page, encoding="utf-8")


def write_pages(folder: Path, **pages: list) -> None:
    """Write pages with these widgets, what they load, and one for a host with a kernel."""
    shutil.copy(LOADER, folder)
    write(folder / "host.html", "", {"state": {}})
    for name, widgets in pages.items():
        write(folder / f"{name}.html", "".join(map(cell, widgets)), compact_state(state_of(*widgets)))


@pytest.fixture(scope="module")
def url(
    explorers: list[LambdaExplorer], tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Path], str]
) -> str:
    """Address of the pages: all explorers, four alone, two that fail, one for a host with a kernel."""
    folder = tmp_path_factory.mktemp("harness")
    write_pages(folder, index=explorers, **{e.name: [e] for e in (*explorers[:3], explorers[-1])})
    broken = json.loads(json.dumps(state_of(*explorers)))
    throws = "throw new Error('broken on purpose')"
    sources = f"export default {{ render() {{ {throws} }} }}", throws
    for explorer, source in zip(explorers[:2], sources, strict=True):
        broken["state"][explorer.model_id]["state"]["_esm"] = source
    foreign = IntSlider()
    broken["state"] |= dependency_state([foreign], drop_defaults=False)
    view = json.dumps({"model_id": foreign.model_id})
    core = '<div class="output"><div class="widget-fallback"><img alt="a slider" src="data:,"></div>'
    cells = [*map(cell, explorers), f'{core}<script type="{VIEW}">{view}</script></div>']
    write(folder / "broken.html", "".join(cells), broken)
    assert (folder / "index.html").stat().st_size + LOADER.stat().st_size < 1_000_000
    return serve(folder)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a page in a window of its own, since a clock that is set is that of all pages of its window."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


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


@pytest.fixture(scope="module")
def standing(browser: Browser, url: str) -> Iterator[Page]:
    """One page with all explorers, for tests that set what they look at and leave nothing behind."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield open_page(context.new_page(), f"{url}/index.html")
    context.close()


@pytest.fixture
def alone(page: Page, url: str, said: list[str]) -> Callable[..., Page]:
    """Give a function that opens the page with one explorer."""

    def start(name: str, address: str = "") -> Page:
        return open_page(page, f"{url}/{name}.html{address}", 1)

    return start


def open_page(page: Page, address: str, n: int = 6) -> Page:
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
    slider(page, name).evaluate(MOVE, index)
    settle(page)


def drawings(page: Page, name: str) -> list[str]:
    """Everything that a panel shows, as text."""
    content = "e.innerHTML + [...e.querySelectorAll('canvas')].map(c => c.toDataURL()).join()"
    return part(page, name).locator(".lx-stage").evaluate_all(f"a => a.map(e => {content})")


def numbers(text: str) -> list[float]:
    """Numbers of a read-out, of which some are written as powers of ten."""
    table = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
    text = re.sub(r"(?:([\d.]+)·)?10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: f"{m[1] or 1}e{m[2].translate(table)}", text)
    text = text.translate(table).replace(",", "")
    return [float(v) for v in re.findall(r"(?<![\w₁₂])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", text)]
