"""The built site in a browser that reaches nothing but this machine."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
import yaml

from conftest import run_axe

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

ROOT = Path(__file__).resolve().parents[1]
VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]'
LIVE = ".widget-live, .widget-subarea"
SLIDERS = ".widget-live input[type=range], .widget-live [role=slider]"


def documents() -> list[str]:
    """The pages of the table of contents, in its order."""

    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("file", "root"):
                    yield value
                elif isinstance(value, list):
                    for item in value:
                        yield from walk(item)

    return list(walk(yaml.safe_load((ROOT / "_toc.yml").read_text())))


DOCUMENTS = documents()
CHAPTERS = [
    name
    for name in DOCUMENTS
    if (ROOT / f"{name}.ipynb").exists() and "assignments" not in name  # they have no outputs
]
SOURCE_PAGES = ["_modules/index.html", "_modules/l2lab/plots.html"]
PAGES = [*(f"{name}.html" for name in DOCUMENTS), "search.html", "genindex.html", *SOURCE_PAGES]


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


def wait_for_widgets(page) -> None:
    """Wait until every widget view stands."""
    page.wait_for_function(
        "([view, live]) => document.querySelectorAll(live).length >= document.querySelectorAll(view).length",
        arg=[VIEW, LIVE],
    )
    page.wait_for_function(
        "live => [...document.querySelectorAll(live)].every(e => e.querySelector('svg, canvas, input'))",
        arg=LIVE,
    )


def wait_until_it_stands(page) -> None:
    """Wait for all that a page loads, its widgets and its mathematics."""
    page.wait_for_load_state("load")
    page.evaluate("() => window.MathJax?.startup?.promise")
    if page.locator(VIEW).count():
        wait_for_widgets(page)


def visit(page, url: str) -> None:
    """Open a page and wait until it stands."""
    page.goto(url, wait_until="commit")
    wait_until_it_stands(page)


@dataclass
class Visit:
    """A page that stands, scrolled to its end, and what was seen while it loaded."""

    page: Page
    watch: Watch
    answers: list[Response]


# Pictures further down are fetched when a reader comes near. (One that is no picture is left to its test.)
LOAD_PICTURES = """() => Promise.allSettled([...document.querySelectorAll('.bd-article img')].map(e => {
  e.loading = 'eager';
  return e.decode(); }))"""


@pytest.fixture(scope="module")
def visited(browser, site_url, request) -> Iterator[Visit]:
    """Open a page once for all tests that only look at it; pytest runs the tests of one page together."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, answers = context.new_page(), []
    page.on("response", lambda answer: answers.append(answer))
    watch = Watch(page, site_url)
    visit(page, f"{site_url}/{request.param}")
    page.evaluate(LOAD_PICTURES)
    page.mouse.wheel(0, 50_000)  # what else loads late, loads now
    page.wait_for_load_state("networkidle")
    yield Visit(page, watch, answers)
    context.close()


def look_at(pages: list[str]) -> pytest.MarkDecorator:
    """Run a test on each of these pages, which it must leave as it found them."""
    names = [name if name.endswith(".html") else f"{name}.html" for name in pages]
    return pytest.mark.parametrize("visited", names, indirect=True)


@look_at(PAGES)
def test_page_loads_from_this_host_alone_and_without_an_error(visited):
    assert visited.watch.problems == []
    assert visited.page.title()


@look_at(DOCUMENTS)
def test_mathematics_is_typeset(visited):
    page = visited.page
    formulas = page.locator(".math").count()
    assert page.locator("mjx-container").count() >= formulas
    assert page.locator("mjx-merror").count() == 0


@look_at(DOCUMENTS)
def test_no_markup_is_left_over(visited):
    """A role, a directive or a formula that was not understood stands in the text as it was written."""
    page = visited.page
    text = page.evaluate(
        "() => { const a = document.querySelector('.bd-article').cloneNode(true);"
        " const away = 'pre, code, dt.sig, .field-list dt, script, style, mjx-container';"
        " a.querySelectorAll(away).forEach(e => e.remove());"
        " return a.textContent; }"
    )
    for pattern in (r"\{[a-z:]+\}`", r"```", r":::", r"\$[^$\s]+\$", r"\\\(", r"\*\*\w"):
        assert not re.search(pattern, text), (pattern, re.search(f".{{0,40}}{pattern}.{{0,40}}", text))


