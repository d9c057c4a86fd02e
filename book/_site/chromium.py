"""Find a Chromium for the browser tests, and install one if there is none.

In this order: the one named by ``L2_CHROMIUM``, one that the system has, Playwright's own, Debian's package.
Building and reading the book need none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from common import say, stop

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
APP = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
PLAYWRIGHTS = (
    "import playwright.sync_api as a\nwith a.sync_playwright() as p: print(p.chromium.executable_path)"
)
DEBIANS = "apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium"


def starts(path: str | None) -> bool:
    """Whether the file is a browser that starts (Ubuntu's ``chromium-browser`` can be a stub without one)."""
    try:
        return bool(path) and not subprocess.run([path, "--version"], capture_output=True).returncode
    except OSError:
        return False


def find() -> str | None:
    """Path of a Chromium that starts, or None."""
    for path in (os.environ.get("L2_CHROMIUM"), *map(shutil.which, NAMES), APP):
        if starts(path):
            return path
    own = subprocess.run([sys.executable, "-c", PLAYWRIGHTS], capture_output=True, text=True).stdout.strip()
    return own if starts(own) else None


def install() -> str:
    """Find a Chromium or install one; if there is none to be had, a message says what to do."""
    found = find()
    if not found:
        say("No Chromium found; trying Playwright's …")
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"])
        found = find()
    if not found and shutil.which("apt-get") and os.geteuid() == 0:
        say("Playwright's cannot be had; installing Debian's package …")
        subprocess.run(DEBIANS, shell=True)
        found = find()
    return found or stop(
        "The browser tests need Chromium and none could be installed.\n"
        "Install Chromium or Chrome with your system's packages (Debian: apt-get install chromium),\n"
        "or name one: L2_CHROMIUM=/path/to/chrome make test"
    )


if __name__ == "__main__":
    browser = install()
    say(browser if "--path" in sys.argv else f"Browser for the tests: {browser}")
