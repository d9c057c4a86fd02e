"""The λ explorer in its page and in a notebook: address, theme, sizes, accessibility, messages."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from conftest import run_axe
from explorer_page import (
    LAMS,
    alone,
    explorers,
    numbers,
    open_page,
    part,
    put_at,
    readout,
    said,
    settle,
    slider,
    standing,
    url,
)
from l2lab.explore import LambdaExplorer, budget_panel, curves_panel, paths_panel

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["alone", "explorers", "said", "standing", "url"]  # fixtures


class TestAddress:
    def test_state_is_read_and_shown(self, page: Page, url: str, said: list[str]) -> None:
        open_page(page, f"{url}/index.html#b:lam=0.03;a:lam=0.00011,x=1;c:lam=0,w=-0.5:99")
        assert [readout(page, name) for name in "bac"] == ["λ = 0.0251", "λ = 10⁻⁴", "λ = 0"]
        assert abs(part(page, "b").bounding_box()["y"] - 70) < 80  # scrolled to the first one named
        knob = part(page, "c").locator(".lx-knob").first
        assert numbers(knob.get_attribute("aria-valuetext")) == pytest.approx([-0.5, 1.68])  # cut

    def test_nonsense_changes_nothing(self, page: Page, url: str, said: list[str]) -> None:
        open_page(page, f"{url}/index.html#a:lam=x;%E0%A4%A")
        for text in ("", "a:lam=", "a:lam=-1", "%E0%A4%A", "a:;;=", "zz:lam=1", "a:lam=nan"):
            page.evaluate("text => { location.hash = text }", text)
            settle(page)
            assert readout(page, "a") == "λ = 0.01", text
        page.evaluate("location.hash = 'c:lam=1,w=1:x'")
        settle(page)
        assert "1.20, 0.50" in part(page, "c").locator(".lx-knob").first.get_attribute("aria-valuetext")

    def test_state_is_written_late_and_without_history(self, page: Page, url: str, said: list[str]) -> None:
        page.clock.install(time=0)
        open_page(page, f"{url}/index.html")
        length = page.evaluate("history.length")
        page.clock.pause_at(60_000)
        slider(page, "a").press("End")
        page.clock.run_for(200)
        assert page.evaluate("location.hash") == ""
        slider(page, "c").press("Home")
        part(page, "c").locator(".lx-knob").first.press("ArrowLeft")
        page.clock.run_for(300)
        assert page.evaluate("location.hash") == "#a:lam=10;c:lam=0,w=1.116:0.5"
        assert page.evaluate("history.length") == length
        page.clock.resume()
        address = page.url
        page.goto("about:blank")
        open_page(page, address)
        assert (readout(page, "a"), readout(page, "c")) == ("λ = 10", "λ = 0")
        assert "1.12" in part(page, "c").locator(".lx-knob").first.get_attribute("aria-valuetext")

    def test_links_in_the_text_copied_ones_and_ordinary_anchors(
        self, page: Page, url: str, said: list[str]
    ) -> None:
        open_page(page, f"{url}/index.html")
        page.get_by_text("set λ = 0.1").click()
        settle(page)
        assert readout(page, "b") == "λ = 0.1"
        assert part(page, "b").bounding_box()["y"] < 300
        page.get_by_text("go to the heading").click()
        top = "document.querySelector('#heading-b').getBoundingClientRect().y"
        page.wait_for_function(f"Math.abs({top}) < 30")
        assert page.evaluate("location.hash") == "#heading-b"
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        put_at(page, "a", 0)
        part(page, "a").locator(".lx-copy").click()
        page.wait_for_function("document.querySelector('#a .lx-copy').innerText === 'Link copied'")
        assert page.evaluate("navigator.clipboard.readText()").endswith("/index.html#a:lam=0.00001")


class TestLook:
    def test_theme_is_followed_live_and_print_is_light(self, alone: Callable[..., Page]) -> None:
        page = alone("a")
        get = """() => [getComputedStyle(document.querySelector('#a')).backgroundColor,
                        document.querySelector('#a canvas').toDataURL()]"""
        light = page.evaluate(get)
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        settle(page)
        dark = page.evaluate(get)
        assert (light[0], dark[0]) == ("rgb(255, 255, 255)", "rgb(20, 24, 30)")
        assert light[1] != dark[1]
        page.emulate_media(media="print")
        assert not part(page, "a").locator(".lx-play").is_visible()
        assert part(page, "a").locator(".lx-stage").first.is_visible()
        assert part(page, "a").locator(".lx-bar output").is_visible()
        style = "getComputedStyle(document.querySelector('#a')).getPropertyValue('--lx-1')"
        assert page.evaluate(style) == "#0072b2"
        page.emulate_media(media="screen")
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        settle(page)
        assert page.evaluate(get) == light

    def test_nothing_is_cut_off_and_labels_do_not_touch(self, page: Page, url: str, said: list[str]) -> None:
        open_page(page, f"{url}/index.html")
        for width in (1280, 320):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function("""() => [...document.querySelectorAll('.lx-stage > svg')]
                .every(e => Math.abs(e.viewBox.baseVal.width - e.parentElement.clientWidth) < 1)""")
            settle(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            outside = page.evaluate("""() =>
                [...document.querySelectorAll('.lx-stage > svg')].flatMap(svg => {
                const box = svg.getBoundingClientRect();
                return [...svg.querySelectorAll('text')].filter(t => t.textContent).filter(t => {
                    const r = t.getBoundingClientRect();
                    return r.left < box.left - 2 || r.right > box.right + 2
                        || r.top < box.top - 2 || r.bottom > box.bottom + 2;
                }).map(t => t.textContent); })""")
            assert outside == [], width
            small = page.evaluate("""() =>
                [...document.querySelectorAll('.lx :is(button, input, select, .lx-knob)')]
                .filter(e => Math.min(e.getBoundingClientRect().width, e.getBoundingClientRect().height) < 24)
                .map(e => e.className || e.type)""")
            assert small == [], width
            touching = page.evaluate("""() => [...document.querySelectorAll('svg, .lx-ticks')].flatMap(g => {
                const shown = [...g.querySelectorAll('text.tick, span')].filter(e =>
                    !e.getAttribute('transform') && e.textContent
                    && getComputedStyle(e).visibility !== 'hidden');
                const all = shown.map(e => [e.textContent, e.getBoundingClientRect()]);
                const meet = (r, q) => r.left < q.right && q.left < r.right
                    && r.top + 3 < q.bottom && q.top + 3 < r.bottom;
                return all.flatMap(([t, r], i) =>
                    all.slice(i + 1).filter(u => meet(r, u[1])).map(u => [t, u[0]])); })""")
            assert touching == [], width
            grid = "getComputedStyle(document.querySelector('#a .lx-panels')).gridTemplateColumns"
            assert len(page.evaluate(grid).split()) == (2 if width >= 768 else 1)

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_axe_finds_nothing_and_focus_is_seen(self, standing: Page, theme: str) -> None:
        standing.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        settle(standing)
        for selector in ("#a .lx-play", "#a .lx-slide input", "#a .lx-copy", "#c .lx-knob", "#f select"):
            e = standing.locator(selector).first
            e.focus()
            standing.keyboard.press("Shift")  # a key makes the focus visible
            assert e.evaluate("e => parseFloat(getComputedStyle(e).outlineWidth)") >= 2, selector
        found = run_axe(standing)[0]["violations"]
        standing.evaluate("document.documentElement.dataset.theme = 'light'")
        assert [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in found] == []


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

    def test_controls_send_a_choice_and_errors_are_shown(self, hosted: Page) -> None:
        assert hosted.locator(".lx-copy, .lx-hint").count() == 0
        hosted.get_by_label("noise").select_option("0.5")
        assert hosted.evaluate("sent.at(-1).choice") == {"noise": 0.5, "width": 8}
        hosted.evaluate("model.set('error', 'RuntimeError: <b>no</b>')")
        alert = hosted.locator("[role=alert]")
        assert alert.inner_text() == "RuntimeError: <b>no</b>"
        hosted.evaluate("model.set('error', '')")
        assert not alert.is_visible()

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

    def test_a_run_outlives_new_panels_and_keys_do_not_reach_the_notebook(self, hosted: Page) -> None:
        hosted.evaluate("window.leaked = []; document.addEventListener('keydown', e => leaked.push(e.key))")
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
            field.fill("2")
            field.press("End")
            field.press("0")
        assert hosted.evaluate("leaked") == []  # where digits are commands
        hosted.locator(".lx-slide input").press("End")
        assert hosted.evaluate("sent.at(-1).index") == 8
        assert hosted.evaluate("leaked.length + location.hash.length") == 0

    def test_ids_differ_between_copies_of_the_module_and_cleanup_lets_go(self, hosted: Page) -> None:
        hosted.evaluate("""async () => { const source = URL.createObjectURL(new Blob([model.get('_esm')],
            {type: 'text/javascript'})), el = document.createElement('div'); document.body.append(el);
            window.other = (await import(source)).default.render({model, el}); }""")
        settle(hosted)
        ids = hosted.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids)) > 4
        assert hosted.evaluate("listeners()") > 0
        hosted.evaluate("other()")
        hosted.evaluate("cleanup()")
        assert hosted.evaluate("listeners()") == 0

    def test_theme_of_each_host(self, hosted: Page) -> None:
        for site, lab, colab, system, dark in (
            (None, "false", None, "light", True), ("dark", "true", None, "light", False),
            ("dark", None, None, "light", True), (None, None, None, "light", False),
            (None, None, "dark", "light", True), (None, None, None, "dark", True),
        ):  # fmt: skip
            hosted.emulate_media(color_scheme=system)
            hosted.evaluate(
                """([site, lab, colab]) => {
                   const put = (e, k, v) => v ? e.setAttribute(k, v) : e.removeAttribute(k);
                   put(document.documentElement, 'data-theme', site);
                   put(document.documentElement, 'theme', colab);
                   put(document.body, 'data-jp-theme-light', lab); }""",
                [site, lab, colab],
            )
            settle(hosted)
            assert ("dark" in hosted.locator(".lx").get_attribute("class")) is dark