def names_of_sliders(page) -> list[str]:
    return page.eval_on_selector_all(
        SLIDERS, "all => all.map(e => e.ariaLabel || e.labels?.[0]?.textContent || '')"
    )


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


@pytest.mark.parametrize("name", CHAPTERS)
def test_each_slider_moved_by_keyboard_changes_drawing_and_read_out(page, site_url, name):
    visit(page, f"{site_url}/{name}.html")
    views = page.locator(VIEW).count()
    sliders = page.locator(SLIDERS)
    assert views >= 1, "a chapter without a widget"
    assert sliders.count() >= views, "a widget without a slider"
    for number in range(sliders.count()):
        slider = sliders.nth(number)
        if not slider.is_visible() or slider.is_disabled():
            continue
        slider.scroll_into_view_if_needed()
        slider.focus()
        page.keyboard.press("Home")  # where it may stand already
        slider.evaluate(CHANGES)
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
            page.keyboard.press(key)
            drawing, read_out = slider.evaluate(CHANGES)
            assert drawing, f"slider {number}: {key} changes no drawing"
            assert read_out, f"slider {number}: {key} changes no read-out"


@look_at(CHAPTERS)
def test_each_slider_has_a_name_and_a_value_in_words(visited):
    page = visited.page
    assert all(names_of_sliders(page))
    for text in page.eval_on_selector_all(SLIDERS, "all => all.map(e => e.getAttribute('aria-valuetext'))"):
        assert text, "a slider that only says a number of its own"


@look_at(CHAPTERS)
def test_a_live_widget_takes_the_place_of_its_picture(visited):
    page = visited.page
    assert page.locator(".widget-fallback").count() == page.locator(VIEW).count()
    assert page.locator(".widget-fallback:visible").count() == 0


@pytest.mark.parametrize("name", dict.fromkeys([*DOCUMENTS[:1], *CHAPTERS]))
def test_phone_and_no_sideways_scrolling(browser, site_url, name):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    visit(page, f"{site_url}/{name}.html")
    wide = page.evaluate(
        """() => { const root = document.documentElement, w = root.clientWidth;
             const out = e => e.getBoundingClientRect().right > w + 1;
             const all = [...document.querySelectorAll('.bd-article *')].filter(out);
             const free = all.filter(e => !e.closest('pre, .math, table, mjx-container, .output'));
             return [root.scrollWidth - w, ...free.slice(0, 5).map(e => e.outerHTML.slice(0, 90))]; }"""
    )
    assert wide[0] <= 0, wide
    context.close()


def luminance(colour: str) -> float:
    r, g, b = (float(x) for x in re.findall(r"[\d.]+", colour)[:3])
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


TWO_FRAMES = "() => new Promise(ok => requestAnimationFrame(() => requestAnimationFrame(ok)))"
# What opens fades in. (The promise of one that is cut short may stay open; so they are asked frame by frame.)
FADED_IN = """async () => { while (document.getAnimations().some(a => a.playState === 'running'
    && a.effect.getComputedTiming().endTime !== Infinity)) await new Promise(requestAnimationFrame); }"""


def test_the_theme_button_switches_to_dark_and_the_widgets_follow(page, site_url):
    visit(page, f"{site_url}/{(CHAPTERS or DOCUMENTS)[0]}.html")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    ink = """() => { const e = document.querySelector('.widget-live > *');
      return e && getComputedStyle(e).color; }"""
    seen = {}
    for _ in range(3):  # auto, light, dark
        theme = page.evaluate("() => document.documentElement.dataset.theme")
        seen[theme] = page.evaluate(ground), page.evaluate(ink)
        page.locator("button.theme-switch-button:visible").first.click()
        page.evaluate(TWO_FRAMES)  # the widgets hear of it
        page.evaluate(FADED_IN)
    assert set(seen) == {"light", "dark"}
    assert luminance(seen["light"][0]) > 200 > 60 > luminance(seen["dark"][0])
    if seen["light"][1]:
        assert luminance(seen["light"][1]) < 90, "dark ink on light ground"
        assert luminance(seen["dark"][1]) > 160, "light ink on dark ground"


