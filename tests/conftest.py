"""Fixtures that several test files share: the built site, a server for it, a browser without network."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).resolve().parents[1]
# Before torch starts its threads: on small networks two that wait for each other are slower than one, and
# with a worker on each core several times so. What a test starts, kernels too, has it from here.
os.environ["OMP_NUM_THREADS"] = "1"


# Files that take longest, which start first: of two workers none waits long for the other at the end.
LONG = ("test_site", "test_grade", "test_jupyterlab", "test_trainer", "test_explore_browser", "test_select")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks first, then the long files in the order above, then the others."""
    items.sort(key=lambda one: -(one.path.suffix == ".ipynb") or [*LONG, one.path.stem].index(one.path.stem))


# Tests wait for what shall happen; on a busy machine that takes long (milliseconds).
PATIENCE = 300_000
# Nothing but this machine can be reached: a request to another host fails at once instead of hanging.
BROWSER_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
BROWSER_ARGUMENTS += ["--disable-background-networking", "--disable-component-update"]
BROWSER_ARGUMENTS += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve files without a log, and notebooks as GitHub Pages does."""

    extensions_map: ClassVar[dict[str, str]] = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".ipynb": "application/x-ipynb+json",
    }

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    """A server whose pages may be closed while they still load."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@pytest.fixture(autouse=True)
def denormal_numbers_stay() -> Iterator[None]:
    """Undo what `l2lab.runtime.setup` does to the whole process: later tests count on denormal numbers."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(autouse=True)
def no_shell_left_over() -> Iterator[None]:
    """Clear an IPython shell that a test has made: later ones would believe to run in a notebook."""
    yield
    module = sys.modules.get("IPython.core.interactiveshell")
    if module and module.InteractiveShell.initialized():
        module.InteractiveShell.clear_instance()


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], str]]:
    """Give a function that serves a folder and returns its address, ``http://localhost:…``."""
    servers = []

    def start(folder: Path) -> str:
        server = _Server(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://localhost:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def site() -> Path:
    """Build the site as ``make book`` does (or keep the one that is up to date) and return its folder."""
    from common import SITE

    (ROOT / "_build").mkdir(exist_ok=True)
    with FileLock(ROOT / "_build" / ".building"):  # of several workers one builds
        # By a process of its own: tests import what changes the path, and so what seems to be installed.
        done = subprocess.run([sys.executable, ROOT / "book" / "_site" / "build.py"])
    if done.returncode:
        pytest.fail("the book does not build", pytrace=False)
    return SITE


@pytest.fixture(scope="session")
def site_url(site: Path, serve: Callable[[Path], str]) -> str:
    """Address of the built site."""
    return serve(site)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start a headless Chromium that reaches nothing but localhost; without one here, Playwright's own."""
    from playwright.sync_api import sync_playwright

    def new_context(**options: Any) -> BrowserContext:
        context = open_context(**options)
        context.set_default_timeout(PATIENCE)
        return context

    names = ("chromium", "google-chrome-stable", "google-chrome")
    path = os.environ.get("L2_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=BROWSER_ARGUMENTS, timeout=PATIENCE)
        open_context, started.new_context = started.new_context, new_context
        yield started
        started.close()


@pytest.fixture(scope="session")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """Open one window, whose cache keeps what all pages load: MathJax, fonts, the theme."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(window: BrowserContext) -> Iterator[Page]:
    """Open a fresh page, without anything that an earlier one has stored but the cache."""
    page = window.new_page()
    yield page
    if page.url.startswith(("http:", "file:")):
        page.evaluate("() => localStorage.clear()")
    window.clear_permissions()
    page.close()


# Contrast is most of axe's time, and a page has thousands of texts; but it follows from the looks of a text
# and of all that it lies in, and of texts that agree in these one is measured. (Each glyph of a formula has a
# class of its own, by which it does not look different.)
LOOKS = """() => {
  const numbers = new Map(), number = look => numbers.get(look) ?? numbers.set(look, numbers.size).size - 1;
  const looks = new Map([[null, 0]]), seen = new Set();
  for (const e of document.querySelectorAll('*')) {
    const formula = e.parentElement?.closest('mjx-math'), s = getComputedStyle(e);
    const own = formula ? [looks.get(formula)]
      : [looks.get(e.parentElement), e.tagName, e.getAttribute('class')];
    looks.set(e, number([...own, s.color, s.backgroundColor, s.backgroundImage, s.opacity, s.textShadow,
      s.fontSize, s.fontWeight, s.display, s.visibility, s.position].join()));
    e.toggleAttribute('data-look', !seen.has(looks.get(e)));
    seen.add(looks.get(e)); }
  axe.configure({rules: [{id: 'color-contrast', selector: '[data-look]'}]}); }"""
# Of the rules that hold, axe need not list each element, nor say where it stands.
# The rule by name is one of the standard ones from axe 4.14 on.
AXE = """() => axe.run({resultTypes: ['violations'], selectors: false,
  rules: {'label-content-name-mismatch': {enabled: true}}})"""


def faults(page: Page) -> list[tuple[str, list[str]]]:
    """Run all standard rules of axe on a page; return those that are broken, with elements that do so."""
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate(Axe().axe_script)
    page.evaluate(LOOKS)
    result = page.evaluate(AXE)
    assert result["passes"], "axe did not run"
    return [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in result["violations"]]
