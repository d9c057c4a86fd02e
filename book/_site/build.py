"""Build the book: ``python book/_site/build.py`` (that is ``make book``).

The HTML is made from the stored outputs of the notebooks; nothing is executed.  Every build starts cold,
since an incremental one does not repeat the warnings of pages that did not change; when nothing at all has
changed since the last good build, that build is kept.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import check
from common import BOOK, BUILD, ROOT, SITE, content_hash, say, stop

STAMP = BUILD / "site.stamp"
TOOLS = (
    "sphinx", "jupyter-book", "myst-nb", "sphinx-book-theme", "pydata-sphinx-theme",
    "numpydoc", "pygments", "tinycss2", "fonttools", "pillow", "sphinxext-opengraph", "sphinx-sitemap",
)  # fmt: skip
SKIPPED = {"__pycache__", ".ipynb_checkpoints", "l2lab.egg-info"}


def inputs() -> list[Path]:
    """Return all files that the pages are made of."""
    files = [ROOT / "_config.yml", ROOT / "_toc.yml"]
    files += [p for p in BOOK.rglob("*") if p.is_file() and not SKIPPED & set(p.relative_to(BOOK).parts)]
    return files


def fingerprint() -> str:
    """Hash of everything that the site depends on: the sources and the versions of what builds them."""
    return content_hash(inputs(), *(f"{name} {importlib.metadata.version(name)}" for name in TOOLS))


def is_fresh() -> bool:
    """Whether the site stands and was built, without a problem, from exactly these files."""
    return STAMP.exists() and (SITE / "index.html").exists() and STAMP.read_text() == fingerprint()


def build_site(*, force: bool = False) -> Path:
    """Build and check the site.

    Parameters
    ----------
    force : bool
        Build also when nothing has changed.

    Returns
    -------
    pathlib.Path
        The folder of the site.

    Raises
    ------
    SystemExit
        If the build gives a warning, or the check finds a problem.
    """
    if not force and is_fresh():
        say("The site is up to date.")
        return SITE
    began = time.monotonic()
    mark = fingerprint()
    for old in (SITE, BUILD / ".doctrees", BUILD / "jupyter_execute"):
        shutil.rmtree(old, ignore_errors=True)
    STAMP.unlink(missing_ok=True)
    # In the C locale Sphinx would write ASCII and stop at the first λ.
    env = {**os.environ, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    # Not the script .venv/bin/jupyter-book: its first line has the environment's path, which may have moved.
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    strict = ["--all", "-n", "-W", "--keep-going", "-q"]
    code = subprocess.run(
        [*jupyter_book, "build", ".", "--path-output", ".", *strict], cwd=ROOT, env=env
    ).returncode
    if code:
        stop(f"\nThe book was not built: code {code} from jupyter-book; each warning above is an error here.")
    (SITE / ".nojekyll").touch()  # GitHub Pages would drop _static/ and _images/
    report = check.check(SITE)
    say(report.text())
    if report.problems:
        stop(f"\nThe site has {len(report.problems)} problems (listed above).")
    STAMP.write_text(mark)
    say(f"Built in {time.monotonic() - began:.0f} s.")
    return SITE


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Build the book's HTML from the stored outputs and check it."
    )
    parser.add_argument("--force", action="store_true", help="build also when nothing has changed")
    site = build_site(force=parser.parse_args().force)
    say(f"\nThe book: {(site / 'index.html').relative_to(ROOT)}  (open it, or: make serve)")


if __name__ == "__main__":
    main()
