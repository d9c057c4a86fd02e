"""Follow the links that lead out of the book: ``python book/_tools/check_links.py`` (``make linkcheck``).

Sphinx follows the links of all pages.  For DOIs only the resolver is asked: it knows whether one exists,
while publishers turn programs away.  It needs the network, so it is no part of ``make test``; a workflow runs
it once a week.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable

from common import BOOK, BUILD, ROOT, say, stop

RESOLVER = "https://doi.org/"
DOI = re.compile(r"doi=\{([^}]+)\}")
TIMEOUT = 30  # seconds


class _Stay(urllib.request.HTTPRedirectHandler):
    """Do not follow: that the resolver would send us somewhere is all we want to know."""

    def redirect_request(self, *args: object) -> None:
        return None


def answer(address: str) -> int:
    """The status with which a server answers; redirections are not followed.

    Raises
    ------
    urllib.error.URLError
        If there is no answer.
    """
    opener = urllib.request.build_opener(_Stay)
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "link check of a book"})
    try:
        with opener.open(request, timeout=TIMEOUT) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def missing_dois(dois: Iterable[str], resolver: str = RESOLVER) -> list[str]:
    """The DOIs that the resolver does not know.

    Parameters
    ----------
    dois : iterable of str
        Without the resolver's address.
    resolver : str
        Where to ask.

    Returns
    -------
    list of str
        One line for each DOI that was not found, and for each question without an answer.
    """
    problems = []
    for doi in sorted(set(dois)):
        try:
            status = answer(resolver + urllib.parse.quote(doi, safe="/():;<>"))
        except (urllib.error.URLError, TimeoutError) as error:
            problems.append(f"{doi}: no answer ({error})")
            continue
        if not 200 <= status < 400:
            problems.append(f"{doi}: {status}")
    return problems


def follow_links() -> int:
    """Let Sphinx follow the links of all pages; 0 when all lead somewhere."""
    shutil.rmtree(BUILD / "linkcheck", ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = [
        "--path-output",
        ".",
        "--builder",
        "custom",
        "--custom-builder",
        "linkcheck",
        "--keep-going",
        "-q",
    ]
    return subprocess.run(
        [*command, "build", ".", *options], cwd=ROOT, env={**os.environ, "PYTHONUTF8": "1"}
    ).returncode


def main() -> None:
    """Follow everything and report."""
    code = follow_links()
    problems = missing_dois(DOI.findall((BOOK / "references.bib").read_text("utf-8")))
    for problem in problems:
        say(f"DOI not found: {problem}")
    if code or problems:
        stop("\nSome links lead nowhere (listed above).")
    say("All links lead somewhere.")


if __name__ == "__main__":
    main()