@pytest.fixture(scope="module")
def audits(browser, site_url, request) -> Iterator[dict[str, dict]]:
    """What axe says about a page in each theme: two fresh pages side by side, since axe keeps a core busy."""
    pages = {}
    for theme in ("light", "dark"):
        context = browser.new_context(
            color_scheme=theme, viewport={"width": 1280, "height": 900}, reduced_motion="reduce"
        )
        pages[theme] = context.new_page()
        pages[theme].goto(f"{site_url}/{request.param}", wait_until="commit")
    for page in pages.values():
        wait_until_it_stands(page)
        page.evaluate("() => document.querySelectorAll('.bd-article details').forEach(e => e.open = true)")
        page.evaluate(FADED_IN)
    yield dict(zip(pages, run_axe(*pages.values()), strict=True))
    for page in pages.values():
        page.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("audits", PAGES, indirect=True)
def test_axe_finds_no_violation(audits, theme):
    result = audits[theme]
    found = [
        f"{v['id']} ({v['impact']}): {v['help']}: {[n['html'][:120] for n in v['nodes'][:3]]}"
        for v in result["violations"]
    ]
    assert result["passes"], "axe did not run"
    assert found == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_without_javascript_text_and_pictures_show(browser, site_url, name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site_url}/{name}.html", wait_until="load")
    assert page.locator(".bd-article h1").first.is_visible()
    assert len(page.locator(".bd-article").inner_text()) > 200
    pictures = page.locator(".widget-fallback img")
    assert pictures.count() == page.locator(VIEW).count()
    for number in range(pictures.count()):
        assert pictures.nth(number).is_visible()
        assert pictures.nth(number).bounding_box()["width"] > 200
    context.close()


MARKS = "all => all.map(e => getComputedStyle(e.querySelector('summary'), '::after').content)"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_quiz_opens_without_javascript_and_says_more_than_a_colour(browser, site_url, name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site_url}/{name}.html", wait_until="load")
    for kind, word in (("right", "right"), ("wrong", "not quite")):
        options = page.locator(f"details.quiz-{kind}")
        closed = options.evaluate_all(MARKS)
        assert not any(word in mark for mark in closed), "closed, an option must not tell"
        for option in options.all():
            option.locator("summary").click()
        assert all(word in mark for mark in options.evaluate_all(MARKS))
        explained = options.evaluate_all(
            "all => all.map(e => e.innerText.replace(e.querySelector('summary').innerText, ''))"
        )
        assert all(len(text.strip()) > 20 for text in explained), "every answer is explained"
    context.close()


@pytest.mark.parametrize("blocked", ["**/{mathjax/*,widgets-offline.js}*", "**/*.js*"])
@pytest.mark.parametrize("name", CHAPTERS)
def test_a_failing_script_leaves_text_and_pictures(page, site_url, name, blocked):
    page.route(blocked, lambda route: route.abort())
    page.goto(f"{site_url}/{name}.html", wait_until="load")
    assert len(page.locator(".bd-article").inner_text()) > 1000
    pictures = page.locator(".widget-fallback img")
    assert pictures.count() == page.locator(VIEW).count() > 0
    for number in range(pictures.count()):
        pictures.nth(number).scroll_into_view_if_needed()
        assert pictures.nth(number).is_visible()


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_widget_that_raises_keeps_its_picture_and_the_others_live(page, site_url, name):
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

    page.route(f"**/{name}.html", broken)
    with page.expect_console_message(lambda message: "planted" in message.text):
        page.goto(f"{site_url}/{name}.html", wait_until="load")
    others = page.locator(VIEW).count() - 1
    page.wait_for_function(
        "n => document.querySelectorAll('.widget-fallback.is-live').length >= n", arg=others
    )
    shown = [picture.is_visible() for picture in page.locator(".widget-fallback").all()]
    assert shown == [True, *[False] * others]
    assert page.locator(LIVE).count() == others


