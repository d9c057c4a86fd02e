"""The built site in a browser that reaches nothing but this machine: chapters, and a page of each kind.

What axe does not see is looked at here: without a mouse, enlarged, on a telephone, in the dark.
"""

from __future__ import annotations

import gzip
import re

import nbformat
import pytest

from conftest import faults
from site_pages import (
    CALM,
    CHAPTER,
    CHAPTERS,
    DESKTOP,
    DOCUMENTS,
    FADED_IN,
    KINDS,
    PAGES,
    PHONE,
    SLIDERS,
    TWO_FRAMES,
    VIEW,
    calm,
    look_at,
    visit,
    visited,
    wait_for_stops,
)

__all__ = ["visited"]  # a fixture

# The text without code, in which a role, a directive or a formula that was not understood stands as written.
TEXT = """() => { const a = document.querySelector('.bd-article').cloneNode(true);
  const away = 'pre, code, dt.sig, .field-list dt, script, style, mjx-container';
  a.querySelectorAll(away).forEach(e => e.remove());
  return a.textContent; }"""


@look_at(PAGES)
def test_a_page_is_whole_and_light_and_asks_this_host_alone(visited):
    page = visited.page
    assert visited.watch.problems == []
    assert page.title()
    if visited.name not in DOCUMENTS:
        return
    assert page.locator("mjx-container").count() >= page.locator(".math").count(), "mathematics is typeset"
    assert page.locator("mjx-merror").count() == 0
    text = page.evaluate(TEXT)
    for pattern in (r"\{[a-z:]+\}`", r"```", r":::", r"\$[^$\s]+\$", r"\\\(", r"(?<!\w)\*\*\w"):
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
def test_figures_of_a_chapter_and_each_slider_moved_by_keyboard(visited):
    """A key changes the drawing and the read-out."""
    page = visited.page
    figures = page.locator(".bd-article figure:has(> img), .bd-article figure:has(> a > img)")
    numbers = [text.strip() for text in figures.locator(".caption-number").all_inner_texts()]
    assert numbers or visited.name == "book/playground", "a chapter without a figure"
    assert all(re.fullmatch(r"Figure \d+(\.\d+)?", number) for number in numbers), numbers
    assert len(set(numbers)) == len(numbers) == figures.count()
    assert all(len(text) > 20 for text in figures.locator(".caption-text").all_inner_texts())
    views = page.locator(VIEW).count()
    assert page.locator(".widget-fallback").count() == views
    assert page.locator(".widget-fallback:visible").count() == 0
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


# Numbers everything that the Tab key should reach, in the order of the text, and describes each.
EXPECT = """() => { document.querySelectorAll('[data-stop]').forEach(e => delete e.dataset.stop);
  return [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
    .filter(e => e.tabIndex >= 0 && !e.disabled && !e.closest('[inert]')
      && e.checkVisibility({visibilityProperty: true}))
    .map((e, k) => { e.dataset.stop = k; return e.outerHTML.slice(0, 140); }); }"""

