"""Build the book from the stored outputs, executing nothing: ``python book/_site/build.py`` (``make book``).

Every build starts cold, since an incremental one does not repeat the warnings of pages that did not change;
when nothing at all has changed since the last good build, that build is kept.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys

import check
from common import BOOK, BUILD, ROOT, SITE, say, stop

STAMP = BUILD / "site.stamp"
SKIPPED = {"__pycache__", ".ipynb_checkpoints", "l2lab.egg-info"}


def fingerprint() -> str:
    """Hash all that the site depends on: the sources, and the versions of what is installed."""
    # A set: what lies on the path twice, as l2lab does in the tests, is found twice.
    installed = sorted({f"{dist.name} {dist.version}" for dist in importlib.metadata.distributions()})
    digest = hashlib.sha256("\n".join(installed).encode())
    files = [p for p in BOOK.rglob("*") if p.is_file() and not SKIPPED & set(p.relative_to(BOOK).parts)]
    for path in (ROOT / "_config.yml", ROOT / "_toc.yml", *sorted(files)):
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def build_site() -> None:
    """Build and check the site, unless it stands and was made, without a problem, from exactly these files.

    A warning of the build, or a problem that the check finds, ends the program.
    """
    mark = fingerprint()
    if STAMP.exists() and (SITE / "index.html").exists() and STAMP.read_text() == mark:
        say("The site is up to date.")
        return
    for old in (SITE, BUILD / ".doctrees", BUILD / "jupyter_execute"):
        shutil.rmtree(old, ignore_errors=True)
    STAMP.unlink(missing_ok=True)
    # In the C locale Sphinx would write ASCII and stop at the first λ.
    env = {**os.environ, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    # Not the script .venv/bin/jupyter-book: its first line has the environment's path, which may have moved.
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    strict = ["--all", "-n", "-W", "--keep-going", "-q"]
    done = subprocess.run([*jupyter_book, "build", ".", "--path-output", ".", *strict], cwd=ROOT, env=env)
    if done.returncode:
        stop("\nThe book was not built: each warning above is an error here.")
    (SITE / ".nojekyll").touch()  # GitHub Pages would drop _static/ and _images/
    problems = check.report(SITE)
    if problems:
        stop(f"\nThe site has {problems} problems (listed above).")
    STAMP.write_text(mark)


if __name__ == "__main__":
    build_site()
    say(f"\nThe book: {(SITE / 'index.html').relative_to(ROOT)}  (open it, or: make serve)")
