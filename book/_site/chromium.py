"""Find a Chromium for the browser tests, and install one if there is none.

In this order: the one named by ``L2_CHROMIUM``, one that the system has, Playwright's own, Debian's package.
Building and reading the book need none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from common import say, stop

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
APPS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


def starts(path: str | None) -> bool:
    """Whether the file is a browser that starts (Ubuntu's ``chromium-browser`` can be a stub without one)."""
    if not path or not Path(path).exists():
        return False
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def playwrights_own() -> str | None:
    """Path of the Chromium that ``playwright install chromium`` would have put there."""
    code = "import playwright.sync_api as a\nwith a.sync_playwright() as p: print(p.chromium.executable_path)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return found.stdout.strip() or None


def find() -> str | None:
    """Path of a Chromium that starts, or None."""
    named = os.environ.get("L2_CHROMIUM")
    if named and not starts(named):
        stop(f"L2_CHROMIUM={named} is no browser that starts.")
    candidates = [named, *(shutil.which(name) for name in NAMES), *APPS]
    for path in candidates:
        if starts(path):
            return path
    own = playwrights_own()
    return own if starts(own) else None


def install() -> str:
    """Find a Chromium or install one.

    Raises
    ------
    SystemExit
        If there is none and none can be installed; the message says what to do.
    """
    found = find()
    if found:
        return found
    say("No Chromium found; trying Playwright's …")
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"])
    found = find()
    if not found and shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        say("Playwright's cannot be had; installing Debian's package …")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=env)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], env=env)
        found = find()
    if not found:
        stop(
            "The browser tests need Chromium and none could be installed.\n"
            "Install Chromium or Chrome with your system's packages (Debian: apt-get install chromium),\n"
            "or name one: L2_CHROMIUM=/path/to/chrome make test"
        )
    return found


def main() -> None:
    """Print which browser the tests will use, or with ``--path`` where it is."""
    path = install()
    say(path if "--path" in sys.argv else f"Browser for the tests: {path}")


if __name__ == "__main__":
    main()
