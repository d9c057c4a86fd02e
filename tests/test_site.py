"""The built site in a browser that reaches nothing but this machine: each page once, one chapter closely."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import nbformat
import pytest

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
PAGES = [*DOCUMENTS, "search", "genindex", "_modules/index", "_modules/l2lab/plots"]
CHAPTER = CHAPTERS[1]


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
    page.on("response", lambda answer: answers.append(answer))
    watch = Watch(page, site_url)
    visit(page, f"{site_url}/{request.param}.html")
    page.evaluate(LOAD_PICTURES)
    page.wait_for_load_state("networkidle")
    yield Visit(page, watch, answers)
    page.close()


def look_at(pages: list[str]) -> pytest.MarkDecorator:
    """Run a test on each of these pages, as the one before has left it."""
    return pytest.mark.parametrize("visited", pages, indirect=True)


# The text without code, in which a role, a directive or a formula that was not understood stands as written.
TEXT = """() => { const a = document.querySelector('.bd-article').cloneNode(true);
  const away = 'pre, code, dt.sig, .field-list dt, script, style, mjx-container';
  a.querySelectorAll(away).forEach(e => e.remove());
  return a.textContent; }"""


@look_at(PAGES)
def test_a_page_loads_from_this_host_alone_and_without_an_error(visited):
    assert visited.watch.problems == []
    assert visited.page.title()


@look_at(DOCUMENTS)
def test_a_page_is_whole_and_light(visited):
    page = visited.page
    assert page.locator("mjx-container").count() >= page.locator(".math").count(), "mathematics is typeset"
    assert page.locator("mjx-merror").count() == 0
    text = page.evaluate(TEXT)
    for pattern in (r"\{[a-z:]+\}`", r"```", r":::", r"\$[^$\s]+\$", r"\\\(", r"\*\*\w"):
        assert not re.search(pattern, text), (pattern, re.search(f".{{0,40}}{pattern}.{{0,40}}", text))
    for alt, width, source in page.eval_on_selector_all(
        ".bd-article img", "all => all.map(e => [e.getAttribute('alt'), e.naturalWidth, e.src])"
    ):
        assert len(alt.split()) >= 4, f"{source}: {alt!r} does not say what it shows"
        assert width > 0, f"{source} is no picture"
    weight = 0
    answers = {answer.url: answer for answer in visited.answers if answer.url.startswith("http")}
    for answer in answers.values():
        packed = answer.url.partition("?")[0].endswith((".woff", ".png"))
        weight += len(answer.body() if packed else gzip.compress(answer.body(), 6))
    assert 60_000 < weight < 1_500_000, "all pictures and fonts included"


@look_at(CHAPTERS)
def test_figures_and_widgets_of_a_chapter(visited):
    page = visited.page
    figures = page.locator(".bd-article figure:has(> img), .bd-article figure:has(> a > img)")
    numbers = [text.strip() for text in figures.locator(".caption-number").all_inner_texts()]
    assert numbers, "a chapter without a figure"
    assert all(re.fullmatch(r"Figure \d+(\.\d+)?", number) for number in numbers), numbers
    assert len(set(numbers)) == len(numbers) == figures.count()
    assert all(len(text) > 20 for text in figures.locator(".caption-text").all_inner_texts())
    assert page.locator(".widget-fallback").count() == page.locator(VIEW).count()
    assert page.locator(".widget-fallback:visible").count() == 0


# Whether all that is drawn, and all that is read out, in the widget of a slider differs from the last look;
# two frames later, so that what a key has set off is painted.
CHANGES = """async e => { const w = e.closest('.widget-live');
  const frame = () => new Promise(ok => requestAnimationFrame(ok));
  await frame(); await frame(); await new Promise(ok => setTimeout(ok));
  const look = x => x.tagName === 'CANVAS' ? x.toDataURL() : x.outerHTML;
  const now = [[...w.querySelectorAll('svg, canvas')].map(look).join(),
    e.getAttribute('aria-valuetext') + [...w.querySelectorAll('output')].map(x => x.textContent)];
  const before = e.lastLook ?? ['', ''];
  e.lastLook = now;
  return now.map((x, k) => x !== before[k]); }"""


@look_at(CHAPTERS)
def test_each_slider_moved_by_keyboard_changes_drawing_and_read_out(visited):
    page = visited.page
    views = page.locator(VIEW).count()
    sliders = page.locator(SLIDERS)
    assert views >= 1, "a chapter without a widget"
    assert sliders.count() >= views, "a widget without a slider"
    for number in range(sliders.count()):
        slider = sliders.nth(number)
        if not slider.is_visible() or slider.is_disabled():
            continue
        assert slider.evaluate("e => e.ariaLabel || e.labels?.[0]?.textContent"), "a slider without a name"
        slider.focus()
        page.keyboard.press("Home")  # where it may stand already
        slider.evaluate(CHANGES)
        for key in ("ArrowRight", "ArrowLeft"):
            page.keyboard.press(key)
            drawing, read_out = slider.evaluate(CHANGES)
            assert drawing, f"slider {number}: {key} changes no drawing"
            assert read_out, f"slider {number}: {key} changes no read-out"


@look_at([CHAPTER])
def test_the_download_of_a_notebook_is_a_file_that_opens(visited, tmp_path):
    """Also from a server that names its type, which a browser would show."""
    page = visited.page
    page.locator(".dropdown-download-buttons > button").click()
    with page.expect_download() as started:
        page.locator("a.btn-download-source-button").click()
    started.value.save_as(tmp_path / "x.ipynb")
    assert started.value.suggested_filename == f"{CHAPTER.rpartition('/')[2]}.ipynb"
    notebook = nbformat.read(tmp_path / "x.ipynb", 4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "BOOK = " in next(cell.source for cell in notebook.cells if cell.cell_type == "code")


def luminance(colour: str) -> float:
    r, g, b = (float(x) for x in re.findall(r"[\d.]+", colour)[:3])
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


TWO_FRAMES = "() => new Promise(ok => requestAnimationFrame(() => requestAnimationFrame(ok)))"
# What opens fades in. (The promise of one that is cut short may stay open; so they are asked frame by frame.
# What follows scrolling, as the faded edge of a wide table, runs for ever.)
FADED_IN = """async () => { while (document.getAnimations().some(a => a.playState === 'running'
    && a.timeline === document.timeline && a.effect.getComputedTiming().endTime !== Infinity))
  await new Promise(requestAnimationFrame); }"""


def test_the_theme_button_switches_to_dark_and_the_widgets_follow(page, site_url):
    visit(page, f"{site_url}/{CHAPTERS[0]}.html")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    ink = """() => { const e = document.querySelector('.widget-live > *');
      return getComputedStyle(e).color; }"""
    seen = {}
    for _ in range(3):  # auto, light, dark
        theme = page.evaluate("() => document.documentElement.dataset.theme")
        seen[theme] = page.evaluate(ground), page.evaluate(ink)
        page.locator("button.theme-switch-button:visible").first.click()
        page.evaluate(TWO_FRAMES)  # the widgets hear of it
        page.evaluate(FADED_IN)
    assert set(seen) == {"light", "dark"}
    assert luminance(seen["light"][0]) > 200 > 60 > luminance(seen["dark"][0])
    assert luminance(seen["light"][1]) < 90, "dark ink on light ground"
    assert luminance(seen["dark"][1]) > 160, "light ink on dark ground"


MARKS = "all => all.map(e => getComputedStyle(e.querySelector('summary'), '::after').content)"
WORDS = "all => all.map(e => e.innerText.replace(e.querySelector('summary').innerText, '').trim())"


def test_without_javascript_text_and_pictures_show_and_the_quiz_opens(browser, site_url):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site_url}/{CHAPTER}.html", wait_until="load")
    assert len(page.locator(".bd-article").inner_text()) > 1000
    pictures = page.locator(".widget-fallback img")
    assert pictures.count() == page.locator(VIEW).count() > 0
    for picture in pictures.all():
        assert picture.is_visible()
        assert picture.bounding_box()["width"] > 200
    for kind, word in (("right", "right"), ("wrong", "not quite")):
        options = page.locator(f"details.quiz-{kind}")
        assert not any(word in mark for mark in options.evaluate_all(MARKS)), "closed, none may tell"
        for option in options.all():
            option.locator("summary").click()
        assert all(word in mark for mark in options.evaluate_all(MARKS)), "more than a colour"
        assert all(len(text) > 20 for text in options.evaluate_all(WORDS)), "every answer is explained"
    context.close()


@pytest.mark.parametrize("blocked", ["**/{mathjax/*,widgets-offline.js}*", "**/*.js*"])
def test_a_failing_script_leaves_text_and_pictures(page, site_url, blocked):
    page.route(blocked, lambda route: route.abort())
    page.goto(f"{site_url}/{CHAPTER}.html", wait_until="load")
    assert len(page.locator(".bd-article").inner_text()) > 1000
    pictures = page.locator(".widget-fallback img")
    assert pictures.count() == page.locator(VIEW).count() > 0
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        assert picture.is_visible()


def test_a_widget_that_raises_keeps_its_picture_and_the_others_live(page, site_url):
    def broken(route):
        """The page, in which the first widget has code of its own, which raises."""
        body = route.fetch().text()
        view, records = (
            re.search(
                rf'<script type="application/vnd.jupyter.widget-{kind}\+json">(.*?)</script>', body, re.S
            )
            for kind in ("view", "state")
        )
        state = json.loads(records[1])
        state["state"][json.loads(view[1])["model_id"]]["state"]["_esm"] = "throw new Error('planted');"
        planted = json.dumps(state).replace("</", "<\\/")
        route.fulfill(
            body=body[: records.start(1)] + planted + body[records.end(1) :], content_type="text/html"
        )

    page.route(f"**/{CHAPTER}.html", broken)
    with page.expect_console_message(lambda message: "planted" in message.text):
        page.goto(f"{site_url}/{CHAPTER}.html", wait_until="load")
    others = page.locator(VIEW).count() - 1
    page.wait_for_function(
        "n => document.querySelectorAll('.widget-fallback.is-live').length >= n", arg=others
    )
    shown = [picture.is_visible() for picture in page.locator(".widget-fallback").all()]
    assert shown == [True, *[False] * others]
    assert page.locator(LIVE).count() == others


@look_at(DOCUMENTS[:1])
def test_the_icons_show(visited):
    """Each icon has a glyph of the icon font (they are drawn without the theme's script)."""
    page = visited.page
    empty = page.eval_on_selector_all(
        "i[class*='fa-']",
        "all => all.filter(e => ['none', 'normal', '\"\"'].includes(getComputedStyle(e, '::before').content)"
        " && e.querySelector('svg') === null).map(e => e.className)",
    )
    assert page.locator("i[class*='fa-']").count() > 3
    assert empty == []
    assert page.evaluate(
        "() => document.fonts.ready.then(() => document.fonts.check('900 16px \"Font Awesome 6 Free\"'))"
    )
