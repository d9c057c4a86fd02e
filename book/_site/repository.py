"""Write the repository's address wherever it stands: ``make address``.

The address is that of the git remote ``origin``, or the one that is given (``make address ADDRESS=…``); it is
to be committed, since Colab opens what the repository holds.  Without an address (``ADDRESS=none``) nothing
leads anywhere: a name that nobody has registered could be somebody's tomorrow.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from common import ROOT, say, stop

ADDRESS = re.compile(
    r"(?:https://(?:[^@/\s]+@)?github\.com/|(?:ssh://)?git@github\.com[:/])"
    r"([A-Za-z0-9][\w.-]*)/([A-Za-z0-9_][\w.-]*?)(?:\.git)?/?"
)
HOME = r"(?m)(^repository:\n(?:  .*\n)*?  url: )(.*)"
# Files, what stands there behind the part that stays (the group), its form with an address and without.
PLACES = (
    ("_config.yml", HOME, "{address}", '""'),
    ("CITATION.cff", r"(?m)()^(?:# )?repository-code:.*", "repository-code: {address}", "# repository-code:"),
    ("pyproject.toml", r"(\[project\.urls\]\n)(?:\w+ = .*\n)*", 'Repository = "{address}"\n', ""),
    ("book/_site/404.html", r'(<base href=")[^"]*', "{pages}", "/"),
    (
        "README.md",
        r"(?m)()^.*<!-- address -->$",
        'The pages: **{pages}**. The package: `pip install "git+{address}"`. <!-- address -->',
        "This copy of the book is not published yet: `make address` comes first. <!-- address -->",
    ),
    ("book/**/*.ipynb", r'(BOOK = \\")[^"\\]*', "{address}", ""),
)


def home(root: Path = ROOT) -> str:
    """Return the address that ``_config.yml`` gives; empty if there is none yet."""
    return re.search(HOME, (root / "_config.yml").read_text("utf-8"))[2].strip("\"'")


def pages(address: str) -> str:
    """Return the address under which GitHub Pages publishes a repository."""
    owner, name = ADDRESS.fullmatch(address).groups()
    host = f"https://{owner.lower()}.github.io"
    return f"{host}/" if name.lower() == f"{owner.lower()}.github.io" else f"{host}/{name}/"


def set_address(given: str, root: Path = ROOT) -> list[Path]:
    """Write an address, or none if it is empty, into all places, and return the files that changed."""
    match = ADDRESS.fullmatch(given.strip())
    if given and not match:
        stop(f"{given!r} is not of the form https://github.com/OWNER/NAME: make address ADDRESS=…")
    address = f"https://github.com/{match[1]}/{match[2]}" if match else ""
    words = {"address": address, "pages": pages(address) if address else ""}
    changed = []
    for pattern, old, form, without in PLACES:
        new = form.format(**words) if address else without
        for path in sorted(root.glob(pattern)):
            before = path.read_text("utf-8")
            after = re.sub(old, lambda found, new=new: found[1] + new, before, count=1)
            if after != before:
                path.write_text(after, "utf-8")
                changed.append(path)
    return changed


if __name__ == "__main__":
    origin = ["git", "remote", "get-url", "origin"]
    named = sys.argv[1:] or [subprocess.run(origin, cwd=ROOT, capture_output=True, text=True).stdout.strip()]
    if not named[0]:
        stop("There is no git remote origin: make address ADDRESS=…")
    for place in set_address("" if named[0] == "none" else named[0]):
        say(f"changed, to be committed: {place.relative_to(ROOT).as_posix()}")
