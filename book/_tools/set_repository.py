"""Write the repository's address wherever it stands: ``make address``.

The address is that of the git remote ``origin``, or the one that is given (``make address ADDRESS=…``); it is
to be committed, since Colab opens what the repository holds.  Without an address (``ADDRESS=none``) no cell
installs anything, no button leads anywhere and no text names a place: a name that nobody has registered could
be somebody's tomorrow.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

from common import ROOT, say, stop

ADDRESS = re.compile(
    r"(?:https://(?:[^@/\s]+@)?github\.com/|(?:ssh://)?git@github\.com[:/])"
    r"([A-Za-z0-9][\w.-]*)/([A-Za-z0-9_][\w.-]*?)(?:\.git)?/?"
)
CONFIG = "_config.yml"
HOME = r"(?m)(^repository:\n(?:  .*\n)*?  url: )(.*)"
BANNER = r'    "> Run this notebook \[on Colab\].*\n    "\\n",\n'
# Files, what stands there behind the part that stays (the group), its form with an address and without.
# In notebooks it is JSON: a line of the first code cell, a paragraph below the title.
PLACES = (
    (CONFIG, HOME, "{address}", '""'),
    ("CITATION.cff", r"(?m)()^(?:# )?repository-code:.*", "repository-code: {address}", "# repository-code:"),
    (
        "pyproject.toml",
        r"(\[project\.urls\]\n)(?:\w+ = .*\n)*",
        'Repository = "{address}"\nIssues = "{address}/issues"\n',
        "",
    ),
    (
        "README.md",
        r"(?m)()^.*<!-- address -->$",
        'The pages: **{pages}**. The package: `pip install "git+{address}"`. <!-- address -->',
        "This copy of the book is not published yet: `make address` comes first. <!-- address -->",
    ),
    ("book/*.ipynb", r'(?m)(^ +"BOOK = \\")[^"\\]*', "{address}", ""),
    (
        "book/**/*.ipynb",
        rf'\A((?:.*\n)*?    "# .*\\n",\n    "\\n",\n)(?:{BANNER})?',
        '    "> Run this notebook [on Colab](https://colab.research.google.com/github/{place}/blob/{branch}/'
        '{file}) or read it [as a page]({page}), where all links work.\\n",\n    "\\n",\n',
        "",
    ),
)


def home(root: Path = ROOT) -> str:
    """Return the address that ``_config.yml`` gives; empty if there is none yet."""
    found = re.search(HOME, (root / CONFIG).read_text("utf-8"))
    if found is None:
        stop(f"{CONFIG} has no repository: url:")
    return found[2].strip("\"'")


def pages(address: str) -> str:
    """Return the address under which GitHub Pages publishes a repository."""
    owner, name = ADDRESS.fullmatch(address).groups()
    host = f"https://{owner.lower()}.github.io"
    return f"{host}/" if name.lower() == f"{owner.lower()}.github.io" else f"{host}/{name}/"


def clean(address: str) -> str:
    """Return ``https://github.com/OWNER/NAME`` or say what is wrong with the given address."""
    match = ADDRESS.fullmatch(address.strip())
    if match is None:
        stop(
            f"{address!r} is not an address of the form https://github.com/OWNER/NAME: make address ADDRESS=…"
        )
    return f"https://github.com/{match[1]}/{match[2]}"


def set_repository(address: str, root: Path = ROOT) -> list[Path]:
    """Write an address into all places.

    Parameters
    ----------
    address : str
        ``https://github.com/OWNER/NAME``, what git has for it, or empty: none.
    root : pathlib.Path
        Top folder of the repository.

    Returns
    -------
    list of pathlib.Path
        The files that changed.
    """
    words = {"branch": re.search(r"(?m)^  branch: (\S+)", (root / CONFIG).read_text("utf-8"))[1]}
    if address:
        address = clean(address)
        words |= {"address": address, "pages": pages(address)}
        words["place"] = address.removeprefix("https://github.com/")
    changed = []
    for pattern, old, with_address, without in PLACES:
        for path in sorted(root.glob(pattern)):
            words["file"] = path.relative_to(root).as_posix()
            if words["file"].startswith("book/assignments/"):  # of a source, readers open the students' copy
                words["file"] = f"book/assignments/{path.name}"
            words["page"] = words.get("pages", "") + words["file"].replace(".ipynb", ".html")
            form = with_address.format(**words) if address else without
            text = path.read_text("utf-8")
            result = re.sub(old, lambda match, form=form: match[1] + form, text, count=1)
            if result != text:
                path.write_text(result, "utf-8")
                changed.append(path)
    return changed


def origin() -> str:
    """Return the address of the git remote ``origin``."""
    done = subprocess.run(["git", "remote", "get-url", "origin"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or stop("There is no git remote origin: make address ADDRESS=…")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the repository's address wherever it stands.")
    parser.add_argument("address", nargs="?", help="https://github.com/OWNER/NAME, or none (default: origin)")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if another one stands here"
    )
    given = parser.parse_args()
    new = "" if given.address == "none" else clean(given.address or origin())
    if given.check:
        if home().lower() != new.lower():
            stop(
                f"This repository is {new}, but the book committed in it says {home() or 'none'}. "
                f"Run `make address ADDRESS={new}` in a checkout, commit what it changes, and push."
            )
        return
    changed = set_repository(new)
    say("\n".join(f"changed {name}" for name in sorted({p.relative_to(ROOT).as_posix() for p in changed})))
    say(f"The repository is {home() or 'none'}. " + ("Commit the changes." if changed else "It was before."))


if __name__ == "__main__":
    main()