@look_at(DOCUMENTS)
def test_every_image_says_what_it_shows(visited):
    """In the page as it stands, after all scripts."""
    page = visited.page
    for alt, width, source in page.eval_on_selector_all(
        ".bd-article img", "all => all.map(e => [e.getAttribute('alt'), e.naturalWidth, e.src])"
    ):
        assert alt, source
        assert len(alt.split()) >= 4, f"{source}: {alt!r} does not say what it shows"
        assert not re.search(r"[0-9a-f]{16}|\.png|\.svg", alt), alt
        assert width > 0, f"{source} is no picture"


@look_at(CHAPTERS)
def test_figures_are_numbered_and_have_captions(visited):
    page = visited.page
    figures = page.locator(".bd-article figure:has(> img), .bd-article figure:has(> a > img)")
    numbers = [figures.nth(k).locator(".caption-number").inner_text().strip() for k in range(figures.count())]
    assert numbers, "a chapter without a figure"
    assert all(re.fullmatch(r"Figure \d+(\.\d+)?", number) for number in numbers), numbers
    assert len(set(numbers)) == len(numbers)
    for number in range(figures.count()):
        assert len(figures.nth(number).locator(".caption-text").inner_text()) > 20


@look_at(DOCUMENTS)
def test_page_is_light_as_a_browser_counts(visited):
    """All that Chromium fetches for a page, fonts included; texts compressed, as servers send them."""
    total = 0
    answers = {answer.url: answer for answer in visited.answers if answer.url.startswith("http")}
    for answer in answers.values():
        packed = answer.url.partition("?")[0].endswith((".woff", ".woff2", ".png"))
        total += len(answer.body() if packed else gzip.compress(answer.body(), 6))
    assert 60_000 < total < 1_500_000


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_icons_show(browser, site_url, theme):
    """Each icon has a glyph of the icon font (they are drawn without the theme's script)."""
    context = browser.new_context(color_scheme=theme)
    page = context.new_page()
    visit(page, f"{site_url}/{DOCUMENTS[0]}.html")
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
    context.close()


def test_search_finds_a_word_of_a_chapter(page, site_url):
    page.goto(f"{site_url}/search.html?q=regularization", wait_until="load")
    page.wait_for_selector("ul.search li a")
    links = page.eval_on_selector_all("ul.search li a", "all => all.map(e => e.getAttribute('href'))")
    assert any(link.startswith("book/") for link in links)


def test_the_start_page_leads_to_the_introduction(page, site_url):
    page.goto(f"{site_url}/", wait_until="load")
    page.wait_for_url("**/book/intro.html*")


@look_at(CHAPTERS)
def test_buttons_lead_to_the_notebook_and_nowhere_without_an_address(visited, site_url):
    page = visited.page
    name = page.url.removeprefix(f"{site_url}/").removesuffix(".html")
    home = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    buttons = page.eval_on_selector_all(".bd-header-article a[target]", "all => all.map(e => e.href)")
    if not home["url"]:
        assert buttons == []
        return
    place = home["url"].removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{place}/blob/{home['branch']}/{name}.ipynb"
    assert colab in buttons
    assert all(f"github.com/{place}" in button for button in buttons if button != colab)


@look_at(CHAPTERS[:1])
def test_the_download_of_a_notebook_is_a_file_that_opens(visited, tmp_path):
    """Also from a server that names its type, which a browser would show."""
    page = visited.page
    page.locator(".dropdown-download-buttons > button").click()
    with page.expect_download() as started:
        page.locator("a.btn-download-source-button").click()
    started.value.save_as(tmp_path / "x.ipynb")
    name = page.url.rpartition("/")[2].removesuffix(".html")
    assert started.value.suggested_filename == f"{name}.ipynb"
    notebook = nbformat.read(tmp_path / "x.ipynb", 4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "BOOK = " in next(cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_site_check_finds_nothing(site):
    import check

    report = check.check(site)
    assert report.problems == []
    assert max(report.weights.values()) < check.MAX_BYTES