# What has the focus, and whether a reader can see any of it: not hidden, not outside, not covered.
LOOK = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const box = e.getBoundingClientRect(), inside = (x, high) => Math.min(high - 1, Math.max(0, x));
  const top = (x, y) => document.elementFromPoint(
    inside(box.left + x * box.width, innerWidth), inside(box.top + y * box.height, innerHeight));
  const seen = [.02, .25, .5, .75, .98].some(x => [.05, .5, .95].some(y => e.contains(top(x, y))));
  const shown = e.checkVisibility({visibilityProperty: true, opacityProperty: true});
  return {stop: Number(e.dataset.stop ?? -1), what: e.outerHTML.slice(0, 140), seen: seen && shown}; }"""


@look_at([CHAPTER, "search"])
def test_the_tab_key_reaches_everything_in_order_and_one_sees_where_it_is(visited):
    page = calm(visited.page, PHONE if visited.name == "search" else DESKTOP)
    expected = page.evaluate(EXPECT)
    stops: list[dict] = []
    for _ in range(2 * len(expected) + 20):
        page.keyboard.press("Tab")
        stop = page.evaluate(LOOK)
        if stop and not stop["seen"]:  # what slides in is there a frame later
            page.evaluate(TWO_FRAMES)
            stop = page.evaluate(LOOK)
        if stop is None or (stops and stop["stop"] == stops[0]["stop"]):
            break  # the focus has left the page, or comes round
        stops.append(stop)
    else:
        pytest.fail(f"the focus does not leave the page; last: {stops[-1]['what']}")
    order = [stop["stop"] for stop in stops]
    assert -1 not in order, f"unexpected: {[stop['what'] for stop in stops if stop['stop'] == -1]}"
    missed = [expected[k] for k in set(range(len(expected))) - set(order)]
    assert not missed
    assert order == sorted(order), "the focus follows the text"
    assert "main-content" in stops[0]["what"], "the skip link is first"
    assert [stop["what"] for stop in stops if not stop["seen"]] == []


def test_every_kind_of_control_answers_to_the_keyboard(page, site_url, tmp_path):
    page.emulate_media(**CALM)
    visit(page, f"{site_url}/{CHAPTERS[2]}.html")
    key = "Space"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site_url)

    def press(selector: str, nth: int = 0):
        element = page.locator(selector).nth(nth)
        element.focus()
        page.keyboard.press(key)
        return element

    menu = press(".dropdown-download-buttons > button")
    assert menu.get_attribute("aria-expanded") == "true"
    with page.expect_download() as started:  # also from a server that names its type, which could be shown
        page.locator("a.btn-download-source-button").press("Enter")
    started.value.save_as(tmp_path / "x.ipynb")
    nbformat.validate(nbformat.read(tmp_path / "x.ipynb", 4))
    menu.focus()
    page.keyboard.press("Escape")
    assert menu.get_attribute("aria-expanded") == "false"

    themes = set()
    for _ in range(3):  # auto, light, dark; what the colours are like axe sees
        press("button.theme-switch-button:visible")
        themes.add(page.evaluate("() => document.documentElement.dataset.theme"))
    assert themes == {"light", "dark"}

    code = page.locator("div.highlight:has(button.copybtn) pre").first
    press("button.copybtn")
    page.wait_for_function("() => navigator.clipboard.readText()")
    assert page.evaluate("() => navigator.clipboard.readText()").strip() == code.inner_text().strip()

    option = page.locator("details.quiz-right").first
    press("details.quiz-right > summary")
    assert option.evaluate("e => e.open")
    page.keyboard.press(key)
    assert not option.evaluate("e => e.open")

    slider = page.locator(".lx input[type=range]").first
    said = slider.get_attribute("aria-valuetext")
    press(".lx button.lx-play")  # one step, since the reader wants no movement
    page.wait_for_function("([e, said]) => e.ariaValueText !== said", arg=[slider.element_handle(), said])


@pytest.mark.parametrize(
    ("button", "bar"),
    [(".primary-toggle", "#pst-primary-sidebar"), (".secondary-toggle", "#pst-secondary-sidebar")],
    ids=["contents", "on-this-page"],
)
@look_at([CHAPTER])
def test_the_side_bars_of_a_phone_open_and_close_by_key(visited, button, bar):
    page = calm(visited.page, PHONE)
    toggle = page.locator(f"{button}:visible").first
    toggle.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    dialog.wait_for(state="visible")
    links = dialog.locator("a:visible")
    assert links.count() > 5
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate("() => !!document.activeElement.closest('dialog[open]')")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert toggle.evaluate("e => e === document.activeElement")
    assert not page.locator(f"{bar} a").first.is_visible()


# WCAG 1.4.12: what a reader may set without losing anything.
SPACING = """p { margin-bottom: 2em !important }
  * { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important }"""

# What does not fit: the page scrolls sideways, the keyboard does not reach what scrolls, a text is cut off.
LOST = """() => {
  const root = document.documentElement, w = root.clientWidth, lost = [];
  const say = (what, e) => lost.push(`${what}: ${e.outerHTML.slice(0, 120)}`);
  const held = e => { for (let a = e.parentElement; a; a = a.parentElement)
    if (getComputedStyle(a).overflowX !== 'visible') return true; return false; };
  if (root.scrollWidth > w)
    for (const e of document.querySelectorAll('body *'))
      if (e.getBoundingClientRect().right > w + 1 && e.checkVisibility() && !held(e))
        say('wider than the page', e);
  const reached = 'a[href], button, input, select, summary, [tabindex="0"]';
  for (const e of document.querySelectorAll('main *, header *, footer *')) {
    const style = getComputedStyle(e), wide = e.scrollWidth > e.clientWidth + 1;
    if (!e.checkVisibility() || e.clientWidth < 3) continue;
    if (/auto|scroll/.test(style.overflowX) && wide && e.tabIndex < 0 && !e.querySelector(reached))
      say('scrolls, out of reach', e);
    const apart = '.lx-hidden, .visually-hidden, .toggle-hidden, svg, .math, mjx-container';
    if (/hidden|clip/.test(style.overflowX) && e.scrollWidth > e.clientWidth + 2 && e.textContent.trim()
        && !e.closest(apart)) say('cut off at the side', e);
    if (/hidden|clip/.test(style.overflowY) && e.scrollHeight > e.clientHeight + 2 && e.textContent.trim()
        && !e.closest(apart)) say('cut off below', e);
  }
  for (const e of document.querySelectorAll('.math')) {
    const formula = e.querySelector('mjx-math')?.getBoundingClientRect(), box = e.getBoundingClientRect();
    if (formula && formula.width && /hidden|clip/.test(getComputedStyle(e).overflowX)
        && formula.right > box.right + 2) say('formula cut off', e);
  }
  if (root.scrollWidth > w) lost.unshift(`the page is ${root.scrollWidth} wide, the window ${w}`);
  return [...new Set(lost)].slice(0, 6); }"""


@look_at([*CHAPTERS, *(name for name in KINDS if name != CHAPTER), "genindex"])
def test_nothing_is_lost_enlarged_and_axe_finds_nothing_with_solutions_open(visited):
    """1280 pixels at 400 % are 320 (WCAG 1.4.4, 1.4.10); axe looks at a page of each kind."""
    page, name = calm(visited.page, {"width": 320, "height": 568}), visited.name
    page.evaluate("() => document.querySelectorAll('.bd-article details').forEach(e => e.open = true)")
    page.evaluate(FADED_IN)
    wait_for_stops(page)
    spacing = page.add_style_tag(content=SPACING)
    page.evaluate("() => dispatchEvent(new Event('resize'))")
    wait_for_stops(page)
    assert not page.evaluate(LOST)
    spacing.evaluate("e => e.remove()")
    if name not in KINDS:
        return
    viewport, theme = ((PHONE, "dark"), (DESKTOP, "light"))[KINDS.index(name) % 2]
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=theme)
    page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
    if name == "book/glossary":  # the dialog is the same on all pages
        page.keyboard.press("Control+k")
        page.locator("#pst-search-dialog").wait_for(state="visible")
    page.evaluate(FADED_IN)
    wait_for_stops(page)
    assert faults(page) == [], theme


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
