"""A chapter in a real JupyterLab: what a reader sees who opens a notebook instead of the page."""

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

from common import BOOK, VIEW
from test_plain_notebooks import MARKS

MINUTE = 60_000  # long enough for any of these waits on a busy machine; a wait ends when it has what it wants
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page at once
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
CELLS = nbformat.read(BOOK / "02_formula.ipynb", 4).cells
# Text that Markdown was to draw, without code and without what MathJax adds for screen readers.
TEXT = """() => [...document.querySelectorAll('.jp-MarkdownCell .jp-RenderedMarkdown')].map(cell => {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll('code, pre, mjx-container, .jp-InternalAnchorLink').forEach(e => e.remove());
  return copy.textContent })"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the book, with a notebook of the code up to the first explorer; its address."""
    top = tmp_path_factory.mktemp("lab")
    left_out = shutil.ignore_patterns("_*", "assignments", ".ipynb_checkpoints")
    shutil.copytree(BOOK, top / "book", ignore=left_out)
    code = [c for c in nbformat.read(BOOK / "01_principles.ipynb", 4).cells if c.cell_type == "code"]
    shown = [any(VIEW in output.get("data", {}) for output in cell.outputs) for cell in code]
    code = code[: shown.index(True) + 1]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    first = nbformat.v4.new_notebook(cells=code, metadata=metadata)
    nbformat.write(first, top / "book" / "first.ipynb")
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


def test_a_chapter_reads_well_and_its_solutions_open(lab, page):
    texts = sum(cell.cell_type == "markdown" for cell in CELLS)
    page.set_default_timeout(5 * MINUTE)
    page.goto(f"{lab}/lab/tree/book/02_formula.ipynb?reset")
    page.wait_for_function(
        """texts => {
        const cells = [...document.querySelectorAll('.jp-MarkdownCell .jp-RenderedMarkdown')];
        return cells.length === texts && cells.every(e => e.textContent.trim()) }""",
        arg=texts,
    )
    page.wait_for_function(f"() => !({TEXT})().join().match(/\\$[^$]+\\$/)")  # MathJax comes last
    for text in page.evaluate(TEXT):
        assert not MARKS.search(text), text
        assert not re.search(r"\{[a-z:]+\}|\\tag|\\\w+\{|<(?:a|details|summary)\b", text), text

    solutions = sum("# @title Solution" in cell.source for cell in CELLS)
    assert page.locator(".jp-CodeCell .jp-InputPlaceholder", has_text="@title Solution").count() == solutions
    shown = page.locator(".jp-CodeCell .jp-Editor:visible", has_text="@title Solution")
    assert shown.count() == page.locator("details[open]").count() == 0
    answer = page.locator("details", has_text="Solution to Exercise").first
    answer.locator("summary").click()
    assert answer.locator("p").first.is_visible()
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


def test_it_runs_and_its_explorer_answers(lab, page):
    page.set_default_timeout(5 * MINUTE)
    page.goto(f"{lab}/lab/tree/book/first.ipynb?reset")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
    # A cell that raises stops the run.
    assert page.evaluate(
        """async () => { const app = jupyterapp, here = app.shell.currentWidget;
        await here.sessionContext.ready;
        await app.commands.execute('notebook:run-all-cells');
        return here.content.widgets.every(cell => cell.model.executionCount) }"""
    )
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    slider = page.locator(".lx input[type=range]").first
    said = slider.get_attribute("aria-valuetext")
    slider.press("ArrowLeft" if slider.evaluate("e => e.value === e.max") else "ArrowRight")
    page.wait_for_function(
        "([e, said]) => e.getAttribute('aria-valuetext') !== said", arg=[slider.element_handle(), said]
    )
