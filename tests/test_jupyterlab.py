"""The chapters in a real JupyterLab: what a reader sees who opens a notebook instead of the page.

One chapter is opened as it is stored and runs; with ``L2LAB_TEST_CHAPTERS=1`` in the environment all do.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

from common import BOOK, chapters
from test_plain_notebooks import MARKS

MINUTE = 60_000  # long enough for any of these waits on a busy machine; a wait ends when it has what it wants
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page at once
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
NAMES = [path.stem for path in chapters()] if "L2LAB_TEST_CHAPTERS" in os.environ else ["02_formula"]
# Text that Markdown was to draw, without code and without what MathJax adds for screen readers.
TEXT = """() => [...document.querySelectorAll('.jp-MarkdownCell .jp-RenderedMarkdown')].map(cell => {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll('code, pre, mjx-container, .jp-InternalAnchorLink').forEach(e => e.remove());
  return copy.textContent })"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the book; its address."""
    top = tmp_path_factory.mktemp("lab")
    left_out = shutil.ignore_patterns("_*", "assignments", ".ipynb_checkpoints")
    shutil.copytree(BOOK, top / "book", ignore=left_out)
    for name, content in SETTINGS.items():
        file = top / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    places = {
        "HOME": "home", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython",
        "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    env = os.environ | {name: str(top / folder) for name, folder in places.items()}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
        f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        f"--ServerApp.root_dir={top}",
    ]  # fmt: skip
    address = f"http://localhost:{port}"
    with open(top / "log", "w") as log:
        server = subprocess.Popen(command, env=env, cwd=top, stdout=log, stderr=log)
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/api", timeout=60).close()
                break
            except OSError:
                assert server.poll() is None, (top / "log").read_text()
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def open_chapter(lab, page):
    """Open a chapter, and wait until JupyterLab has drawn all its text."""

    def open_chapter(name: str):
        cells = nbformat.read(BOOK / f"{name}.ipynb", 4).cells
        texts = sum(cell.cell_type == "markdown" for cell in cells)
        page.set_default_timeout(5 * MINUTE)
        page.goto(f"{lab}/lab/tree/book/{name}.ipynb?reset")
        page.wait_for_function(
            """texts => {
            const cells = [...document.querySelectorAll('.jp-MarkdownCell .jp-RenderedMarkdown')];
            return cells.length === texts && cells.every(e => e.textContent.trim()) }""",
            arg=texts,
        )
        return page

    return open_chapter


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_reads_well_and_runs_and_its_explorers_answer(open_chapter, name):
    page = open_chapter(name)
    page.wait_for_function(f"() => !({TEXT})().join().match(/\\$[^$]+\\$/)")  # MathJax comes last
    for text in page.evaluate(TEXT):
        assert not MARKS.search(text), text
        assert not re.search(r"\{[a-z:]+\}|\\tag|\\\w+\{|<(?:a|details|summary)\b", text), text

    source = nbformat.read(BOOK / f"{name}.ipynb", 4).cells
    solutions = sum("# @title Solution" in cell.source for cell in source)
    assert page.locator(".jp-CodeCell .jp-InputPlaceholder", has_text="@title Solution").count() == solutions
    assert page.locator(".jp-CodeCell .jp-Editor:visible", has_text="@title Solution").count() == 0
    assert page.locator("details[open]").count() == 0
    folded = page.locator("details", has=page.locator("summary"))
    assert folded.count() == sum(cell.source.count("<details") for cell in source)
    if solutions:
        answer = page.locator("details", has_text="Solution to Exercise").first
        answer.locator("summary").click()
        assert answer.locator("p").first.is_visible()
        shown = page.locator(".jp-CodeCell .jp-Editor:visible", has_text="@title Solution")
        page.locator(".jp-CodeCell .jp-InputPlaceholder").first.click()
        shown.first.wait_for()
        assert shown.count() == 1

    # Links within the notebook: JupyterLab keeps an id as data-jupyter-id.
    found = page.evaluate(
        """() => [...document.querySelectorAll('.jp-MarkdownCell a[href^="#"]:not(.jp-InternalAnchorLink)')]
        .map(e => decodeURIComponent(e.getAttribute('href').slice(1))).filter(id => !id.includes(':lam='))
        .filter(id => !document.querySelector(`[data-jupyter-id="${id}"]`))"""
    )
    assert found == [], "links that lead nowhere"

    # And it runs.
    page.evaluate(
        """() => { window.ran = false; const app = jupyterapp;
        app.shell.currentWidget.sessionContext.ready
          .then(() => app.commands.execute('notebook:run-all-cells')).then(() => { window.ran = true }) }"""
    )
    page.wait_for_function("() => window.ran", timeout=30 * MINUTE)
    # A cell that raises stops the run, so the last one has run only if none did.
    count = page.evaluate(
        """() => { const cells = jupyterapp.shell.currentWidget.content.widgets;
        return Math.max(...cells.map(cell => cell.model.executionCount ?? 0)) }"""
    )
    codes = sum(cell.cell_type == "code" for cell in nbformat.read(BOOK / f"{name}.ipynb", 4).cells)
    assert count == codes
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0

    explorers = page.locator(".lx")
    assert explorers.count() >= 1
    for number in range(explorers.count()):
        explorer = explorers.nth(number)
        slider = explorer.locator("input[type=range]").first
        said = slider.get_attribute("aria-valuetext")
        key = "ArrowLeft" if slider.evaluate("e => e.value === e.max") else "ArrowRight"
        slider.press(key)
        page.wait_for_function(
            "([e, said]) => e.getAttribute('aria-valuetext') !== said", arg=[slider.element_handle(), said]
        )
    control = page.locator(".lx-control").last
    if control.count():
        explorer = page.locator(".lx", has=control).last
        before = explorer.inner_text()
        field = control.locator("input, select").first
        field.press("ArrowLeft" if field.evaluate("e => +e.value > 0") else "ArrowRight")
        page.wait_for_function(
            "([e, old]) => e.ariaBusy !== 'true' && e.innerText !== old",
            arg=[explorer.element_handle(), before],
        )
        assert explorer.locator(".lx-error:visible").count() == 0
