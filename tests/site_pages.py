"""Pages of the built site: which there are, and how tests open them, watch them and make them ready."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import TimeoutError

from conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]'
LIVE = ".widget-live, .widget-subarea"
SLIDERS = ".widget-live input[type=range], .widget-live [role=slider]"


DOCUMENTS = re.findall(r"(?m)^\s*(?:root|- file): (\S+)", (ROOT / "_toc.yml").read_text("utf-8"))
CHAPTERS = [
    name
    for name in DOCUMENTS
    if (ROOT / f"{name}.ipynb").exists() and "assignments" not in name  # they have no outputs
]
CHAPTER = CHAPTERS[2]  # behind the introduction and the playground
ASSIGNMENT = "book/assignments/01_ridge_by_hand"
# A page of each kind, the first not the longest; of pages that a template makes one stands for all.
KINDS = [CHAPTER, ASSIGNMENT, "book/glossary", "book/api_select", "search", "_modules/l2lab/budget"]
PAGES = [*CHAPTERS, "book/article", *KINDS[1:], "genindex"]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CALM = {"reduced_motion": "reduce"}  # nothing is still on its way when a test looks


class Watch:
    """Everything that goes wrong while pages load."""

    def __init__(self, page, base: str) -> None:
        self.problems: list[str] = []
        self.base = base
        page.on("request", self.request)
        page.on("requestfailed", lambda r: self.problems.append(f"failed: {r.url} ({r.failure})"))
        page.on("response", lambda r: r.status < 400 or self.problems.append(f"{r.status}: {r.url}"))
        page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        page.on("console", self.console)

    def request(self, request) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.problems.append(f"asks another host: {request.url}")

    def console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console {message.type}: {message.text}")


WIDGETS = """([view, live]) => { const all = [...document.querySelectorAll(live)];
  return all.length >= document.querySelectorAll(view).length
    && all.every(e => e.querySelector('svg, canvas, input')); }"""


def visit(page, url: str) -> None:
    """Open a page and wait until all that it loads, its widgets and its mathematics stand."""
    page.goto(url, wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.wait_for_function(WIDGETS, arg=[VIEW, LIVE])


@dataclass
class Visit:
    """A page that stands, with all its pictures, and what was seen while it loaded."""

    name: str
    page: Page
    watch: Watch
    answers: list[Response]


# Pictures further down are fetched when a reader comes near. (One that is no picture is left to its test.)
LOAD_PICTURES = """() => Promise.allSettled([...document.querySelectorAll('.bd-article img')].map(e => {
  e.loading = 'eager';
  return e.decode(); }))"""


@pytest.fixture(scope="module")
def visited(window, site_url, request) -> Iterator[Visit]:
    """Open a page once for all tests that only look at it; pytest runs the tests of one page together."""
    page, answers = window.new_page(), []
    page.emulate_media(**CALM)
    page.on("response", lambda answer: answers.append(answer))
    watch = Watch(page, site_url)
    visit(page, f"{site_url}/{request.param}.html")
    page.evaluate(LOAD_PICTURES)
    page.wait_for_load_state("networkidle")
    yield Visit(request.param, page, watch, answers)
    page.close()


def look_at(pages: list[str]) -> pytest.MarkDecorator:
    """Run a test on each of these pages, as the one before has left it."""
    return pytest.mark.parametrize("visited", pages, indirect=True)


TWO_FRAMES = "() => new Promise(ok => requestAnimationFrame(() => requestAnimationFrame(ok)))"
# What opens fades in. (The promise of one that is cut short may stay open; so they are asked frame by frame.
# What follows scrolling, as the faded edge of a wide table, runs for ever.)
FADED_IN = """async () => { while (document.getAnimations().some(a => a.playState === 'running'
    && a.timeline === document.timeline && a.effect.getComputedTiming().endTime !== Infinity))
  await new Promise(requestAnimationFrame); }"""
# No box that scrolls is taken out of the order of the Tab key.
STOPS = """() => [...document.querySelectorAll('main [tabindex="-1"]')].every(e =>
  e.scrollWidth <= e.clientWidth + 1 || !/auto|scroll/.test(getComputedStyle(e).overflowX))"""


def wait_for_stops(page) -> None:
    """Wait until the theme has looked which boxes scroll, after a pause; what it misses a test will say."""
    with contextlib.suppress(TimeoutError):
        page.wait_for_function(STOPS, timeout=5_000)


# As the page was when it stood: in light colours, at its top, and Tab leads to the first stop.
FROM_THE_TOP = """() => { document.documentElement.dataset.theme = 'light';
  const first = document.createElement('span');
  first.tabIndex = -1;
  document.body.prepend(first);
  first.focus();
  first.remove();
  window.getSelection().removeAllRanges();
  window.scrollTo(0, 0); }"""


def calm(page: Page, viewport: dict[str, int] = DESKTOP, **asked: str) -> Page:
    """Give a page that stands another window and what readers ask of their browser, and go to its top."""
    page.set_viewport_size(viewport)
    page.emulate_media(**CALM, **{"color_scheme": "light", "forced_colors": "none"} | asked)
    page.evaluate(TWO_FRAMES)
    wait_for_stops(page)
    page.evaluate(FROM_THE_TOP)
    return page
